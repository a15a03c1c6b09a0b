#!/bin/sh
# Table 2 of the cohort `many` from where it stands: the rows in runs.tar.xz are finished.
#
#   sh Training/results/many/continue.sh WORK HEADS
#
# WORK: a folder that is not there yet. HEADS: the donors' heads, as for `paranasal experiment --donors`.
# The archive has settings, records and predictions of the finished runs, and the autoencoder. The cohort is simulated
# again (minutes; the same on the same kind of processor, else the rows are run anew). If it is stopped, the
# last line resumes; `so_far.py` makes table and archive of what is finished by then.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
heads=$(cd "$2" && pwd)
mkdir "$1"
cd "$1"
tar -xJf "$here/runs.tar.xz"
mkdir -p settings/simulate
printf 'seed: 2024\ndonors: %s\n' "$heads" > settings/simulate/cohort.yaml
paranasal simulate --config settings/simulate/cohort.yaml --output crops
# What was made from the crops is to be newer than they are, and the runs newer than the division.
find . -type f ! -path './crops/*' ! -path './settings/*' -exec touch {} +
find autoencoder -name run.json -exec touch {} +
find residuals -name done.npy -exec touch {} +
find pretrain -name run.json -exec touch {} +
find finetune linear knn -name '*.json' -exec touch {} +
paranasal experiment table2 --preset cpu --cohort many --donors "$heads" --output .
