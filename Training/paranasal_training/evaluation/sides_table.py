"""The table of a real-scan check: which sides of which scans are clear."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ParanasalSSLLib.errors import BadConfig

SIDES = ("scan", "side", "clear")
SIDES_HELP = (
    "It has one line for each sinus, with commas: scan (a file or folder below --scans), side (left or "
    "right, the patient's), clear (yes or no)."
)


def read_sides(path: Path) -> pd.DataFrame:
    """The table of sides, checked; columns: see `RealCheckConfig.table`. Raises `BadConfig`."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path} cannot be read as a CSV table. {SIDES_HELP}") from error
    if missing := [name for name in SIDES if name not in table]:
        raise BadConfig(f"{path} lacks the column {', '.join(missing)}. {SIDES_HELP}")
    for name, values in (("side", ("left", "right")), ("clear", ("yes", "no"))):
        for number, value in enumerate(table[name], start=2):
            if value not in values:
                raise BadConfig(f"{path}, line {number}: {name} is {value!r}. {SIDES_HELP}")
    _refuse_unclear_lines(table, path)
    if "yes" not in set(table["clear"]):
        raise BadConfig(f"{path} names no clear side: there is nothing to insert lesions into.")
    return table


def _refuse_unclear_lines(table: pd.DataFrame, path: Path) -> None:
    first: dict[tuple[str, str], int] = {}
    for number, sinus in enumerate(zip(table["scan"], table["side"], strict=True), start=2):
        if not sinus[0]:
            raise BadConfig(f"{path}, line {number}: scan is empty. {SIDES_HELP}")
        if first.setdefault(sinus, number) != number:
            raise BadConfig(
                f"{path}, line {number}: the {sinus[1]} sinus of {sinus[0]} stands on line "
                f"{first[sinus]} already. Keep one."
            )
