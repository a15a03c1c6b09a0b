"""From what the user has named to the scans of a call: folders are searched, others stay."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ParanasalSSLLib.cli.events import Event, Note
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.scans.source import ScanSource

if TYPE_CHECKING:
    from ParanasalSSLLib.scans.find import Found

SHOWN = 40  # scans of a list on the terminal


class Wanted(Protocol):
    """The options that matter here, see `PredictConfig`."""

    @property
    def output(self) -> Path: ...
    @property
    def id(self) -> list[str] | None: ...
    @property
    def boxes(self) -> list[Path] | None: ...
    @property
    def series(self) -> list[int] | None: ...


def search_scans(
    named: Sequence[Path], wanted: Wanted, tell: Callable[[Event], None]
) -> list[ScanSource]:
    """The scans that the user means.

    A folder whose scans get ids or boxes of the user is that of one series, and not searched.

    Raises:
        BadConfig: `--series` names none of the scans.
    """
    if (wanted.id or wanted.boxes) and not wanted.series:
        return [ScanSource(path) for path in named]
    scans: list[ScanSource] = []
    lines: list[str] = []
    for path in map(_of_directory, named):
        if os.path.isdir(path):  # a name may be too long for the system
            found = found_in(path, wanted.output)
            scans += found.scans or [ScanSource(path)]
            lines += _words(path, found)
        else:
            scans.append(ScanSource(path))
    if len(scans) > len(named) or wanted.series:
        lines += _listed(scans)
    if lines:
        tell(Note("\n".join(lines)))
    return _chosen(scans, wanted.series)


def found_in(folder: Path, without: Path) -> Found:
    """The scans below a folder, or on the CD whose directory of files that is; see `find_scans`."""
    from ParanasalSSLLib.scans.find import find_scans

    return find_scans(_of_directory(folder), without)


def _of_directory(path: Path) -> Path:
    """The CD whose directory of files was given."""
    return path.parent if path.name.upper() == "DICOMDIR" and os.path.isfile(path) else path


def _words(folder: Path, found: Found) -> Iterator[str]:
    if len(found.scans) != 1 or found.left_out:
        yield f"{folder}: {len(found.scans)} scan{'' if len(found.scans) == 1 else 's'} found."
    yield from found.sentences()


def _listed(scans: Sequence[ScanSource]) -> Iterator[str]:
    width = len(str(len(scans)))
    for number, scan in enumerate(scans[:SHOWN], start=1):
        yield f"  {number:>{width}}  {scan}"
    if len(scans) > SHOWN:
        yield f"  ... and {len(scans) - SHOWN} more"
    yield "All that show the maxillary sinuses are scored; --series N chooses from this list."


def _chosen(scans: list[ScanSource], numbers: list[int] | None) -> list[ScanSource]:
    if numbers is None:
        return scans
    for number in numbers:
        if not 1 <= number <= len(scans):
            raise BadConfig(f"--series {number}: there are {len(scans)} scans; see the list.")
    return [scans[number - 1] for number in dict.fromkeys(numbers)]
