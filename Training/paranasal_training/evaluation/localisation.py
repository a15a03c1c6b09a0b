"""Where boxes land on known heads: as they are, turned, cut off, with a child's proportions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from paranasal_training.evaluation.config import LocalisationConfig
from paranasal_training.evaluation.moved_heads import Head, head_of, views
from paranasal_training.sinus.references import Reference, build_references, load_references
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.errors import BadConfig, NotAHead, SinusOutsideImage
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.bundle import Bundle, load_bundle, shipped_bundle_path
from ParanasalSSLLib.predict import FoundSinuses, place_boxes, refuse_failed, score_sinuses
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.sinuses import Side

FAR_MM = 12.0  # the networks are trained with boxes up to so far off
REFUSED = "refused"


def check_localisation(config: LocalisationConfig, output: Path) -> pd.DataFrame:
    """Write `localisation.csv`, a line for each side of each view, and `localisation.md`, its summary.

    Raises:
        BadConfig: a view that there is not, or none of the scans.
    """
    unknown = set(config.views) - set(views())
    if unknown:
        raise BadConfig(f"views: {', '.join(sorted(unknown))} are none of {', '.join(views())}.")
    build_references(config.scans, config.references)
    heads = _by_scan(config)
    if not heads:
        raise BadConfig(f"No scan with a clear sinus in {config.references}.")
    bundle = load_bundle(config.bundle or shipped_bundle_path())
    rows: list[dict[str, object]] = []
    for scan, references in tqdm(heads.items(), desc="heads"):
        head = head_of(read_volume(config.scans / scan), references)
        for name in config.views or views():
            rows += [{"scan": scan, "view": name} | row for row in _rows(head, name, bundle)]
    table = pd.DataFrame(rows)
    summary = summarise(table)
    output.mkdir(parents=True, exist_ok=True)
    with write_whole(output / "localisation.csv") as temporary:
        table.to_csv(temporary, index=False)
    with write_whole(output / "localisation.md") as temporary:
        temporary.write_text(markdown(summary), encoding="utf-8")
    return summary


def _by_scan(config: LocalisationConfig) -> dict[str, dict[Side, Reference]]:
    """References of the scans that have a clear sinus, by the scan's file."""
    heads: dict[str, dict[Side, Reference]] = {}
    for reference in load_references(config.references):
        heads.setdefault(reference.scan, {})[reference.side] = reference
    return {
        scan: sides
        for scan, sides in heads.items()
        if any(one.clear for one in sides.values()) and _is_chosen(scan, config)
    }


def _is_chosen(scan: str, config: LocalisationConfig) -> bool:
    return not config.only or any(word in scan for word in config.only)


def _rows(head: Head, name: str, bundle: Bundle) -> Iterator[dict[str, object]]:
    view = views()[name](head)
    registered, placed, verdict = _placed(view, bundle)
    for side in view.cavities:
        yield {
            "side": side.value,
            "visible": round(view.visible(side), 3),
            "told": round(placed.quality.visible_fraction.get(side, float("nan")), 3),
            "registered_mm": round(_away_mm(view, registered, side), 2),
            "error_mm": round(_away_mm(view, placed, side), 2),
            "verdict": verdict,
            "reasons": " ".join(placed.quality.reasons),
        }


def _placed(view: Head, bundle: Bundle) -> tuple[Placement, Placement, str]:
    """Boxes of the registration, those that are scored, and the verdict."""
    registered = place_boxes(view.volume)
    try:
        refuse_failed(registered.quality)
        placed = score_sinuses(FoundSinuses(view.volume, registered), bundle).placement
    except (NotAHead, SinusOutsideImage):
        return registered, registered, REFUSED
    return registered, placed, placed.quality.verdict


def _away_mm(view: Head, placement: Placement, side: Side) -> float:
    return float(np.linalg.norm(placement.boxes[side].center_ras_mm - view.center(side)))


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """A line for each kind of view: errors of what was scored, and how much of it was wrong, unsaid."""
    kind = table["view"].str.replace(r" [+-]30$", "", regex=True)
    lines = {str(name): _line(rows) for name, rows in table.groupby(kind, sort=False)}
    lines["all"] = _line(table)
    return pd.DataFrame.from_dict(lines, orient="index")


def _line(rows: pd.DataFrame) -> Mapping[str, object]:
    scored = rows[rows["verdict"] != REFUSED]
    wrong = scored[scored["error_mm"] > FAR_MM]
    return {
        "sides": len(rows),
        "refused": len(rows) - len(scored),
        "ok": int((scored["verdict"] == "ok").sum()),
        "registered, median mm": round(rows["registered_mm"].median(), 1),
        "median mm": round(scored["error_mm"].median(), 1),
        "90 % mm": round(scored["error_mm"].quantile(0.9), 1),
        "largest mm": round(scored["error_mm"].max(), 1),
        f"over {FAR_MM:.0f} mm, review": int((wrong["verdict"] == "review").sum()),
        f"over {FAR_MM:.0f} mm, ok": int((wrong["verdict"] == "ok").sum()),
        "visible part wrong by": round((scored["told"] - scored["visible"]).abs().mean(), 2),
    }


def markdown(summary: pd.DataFrame) -> str:
    """The summary as a table."""
    rows = [["view", *summary.columns], ["---"] * (summary.shape[1] + 1)]
    rows += [[name, *line] for name, line in zip(summary.index, summary.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows) + "\n"


def _cell(value: object) -> str:
    """Counts without a decimal point, "-" for what could not be measured."""
    if not isinstance(value, float):
        return str(value)
    return "-" if math.isnan(value) else f"{value:g}"
