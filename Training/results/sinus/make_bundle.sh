#!/bin/bash
# The shipped bundle's sinus networks, from the scans of ../shared/data to a bundle. Every step goes on
# where a stopped call ended. About 15 minutes of one core for each painted store, MINUTES for each network.
#   bash make_bundle.sh DATA WORK BUNDLE_3 OUTPUT [MINUTES]
set -euo pipefail
data=$1 work=$2 older=$3 output=$4 minutes=${5:-120}
export OMP_NUM_THREADS=1

left_out=(
    "head-1 head-5 site-03 site-06 site-09 site-12"
    "head-2 head-6 site-01 site-04 site-07 site-10"
    "head-3 head-4 head-7 site-02 site-05 site-08 site-11"
)
paranasal paint-sinuses --data "$data" -o "$work/painted" --samples 6144
paranasal paint-sinuses --data "$data" -o "$work/more" --samples 6144 --seed 22
paranasal paint-sinuses --data "$data" -o "$work/third" --samples 4608 --seed 33
paranasal paint-sinuses --data "$data" -o "$work/clear" --samples 512 --as-they-are

weights=()
for number in 0 1 2; do
    persons=()
    for person in ${left_out[$number]}; do persons+=(--leave-out "$person"); done
    paranasal train-sinus --store "$work/painted" --store "$work/more" --store "$work/third" \
        --store "$work/clear" -o "$work/run$number" --minutes "$minutes" --seed "$number" "${persons[@]}"
    weights+=(--weights "$work/run$number/sinus.safetensors")
done

judged=(--store "$work/painted" --clear "$work/clear" --samples 450)
paranasal compare-decisions --bundle "$older" "${weights[@]}" "${judged[@]}" -o "$work/decisions"
paranasal add-sinus --bundle "$older" "${weights[@]}" "${judged[@]}" --version 6 \
    --notes "$(dirname "$0")/real_scans.md" -o "$output"
