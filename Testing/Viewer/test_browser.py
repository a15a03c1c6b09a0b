"""The reading room in a real browser: Slicer's views, clicked by Playwright in Debian's Chromium."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("playwright", reason="needs playwright: make test-browser")
pytest.importorskip("trame_slicer", reason="needs trame-slicer: make test-browser")

from reading_room import CHROMIUM, PARANASAL, ROOT, open_page, open_room, picture, wait_until

from ParanasalSSLLib.boxes.placement import read_placement
from ParanasalSSLLib.results.layout import OVERVIEW, TABLE, ScanFiles
from ParanasalSSLLib.results.maps import read_labels, read_residual_map
from ParanasalSSLLib.results.overview import Overview
from ParanasalSSLLib.results.record import read_report
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Side
from ParanasalSSLViewer.page import KEYS

if CHROMIUM is None:
    pytest.skip("needs Chromium (Debian: apt-get install chromium)", allow_module_level=True)

AXIAL, CORONAL = 0, 2  # places of views
SHOWN_MM = 140.0  # by the shorter edge of a slice view
PANEL = ROOT / "ParanasalSSL" / "Resources" / "UI" / "ParanasalSSL.ui"


@dataclass(frozen=True)
class Rooms:
    """address: of a room with `scored`, results of the sample head, and a DICOM series without any."""

    address: str
    scored: ScanFiles
    series: ScanFiles


@pytest.fixture(scope="module")
def rooms(
    sample_head: Path, sample_series: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rooms]:
    folder = tmp_path_factory.mktemp("room")
    out, key = folder / "out", folder / "key.csv"
    call = [*PARANASAL, "predict", str(sample_head), "-o", str(out), "--key", str(key)]
    subprocess.run(call, check=True, cwd=ROOT, capture_output=True)
    Overview(out).write()  # as after a folder of scans
    arguments = [str(out), str(sample_head), str(sample_series), "--key", str(key)]
    with open_room(arguments, folder / "log") as room:
        files = (ScanFiles.in_output(out, name) for name in ("sub-0001", "sub-0002"))
        yield Rooms(room.address, *files)


@pytest.fixture
def page(rooms: Rooms) -> Iterator[Any]:
    """Of the room, with the scored case on screen."""
    with open_page(rooms.address) as page:
        page.click("#case-sub-0001")
        page.wait_for_selector("#case-sub-0001.present")
        page.wait_for_selector("#scores table")
        wait_until(page, lambda: shows_head(picture(page, AXIAL)))  # the scan is seen
        yield page


@pytest.fixture
def series_page(page: Any, rooms: Rooms) -> Any:
    """Of the room, with the DICOM series on screen; scored here, unless an earlier test has done so."""
    page.click("#case-sub-0002")
    page.wait_for_selector("#case-sub-0002.present")
    if not rooms.series.report_json.exists():
        run_to_end(page)
    page.wait_for_selector("#scores table")
    return page


def shows_head(picture: np.ndarray) -> bool:
    """Whether more is bright than the letters at a view's edges."""
    return bool((picture.min(axis=-1) > 60).mean() > 0.1)


def orange(picture: np.ndarray) -> int:
    """How many pixels have a colour of the overlay."""
    red, _green, blue = np.moveaxis(picture, -1, 0)
    return int(((red > 150) & (red - blue > 90)).sum())


def run_to_end(page: Any) -> None:
    page.click("#run")
    page.wait_for_selector("#progress")
    page.wait_for_selector("#progress", state="detached", timeout=300_000)
    page.wait_for_selector("#scores table")


def centers(files: ScanFiles) -> dict[Side, np.ndarray]:
    """Of the boxes in which a case was scored, RAS mm."""
    return {side: box.center_ras_mm for side, box in read_placement(files.boxes).boxes.items()}


# ------------------------------------------------------------------------------------ a result


def test_a_result_is_read(page: Any, rooms: Rooms) -> None:
    assert "Anomaly suspected" in page.inner_text("#scores")
    assert "token" not in page.url

    page.click("#next")
    page.wait_for_selector("#findings .present")
    assert "Left maxillary sinus" in page.inner_text("#findings .present")
    wait_until(page, lambda: orange(picture(page, AXIAL)) > 200)
    shown = orange(picture(page, AXIAL))

    page.locator("[role=slider]").first.press("End")
    wait_until(page, lambda: orange(picture(page, AXIAL)) < shown / 2)

    page.click("#left-agree")
    page.wait_for_selector("#kept:has-text('Saved')")
    page.fill("#comment", "A cyst, no polyp.")  # letters that are keys elsewhere
    page.click("#save")
    path = rooms.scored.reading
    wait_until(page, lambda: json.loads(path.read_text())["comment"] == "A cyst, no polyp.")
    assert json.loads(path.read_text())["verdicts"] == {"left": "agree"}
    table, overview = (rooms.scored.folder.parent / name for name in (TABLE, OVERVIEW))
    wait_until(page, lambda: "A cyst, no polyp." in overview.read_text())
    assert "the reader agrees" in overview.read_text()
    rows = {row["side"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert (rows["left"]["reader"], rows["right"]["reader"]) == ("agree", "")

    page.reload()
    page.wait_for_selector("#scores table")
    assert page.input_value("#comment") == "A cyst, no polyp."
    assert "read" in page.inner_text("#case-sub-0001")
    wait_until(page, lambda: shows_head(picture(page, AXIAL)))


def test_the_outline_lies_where_the_segment_is(page: Any, rooms: Rooms) -> None:
    page.keyboard.press("n")
    page.wait_for_selector("#findings .present")
    page.keyboard.press("o")
    page.wait_for_selector("#overlay:has-text('Show')")
    wait_until(page, lambda: orange(picture(page, AXIAL)) < 50)
    seen = picture(page, AXIAL)
    edge = expected_outline(rooms.scored, seen.shape[:2])

    red, green, blue = np.moveaxis(seen, -1, 0)
    lines = np.maximum(green, blue) - red > 20  # cyan; blue where it meets the cavity's wall
    cyan = (green - red > 50) & (abs(green - blue) < 30) & near_middle(seen, 18.0)
    assert edge.sum() > 100 and cyan.sum() > 100
    to_line = ndimage.distance_transform_edt(~lines)[edge]
    to_edge = ndimage.distance_transform_edt(~edge)[cyan]
    assert np.percentile(to_line, 95) <= 3 and np.percentile(to_edge, 90) <= 4  # pixels


def expected_outline(files: ScanFiles, shape: tuple[int, int]) -> np.ndarray:
    """bool (height, width): edge of the left opacity in an axial view through its finding."""
    finding = read_report(files.report_json).sinuses[Side.LEFT].findings[0]
    residual = read_residual_map(files.residual_map)
    labels, _cavities = read_labels(files, residual.shape)
    y, x = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    mm = SHOWN_MM / min(shape)
    steps = np.stack([-x * mm, -y * mm, np.zeros(shape)], axis=-1)  # left is the patient's right
    to_index = np.linalg.inv(residual.affine)
    ras = np.array(finding.center_ras_mm) + steps
    index = np.rint(ras @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
    there = ((index >= 0) & (index < residual.shape)).all(axis=-1)
    mask = np.zeros(shape, bool)
    mask[there] = labels[tuple(index[there].T)] == SEGMENT_LABELS[Side.LEFT]
    return mask ^ ndimage.binary_erosion(mask)


def near_middle(picture: np.ndarray, mm: float) -> np.ndarray:
    """bool (height, width): where a slice view shows what is not further off its middle."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    pixels = mm * min(height, width) / SHOWN_MM
    return (abs(y - height / 2) < pixels) & (abs(x - width / 2) < pixels)


def test_keys_are_those_of_the_panel() -> None:
    text = PANEL.read_text()
    for key, name in KEYS.items():
        button = text.index(
            f'name="{name}FindingButton"' if key in "np" else f'name="{name}Button"'
        )
        assert f'<string notr="true">{key.upper()}</string>' in text[button : button + 700]


def test_levels_are_drawn_and_hidden(page: Any) -> None:
    page.keyboard.press("n")
    page.keyboard.press("o")
    page.wait_for_selector("#overlay:has-text('Show')")
    wait_until(page, lambda: orange(picture(page, AXIAL)) < 50)
    without = picture(page, AXIAL)
    page.click("#levels")
    page.wait_for_selector("#levels:has-text('Hide')")
    wait_until(page, lambda: unlike(picture(page, AXIAL), without) > 100)
    page.click("#levels")
    wait_until(page, lambda: unlike(picture(page, AXIAL), without) < 50)


def unlike(one: np.ndarray, other: np.ndarray) -> int:
    """How many pixels differ."""
    return int((abs(one - other).max(axis=-1) > 60).sum())


def test_a_second_window_is_refused_in_words(page: Any) -> None:
    second = page.context.new_page()
    second.goto(page.url)
    second.wait_for_selector("text=open in another window")
    second.close()
    assert page.locator("#scores table").count() == 1


# -------------------------------------------------------------------------------- boxes and runs


def test_a_run_is_cancelled_and_changes_nothing(page: Any, rooms: Rooms) -> None:
    before = rooms.scored.report_json.stat().st_mtime_ns
    page.click("#adjust")
    page.wait_for_selector("#turn")
    page.click("#run")
    page.wait_for_selector("#cancel")
    page.wait_for_selector("#turn", state="detached")  # no box is moved meanwhile
    page.click("#cancel")
    page.wait_for_selector("#words:has-text('Cancelled')")
    assert rooms.scored.report_json.stat().st_mtime_ns == before


def test_a_box_is_dragged_and_its_side_scored_anew(page: Any, rooms: Rooms) -> None:
    boxes, before = centers(rooms.scored), read_report(rooms.scored.report_json)
    page.click("#adjust")
    page.wait_for_selector("#turn")
    page.wait_for_timeout(2000)  # the handles' first frame
    drag(page, boxes, Side.LEFT, to_left_mm=6.0)
    page.wait_for_selector("#outdated")
    run_to_end(page)
    page.wait_for_selector("#outdated", state="detached")

    moved = centers(rooms.scored)
    np.testing.assert_allclose(moved[Side.LEFT] - boxes[Side.LEFT], (-6.0, 0.0, 0.0), atol=1.5)
    np.testing.assert_allclose(moved[Side.RIGHT], boxes[Side.RIGHT], atol=1e-3)
    assert read_report(rooms.scored.report_json).sinuses[Side.LEFT] != before.sinuses[Side.LEFT]


def drag(page: Any, boxes: dict[Side, np.ndarray], side: Side, to_left_mm: float) -> None:
    """Takes a box by its middle in the axial view, which looks at the middle of both."""
    view = page.locator(".layout-grid-item").nth(AXIAL).bounding_box()
    pixels = min(view["width"], view["height"]) / SHOWN_MM
    off = (boxes[side] - np.mean(list(boxes.values()), axis=0)) * pixels
    x, y = view["x"] + view["width"] / 2 - off[0], view["y"] + view["height"] / 2 - off[1]
    page.mouse.move(x - 40, y - 40)
    page.mouse.move(x, y, steps=8)
    page.wait_for_timeout(500)
    page.mouse.down()
    page.wait_for_timeout(300)
    page.mouse.move(x + to_left_mm * pixels, y, steps=10)
    page.wait_for_timeout(500)
    page.mouse.up()


def test_a_new_scan_is_run_without_boxes(page: Any) -> None:
    page.click("#case-sub-0002")
    page.wait_for_selector("#case-sub-0002.present")
    page.click("#run")
    page.wait_for_selector("#progress:has-text('Finding the maxillary')")
    page.click("#cancel")
    page.wait_for_selector("#words:has-text('Cancelled')")


def test_boxes_are_placed_in_a_new_scan_which_is_then_scored(page: Any, rooms: Rooms) -> None:
    page.click("#case-sub-0002")
    page.wait_for_selector("#case-sub-0002.present")
    wait_until(page, lambda: shows_head(picture(page, AXIAL)))
    assert page.locator("#scores").count() == 0 and page.locator("#adjust").count() == 0
    page.click("#place")
    page.wait_for_selector("#adjust", timeout=300_000)
    assert "registration looks good" in page.inner_text("#quality")
    run_to_end(page)
    assert "Anomaly suspected" in page.inner_text("#case-sub-0002")


def test_an_earlier_result_is_shown_beside_the_present_one(series_page: Any) -> None:
    page = series_page
    page.click("#follow-up .v-select")
    page.click(".v-overlay .v-list-item:has-text('sub-0001')")
    page.wait_for_selector("#changes:has-text('cavity')")
    earlier, now = 0, 2  # the same head, once as NIfTI and once as DICOM
    wait_until(page, lambda: page.locator(".plane:has-text('earlier')").count() == 2)
    wait_until(page, lambda: fills_view(picture(page, now)))
    wait_until(page, lambda: difference(picture(page, earlier), picture(page, now)) < 10)
    page.click("#close-comparison")
    wait_until(page, lambda: page.locator(".plane:has-text('earlier')").count() == 0)


def test_the_earlier_case_is_opened_while_it_is_beside_the_present_one(series_page: Any) -> None:
    page = series_page
    page.click("#follow-up .v-select")
    page.click(".v-overlay .v-list-item:has-text('sub-0001')")
    page.wait_for_selector("#changes:has-text('cavity')")
    page.click("#case-sub-0001")
    page.wait_for_selector("#case-sub-0001.present")
    wait_until(page, lambda: page.locator(".plane:has-text('earlier')").count() == 0)
    page.wait_for_selector("#scores table")
    page.click("#next")  # a scan that has been taken out of the scene has no findings
    page.wait_for_selector("#findings .present")
    wait_until(page, lambda: shows_head(picture(page, AXIAL)))


def fills_view(picture: np.ndarray) -> bool:
    """Whether it is drawn for the view's size: on both sides of its middle."""
    middle = picture[picture.shape[0] // 3 : 2 * picture.shape[0] // 3]
    return bool(middle[:, :40].max() > 60 and middle[:, -40:].max() > 60)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two pictures, 0..255, where they fit best.

    Heads are matched by their boxes, one of which was dragged by 6 mm: one head lies 3 mm beside.
    """
    reach = round(5.0 * min(one.shape[:2]) / SHOWN_MM)
    inside = np.s_[:, reach:-reach]
    shifted = (np.roll(other, shift, axis=1) for shift in range(-reach, reach + 1))
    return min(float(abs(one[inside] - moved[inside]).mean()) for moved in shifted)


# ------------------------------------------------------------------------------------------ files


def test_what_is_on_screen_is_exported(page: Any) -> None:
    names = exported(page, "#export")
    assert {"sub-0001_report.html", "sub-0001_scene.mrb"} <= names
    assert page.locator("#export-dicom").count() == 0  # no DICOM series


def test_dicom_objects_are_exported(series_page: Any) -> None:
    pytest.importorskip("highdicom")
    names = exported(series_page, "#export-dicom")
    assert {"sub-0002_desc-residual_seg.dcm", "sub-0002_desc-scores_sr.dcm"} <= names


def exported(page: Any, button: str) -> set[str]:
    with page.expect_download() as download:
        page.click(button)
    content = Path(download.value.path()).read_bytes()
    return {Path(name).name for name in zipfile.ZipFile(io.BytesIO(content)).namelist()}
