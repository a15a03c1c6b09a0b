from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.errors import (
    Cancelled,
    DeviceUnavailable,
    NotAHead,
    SinusOutsideImage,
    UnreadableScan,
)
from ParanasalSSLLib.predict import GPU_WAS_FULL, predict_scan, resolve_device
from ParanasalSSLLib.progress import Progress, Stage
from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def boxes(toolbox: Any) -> dict[Side, SinusBox]:
    return {side: SinusBox(side, center) for side, center in toolbox.centers.items()}


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
    assert result.sinuses[filled].anomalous
    clear = next(side for side in Side if side != filled)
    assert not result.sinuses[clear].anomalous
    assert result.sinuses[filled].anomaly_ml > 2 > result.sinuses[clear].anomaly_ml


def test_anomaly_volume_counts_marked_voxels_in_ml(toolbox: Any, boxes: Any) -> None:
    result = predict_scan(with_lesion(toolbox, Side.LEFT), toolbox.bundle, boxes)
    for sinus in result.sinuses.values():
        assert sinus.anomaly_ml == pytest.approx(sinus.mask.sum() / 1000)  # voxels of 1 mm


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
def test_stages_are_reported_in_their_order(
    toolbox: Any, boxes: Any, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    """With boxes given, nothing is searched for, and nothing says so."""
    found = type("Found", (), {"boxes": boxes, "quality": toolbox.quality()})
    monkeypatch.setattr(predict, "localize", lambda volume: found)
    seen: list[Progress] = []
    predict_scan(toolbox.head(), toolbox.bundle, boxes if given else None, seen.append)
    register = [] if given else [Stage.REGISTER]
    expected = [Stage.READ, *register, Stage.CROP, Stage.ANALYSE]
    assert [progress.stage for progress in seen] == expected
    assert [progress.fraction for progress in seen] == sorted(p.fraction for p in seen)


def test_progress_sink_can_stop_the_work(toolbox: Any, boxes: Any) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == Stage.CROP:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        predict_scan(toolbox.head(), toolbox.bundle, boxes, stop)


def test_one_box_by_hand_scores_one_sinus(toolbox: Any, boxes: Any) -> None:
    result = predict_scan(toolbox.head(), toolbox.bundle, {Side.LEFT: boxes[Side.LEFT]})
    assert list(result.sinuses) == [Side.LEFT]


def test_box_by_hand_outside_the_image_is_refused(toolbox: Any, boxes: Any) -> None:
    boxes[Side.LEFT] = SinusBox(Side.LEFT, np.array([-24.0, 400.0, -55.0]))
    with pytest.raises(SinusOutsideImage, match="--boxes"):
        predict_scan(toolbox.head(), toolbox.bundle, boxes)


@pytest.mark.parametrize(("inside", "error"), [(1.0, NotAHead), (0.05, SinusOutsideImage)])
def test_scan_of_failed_quality_is_refused_with_its_reasons(
    toolbox: Any, boxes: Any, monkeypatch: pytest.MonkeyPatch, inside: float, error: type
) -> None:
    quality = toolbox.quality("failed", ("The two starts disagree by 60 mm.",), inside)
    found = type("Found", (), {"boxes": boxes, "quality": quality})
    monkeypatch.setattr(predict, "localize", lambda volume: found)
    with pytest.raises(error, match="disagree by 60 mm"):
        predict_scan(toolbox.head(), toolbox.bundle)


def test_scan_to_review_is_scored_and_flagged(
    toolbox: Any, boxes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = toolbox.quality("review", ("Have a look.",))
    found = type("Found", (), {"boxes": boxes, "quality": quality})
    monkeypatch.setattr(predict, "localize", lambda volume: found)
    result = predict_scan(toolbox.head(), toolbox.bundle)
    assert set(result.sinuses) == set(Side) and result.quality.verdict == "review"


def test_missing_file_is_unreadable(toolbox: Any) -> None:
    with pytest.raises(UnreadableScan, match=r"nothing\.nii"):
        predict_scan("nothing.nii", toolbox.bundle)


def test_with_a_full_gpu_the_cpu_computes_the_same_and_says_so(toolbox: Any, boxes: Any) -> None:
    class Full(type(toolbox.bundle)):  # type: ignore[misc]
        device = "cuda"

        def analyse(self, crops: Any) -> Any:
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

        def analyse(self, crops: Any) -> Any:
            raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="assert"):
        predict_scan(toolbox.head(), Broken(), boxes)


# ----------------------------------------------------------------------------------- devices


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_absent_device_is_refused_and_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="cuda is not present"):
        resolve_device("cuda")
    with pytest.raises(DeviceUnavailable, match="Unknown device"):
        resolve_device("toaster")


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
