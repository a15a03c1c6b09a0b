"""`paranasal bids BIDS_DIR OUTPUT participant`: a data set as BIDS Apps take and give it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ParanasalSSLLib.cli.command import Call
from ParanasalSSLLib.cli.events import ScanDone
from ParanasalSSLLib.cli.predict import PredictConfig, run_predict
from ParanasalSSLLib.devices import DeviceName
from ParanasalSSLLib.errors import BadConfig, UnsafeOutput
from ParanasalSSLLib.results.layout import BIDS_REPORTS


@dataclass(frozen=True, kw_only=True)
class BidsConfig:
    """Scores all head MRI of a BIDS data set and writes BIDS derivatives, as a BIDS App.

    OUTPUT/sub-01/[ses-1/]anat gets, for each scan, the residual, the opacity as a segmentation, and the
    numbers beside it; OUTPUT/reports is what `paranasal predict` writes, with the overview index.html.
    The same call again scores again and replaces its own results. Exit status as of predict.
    """

    bids_dir: Path
    """Folder of the data set."""
    output: Path
    """Folder for the derivatives, for example BIDS_DIR/derivatives/paranasal."""
    level: Literal["participant"]
    """Level of the analysis: participant; there is nothing to do for a group."""
    participant_label: list[str] | None = None
    """Score only these participants, with or without sub- (unset: all)."""
    session_label: list[str] | None = None
    """Score only these sessions, with or without ses- (unset: all)."""
    device: DeviceName = "auto"
    """Where the networks run: cpu, cuda, mps, or a GPU if there is one (auto)."""
    model: Path | None = None
    """Folder of a model bundle (unset: the shipped one)."""
    jobs: int | None = None
    """Scans to score at the same time, 1 or more (unset: what cores and memory allow)."""
    json_progress: bool = False
    """Print one JSON object per line on standard output and nothing else (default: a table)."""

    def __post_init__(self) -> None:
        if not self.bids_dir.is_dir():
            raise BadConfig(f"BIDS_DIR {self.bids_dir} is no folder")


def run_bids(config: BidsConfig, call: Call) -> int:
    """Score the scans of the participants; returns the exit status of `paranasal predict`.

    Raises:
        BadConfig: a participant or session is not there, or has no scan.
        UnsafeOutput: the derivatives would lie among the raw data.
    """
    from ParanasalSSLLib.results.bids import publish, write_data_set

    if config.output.resolve() == config.bids_dir.resolve():
        raise UnsafeOutput(
            f"{config.output} is the data set itself; derivatives do not go among raw data. Choose "
            f"another folder, for example {config.bids_dir / 'derivatives' / 'paranasal'}."
        )
    scans = chosen_scans(config)
    write_data_set(config.output, config.bids_dir)

    def done(event: ScanDone) -> None:
        publish(config.output, config.bids_dir, Path(event.input), event.id)

    predict = PredictConfig(
        scans=scans,
        output=config.output / BIDS_REPORTS,
        keep_names=True,
        device=config.device,
        model=config.model,
        jobs=config.jobs,
        json_progress=config.json_progress,
    )
    return run_predict(predict, call, done)


def chosen_scans(config: BidsConfig) -> list[Path]:
    """The raw anatomical scans of the participants and sessions. Raises `BadConfig`: see there."""
    from ParanasalSSLLib.scans.find import find_scans

    found = find_scans(config.bids_dir, config.output)
    paths = [scan.path for scan in found.scans if scan.path.name.startswith("sub-")]
    places = {path: path.relative_to(config.bids_dir).parts for path in paths}
    subjects = _wanted(config.participant_label, "sub", {p[0] for p in places.values()})
    sessions = _wanted(
        config.session_label, "ses", {p[1] for p in places.values() if p[1].startswith("ses-")}
    )
    chosen = [
        path
        for path, parts in places.items()
        if (subjects is None or parts[0] in subjects) and (sessions is None or parts[1] in sessions)
    ]
    if not chosen:
        raise BadConfig(f"{config.bids_dir} holds no raw anatomical scan (sub-*/[ses-*/]anat/)")
    return chosen


def _wanted(labels: list[str] | None, kind: str, there: set[str]) -> set[str] | None:
    """The folders of labels. Raises `BadConfig` where one is not there."""
    if labels is None:
        return None
    names = {f"{kind}-{label.removeprefix(f'{kind}-')}" for label in labels}
    if lacking := sorted(names - there):
        raise BadConfig(f"no raw anatomical scan of {', '.join(lacking)}")
    return names
