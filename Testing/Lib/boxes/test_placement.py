"""Files of boxes: ours and Slicer's, both frames, one or both sides, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement, read_placement, write_placement
from ParanasalSSLLib.boxes.quality import NOT_JUDGED, Evidence, Quality
from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.sinuses import Side

CENTERS = {Side.LEFT: (-24.5, 61.0, -55.25), Side.RIGHT: (21.0, 60.0, -57.5)}


def turn(x: float = 8.0, y: float = -5.0, z: float = 12.0) -> np.ndarray:
    """(3, 3) rotation, degrees."""
    euler = sitk.Euler3DTransform()
    euler.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return np.array(euler.GetMatrix()).reshape(3, 3)


def both(origin: str = "registration") -> dict[Side, SinusBox]:
    return {
        side: SinusBox(side, np.array(CENTERS[side]), turn(), origin=origin)
        for side in reversed(Side)
    }


def assert_same(found: dict[Side, SinusBox], expected: dict[Side, SinusBox]) -> None:
    assert set(found) == set(expected)
    for side, box in expected.items():
        assert found[side].side == side
        np.testing.assert_allclose(found[side].center_ras_mm, box.center_ras_mm, atol=1e-9)
        np.testing.assert_allclose(found[side].rotation, box.rotation, atol=1e-9)
        assert found[side].edge_mm == box.edge_mm
        assert found[side].origin == box.origin


def save(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("sides", [list(Side), [Side.LEFT], [Side.RIGHT]], ids=str)
@pytest.mark.parametrize("origin", ["registration", "hand"])
@pytest.mark.parametrize("name", ["boxes.json", "boxes.mrk.json"])
def test_round_trip(tmp_path: Path, name: str, origin: str, sides: list[Side]) -> None:
    boxes = {side: both(origin)[side] for side in sides}
    write_placement(Placement(boxes), tmp_path / name)
    assert_same(read_placement(tmp_path / name).boxes, boxes)
    assert [p.name for p in tmp_path.iterdir()] == [name], "no temporary file stays"


def test_own_format_keeps_another_edge(tmp_path: Path) -> None:
    for name in ("boxes.json", "boxes.mrk.json"):
        box = SinusBox(Side.LEFT, np.zeros(3), turn(), edge_mm=80.0)
        write_placement(Placement({Side.LEFT: box}), tmp_path / name)
        assert_same(read_placement(tmp_path / name).boxes, {Side.LEFT: box})


def test_markups_file_is_in_lps_with_axes_in_columns(tmp_path: Path) -> None:
    write_placement(Placement(both()), tmp_path / "boxes.mrk.json")
    content = json.loads((tmp_path / "boxes.mrk.json").read_text(encoding="utf-8"))
    left, right = content["markups"]
    assert "Left" in left["name"] and "Right" in right["name"]
    assert left["coordinateSystem"] == "LPS"
    np.testing.assert_allclose(left["center"], [24.5, -61.0, -55.25])
    matrix = np.array(left["orientation"]).reshape(3, 3)
    np.testing.assert_allclose(np.diag([-1, -1, 1]) @ matrix, turn())
    assert left["size"] == [64.0, 64.0, 64.0]


def roi(side: str = "left", **changes: Any) -> dict[str, Any]:
    """A ROI as another program writes it: no orientation, no description."""
    center = [24.0, -60.0, -55.0] if side == "left" else [-20.0, -60.0, -55.0]
    content = {"type": "ROI", "name": side, "center": center, "size": [64, 64, 64]}
    return content | changes


def test_roi_in_ras(tmp_path: Path) -> None:
    changed = roi(coordinateSystem="RAS", center=[-24, 60, -55], orientation=turn().tolist())
    box = read_placement(save(tmp_path / "ras.mrk.json", {"markups": [changed]})).boxes[Side.LEFT]
    np.testing.assert_allclose(box.center_ras_mm, [-24, 60, -55])
    np.testing.assert_allclose(box.rotation, turn())
    assert box.origin == "hand"


@pytest.mark.parametrize("system", ["LPS", None])
def test_roi_in_lps_without_orientation_is_straight(tmp_path: Path, system: object) -> None:
    changes: dict[str, Any] = {} if system is None else {"coordinateSystem": system}
    box = read_placement(save(tmp_path / "a.mrk.json", {"markups": [roi(**changes)]})).boxes[
        Side.LEFT
    ]
    np.testing.assert_allclose(box.center_ras_mm, [-24, 60, -55])
    np.testing.assert_allclose(box.rotation, np.eye(3))


@pytest.mark.parametrize("name", ["LEFT", "Left maxillary sinus box", "my_left_roi"])
def test_side_by_the_roi_s_name(tmp_path: Path, name: str) -> None:
    assert set(
        read_placement(save(tmp_path / "a.mrk.json", {"markups": [roi(name=name)]})).boxes
    ) == {Side.LEFT}


def test_side_by_the_control_point_s_label(tmp_path: Path) -> None:
    changed = roi("right", name="R_1", controlPoints=[{"label": "Right sinus-1"}])
    assert set(read_placement(save(tmp_path / "a.mrk.json", {"markups": [changed]})).boxes) == {
        Side.RIGHT
    }


def test_both_rois_in_one_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mrk.json", {"markups": [roi("right"), roi("left")]})
    assert set(read_placement(path).boxes) == set(Side)


def own(**changes: Any) -> dict[str, Any]:
    entry = {"side": "left", "center_ras_mm": [-24, 60, -55], "rotation": np.eye(3).tolist()}
    return {"format": "paranasal-boxes", "version": 1, "boxes": [entry | changes]}


def test_own_file_written_by_hand_needs_neither_edge_nor_origin(tmp_path: Path) -> None:
    box = read_placement(save(tmp_path / "a.json", own())).boxes[Side.LEFT]
    assert (box.edge_mm, box.origin) == (64.0, "hand")


NAN = float("nan")
BAD_CONTENT = {
    "no object": 7,
    "a list": [1, 2],
    "text": "boxes",
    "null": None,
    "another format": {"format": "other", "version": 1, "boxes": []},
    "a later version": {**own(), "version": 2},
    "no boxes": {"format": "paranasal-boxes", "version": 1, "boxes": []},
    "boxes missing": {"format": "paranasal-boxes", "version": 1},
    "boxes of another type": {"format": "paranasal-boxes", "version": 1, "boxes": [3]},
    "unknown side": own(side="middle"),
    "short centre": own(center_ras_mm=[1, 2]),
    "words as centre": own(center_ras_mm=["a", "b", "c"]),
    "not finite": own(center_ras_mm=[1, 2, NAN]),
    "infinite edge": own(edge_mm=float("inf")),
    "edge not a number": own(edge_mm=NAN),
    "edge of words": own(edge_mm="wide"),
    "huge edge": own(edge_mm=500),
    "sheared": own(rotation=[[1, 0.4, 0], [0, 1, 0], [0, 0, 1]]),
    "mirrored": own(rotation=np.diag([-1, 1, 1]).tolist()),
    "zero rotation": own(rotation=np.zeros((3, 3)).tolist()),
    "ragged rotation": own(rotation=[[1, 0], [0, 1, 0], [0, 0, 1]]),
    "same side twice": {**own(), "boxes": own()["boxes"] * 2},
    "markups of another type": {"markups": [roi(type="Fiducial")]},
    "no markups": {"markups": []},
    "markups null": {"markups": None},
    "markups of numbers": {"markups": [4]},
    "no side in the names": {"markups": [roi(name="ROI")]},
    "both sides in the name": {"markups": [roi(name="left or right")]},
    "name of another type": {"markups": [roi(name=None)]},
    "no cube": {"markups": [roi(size=[64, 64, 30])]},
    "no size": {"markups": [roi(size=[])]},
    "mirrored markup": {"markups": [roi(orientation=[1, 0, 0, 0, -1, 0, 0, 0, 1])]},
    "short orientation": {"markups": [roi(orientation=[1, 0, 0])]},
    "infinite markup": {"markups": [roi(center=[float("inf"), 0, 0])]},
    "coordinates by number": {"markups": [roi(coordinateSystem=0)]},
    "unknown coordinates": {"markups": [roi(coordinateSystem="IJK")]},
    "sides swapped": {"markups": [roi(name="right"), roi("right", name="left")]},
}


@pytest.mark.parametrize("what", BAD_CONTENT)
def test_bad_content(tmp_path: Path, what: str) -> None:
    path = save(tmp_path / "mine.json", BAD_CONTENT[what])
    with pytest.raises(BadBoxes, match=r"^mine\.json"):
        read_placement(path)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("{ not json", encoding="utf-8")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    for name in ("text.json", "binary.json", "missing.json", "folder.json", "deep.json"):
        with pytest.raises(BadBoxes, match=name):
            read_placement(tmp_path / name)


# ------------------------------------------------------------------ quality that comes back


REVIEW = Quality(
    "review",
    ("The head is turned by 50 degrees.",),
    Evidence(0.7, 1.0, (1.0, 1.0, 0.9), 0.02, 50.0, 0.9, 1.1),
    {Side.LEFT: 1.0, Side.RIGHT: 0.98},
)
OK = Quality("ok", (), Evidence(0.8, 1.0, (1.0, 1.0, 1.0), 0.0, 5.0, 0.9, 1.0))
NAMES = ("boxes.json", "boxes.mrk.json")


@pytest.mark.parametrize("name", NAMES)
def test_boxes_that_come_back_keep_their_quality(tmp_path: Path, name: str) -> None:
    write_placement(Placement(both(), REVIEW), tmp_path / name)
    assert read_placement(tmp_path / name).quality == REVIEW


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_says_nothing_is_not_called_good(tmp_path: Path, name: str) -> None:
    write_placement(Placement(both()), tmp_path / name)
    assert "quality" not in (tmp_path / name).read_text()
    assert read_placement(tmp_path / name).quality == NOT_JUDGED


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("suffix", [".json", ".mrk.json"])
def test_of_two_files_the_worse_verdict_counts(
    tmp_path: Path, suffix: str, order: tuple[int, int]
) -> None:
    paths = []
    for side, quality in ((Side.LEFT, OK), (Side.RIGHT, REVIEW)):
        paths.append(tmp_path / f"{side}{suffix}")
        write_placement(Placement({side: both()[side]}, quality), paths[-1])
    placement = read_placement(*(paths[i] for i in order))
    assert set(placement.boxes) == set(Side)
    assert (placement.quality.verdict, placement.quality.reasons) == ("review", REVIEW.reasons)


def move_roi(path: Path, number: int, shift_mm: float) -> None:
    """As a user drags a ROI in Slicer and saves it: the description of its point stays."""
    content = json.loads(path.read_text(encoding="utf-8"))
    markup = content["markups"][number]
    markup["center"][0] += shift_mm
    del markup["description"]
    save(path, content)


def test_a_roi_that_was_moved_says_so_and_the_other_keeps_its_quality(tmp_path: Path) -> None:
    path = tmp_path / "boxes.mrk.json"
    write_placement(Placement(both(), REVIEW), path)
    move_roi(path, 0, 3.0)
    placement = read_placement(path)
    assert placement.boxes[Side.LEFT].origin == "hand"
    assert placement.boxes[Side.RIGHT].origin == "registration"
    assert placement.quality == REVIEW
    move_roi(path, 1, -3.0)
    assert read_placement(path).quality == NOT_JUDGED


def older_result(folder: Path) -> Path:
    """A result of version 0.1: its boxes do not tell their quality, its report does."""
    path = folder / "sub-0001_desc-boxes.mrk.json"
    write_placement(Placement(both()), path)
    boxes = {
        side.value: {
            "box": {
                "center_ras_mm": box.center_ras_mm.round(3).tolist(),
                "axes_ras": box.rotation.T.round(6).tolist(),
                "edge_mm": 64.0,
                "origin": "registration",
            }
        }
        for side, box in both().items()
    }
    quality = {
        "verdict": "review", "metric": 0.7, "start_agreement_mm": 1.0, "scale": [1.0, 1.0, 0.9],
        "shear": 0.02, "rotation_deg": 50.0, "inside_fraction": {"left": 1.0, "right": 0.98},
        "tissue_share": 0.9, "stretch_ratio": 1.1, "reasons": list(REVIEW.reasons),
    }  # fmt: skip
    save(folder / "sub-0001_report.json", {"sinuses": boxes, "quality": quality})
    return path


def test_the_report_beside_the_boxes_of_an_older_result_is_asked(tmp_path: Path) -> None:
    path = older_result(tmp_path)
    assert read_placement(path).quality == replace(REVIEW, visible_fraction={})
    move_roi(path, 0, 3.0)
    assert {side: box.origin for side, box in read_placement(path).boxes.items()} == {
        Side.LEFT: "hand",
        Side.RIGHT: "registration",
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"sinuses": {}}', "null"])
def test_a_damaged_report_says_nothing(tmp_path: Path, text: str) -> None:
    path = older_result(tmp_path)
    (tmp_path / "sub-0001_report.json").write_text(text)
    assert read_placement(path).quality == NOT_JUDGED


def test_older_files_of_ours_are_read(tmp_path: Path) -> None:
    old = {
        "verdict": "ok", "metric": 0.7, "start_agreement_mm": 1.0, "scale": [1.0, 1.0, 0.9],
        "shear": 0.02, "rotation_deg": 8.0, "inside_fraction": {"left": 1.0},
        "tissue_share": 0.9, "stretch_ratio": 1.1, "reasons": [],
    }  # fmt: skip
    quality = read_placement(save(tmp_path / "a.json", own() | {"quality": old})).quality
    assert quality.evidence == Evidence(0.7, 1.0, (1.0, 1.0, 0.9), 0.02, 8.0, 0.9, 1.1)
    by_hand = old | {"metric": 0.0, "start_agreement_mm": 0.0, "rotation_deg": 0.0}
    quality = read_placement(save(tmp_path / "b.json", own() | {"quality": by_hand})).quality
    assert quality.verdict == "ok" and quality.evidence is None
    lacking = {"verdict": "review", "reasons": ["Look."]}
    quality = read_placement(save(tmp_path / "c.json", own() | {"quality": lacking})).quality
    assert quality == Quality("review", ("Look.",))
    nonsense = own() | {"quality": {"verdict": "perfect", "reasons": []}}
    assert read_placement(save(tmp_path / "d.json", nonsense)).quality == NOT_JUDGED
