#!/bin/bash
# One of the bundle's networks again, from the encoder of an autoencoder that learnt from the same samples
# without the same persons, and judged on these. A stopped call goes on. About 15 minutes of a core for the
# start, 0.6 to 1 second for each of the STEPS.
#   bash full_start.sh WORK BUNDLE_3 NUMBER STEPS        WORK: of make_bundle.sh; NUMBER: of the network
set -euo pipefail
work=$1 bundle=$2 number=$3 steps=$4
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1
source "$here/persons.sh"
leave_out "$number"

[ -e "$work/crops$number" ] ||
    paranasal sinus-crops --store "$work/painted" --samples 4000 -o "$work/crops$number" "${persons[@]}"
paranasal pretrain --config "$here/start.yaml" --store "$work/crops$number" -o "$work/start$number" --seed "$number"
paranasal train-sinus --store "$work/painted" --store "$work/more" --store "$work/third" --store "$work/clear" \
    -o "$work/from_start$number" --steps "$steps" --seed "$number" --learning-rate 0.003 \
    --encoder "$work/start$number/model.safetensors" "${persons[@]}"
paranasal compare-decisions --bundle "$bundle" --weights "$work/from_start$number/sinus.safetensors" \
    --store "$work/painted" --clear "$work/clear" --samples 300 -o "$work/from_start$number"
python "$here/full_starts.py" "$work" "$here/decisions.csv" "$here/full_starts.csv"
