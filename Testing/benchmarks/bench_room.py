"""Seconds from a click in the reading room's worklist until the case is on screen (target: under 1).

    make bench-room
    .venv-viewer/bin/python Testing/benchmarks/bench_room.py [RESULTS SCAN... [--key KEY]]

What is opened goes to `paranasal view`; by default it is the simulated sample head, and a copy that is
5 % larger, which are scored first. A case is on screen when the page has its numbers and all slices
look as they do in the end (mean difference of their grey values under 1 %), as Chromium sees it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing" / "helpers")]

from reading_room import PARANASAL, open_page, open_room  # noqa: E402

SAMPLE = ROOT / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"
ROUNDS = 3  # through the worklist
FIRST_FRAMES_MS, SETTLED_MS = 12_000, 3000
ALIKE = 0.01  # of the grey values
# Notes when each picture of a slice view comes, and what it looks like on 48 x 48 pixels.
WATCH = """
() => {
  window.seen = [];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 48;
  const brush = canvas.getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const look = () => {
    document.querySelectorAll(".layout-grid-item").forEach((view, number) => {
      const image = [...view.querySelectorAll("img.image-display-area")].find(
        one => one.complete && one.naturalWidth && getComputedStyle(one).display !== "none");
      if (!image || known.get(number) === image.src || !view.querySelector(".edge")) return;
      known.set(number, image.src);
      brush.drawImage(image, 0, 0, 48, 48);
      const greys = [...brush.getImageData(0, 0, 48, 48).data].filter((_, i) => i % 4 === 1);
      window.seen.push({view: number, at: performance.now(), greys});
    });
    requestAnimationFrame(look);
  };
  look();
}
"""
CLICK = """
identifier => new Promise(resolve => {
  window.seen = [];
  const begun = performance.now();
  document.getElementById(`case-${identifier}`).click();
  const wait = () => document.querySelector(`#case-${identifier}.present`)
    ? resolve({begun, listed: performance.now()}) : requestAnimationFrame(wait);
  wait();
})
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = sys.argv[1:] or _sample_results(Path(folder))
        with open_room(arguments, Path(folder) / "log") as room, open_page(room.address) as page:
            page.wait_for_timeout(FIRST_FRAMES_MS)
            page.evaluate(WATCH)
            names = [case.get_attribute("id") for case in page.locator("#worklist .case").all()]
            order = [name.removeprefix("case-") for name in names * ROUNDS]
            opened = [_open(page, name, room.process) for name in order]
    seconds, busy = zip(*opened, strict=True)
    load = os.getloadavg()[0]
    print(
        f"{len(names)} cases, each opened {ROUNDS} times, {os.cpu_count()} cores, load {load:.1f}"
    )
    print(
        f"on screen after {statistics.median(seconds):.2f} s (median; worst {max(seconds):.2f} s)"
    )
    print(f"of which the room's process computes {statistics.median(busy):.2f} s")


def _open(page: Any, identifier: str, process: int) -> tuple[float, float]:
    """Seconds until a case is on screen, and seconds of a core that the room has taken for it."""
    before = _busy_s(process)
    clicked = page.evaluate(CLICK, identifier)
    page.wait_for_timeout(SETTLED_MS)
    busy = _busy_s(process) - before
    seen = page.evaluate("window.seen")
    ends = [clicked["listed"]]
    for view in {one["view"] for one in seen}:
        frames = [one for one in seen if one["view"] == view]
        last = np.array(frames[-1]["greys"])
        far = [np.abs(last - frame["greys"]).mean() > 255 * ALIKE for frame in frames]
        ends.append(frames[far.index(False, _last(far) + 1)]["at"])
    return (max(ends) - clicked["begun"]) / 1000, busy


def _busy_s(process: int) -> float:
    """Seconds of all cores that a process has taken so far."""
    facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def _last(far: list[bool]) -> int:
    """The last picture that looked otherwise; -1: none did."""
    return max((number for number, unlike in enumerate(far) if unlike), default=-1)


def _sample_results(folder: Path) -> list[str]:
    head = nibabel.load(SAMPLE)
    larger = nibabel.Nifti1Image(
        np.asarray(head.dataobj), np.diag([1.05, 1.05, 1.05, 1]) @ head.affine
    )
    nibabel.save(larger, folder / "larger.nii.gz")
    scans, out = [str(SAMPLE), str(folder / "larger.nii.gz")], str(folder / "out")
    key = ["--key", str(folder / "key.csv")]
    subprocess.run([*PARANASAL, "predict", *scans, "-o", out, *key], check=True, cwd=ROOT)
    return [out, *scans, *key]


if __name__ == "__main__":
    main()
