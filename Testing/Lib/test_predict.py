from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.crop import SinusCrop
from ParanasalSSLLib.errors import Cancelled, NotAHead, SinusOutsideImage, UnreadableScan
from ParanasalSSLLib.model.opacity import measure_sinus
from ParanasalSSLLib.predict import GPU_WAS_FULL, predict_scan
from ParanasalSSLLib.progress import Progress, Stage
from ParanasalSSLLib.scans.volume import Provenance, Volume
from ParanasalSSLLib.sinuses import Decision, Side


@pytest.fixture
def boxes(toolbox: Any, monkeypatch: pytest.MonkeyPatch) -> Placement:
    """What the registration of the box-shaped head finds: it is none that it could find anything in."""
    placed = {side: SinusBox(side, center) for side, center in toolbox.centers.items()}
    found = Placement(placed, toolbox.quality())
    monkeypatch.setattr(predict, "find_boxes", lambda volume: found)
    return found


def with_lesion(toolbox: Any, side: Side) -> Any:
    """The head with one sinus filled."""
    volume = toolbox.head()
    index = np.indices(volume.shape).reshape(3, -1)
    ras = (volume.affine[:3, :3] @ index + volume.affine[:3, 3:]).T
    data = volume.data.copy()
    near = np.linalg.norm(ras - toolbox.centers[side], axis=1) < 14
    data[near.reshape(volume.shape)] = 95.0
    return type(volume)(data, volume.affine)


@pytest.mark.parametrize("filled", list(Side))
def test_filled_sinus_is_found_on_its_own_side(toolbox: Any, boxes: Any, filled: Side) -> None:
    result = predict_scan(with_lesion(toolbox, filled), toolbox.bundle, boxes)
    assert result.sinuses[filled].decision == Decision.ANOMALY
    clear = next(side for side in Side if side != filled)
    assert result.sinuses[clear].decision == Decision.CLEAR
    assert result.sinuses[filled].opacity_ml > 2 > result.sinuses[clear].opacity_ml


def test_volume_of_the_opacity_counts_its_voxels_in_ml(toolbox: Any, boxes: Any) -> None:
    result = predict_scan(with_lesion(toolbox, Side.LEFT), toolbox.bundle, boxes)
    for sinus in result.sinuses.values():
        assert sinus.opacity_ml == pytest.approx(sinus.opacity.sum() / 1000)  # voxels of 1 mm


def test_volume_and_file_give_the_same_result(toolbox: Any, boxes: Any, tmp_path: Path) -> None:
    volume = with_lesion(toolbox, Side.RIGHT)
    path = tmp_path / "head.nii.gz"
    image = nib.Nifti1Image(volume.data, volume.affine)
    image.set_qform(volume.affine, code=1)
    nib.save(image, path)
    in_memory = predict_scan(volume, toolbox.bundle, boxes)
    from_file = predict_scan(path, toolbox.bundle, boxes)
    for side in Side:
        np.testing.assert_allclose(
            in_memory.sinuses[side].residual, from_file.sinuses[side].residual, atol=1e-4
        )


@pytest.mark.parametrize("given", [False, True])
def test_stages_are_reported_in_their_order(toolbox: Any, boxes: Any, given: bool) -> None:
    seen: list[Progress] = []
    predict_scan(toolbox.head(), toolbox.bundle, boxes if given else None, seen.append)
    expected = [Stage.READ, Stage.REGISTER, Stage.CROP, Stage.ANALYSE]
    assert [progress.stage for progress in seen] == expected
    assert [progress.fraction for progress in seen] == sorted(p.fraction for p in seen)


def test_progress_sink_can_stop_the_work(toolbox: Any, boxes: Any) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == Stage.CROP:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        predict_scan(toolbox.head(), toolbox.bundle, boxes, stop)


def outlining(toolbox: Any, **radius_mm: float) -> Any:
    """A bundle whose networks take a filled ball for each sinus, of 16 mm unless a side has its own."""

    class Outlines(type(toolbox.bundle)):  # type: ignore[misc]
        def measure(self, crops: Any) -> Any:
            return [self._outline(crop) for crop in crops]

        def _outline(self, crop: SinusCrop) -> Any:
            places = crop.to_world(np.moveaxis(np.indices(crop.shape), 0, -1))
            away = np.linalg.norm(places - toolbox.centers[crop.side], axis=-1)
            cavity = (away < radius_mm.get(crop.side.value, 16.0)).astype(np.float32)
            return measure_sinus(cavity, cavity, crop.inside)

        def analyse(self, crops: Any, measures: Any) -> Any:
            scores = super().analyse(crops, measures)
            return [
                replace(score, measures=one, opacity=one.opacity, probability=one.evidence)
                for score, one in zip(scores, measures, strict=True)
            ]

    return Outlines()


@pytest.mark.parametrize("radius_mm", [0.0, 5.0, 24.0])
@pytest.mark.parametrize("given", [True, False])
def test_of_a_box_without_a_sinus_nothing_is_said(
    toolbox: Any, boxes: Any, radius_mm: float, given: bool
) -> None:
    """Whether the networks outline nothing there, or what is too small or too large for one."""
    bundle = outlining(toolbox, left=radius_mm)
    result = predict_scan(toolbox.head(), bundle, boxes if given else None)
    left, right = (result.sinuses[side] for side in (Side.LEFT, Side.RIGHT))
    assert (left.decision, left.probability) == (Decision.NOT_JUDGED, None)
    assert left.opacity_ml == 0 and not left.score.measures.findings
    assert right.probability is not None and right.opacity_ml > 15
    assert "No sinus is recognised in the left box." in result.placement.quality.reasons


def by_hand(side: Side, center: Any) -> Placement:
    return Placement({side: SinusBox(side, center, origin="hand")})


def test_one_box_by_hand_scores_one_sinus(toolbox: Any, boxes: Any) -> None:
    placement = by_hand(Side.LEFT, toolbox.centers[Side.LEFT] + 2.0)
    result = predict_scan(toolbox.head(), toolbox.bundle, placement)
    assert list(result.sinuses) == [Side.LEFT]
    assert result.placement.quality.verdict == "ok"
    assert result.placement.quality.evidence is None


def test_of_boxes_by_hand_it_is_told_too_that_the_image_ends_within_the_sinus(
    toolbox: Any, boxes: Any
) -> None:
    """The boxes lie above the sinuses: a sinus in their middle would be visible as a whole."""
    head = toolbox.head()
    lowest = min(center[2] for center in toolbox.centers.values())
    first = int(head.to_index(np.array([0.0, 0.0, lowest - 9]))[2])
    cut = head.cut(np.array([0, 0, first]), np.array(head.shape))
    raised = {
        side: SinusBox(side, np.add(c, [0, 0, 12]), origin="hand")
        for side, c in toolbox.centers.items()
    }
    quality = predict_scan(cut, outlining(toolbox), Placement(raised)).placement.quality
    assert quality.verdict == "review"
    assert sum("The image ends within the" in reason for reason in quality.reasons) == 2
    assert all(0.7 < part < 0.95 for part in quality.visible_fraction.values())


def test_box_by_hand_outside_the_image_is_refused(toolbox: Any, boxes: Any) -> None:
    with pytest.raises(SinusOutsideImage, match="--boxes"):
        predict_scan(toolbox.head(), toolbox.bundle, by_hand(Side.LEFT, (-24.0, 400.0, -55.0)))


def test_boxes_by_hand_need_no_registration_that_went_well(toolbox: Any) -> None:
    """The box-shaped head resembles no head."""
    placement = by_hand(Side.LEFT, toolbox.centers[Side.LEFT])
    result = predict_scan(toolbox.head(), toolbox.bundle, placement)
    assert result.placement.quality.verdict == "ok"


@pytest.mark.parametrize(("inside", "error"), [(1.0, NotAHead), (0.05, SinusOutsideImage)])
def test_scan_of_failed_quality_is_refused_with_its_reasons(
    toolbox: Any, boxes: Any, monkeypatch: pytest.MonkeyPatch, inside: float, error: type
) -> None:
    quality = toolbox.quality("failed", ("The two starts disagree by 60 mm.",), inside)
    found = Placement(boxes.boxes, quality)
    monkeypatch.setattr(predict, "find_boxes", lambda volume: found)
    with pytest.raises(error, match="disagree by 60 mm"):
        predict_scan(toolbox.head(), toolbox.bundle)


def test_scan_to_review_is_scored_and_flagged(
    toolbox: Any, boxes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = toolbox.quality("review", ("Have a look.",))
    found = Placement(boxes.boxes, quality)
    monkeypatch.setattr(predict, "find_boxes", lambda volume: found)
    result = predict_scan(toolbox.head(), toolbox.bundle)
    assert set(result.sinuses) == set(Side) and result.placement.quality.verdict == "review"


@pytest.mark.parametrize(("in_doubt", "verdict"), [(False, "ok"), (True, "review")])
@pytest.mark.parametrize("given", [False, True])
def test_what_was_noticed_on_reading_reaches_the_result(
    toolbox: Any, boxes: Any, in_doubt: bool, verdict: str, given: bool
) -> None:
    head = toolbox.head()
    source = Provenance("NRRD", notices=("One slice was made up.",), sides_in_doubt=in_doubt)
    volume = Volume(head.data, head.affine, source)
    result = predict_scan(volume, toolbox.bundle, boxes if given else None)
    quality = result.placement.quality
    assert result.notices == source.notices and quality.verdict == verdict
    assert any("Which side is left" in reason for reason in quality.reasons) == in_doubt


@pytest.mark.parametrize("given", [False, True])
def test_slices_missing_near_a_sinus_are_a_case_for_review(
    toolbox: Any, boxes: Any, given: bool
) -> None:
    head = toolbox.head()
    near = round(float(head.to_index(toolbox.centers[Side.LEFT])[2]))
    for place, verdict in ((near, "review"), (60, "ok")):
        source = Provenance("DICOM", "MR", interpolated_slices=(place,))
        volume = Volume(head.data, head.affine, source)
        quality = predict_scan(volume, toolbox.bundle, boxes if given else None).placement.quality
        assert quality.verdict == verdict


def test_slices_lost_one_knows_not_where_are_a_case_for_review(toolbox: Any, boxes: Any) -> None:
    head = toolbox.head()
    volume = Volume(head.data, head.affine, Provenance("DICOM", "MR", lost_slices=1))
    quality = predict_scan(volume, toolbox.bundle).placement.quality
    assert quality.verdict == "review" and "are lost" in quality.reasons[0]


def test_missing_file_is_unreadable(toolbox: Any) -> None:
    with pytest.raises(UnreadableScan, match=r"nothing\.nii"):
        predict_scan("nothing.nii", toolbox.bundle)


def test_with_a_full_gpu_the_cpu_computes_the_same_and_says_so(toolbox: Any, boxes: Any) -> None:
    class Full(type(toolbox.bundle)):  # type: ignore[misc]
        device = "cuda"

        def measure(self, crops: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        def on(self, device: str) -> Any:
            assert device == "cpu"
            return toolbox.bundle

    expected = predict_scan(toolbox.head(), toolbox.bundle, boxes)
    result = predict_scan(toolbox.head(), Full(), boxes)
    assert result.notices == (GPU_WAS_FULL,) and expected.notices == ()
    for side, sinus in expected.sinuses.items():
        assert result.sinuses[side].probability == sinus.probability


def test_other_errors_of_a_device_are_not_hidden(toolbox: Any, boxes: Any) -> None:
    class Broken(type(toolbox.bundle)):  # type: ignore[misc]
        device = "cuda"

        def analyse(self, crops: Any, measures: Any) -> Any:
            raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="assert"):
        predict_scan(toolbox.head(), Broken(), boxes)


# -------------------------------------------------------------------------------- real scans


def test_real_head_is_scored_where_its_sinuses_are(toolbox: Any, shared_data: Path) -> None:
    result = predict_scan(shared_data / "donors" / "flair_3d_1mm.nii.gz", toolbox.bundle)
    truth = {Side.RIGHT: (26.4, 76.3, -54.0), Side.LEFT: (-24.1, 79.4, -49.9)}
    for side, center in truth.items():
        assert np.linalg.norm(result.sinuses[side].box.center_ras_mm - center) < 10


def test_sample_head_is_scored_where_its_sinuses_are(
    toolbox: Any, sample_series: Path, sample_centers: dict[str, tuple[float, float, float]]
) -> None:
    result = predict_scan(sample_series, toolbox.bundle)
    for side, center in sample_centers.items():
        assert np.linalg.norm(result.sinuses[Side(side)].box.center_ras_mm - center) < 10


def test_brain_without_a_head_is_refused(toolbox: Any, shared_data: Path) -> None:
    with pytest.raises((NotAHead, SinusOutsideImage)):
        predict_scan(shared_data / "heads" / "t1_skullstripped.nii.gz", toolbox.bundle)
