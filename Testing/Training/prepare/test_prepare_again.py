"""What survives a stop, and what is done again after a change."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from paranasal_training.data.store import CropStore
from paranasal_training.prepare import parallel, work
from paranasal_training.prepare.config import JitterSd, PrepareConfig
from paranasal_training.prepare.scans import read_scans
from paranasal_training.prepare.site import prepare
from site_scans import CENTERS, by_hand, save_head, save_table

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.errors import BadConfig, BadStore, UnsafeOutput
from ParanasalSSLLib.files import alone


def test_stopped_run_is_resumed_where_it_was(
    site: Path, serial: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = site.parent / "crops"

    def stopped(jobs: list[work.ScanJob], processes: int | None) -> Iterator[work.Outcome]:
        yield work.do_scan(jobs[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(parallel, "in_parallel", stopped)
        prepare(by_hand(site), output)
    assert not output.exists()
    prepare(by_hand(site), output)
    assert serial == [2, 3]
    assert len(CropStore.open(output).table) == 6
    assert not (site.parent / ".crops.prepare").exists()


@pytest.mark.parametrize("later", [False, True])
def test_what_a_kill_just_after_the_end_leaves_is_tidied_by_the_next_call(
    site: Path, serial: list[int], monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    output, kept = site.parent / "crops", site.parent / ".crops.prepare"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_args, **_options: None)
        prepare(by_hand(site), output)
    if later:  # work that is not in this store
        (kept / "later.npz").touch()
        os.utime(kept / "later.npz", (2e9, 2e9))
    assert len(list(kept.glob("*.npz"))) == 3 + later
    with pytest.raises(BadStore, match="there already"):
        prepare(by_hand(site), output)
    assert kept.exists() == later


def test_what_users_noted_in_the_quality_folder_stays(site: Path, serial: list[int]) -> None:
    output, quality = site.parent / "crops", site.parent / "crops.quality"
    prepare(by_hand(site), output)
    (quality / "notes.txt").write_text("Bob moved")
    with (quality / "review.md").open("a") as review:
        review.write("seen by me")
    for _ in range(2):
        shutil.rmtree(output)
        prepare(by_hand(site), output)
    assert (quality / "notes.txt").read_text() == "Bob moved"
    assert (quality / "edited_review.md").read_text().endswith("seen by me")
    assert "seen by me" not in (quality / "review.md").read_text()
    assert len(list(quality.iterdir())) == 6


def test_an_output_that_another_process_prepares_is_left_to_it(
    site: Path, serial: list[int]
) -> None:
    output = site.parent / "crops"
    with alone(output, purpose="prepare."), pytest.raises(UnsafeOutput, match="another process"):
        prepare(by_hand(site), output)
    prepare(by_hand(site), output)
    assert [path.name for path in site.parent.glob(".*")] == []


def test_scan_is_done_again_only_when_something_changed(site: Path, serial: list[int]) -> None:
    folder = site.parent / "work"

    def jobs(jitter: int = 0) -> list[work.ScanJob]:
        boxes = Placement({s: SinusBox(s, c) for s, c in CENTERS.items()})
        return [
            work.plan_job(scan, folder, jitter, JitterSd(), 0, boxes) for scan in read_scans(site)
        ]

    def redone(planned: list[work.ScanJob]) -> list[int]:
        serial.clear()
        parallel.do_scans(planned, 1)
        return list(serial)

    assert redone(jobs()) == [1, 2, 3]
    save_table(site, *reversed(site.read_text().splitlines()[1:]))
    text = site.read_text()
    save_table(site, "path,patient,left_class,right_class", text)
    assert redone(jobs()) == []
    save_head(site.parent / "scans/Bob.nii.gz", seed=9)
    assert redone(jobs()) == [2]
    next(folder.glob("*.npz")).write_bytes(b"half")
    assert len(redone(jobs())) == 1
    assert redone(jobs(jitter=1)) == [1, 2, 3]


def test_what_is_kept_spares_all_but_the_scan_that_has_changed(
    site: Path, serial: list[int]
) -> None:
    """Most of a site's later calls: a label put right, a scan replaced."""
    config = replace(by_hand(site), kept=site.parent / "kept")
    prepare(config, site.parent / "crops")
    assert serial == [1, 2, 3]
    first, *others = site.read_text().splitlines()
    corrected = [line[:-1] + "1" if line.endswith("0") else line for line in others]
    assert corrected != others
    site.write_text("\n".join([first, *corrected]))
    save_head(site.parent / "scans/Bob.nii.gz", seed=9)
    serial.clear()
    prepare(config, site.parent / "again")
    assert serial == [2]
    before, after = (CropStore.open(site.parent / name) for name in ("crops", "again"))
    assert list(before.table["label"]) != list(after.table["label"])
    same = before.table["patient"] == before.table["patient"].iloc[0]
    assert np.array_equal(before.crops[same], after.crops[same])
    with pytest.raises(BadConfig, match="in the store"):
        prepare(replace(config, kept=site.parent / "third" / "kept"), site.parent / "third")


def test_result_that_cannot_be_written_stops_with_words(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(job: work.ScanJob, *_: object) -> None:
        raise OSError(28, "No space left on device")

    class Here:
        """Runs at once what is submitted."""

        def __init__(self, *_: object) -> None: ...

        def submit(self, function: object, job: work.ScanJob) -> parallel.Future[work.Outcome]:
            future: parallel.Future[work.Outcome] = parallel.Future()
            try:
                future.set_result(work.do_scan(job))
            except OSError as error:
                future.set_exception(error)
            return future

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(work, "write_result", full)
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Here)
    with pytest.raises(BadStore, match=r"No space left on device.*the same command resumes"):
        prepare(by_hand(site), site.parent / "crops")


def test_full_disk_is_seen_beforehand(
    site: Path, serial: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1_000_000))
    with pytest.raises(BadStore, match="GB are free"):
        prepare(by_hand(site, jitter=15), site.parent / "crops")
    assert serial == []


def test_store_without_a_crop_is_refused_but_said_why(tmp_path: Path, serial: list[int]) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    table = save_table(tmp_path / "t.tsv", "path\tpatient", "a.nii.gz\tA")
    with pytest.raises(BadStore, match="None of the 1 scans"):
        prepare(PrepareConfig(table), tmp_path / "crops")
    assert "is empty" in (tmp_path / "crops.quality/review.md").read_text()
