"""A site of three patients, and scans that are done without registration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from paranasal_training.prepare import parallel, work
from site_scans import save_boxes, save_head, save_table

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.boxes.quality import Quality


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Scans are done here, one after the other, and their numbers noted.

    No registration is tried, which would find no head in the blocks.
    """
    done: list[int] = []
    lost = Placement({}, Quality("failed", ("No head.",)))
    monkeypatch.setattr(predict, "find_boxes", lambda volume: lost)

    def one_by_one(jobs: list[work.ScanJob], processes: int | None) -> Iterator[work.Outcome]:
        for job in jobs:
            done.append(job.number)
            yield work.do_scan(job)

    monkeypatch.setattr(parallel, "in_parallel", one_by_one)
    return done


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Table of three patients with boxes by hand; the last has no label on the right."""
    for number, name in enumerate(("Ann", "Bob", "Cy")):
        save_head(tmp_path / f"scans/{name}.nii.gz", number, flipped=name == "Bob")
        save_boxes(tmp_path / f"boxes/{name}.mrk.json")
    return save_table(
        tmp_path / "cohort.csv",
        "path,patient,left_class,right_class",
        "scans/Ann.nii.gz,Ann,3,0",
        "scans/Bob.nii.gz,Bob,4,0",
        "scans/Cy.nii.gz,Cy,2,n/a",
    )
