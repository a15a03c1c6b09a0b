"""What a reader says of a result: agrees or not, for each side, and a comment.

    OUT/sub-0001/sub-0001_reading.json

It is kept beside the report, which it does not change: page and DICOM report get a copy of its words.
A reading belongs to the numbers that were read; when the scan is scored anew with other numbers it no
longer counts.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ParanasalSSLLib.files import sha256, write_json, write_whole
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.record import ScanRecord, read_report, write_report
from ParanasalSSLLib.results.sinus_record import SinusRecord
from ParanasalSSLLib.sinuses import SINUSES, Side

Verdict = Literal["agree", "disagree", "unsure"]
VERDICT_WORDS: Mapping[Verdict, str] = {
    "agree": "the reader agrees",
    "disagree": "the reader disagrees",
    "unsure": "the reader is unsure",
}
FORMAT, VERSION = "paranasal-reading", 1
_OF_PAGE = re.compile(r'(<div id="reading"[^>]*>).*?(</div><!-- reading -->)', re.DOTALL)


@dataclass(frozen=True)
class Reading:
    """verdicts: of each side that was judged. read: the probabilities, 0..1, to which they belong.

    edited_ml: volume of each side's opacity as the reader has drawn it, where it was edited.
    """

    verdicts: Mapping[Side, Verdict] = field(default_factory=dict)
    comment: str = ""
    read: Mapping[Side, float] = field(default_factory=dict)
    edited_ml: Mapping[Side, float] = field(default_factory=dict)

    @classmethod
    def of(cls, record: ScanRecord, verdicts: Mapping[Side, Verdict], comment: str) -> Reading:
        """A reading of what the record says now."""
        return cls(verdicts, comment.strip(), judged_probabilities(record.sinuses))

    @property
    def is_empty(self) -> bool:
        """Whether the reader has said nothing yet."""
        return not (self.verdicts or self.comment or self.edited_ml)

    def is_of(self, record: ScanRecord) -> bool:
        """Whether these are still the numbers that were read."""
        return dict(self.read) == judged_probabilities(record.sinuses)

    @property
    def sentences(self) -> list[str]:
        """For people: a sentence for each side, then the comment."""
        judged = [(side, self.verdicts[side]) for side in Side if side in self.verdicts]
        words = [f"{SINUSES[side].name}: {VERDICT_WORDS[verdict]}." for side, verdict in judged]
        words += [
            f"{SINUSES[side].name}: {ml:.2f} ml are opaque after the reader's edits."
            for side, ml in self.edited_ml.items()
        ]
        return words + ([f"Reader's comment: {self.comment}"] if self.comment else [])

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "verdicts": {side.value: verdict for side, verdict in self.verdicts.items()},
            "comment": self.comment,
            "read": {side.value: probability for side, probability in self.read.items()},
            "edited_ml": {side.value: ml for side, ml in self.edited_ml.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Reading:
        """What `to_json` gave; raises as dictionaries do, or ValueError."""
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise ValueError("another format")
        verdicts = {Side(side): verdict for side, verdict in content["verdicts"].items()}
        if not set(verdicts.values()) <= set(VERDICT_WORDS):
            raise ValueError("an unknown verdict")
        read, edited = (
            {Side(side): float(number) for side, number in content[name].items()}
            for name in ("read", "edited_ml")
        )
        return cls(verdicts, str(content["comment"]), read, edited)


def judged_probabilities(sinuses: Mapping[Side, SinusRecord]) -> dict[Side, float]:
    """Of the sides that are judged."""
    return {
        side: sinus.probability for side, sinus in sinuses.items() if sinus.probability is not None
    }


def read_reading(files: ScanFiles, record: ScanRecord) -> Reading | None:
    """The reading of a result; None where there is none, or none of these numbers."""
    try:
        reading = Reading.from_json(json.loads(files.reading.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return reading if reading.is_of(record) else None


def write_reading(files: ScanFiles, reading: Reading) -> None:
    """Keep a reading beside its report, and put its words into page and DICOM report.

    Raises:
        OSError: the folder cannot be written, or holds no report.
        ValueError: the report is damaged.
    """
    record = read_report(files.report_json)
    untouched = [path for path in (files.report_html, files.dicom_report) if _is_ours(path, record)]
    write_json(files.reading, reading.to_json())
    write_words(files, reading)
    sums = {path.name: sha256(path) for path in untouched}
    write_report(replace(record, checksums={**record.checksums, **sums}), files.report_json)


def write_words(files: ScanFiles, reading: Reading) -> None:
    """Put a reading's words into page and DICOM report, in place of an earlier reading's."""
    _into_page(files.report_html, reading)
    if files.dicom_report.is_file():
        from ParanasalSSLLib.results.dicom_reading import add_to_report

        add_to_report(files.dicom_report, reading.sentences)


def _is_ours(path: Path, record: ScanRecord) -> bool:
    """Whether no user has changed a file that we wrote."""
    return path.is_file() and record.checksums.get(path.name) == sha256(path)


def _into_page(path: Path, reading: Reading) -> None:
    """A page of an earlier version has no place for it, and stays."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    words = "<br>".join(html.escape(sentence) for sentence in reading.sentences)
    head = "<h2>What the reader says</h2>" if words else ""
    with write_whole(path) as temporary:
        new = _OF_PAGE.sub(lambda found: f"{found[1]}{head}{words}{found[2]}", text)
        temporary.write_text(new, encoding="utf-8")
