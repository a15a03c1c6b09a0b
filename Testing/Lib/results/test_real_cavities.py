"""Over all real scans: all that is marked lies in the cavity, and the one written was measured."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.model.bundle import Bundle, load_bundle, shipped_bundle_path
from ParanasalSSLLib.predict import SinusResult, predict_scan
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.maps import PastedRegion, read_labels, write_segmentation
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import SEGMENT_LABELS

BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data"
SHARED = Path(os.environ.get("PARANASAL_TEST_DATA", BESIDE))
SCANS = sorted(
    str(path.relative_to(SHARED))
    for pattern in ("heads/*.nii.gz", "heads/*.zip", "donors/*.nii.gz", "site/*/anat/*.nii.gz")
    for path in SHARED.glob(pattern)
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(shipped_bundle_path())


@pytest.mark.slow
@pytest.mark.parametrize("scan", SCANS or ["none"])
def test_all_that_is_marked_lies_inside_the_cavity_that_was_measured(
    shared_data: Path, bundle: Bundle, tmp_path: Path, scan: str
) -> None:
    try:
        result = predict_scan(shared_data / scan, bundle)
    except ParanasalError as error:
        pytest.skip(f"refused: {error}")
    files = ScanFiles(tmp_path, "x")
    write_segmentation(PastedRegion.of(result), files.segmentation)
    labels, cavities = read_labels(files, result.volume.shape)
    assert cavities is not None
    for side, sinus in result.sinuses.items():
        measures = sinus.score.measures
        assert measures is not None and np.array_equal(sinus.opacity, measures.opacity)
        assert not (measures.opacity & ~measures.cavity).any()
        marked, cavity = (layer == SEGMENT_LABELS[side] for layer in (labels, cavities))
        assert not (marked & ~cavity).any()
        same = at_centres(measures.cavity, sinus, result.volume)
        overlap = 2 * (cavity & same).sum() / max(cavity.sum() + same.sum(), 1)
        assert overlap > 0.95 or measures.cavity_ml < 1


def at_centres(mask: np.ndarray, sinus: SinusResult, scan: Volume) -> np.ndarray:
    """bool of the scan's shape: the voxel's centre lies in a voxel of the crop's mask."""
    index = np.argwhere(np.ones(scan.shape, bool))
    nearest = np.rint(sinus.crop.to_index(scan.to_world(index))).astype(int)
    inside = ((nearest >= 0) & (nearest < mask.shape)).all(axis=1)
    found = np.zeros(len(index), bool)
    found[inside] = mask[tuple(nearest[inside].T)]
    return found.reshape(scan.shape)
