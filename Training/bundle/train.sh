#!/bin/sh
# Makes bundle version 3, the shipped one without its sinus networks; about 4 hours on 2 cores. It resumes where it stopped.
# DONORS: folder of healthy whole heads (see Training/README.md). SCANS: real scans to check with.
set -eu
here=$(dirname "$0")
work=${1:-bundle-run}
# Autoencoder and self-supervised task learn from one cohort,
paranasal simulate --donors "$DONORS" --patients 4000 --unlabelled 1500 --seed 1 --output "$work/crops"
paranasal train --config "$here/train.yaml" --store "$work/crops" --output "$work/cae"
paranasal residuals --config "$here/residuals.yaml" --store "$work/crops" --cae "$work/cae" \
    --output "$work/residuals"
paranasal pretrain --config "$here/pretrain.yaml" --store "$work/crops" \
    --residuals "$work/residuals" --output "$work/unet"
# the classifier from a larger one that is closer to clinical scans.
paranasal simulate --config "$here/simulate.yaml" --donors "$DONORS" --seed 2 --output "$work/more-crops"
paranasal finetune --config "$here/finetune.yaml" --store "$work/more-crops" \
    --pretrained "$work/unet" --output "$work/classifier-2"
# Once more from a third, in which more images end in the sinus; half of the weights' way is kept.
paranasal simulate --config "$here/simulate.yaml" --donors "$DONORS" --seed 3 --patients 10000 \
    --acquisition.fraction-cut 0.3 --acquisition.stack.fraction-end 0.25 --output "$work/third-crops"
paranasal finetune --config "$here/finetune.yaml" --store "$work/third-crops" --epochs 6 \
    --pretrained "$work/classifier-2" --keep-pretrained 0.5 --output "$work/classifier"
paranasal bundle --config "$here/bundle.yaml" --store "$work/third-crops" --cae-store "$work/crops" \
    --cae "$work/cae" --classifier "$work/classifier" --output "$work/bundle"
paranasal check-real --scans "$SCANS" --bundle "$work/bundle" --output "$work/check"
paranasal model-card --bundle "$work/bundle" --real-check "$work/check" \
    --notes "$here/notes.md" --commands "$0"
