"""`paranasal predict-study`: a folder of any size by Snakemake, here or on a cluster, resumable."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from paranasal_training.workflow.config import StudyConfig
from paranasal_training.workflow.experiment import run_alone, snakemake_words
from paranasal_training.workflow.study import Study
from ParanasalSSLLib.errors import BadConfig, UnsafeOutput
from ParanasalSSLLib.files import alone
from ParanasalSSLLib.results.layout import OVERVIEW
from ParanasalSSLLib.results.older import refuse_foreign_overview, refuse_unsafe_output
from ParanasalSSLLib.scans.source import ScanSource

SNAKEFILE = Path(__file__).with_name("Study.smk")


def predict_study(config: StudyConfig) -> int:
    """Score what has not been scored yet; returns the exit status (1: some scans failed).

    Raises:
        BadConfig: nothing to score, other settings than the study was begun with, a step that broke.
        UnsafeOutput: the results would replace something else; another call works at the study.
    """
    work = _work_folder(config)
    with alone(work, wait=False, purpose="study."):
        study = plan_study(config, work)
        study.forget(study.lost())
        if config.again:
            study.forget([e.identifier for e in study.ended().values() if e.state == "failed"])
        values = {"threads": config.threads, "gpus": int(config.device not in ("auto", "cpu"))}
        words = snakemake_words(SNAKEFILE, work, config, values)
        done = run_alone(words, work)
        return _told(study, done.returncode)


def plan_study(config: StudyConfig, work: Path) -> Study:
    """The plan that is there, or a new one; with scans that are new, where that was asked for."""
    settings = _settings(config)
    known = Study.read(work)
    study = known or Study(work, config.output.resolve(), settings, {}, config.scans_a_step)
    if (study.out, study.settings) != (config.output.resolve(), settings):
        raise BadConfig(
            f"{work} is the work of another call: results in {study.out}, settings {study.settings}. "
            "Give the same, or another folder with --work."
        )
    if known is None or config.add:
        study = study.with_scans(_search(config))
        if not study.scans:
            raise BadConfig("There are no scans to score.")
        if known is None:
            sources = [scan.path for scan in study.scans.values()]
            refuse_unsafe_output(study.out, list(study.scans), sources)
        study.write()
    refuse_foreign_overview(study.out)
    return study


def _work_folder(config: StudyConfig) -> Path:
    out = config.output.resolve()
    work = (config.work or out.with_name(f"{out.name}.work")).resolve()
    if work.is_relative_to(out):
        raise UnsafeOutput(f"--work {work} would lie among the results. It is private.")
    return work


def _settings(config: StudyConfig) -> dict[str, Any]:
    model = str(config.model.resolve()) if config.model is not None else None
    return {"device": config.device, "model": model, "note": config.note}


def _search(config: StudyConfig) -> list[ScanSource]:
    from ParanasalSSLLib.scans.find import find_scans

    scans: list[ScanSource] = []
    for path in map(Path.resolve, config.scans):
        if not path.is_dir():
            scans.append(ScanSource(path))
            continue
        found = find_scans(path, config.output)
        scans += found.scans
        for sentence in found.sentences():
            print(f"{path}: {sentence}", file=sys.stderr)
    return scans


def _told(study: Study, status: int) -> int:
    """Write the overview, and say how far the study is."""
    from ParanasalSSLLib.results.overview import Overview

    ended = study.ended()
    failed = [entry for entry in ended.values() if entry.state == "failed"]
    counts = Counter(entry.state for entry in ended.values())
    if study.out.is_dir():
        overview = Overview(study.out)
        for entry in ended.values():
            if entry.state != "done":
                overview.failed(entry.identifier, entry.state, entry.message)
        overview.write()
        print(f"Overview of all results: {study.out / OVERVIEW}")
    words = ", ".join(f"{number} {state}" for state, number in counts.items()) or "none"
    print(f"{len(study.scans)} scans: {words}, {len(study.scans) - len(ended)} to do.")
    for line in study.messages(failed):
        print(f"  {line}", file=sys.stderr)
    if status < 0:
        raise KeyboardInterrupt
    if status:
        raise BadConfig(
            f"A step stopped: see {study.work / 'logs'}. What was finished is kept; the same command "
            "resumes."
        )
    return 1 if failed else 0
