#!/usr/bin/env bash
# Crops of 64 mm with voxels of 2 mm against 48 mm with 1.5 mm (both 32^3), at a quarter of the preset's
# pretraining: `bash Training/results/one-protocol/crop/trial.sh WORK`, where WORK/one-protocol holds a cohort made by
# `paranasal experiment table2 --cohort one-protocol --donors FLAIR -o WORK/one-protocol`. Writes crop.csv beside itself.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(cd "$1" && pwd)
flow=$(python -c 'import paranasal_training.workflow as w; print(w.__path__[0])')
runs=()
for row in none calibrated; do
  for percent in 10 20; do runs+=("finetune/$row/$percent/fold"{1,2,3,4,5}"/run.json"); done
done

mkdir -p "$work/crop"
python - "$flow/presets/cpu.yaml" "$work/crop/trial.yaml" <<'PYTHON'
import sys, yaml
preset = yaml.safe_load(open(sys.argv[1]))
preset["percents"] = [10, 20]
preset["pretrain"]["epochs"] = 12
yaml.safe_dump(preset, open(sys.argv[2], "w"))
PYTHON
[ -e "$work/crop/central/store.json" ] ||
  python "$here/central_crops.py" "$work/one-protocol/crops" "$work/crop/central"
for size in 64 48; do
  store=$work/one-protocol/crops
  [ $size = 64 ] || store=$work/crop/central
  python -m snakemake -s "$flow/Snakefile" --directory "$work/crop/$size" --cores 1 --quiet progress rules \
    --config experiment=table2 preset="$work/crop/trial.yaml" crops="$store" -- "${runs[@]}" &
done
wait
python "$here/tell.py" "$work/crop" "$here"
