#!/bin/sh
# From a site's scans to a model of its own: every command of Docs/worked_example.md, timed.
#
#     sh Docs/worked_example/run.sh BIDS_FOLDER WORK
#
# BIDS_FOLDER: at least twelve subjects, sub-01 to sub-12, with FLAIR images. They are linked, not copied. The
# labels are made up. WORK: a new folder; what each step took is written to
# WORK/steps.tsv.
set -eu
scans=$(realpath "$1")
work=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work/bids"
cd "$work"

step() { # name, what it makes, command...: a line of name, minutes of one core, MB
    name=$1 made=$2
    shift 2
    times > .begun
    "$@"
    times > .ended
    cpu=$(awk 'function s(w, t) { split(w, t, /[ms]/); return 60 * t[1] + t[2] }
        FNR == 2 { sum[NR > 2] = s($1) + s($2) } END { printf "%.1f", (sum[1] - sum[0]) / 60 }' .begun .ended)
    printf '%s\t%s\t%s\n' "$name" "$cpu" "$(du -sm "$made" | cut -f1)" >> steps.tsv
}

# 1. A BIDS folder with labels. One line a patient; per side a class (0 normal, 1 thickening, 2 polyp, 3 cyst,
#    4 full) or n/a where nobody has looked: such patients are pretrained on.
for number in 01 02 03 04 05 06 07 08 09 10 11 12; do
    ln -sfn "$scans/sub-$number" "bids/sub-$number"
done
printf '{"Name": "Worked example", "BIDSVersion": "1.9.0"}\n' > bids/dataset_description.json
{
    printf 'participant_id\tleft_class\tright_class\n'
    printf 'sub-%s\t%s\t%s\n' 01 0 0  02 0 1  03 2 0  04 0 0  05 1 3  06 0 0 \
        07 3 0  08 0 4  09 0 0  10 1 0  11 n/a n/a  12 n/a n/a
} > bids/participants.tsv
: > steps.tsv

# 2. Scans to crops. Look at crops.quality: every box has to stand on its sinus.
step prepare crops paranasal prepare bids -o crops --key private_key.csv

# 3. A table of the paper on them: division into test set and folds, autoencoder, residuals, pretraining,
#    fine-tuning, comparison. Killed, the same command resumes.
step experiment experiment paranasal experiment loss --preset "$here/preset.yaml" --crops crops -o experiment

# 4. One of its runs becomes a model, with a card that says what it is.
step bundle bundle paranasal bundle-experiment experiment --row calibrated --fold 1 -o bundle

# 5. The model reads scans.
step predict results paranasal predict bids/sub-11/anat/sub-11_FLAIR.nii.gz \
    bids/sub-12/anat/sub-12_FLAIR.nii.gz --model bundle -o results
cat steps.tsv
