"""A study in steps: resumed scan by scan, nothing lost by a kill, the same ids for ever."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from paranasal_training.workflow.config import StudyConfig
from paranasal_training.workflow.experiment import snakemake_words
from paranasal_training.workflow.predict_study import SNAKEFILE, plan_study
from paranasal_training.workflow.study import Study

from ParanasalSSLLib.cli.events import ScanDone, ScanFailed, ScanLeftOut
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.errors import BadConfig, UnsafeOutput
from ParanasalSSLLib.scans.source import ScanSource

SOAK = Path(__file__).parents[2] / "soak" / "kill_study.py"


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    for number in range(5):
        path = tmp_path / "raw" / f"p{number}" / "t1.nii.gz"
        path.parent.mkdir(parents=True)
        path.touch()
    return StudyConfig(scans=[tmp_path / "raw"], output=tmp_path / "out", scans_a_step=2)


@pytest.fixture
def study(config: StudyConfig, tmp_path: Path) -> Study:
    return plan_study(config, tmp_path / "work")


def test_scans_that_have_ended_are_not_scored_again(study: Study) -> None:
    assert study.steps() == ["0000-2", "0001-2", "0002-1"]
    assert [job.scan_id for job in study.jobs("0001-2")] == ["sub-0003", "sub-0004"]
    study.note(ScanDone(id="sub-0003"))
    study.note(ScanFailed(id="sub-0001", error="UnreadableScan", message="Empty."))
    study.note(ScanLeftOut(id="sub-0002", error="NotAHead", message="No head."))
    assert [job.number for job in study.jobs("0001-2")] == [4]
    assert study.jobs("0000-2") == []
    assert [entry.state for entry in study.ended().values()] == ["failed", "left out", "done"]
    assert "p0" in next(study.messages([study.ended()["sub-0001"]]))


def test_scans_whose_results_are_gone_are_scored_again(study: Study) -> None:
    study.note(ScanDone(id="sub-0003"))
    marker = study.marker("0001-2")
    marker.parent.mkdir()
    marker.touch()
    assert study.lost() == ["sub-0003"]
    study.forget(study.lost())
    assert not marker.exists() and len(study.jobs("0001-2")) == 2


def test_plan_stays_and_new_scans_come_at_its_end(
    config: StudyConfig, study: Study, tmp_path: Path
) -> None:
    new = tmp_path / "raw" / "a new one.nii.gz"
    new.touch()
    assert plan_study(config, study.work).scans == study.scans
    added = plan_study(replace(config, add=True), study.work)
    assert list(added.scans.items())[:5] == list(study.scans.items())
    assert added.scans["sub-0006"].path == new and added.steps()[-1] == "0002-2"
    assert Study.read(study.work) == added


def test_files_of_a_series_are_kept_beside_the_plan(study: Study) -> None:
    files = (Path("/cd/IM1"), Path("/cd/IM2"))
    added = study.with_scans([ScanSource(Path("/cd"), files, "series 2", searched=True)])
    assert added.jobs("0002-2")[1].scan.files == files


def test_other_settings_and_unsafe_places_are_refused(
    config: StudyConfig, study: Study, tmp_path: Path
) -> None:
    with pytest.raises(BadConfig, match="another call"):
        plan_study(replace(config, note="other"), study.work)
    (study.work / "plan.json").write_text("{")
    with pytest.raises(BadConfig, match="damaged"):
        Study.read(study.work)
    from paranasal_training.workflow.predict_study import predict_study

    with pytest.raises(UnsafeOutput, match="private"):
        predict_study(replace(config, work=tmp_path / "out" / "work"))


def test_empty_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw").mkdir()
    assert main(["predict-study", str(tmp_path / "raw"), "-o", str(tmp_path / "out")]) == 1
    assert "no scans" in capsys.readouterr().err


def test_cluster_gets_a_number_of_jobs(config: StudyConfig, tmp_path: Path) -> None:
    cluster = replace(config, executor="slurm", cores=100)
    words = snakemake_words(SNAKEFILE, tmp_path, cluster, {})
    assert words[words.index("--executor") + 1] == "slurm"
    assert words[words.index("--jobs") + 1] == "100" and "--cores" not in words


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills process groups")
def test_kill_of_the_whole_study_loses_nothing() -> None:
    words = [sys.executable, SOAK, "--scans", "20", "--kills", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
