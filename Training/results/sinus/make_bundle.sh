#!/bin/bash
# The shipped bundle's sinus networks, from the scans of ../shared/data to a bundle. Every step goes on
# where a stopped call ended. About 15 minutes of one core for each painted store, MINUTES for each network.
#   bash make_bundle.sh DATA WORK BUNDLE_3 OUTPUT [MINUTES]
set -euo pipefail
data=$1 work=$2 older=$3 output=$4 minutes=${5:-120}
export OMP_NUM_THREADS=1
source "$(dirname "$0")/persons.sh"

paranasal paint-sinuses --data "$data" -o "$work/painted" --samples 6144
paranasal paint-sinuses --data "$data" -o "$work/more" --samples 6144 --seed 22
paranasal paint-sinuses --data "$data" -o "$work/third" --samples 4608 --seed 33
paranasal paint-sinuses --data "$data" -o "$work/clear" --samples 512 --as-they-are

weights=()
for number in 0 1 2; do
    leave_out "$number"
    paranasal train-sinus --store "$work/painted" --store "$work/more" --store "$work/third" \
        --store "$work/clear" -o "$work/run$number" --minutes "$minutes" --seed "$number" "${persons[@]}"
    weights+=(--weights "$work/run$number/sinus.safetensors")
done

judged=(--store "$work/painted" --clear "$work/clear" --samples 300)
paranasal compare-decisions --bundle "$older" "${weights[@]}" "${judged[@]}" -o "$work/decisions"
paranasal add-sinus --bundle "$older" "${weights[@]}" "${judged[@]}" --version 6 \
    --notes "$(dirname "$0")/real_scans.md" -o "$output"
