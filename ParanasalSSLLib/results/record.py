"""All that is written of one scan in words and numbers, once: page, DICOM and tables read from it.

`ScanRecord` is the content of `report.json`; data/report.schema.json describes it field by field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ParanasalSSLLib.boxes.quality import Quality
from ParanasalSSLLib.files import tupled, write_json
from ParanasalSSLLib.results.older import REPORT_SUM, report_sum
from ParanasalSSLLib.results.sinus_record import SinusRecord, Vector, rounded
from ParanasalSSLLib.sinuses import Decision, Side

if TYPE_CHECKING:
    from ParanasalSSLLib.model.card import BundleCard
    from ParanasalSSLLib.predict import ScanResult
    from ParanasalSSLLib.scans.volume import Volume

RESEARCH_USE = (
    "Research use only. This is no medical device and gives no diagnosis; every finding needs a "
    "look at the images by a qualified reader."
)
SIMULATED_MODEL = (
    "The diseases that the model has learnt from are simulated; its probabilities have not been "
    "validated on a clinical population."
)
TRIAL_MODEL = (
    "The model was trained for a single epoch, to try whether everything runs: its numbers mean "
    "nothing."
)
SOFTWARE = "ParanasalSSL"
REPORT_FORMAT = "paranasal-report"
REPORT_VERSION = 4
REPORT_SCHEMA = Path(__file__).parents[1] / "data" / "report.schema.json"


def software_version() -> str:
    """Version of the installed package, or "unknown" when the folder is used without installing."""
    try:
        return version("paranasal-ssl")
    except PackageNotFoundError:
        return "unknown"


def fingerprint(volume: Volume) -> str:
    """Hexadecimal SHA-256 of a scan's shape, place (to 0.001 mm) and voxels: tells scans apart."""
    place = np.round(volume.affine, 3) + 0.0  # no negative zeros
    facts = json.dumps([list(volume.shape), place.tolist()]).encode()
    return hashlib.sha256(facts + volume.data.tobytes(order="F")).hexdigest()


@dataclass(frozen=True)
class ModelRecord:
    """The model that scored.

    notices: what a reader must know of it, the scan, and how it was run. repeatability: standard
    deviations of the numbers over positions of one head, by the names of `Repeatability`; None where
    they were not measured.
    """

    name: str
    version: str
    weights_sha256: str
    simulated: bool
    decision_threshold: float
    notices: tuple[str, ...]
    repeatability: Mapping[str, float] | None = None

    @classmethod
    def of(cls, card: BundleCard, notices: tuple[str, ...]) -> ModelRecord:
        """A bundle's card, with what was noticed in this run."""
        measured = None if card.sinus is None else card.sinus.repeatability
        return cls(
            card.name,
            card.version,
            card.weights_sha256,
            card.simulated,
            round(card.decision_threshold, 4),
            (*_of_card(card), *notices),
            None if measured is None else asdict(measured),
        )

    @property
    def repeatability_words(self) -> tuple[str, ...]:
        """How repeatable the numbers are, as a sentence; none where that was not measured."""
        if self.repeatability is None:
            return ()
        cavity, opacity, probability = (
            self.repeatability[name]
            for name in ("cavity_percent", "opacity_percent", "probability")
        )
        return (
            "Standard deviation over positions of one head, measured on other heads: cavity "
            f"{cavity:.1f} %, opacity {opacity:.1f} % of the volume, probability {probability:.2f}.",
        )


def _of_card(card: BundleCard) -> tuple[str, ...]:
    """What a reader must know of a model; that it was simulated comes first."""
    said = ((SIMULATED_MODEL, card.simulated), (TRIAL_MODEL, card.is_trial))
    return tuple(notice for notice, holds in said if holds)


@dataclass(frozen=True)
class ImageRecord:
    """The scan.

    sha256: its `fingerprint`; None in reports of format version 1. interpolated_slices, description:
    see `Provenance`.
    """

    format: str
    modality: str | None
    shape: tuple[int, ...]
    spacing_mm: Vector
    sha256: str | None = None
    interpolated_slices: tuple[int, ...] = ()
    description: str | None = None

    @classmethod
    def of(cls, volume: Volume) -> ImageRecord:
        """The scan that was read."""
        source = volume.provenance
        return cls(
            source.format,
            source.modality,
            volume.shape,
            rounded(volume.spacing_mm),
            fingerprint(volume),
            source.interpolated_slices,
            source.description,
        )


@dataclass(frozen=True)
class ScanRecord:
    """One scan.

    Attributes:
        scan: its neutral id.
        note: what the user said about it.
        sinuses: one entry per box.
        files: names of the other files in the folder.
        checksums: hexadecimal SHA-256 of each, by its name; what differs was changed by a user.
        analysed: the day, as YYYY-MM-DD; empty in reports that do not say it.
    """

    scan: str
    note: str | None
    software: str
    model: ModelRecord
    image: ImageRecord
    quality: Quality
    sinuses: Mapping[Side, SinusRecord]
    files: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    notice: str = RESEARCH_USE
    analysed: str = ""

    @classmethod
    def of(
        cls, result: ScanResult, card: BundleCard, scan_id: str, note: str | None = None
    ) -> ScanRecord:
        """The record of a result of which no file is written yet."""
        return cls(
            scan=scan_id,
            note=note,
            software=software_version(),
            model=ModelRecord.of(card, result.notices),
            image=ImageRecord.of(result.volume),
            quality=result.placement.quality,
            sinuses={side: SinusRecord.of(s, card) for side, s in result.sinuses.items()},
            analysed=date.today().isoformat(),
        )

    @property
    def judged(self) -> dict[Side, SinusRecord]:
        """The sinuses of which something is said."""
        sinuses = self.sinuses.items()
        return {side: s for side, s in sinuses if s.decision != Decision.NOT_JUDGED}

    def to_json(self) -> dict[str, Any]:
        """The content of `report.json`."""
        return {
            "format": REPORT_FORMAT,
            "format_version": REPORT_VERSION,
            "scan": self.scan,
            "note": self.note,
            "notice": self.notice,
            "analysed": self.analysed,
            "software": {"name": SOFTWARE, "version": self.software},
            "model": _plain(asdict(self.model)),
            "image": _plain(asdict(self.image)),
            "quality": self.quality.to_json(),
            "sinuses": {side.value: _plain(asdict(s)) for side, s in self.sinuses.items()},
            "files": dict(self.files),
            "checksums": dict(self.checksums),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ScanRecord:
        """What `to_json` of this or an earlier format version gave; raises as dictionaries do."""
        return cls(
            scan=content["scan"],
            note=content["note"],
            software=content["software"]["version"],
            model=ModelRecord(**tupled(content["model"])),
            image=ImageRecord(**tupled(content["image"])),
            quality=Quality.from_json(content["quality"]),
            sinuses={Side(s): SinusRecord.from_json(v) for s, v in content["sinuses"].items()},
            files=content["files"],
            checksums=content.get("checksums", {}),
            notice=content["notice"],
            analysed=content.get("analysed", ""),
        )


def write_report(record: ScanRecord, path: Path) -> None:
    """Write `report.json`, with the sum that tells whether a user has edited it since."""
    content = record.to_json()
    write_json(path, content | {REPORT_SUM: report_sum(content)}, allow_nan=False)


def read_report(path: Path) -> ScanRecord:
    """The record of a `report.json`, of this or an earlier format version.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no report.
    """
    try:
        return ScanRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path.name} is no report of a scan.") from error


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
