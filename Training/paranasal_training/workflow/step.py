"""One step of a study, started by Snakemake: `python -m paranasal_training.workflow.step WORK STEP`.

Scores the scans of the step that have not ended yet, one after another, in one process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from paranasal_training.workflow.study import Study
from ParanasalSSLLib.cli import predict
from ParanasalSSLLib.cli.events import Event, StageBegun
from ParanasalSSLLib.cli.jobs import Job
from ParanasalSSLLib.cli.needs import CallFailedError
from ParanasalSSLLib.cli.stopping import STOPPED, stopped_by_sigterm
from ParanasalSSLLib.cli.views import say
from ParanasalSSLLib.errors import BadConfig


class _PlannedIds:
    """The ids of the plan; a folder there is of the same scan, from a step that was killed."""

    def settle(self, job: Job, sha256: str | None, refused: bool = False) -> Job:
        return job


def score_step(work: Path, step: str) -> None:
    """Score what is left of a step and mark it as done. Raises `CallFailedError`: no model."""
    study = Study.read(work)
    if study is None:
        raise BadConfig(f"{work} holds no plan of a study.")

    def show(event: Event) -> None:
        study.note(event)
        if not isinstance(event, StageBegun):
            say(f"{type(event).__name__} {getattr(event, 'id', '')}")

    jobs = study.jobs(step)
    if jobs:
        # The settings' own class checks them; which scans are meant, the plan says.
        config = predict.PredictConfig(scans=[], output=study.out, **_typed(study.settings))
        scorer = predict.make_scorer(config, False, _PlannedIds(), show)
        for job in jobs:
            scorer.score(job)
    marker = study.marker(step)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _typed(settings: dict[str, Any]) -> dict[str, Any]:
    model = settings.get("model")
    return settings | {"model": Path(str(model)) if model else None}


def main() -> int:
    """Run one step; returns the exit status."""
    work, step = sys.argv[1:]
    try:
        with stopped_by_sigterm():
            score_step(Path(work), step)
    except CallFailedError as error:
        say(str(error.reason), error=True)
        return 1
    except KeyboardInterrupt:
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
