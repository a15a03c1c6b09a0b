"""What `predict` and `adapt` tell their callers: frozen types, one JSON object a line.

With `--json-progress` these lines are all that is on standard output. Their order, for each scan:
`StageBegun` for every stage, then `ScanDone`, `ScanFailed` or `ScanLeftOut`; at the end, once,
`Summary`, or `CallFailed` in its place if what all scans need is not there (boxes, highdicom, device,
model). Scans that are scored at the same time (`--jobs`) take turns; each scan's own events are in
order. A `Note` before the first scan says what was found in folders, one after the last where the
overview is.

A call that is stopped (by Ctrl-C, or with `--end-with-input` by the end of standard input) ends
after any event, with exit status 130; wrong usage gives no events, and 2. Readers ignore events and
fields that they do not know. This module imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True)
class _ScanEvent:
    """An event of one scan.

    id: what `--id` or `--keep-names` gave to the scan, or else sub-0001, sub-0002, ...
    scan, of: its place in the call (from 1), and how many there are.
    input: path of the scan, as the user gave it or below the folder that the user gave.
    series: number and description of a DICOM series, where its folder holds several.
    """

    id: str = ""
    scan: int = 0
    of: int = 0
    input: str = ""
    series: str = ""


@dataclass(frozen=True)
class Note:
    """Something that a user should know. message: a sentence, or lines."""

    name: ClassVar[str] = "note"
    message: str = ""


@dataclass(frozen=True)
class StageBegun(_ScanEvent):
    """A stage of a scan has begun.

    stage: read, register, crop, analyse, write or done (`progress.Stage`).
    fraction: of the scan's expected time that has passed, 0..1.
    """

    name: ClassVar[str] = "stage"
    stage: str = ""
    fraction: float = 0.0


@dataclass(frozen=True)
class ScanDone(_ScanEvent):
    """A scan was scored and its results are written.

    folder: with the results. replaced: whether an older result was there. seconds: it took so long.
    report: the content of `report.json`; its `files` has `dicom_sr` where `--dicom-out` wrote a
    structured report, and `dicom_seg` where it wrote a segmentation.
    """

    name: ClassVar[str] = "scan_done"
    folder: str = ""
    replaced: bool = False
    seconds: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScanFailed(_ScanEvent):
    """A scan was not scored.

    error: name of the error's class, for example `UnreadableScan`. message: why, for the user.
    older_result: whether an older result of that id was left in place.
    """

    name: ClassVar[str] = "scan_failed"
    error: str = ""
    message: str = ""
    older_result: bool = False


@dataclass(frozen=True)
class StepBegun:
    """A long call that is not about one scan (`paranasal adapt`) is at a step.

    words: what it does. fraction: of the whole call, 0..1.
    """

    name: ClassVar[str] = "step"
    words: str = ""
    fraction: float = 0.0


@dataclass(frozen=True)
class ScanLeftOut(ScanFailed):
    """A scan that was found in a folder, not named by the user, shows no maxillary sinuses."""

    name: ClassVar[str] = "scan_left_out"


@dataclass(frozen=True)
class Summary:
    """All scans were tried. done, failed: numbers of scans. out: folder of the results."""

    name: ClassVar[str] = "summary"
    done: int = 0
    failed: int = 0
    out: str = ""
    exit_status: int = 0


@dataclass(frozen=True)
class CallFailed:
    """What all scans need is not there. error: name of the error's class. message: why."""

    name: ClassVar[str] = "failed"
    error: str = ""
    message: str = ""
    exit_status: int = 1


Event = Note | StageBegun | ScanDone | ScanFailed | ScanLeftOut | StepBegun | Summary | CallFailed
_TYPES: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        *(Note, StageBegun, ScanDone, ScanFailed, ScanLeftOut),
        *(StepBegun, Summary, CallFailed),
    )
}


def to_json(event: Event) -> str:
    """The event as one line, without its end."""
    return json.dumps({"event": event.name, **asdict(event)})


def from_json(line: str) -> Event | None:
    """The event of a line; None for a line that is none, or one of an event not known here."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    name = content.get("event") if isinstance(content, dict) else None
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        return None
    known = {item.name for item in fields(kind)}
    return kind(**{key: value for key, value in content.items() if key in known})
