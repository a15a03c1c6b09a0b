"""The table that says which result is which scan (`--key`): private, and never among the results."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ParanasalSSLLib.cli.events import ScanDone, ScanFailed, ScanLeftOut
from ParanasalSSLLib.errors import UnsafeOutput
from ParanasalSSLLib.files import alone, write_whole
from ParanasalSSLLib.results.listing import State

COLUMNS = ("id", "path", "series", "state", "message")


@dataclass(eq=False)
class KeyFile:
    """The key of a call; rows of earlier calls stay.

    A scan that failed takes no row from another scan whose result is there.
    """

    path: Path

    def note(self, outcome: ScanDone | ScanFailed) -> None:
        """Add a scan, and write all of the table."""
        row = {
            "id": outcome.id,
            "path": os.path.abspath(outcome.input),
            "series": outcome.series,
            "state": state_of(outcome),
            "message": outcome.message if isinstance(outcome, ScanFailed) else "",
        }
        with alone(self.path):
            rows = read_key(self.path)
            if not (isinstance(outcome, ScanFailed) and _is_of_another(rows.get(outcome.id), row)):
                rows[outcome.id] = row
            _write(self.path, rows.values())


def _is_of_another(known: Mapping[str, str] | None, row: Mapping[str, str]) -> bool:
    """Whether a row says of which other scan the result is."""
    if known is None or known["state"] != "done":
        return False
    return (known["path"], known["series"]) != (row["path"], row["series"])


def state_of(outcome: ScanDone | ScanFailed) -> State:
    """How a scan has ended, in the word of lists."""
    if isinstance(outcome, ScanDone):
        return "done"
    return "left out" if isinstance(outcome, ScanLeftOut) else "failed"


def refuse_key(path: Path, out: Path) -> None:
    """Raise `UnsafeOutput` for a key among the results, or over a file that is none."""
    if path.resolve().is_relative_to(out.resolve()):
        raise UnsafeOutput(
            f"--key {path} would lie among the results. It is private: put it elsewhere."
        )
    if os.path.lexists(path) and not _is_key(path):
        raise UnsafeOutput(f"--key {path} is there already and is no key. Choose another name.")


def _is_key(path: Path) -> bool:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple(next(csv.reader(file), ())) == COLUMNS
    except (OSError, ValueError):
        return False


def read_key(path: Path) -> dict[str, Mapping[str, str]]:
    """The rows of a key by their ids; none where there is no file."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    with (
        write_whole(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        temporary.chmod(0o600)
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
