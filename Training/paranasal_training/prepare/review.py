"""What people look at after `paranasal prepare`: picture sheets, a table of quality, a list."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tqdm import tqdm

from paranasal_training.prepare.tables import SinusLabel
from paranasal_training.prepare.work import PICTURE_MM, PICTURE_PIXELS, Outcome
from ParanasalSSLLib.boxes.box import EDGE_MM
from ParanasalSSLLib.sinuses import SINUSES, Side

SCANS_A_PAGE = 24
COLUMNS = 2
HEAD, LINE, PICTURES, LABELS = 0.5, 1.6, 1.18, 0.18  # inches, from top to bottom
GAP_PIXELS = 4
COLORS = {"ok": "#7fd08a", "review": "#ffc14d", "failed": "#ff7a6b"}
REASON_LETTERS = 105
FIGURES = (
    *("mutual_information", "start_distance_mm", "shear", "rotation_deg"),
    *("tissue_fraction", "stretch_ratio"),
)


@dataclass(frozen=True)
class ShownScan:
    """One scan as it is shown: its outcome, the patient's id in the table, further remarks, labels."""

    patient: str
    outcome: Outcome
    modality: str = ""
    remarks: tuple[str, ...] = ()
    labels: Mapping[Side, SinusLabel] = field(default_factory=dict)

    @property
    def page(self) -> int:
        """Number of the picture sheet that shows it."""
        return (self.outcome.number - 1) // SCANS_A_PAGE + 1


# ------------------------------------------------------------------------------------ pictures


def draw_sheets(
    seen: Sequence[ShownScan], pictures: Callable[[ShownScan], np.ndarray], folder: Path
) -> None:
    """Draw every scan: axial, coronal and sagittal planes through each box, its outline and label.

    Labels let a swapped side be seen: all looks normal where an anomaly is said to be. Right sinuses
    are on the left, as in radiology; nothing is mirrored. Scans that could not be read are black.

    Args:
        seen: the scans in their order.
        pictures: gives uint8 (sides, 3, pixels, pixels) of one scan.
        folder: where `boxes-001.png` and so on go.
    """
    starts = range(0, len(seen), SCANS_A_PAGE)
    for start in tqdm(starts, desc="picture sheets", unit="page"):
        page = seen[start : start + SCANS_A_PAGE]
        lines = -(-len(page) // COLUMNS)
        height = HEAD + LINE * lines
        figure = Figure(figsize=(14.6, height), facecolor="black")
        for position, scan in enumerate(page):
            line, column = divmod(position, COLUMNS)
            left = 0.005 + 0.5 * column
            bottom = 1 - (HEAD + LINE * (line + 1) - LABELS) / height
            axis = figure.add_axes((left, bottom, 0.49, PICTURES / height))
            _draw_scan(axis, scan, pictures(scan))
        figure.text(
            0.005, 1 - 0.27 / height,
            f"Boxes of scans {page[0].outcome.number} to {page[-1].outcome.number}. Each: right, then"
            " left sinus; axial, coronal, sagittal; label below. The patient's right is on the left.",
            color="white", fontsize=9,
        )  # fmt: skip
        figure.savefig(folder / f"boxes-{page[0].page:03d}.png", dpi=100, facecolor="black")


def _draw_scan(axis: Axes, seen: ShownScan, pictures: np.ndarray) -> None:
    axis.set_axis_off()
    pitch = PICTURE_PIXELS + GAP_PIXELS
    strip = np.zeros((PICTURE_PIXELS, 6 * pitch - GAP_PIXELS), np.uint8)
    corners = []
    edge = EDGE_MM / PICTURE_MM * PICTURE_PIXELS
    for side, planes in zip(seen.outcome.pictures, pictures, strict=True):
        first = 0 if side == Side.RIGHT else 3
        for number, plane in enumerate(planes):
            x = (first + number) * pitch
            strip[:, x : x + PICTURE_PIXELS] = plane
            corners.append((x + (PICTURE_PIXELS - edge) / 2, SINUSES[Side(side)].color))
    axis.imshow(strip, cmap="gray", vmin=0, vmax=255, origin="lower", interpolation="nearest")
    y = (PICTURE_PIXELS - edge) / 2
    for left, color in corners:
        axis.add_patch(Rectangle((left, y), edge, edge, fill=False, edgecolor=color, linewidth=1.0))
    for side, first in ((Side.RIGHT, 0), (Side.LEFT, 3)):
        axis.text(
            first * pitch, -3, label_words(seen, side), color=SINUSES[side].color, fontsize=7.5,
            va="top",
        )  # fmt: skip
    outcome = seen.outcome
    words = f"{outcome.number}  {seen.patient}  {outcome.verdict}"
    reasons = " ".join(outcome.reasons)
    if len(reasons) > REASON_LETTERS:
        reasons = reasons[:REASON_LETTERS] + "…"
    axis.set_title(
        f"{words}   {reasons}", color=COLORS[outcome.verdict], fontsize=7.5, loc="left", pad=3,
        parse_math=False,
    )  # fmt: skip


def label_words(seen: ShownScan, side: Side) -> str:
    """What the table says of a sinus, such as "left: anomalous, cyst" or "right: unlabelled"."""
    label = seen.labels.get(side)
    return f"{side}: {label.words if label else 'unlabelled'}"


# --------------------------------------------------------------------------------------- lists


def write_quality_table(seen: Iterable[ShownScan], path: Path) -> None:
    """One line a scan: what the registration measured, and the verdict."""
    lines = [_quality_line(scan) for scan in seen]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _quality_line(seen: ShownScan) -> dict[str, Any]:
    outcome = seen.outcome
    quality = outcome.quality or {}
    evidence = quality.get("evidence", {})
    scale = evidence.get("scale", ["", "", ""])
    visible = quality.get("visible_fraction", {})
    return {
        "scan": outcome.number,
        "patient": seen.patient,
        "format": outcome.format,
        "modality": seen.modality or outcome.modality,
        "verdict": outcome.verdict,
        "error": outcome.error,
        "crops": len(outcome.crops),
        **{name: evidence.get(name, "") for name in FIGURES},
        **{f"scale_{axis}": value for axis, value in zip("ras", scale, strict=True)},
        **{f"visible_{side.value}": visible.get(side.value, "") for side in Side},
        "seconds": outcome.seconds,
        "reasons": " ".join((*outcome.reasons, *seen.remarks)),
    }


def write_review(seen: Sequence[ShownScan], path: Path) -> None:
    """The list of what needs a human eye, and why, in Markdown."""
    failed = [scan for scan in seen if scan.outcome.verdict == "failed"]
    review = [scan for scan in seen if scan.outcome.verdict == "review"]
    remarks = [scan for scan in seen if scan.remarks]
    parts = [
        "# To be looked at",
        f"{len(seen)} scans: {len(seen) - len(failed) - len(review)} without complaint, "
        f"{len(review)} to review, {len(failed)} failed. Scans are numbered in the order of the "
        "table, or of the BIDS files' names. Checks do not see everything: look through the sheets.",
        *_section(
            "Failed: no crops",
            "Take a better scan, or place the boxes by hand in Slicer, save them in a folder as "
            "`<patient>.mrk.json` (the table's own id) and prepare again with `--boxes FOLDER`.",
            [(scan, scan.outcome.reasons) for scan in failed],
        ),
        *_section(
            "To review: crops are in the store, marked `review`",
            "See whether the boxes hold the sinuses; if not, place them by hand in the same way.",
            [(scan, scan.outcome.reasons) for scan in review],
        ),
        *_section("Left out", "", [(scan, scan.remarks) for scan in remarks]),
    ]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _section(
    title: str, help_text: str, entries: list[tuple[ShownScan, tuple[str, ...]]]
) -> Iterable[str]:
    if not entries:
        return
    yield f"## {title}"
    if help_text:
        yield help_text
    lines = ["| scan | patient | sheet | why |", "| --- | --- | --- | --- |"]
    for seen, reasons in entries:
        why = " ".join(reasons).replace("|", "/").replace("\n", " ")
        sheet = f"[{seen.page}](boxes-{seen.page:03d}.png)"
        lines.append(f"| {seen.outcome.number} | {seen.patient} | {sheet} | {why} |")
    yield "\n".join(lines)
