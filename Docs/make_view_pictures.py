"""Draws the pictures of views in the documentation: 3D Slicer's own views, in the reading room.

    .venv-viewer/bin/python Docs/make_view_pictures.py [REAL_HEAD]    # some minutes

They show the sample head, scored by the shipped model, and a real head that may be shown: the child of
ten of https://github.com/FNNDSC/pl-mri10yr06mo01da_normal (MIT licence), as NIfTI. No picture shows a
face: of the real head there are coronal and axial slices only. Without REAL_HEAD its pictures stay.

It needs the environment of `make test-browser` and Chromium; it prints what the model says of both.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing" / "helpers")]

from reading_room import PARANASAL, open_page, open_room  # noqa: E402

DOCS = ROOT / "Docs"
SAMPLE = ROOT / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"
SIZE = {"width": 1400, "height": 820}
SETTLED_MS = 6000  # until all views have drawn the last thing
WIDEST, QUALITY = 900, 65  # of a picture, so that the files stay small
RIGHT_SINUS = ".layout-grid-item"  # the first view where sides are compared
SAMPLE_ID, REAL_ID = "sub-0001", "sub-0002"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scans = _scans(Path(folder), [Path(path) for path in sys.argv[1:2]])
        out, key = str(Path(folder) / "out"), ["--key", str(Path(folder) / "key.csv")]
        named = [str(path) for path in scans]
        subprocess.run([*PARANASAL, "predict", *named, "-o", out, *key], check=True, cwd=ROOT)
        opened = open_room([out, *named, *key], Path(folder) / "log")
        with opened as room, open_page(room.address, SIZE) as page:
            _sample_head(page)
            if len(scans) > 1:
                _real_head(page)
    for path in sorted(DOCS.glob("**/*.jpg")):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def _scans(folder: Path, real: list[Path]) -> list[Path]:
    """The room shows their names."""
    names = ("simulated_head.nii.gz", "child_of_ten.nii.gz")
    for path, name in zip([SAMPLE, *real], names, strict=False):
        shutil.copy(path, folder / name)
    return [folder / name for name in names if (folder / name).exists()]


def _sample_head(page: Any) -> None:
    _open(page, SAMPLE_ID)
    page.click("#overlay")
    _take(page, "tutorial/slices_boxes")
    page.click("#overlay")
    page.keyboard.press("n")
    page.wait_for_selector("#findings .present")
    _take(page, "tutorial/slices_residual")
    _take(page, "room", "body")
    _slide(page, "threshold", 0.5)
    _take(page, "tutorial/slices_threshold")
    page.click("#overlay")
    page.click("#levels")
    page.wait_for_selector("#levels:has-text('Hide')")
    _take(page, "tutorial/slices_levels")


def _real_head(page: Any) -> None:
    page.click("#compared")
    _open(page, REAL_ID)
    _take(page, "tutorial/real_head")
    coloured = _seen(page, RIGHT_SINUS)
    page.click("#overlay")
    _save(_beside(coloured, _seen(page, RIGHT_SINUS)), "tutorial/real_mark")


def _open(page: Any, identifier: str) -> None:
    page.click(f"#case-{identifier}")
    page.wait_for_selector(f"#case-{identifier}.present")
    page.wait_for_timeout(2 * SETTLED_MS)
    print(identifier, page.inner_text("#scores").replace("\n", "; ").replace("\t", " "))


def _slide(page: Any, name: str, wanted: float) -> None:
    """By the keys, as a slider goes in a browser: a hundredth each."""
    thumb = page.locator(f".v-slider:has(#{name}) [role=slider], #{name} [role=slider]").first
    present = round(100 * float(thumb.get_attribute("aria-valuenow")))
    key = "ArrowRight" if round(100 * wanted) > present else "ArrowLeft"
    for _ in range(abs(round(100 * wanted) - present)):
        thumb.press(key)


def _take(page: Any, name: str, part: str = "#views") -> None:
    """A part of the page as a small JPEG."""
    _save(_seen(page, part), name)


def _seen(page: Any, part: str) -> Image.Image:
    page.mouse.move(SIZE["width"] - 5, SIZE["height"] - 5)  # no handle of a view lights up
    page.wait_for_timeout(SETTLED_MS)
    return Image.open(io.BytesIO(page.locator(part).first.screenshot())).convert("RGB")


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (left.width + right.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def _save(image: Image.Image, name: str) -> None:
    image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    image.save(DOCS / f"{name}.jpg", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
