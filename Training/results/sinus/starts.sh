#!/bin/bash
# Pretraining as a start of the sinus network: every encoder of a table's working folder, and random weights,
# equally many batches. A stopped call goes on.
#   bash starts.sh STORE CLEAR BUNDLE TABLE WORK [STEPS]
# STORE, CLEAR: of make_bundle.sh; TABLE: of `paranasal experiment core -o TABLE`. Writes starts.csv and starts_paired.csv beside itself.
set -euo pipefail
store=$1 clear=$2 bundle=$3 table=$4 work=$5 steps=${6:-800}
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1
source "$here/persons.sh"
leave_out 0

for start in random ae spark residual calibrated; do
    for seed in 1 2; do
        run=$work/$start$seed
        encoder=()
        [ $start = random ] || encoder=(--encoder "$table/pretrain/$start/seed$seed/model.safetensors")
        paranasal train-sinus --store "$store" -o "$run" --steps "$steps" --seed "$seed" "${encoder[@]}" "${persons[@]}"
        [ -e "$run/decisions.md" ] || paranasal compare-decisions --bundle "$bundle" \
            --weights "$run/sinus.safetensors" --store "$store" --clear "$clear" --samples 200 -o "$run"
    done
done
python "$here/starts.py" "$work" "$here/starts.csv"
