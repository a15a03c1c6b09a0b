#!/bin/sh
# The autoencoders of table 3 alone: the mean calibrated residual of a crop as its score.
# Usage: autoencoders.sh WORK (the experiment's working folder). Writes autoencoders.csv beside this file.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scores=$(mktemp -d)
cd "$1"
echo "normals,crops,validation_loss,auroc,auprc" > "$here/autoencoders.csv"
for row in normals20 normals40 normals60 normals80 plain; do
    paranasal evaluate-residuals --config settings/evaluate-residuals/score-calibrated.yaml \
        --store crops --splits splits.csv --cae "autoencoder/$row" --fold 1 -o "$scores/$row"
    python - "$row" "autoencoder/$row" "$scores/$row" >> "$here/autoencoders.csv" << 'PYTHON'
import json, sys
from pathlib import Path

row, cae, scored = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
run, loss = (json.loads((cae / name).read_text()) for name in ("run.json", "metrics.json"))
test = json.loads((scored / "metrics.json").read_text())["test"]
percent = row.removeprefix("normals").replace("plain", "100")
print(percent, run["train_crops"], round(loss["validation_loss"], 4), test["auroc"], test["auprc"], sep=",")
PYTHON
done
rm -r "$scores"
