"""Settings of `paranasal prepare`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.sinuses import Side


@dataclass(frozen=True)
class JitterSd:
    """Standard deviation of the shift of a box along its own axes (right, front, up), mm.

    Bhattacharya 2024, published code: of the sinuses' centres over annotated heads.
    """

    left_mm: tuple[float, float, float] = (1.1, 1.2, 1.3)
    """Of the left box along its axes right, front and up, mm, 0 or more."""
    right_mm: tuple[float, float, float] = (1.4, 1.3, 4.9)
    """Of the right box along its axes right, front and up, mm, 0 or more."""

    def of(self, side: Side) -> tuple[float, float, float]:
        """Those of one side."""
        return self.left_mm if side == Side.LEFT else self.right_mm


@dataclass(frozen=True)
class PrepareConfig:
    """Scans of a site -> crop store.

    Labels: columns left_class and right_class (0 normal, 1 thickening, 2 polyp, 3 cyst, 4 full) or
    left_label and right_label (0 normal, 1 anomalous) of the table, or of participants.tsv in a
    BIDS folder; empty or n/a where there is none. A column split (train, validation, test) is taken
    over. The same command resumes after a stop.
    """

    scans: Path
    """BIDS folder, or table (.csv, .tsv) with the columns path and patient; paths are absolute or
    relative to the table: NIfTI, NRRD, MetaImage, DICOM folder, or a zip.
    """
    suffix: str | None = None
    """Which files of a BIDS folder, such as T1w (unset: FLAIR, or else the only kind there is)."""
    boxes: Path | None = None
    """Folder of boxes placed by hand, PATIENT.mrk.json or .json, in place of the registration."""
    jitter: int = 0
    """Further crops of each sinus in randomly shifted boxes, 0 or more (the paper's code: 15)."""
    jitter_sd: JitterSd = field(default_factory=JitterSd)
    """Standard deviations of these shifts."""
    seed: int = 0
    """Seed of these shifts, a whole number of 0 or more."""
    keep_ids: bool = False
    """Name patients in the table as the source does, not p0001, p0002, ..."""
    key: Path | None = None
    """CSV file that will say which patient and path each scan was; private (unset: none)."""
    kept: Path | None = None
    """Folder that keeps what was cut of each scan, under names that tell nothing, half a MB for two
    crops: once a label is put right or a scan replaced, a call with it does the changed scans only
    (unset: none).
    """
    processes: int | None = None
    """Scans done at the same time, 1 or more (unset: one for each core)."""

    def __post_init__(self) -> None:
        if self.jitter < 0 or self.seed < 0:
            raise BadConfig("jitter and seed are 0 or more.")
        if min(*self.jitter_sd.left_mm, *self.jitter_sd.right_mm) < 0:
            raise BadConfig("jitter_sd is 0 mm or more.")
        if self.processes is not None and self.processes < 1:
            raise BadConfig("processes is 1 or more.")
