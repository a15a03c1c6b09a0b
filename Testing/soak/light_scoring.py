"""A light stand-in for the scoring in a study's steps: patches what `workflow.step` scores with.

`kill_study.py` puts its folder on PYTHONPATH under the name `sitecustomize`, so that every Python that
runs a step has it. The result of a scan is a folder with a report, written whole as the real one.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = (0.02, 0.15)  # that a scan takes


def patch() -> None:
    from ParanasalSSLLib.cli import predict

    predict.make_scorer = _LightScorer  # type: ignore[assignment, misc]


class _LightScorer:
    def __init__(self, config: Any, debug: bool, ids: Any, show: Any) -> None:
        self._out, self._show = config.output, show
        self._template = json.loads((Path(__file__).parent / "report.json").read_text())

    def score(self, job: Any) -> None:
        from ParanasalSSLLib.cli.events import ScanDone
        from ParanasalSSLLib.files import write_whole_folder
        from ParanasalSSLLib.results.layout import ScanFiles

        report = self._template | {"scan": job.scan_id}
        report["image"] |= {"sha256": hashlib.sha256(job.scan.path.read_bytes()).hexdigest()}
        with write_whole_folder(self._out / job.scan_id, lambda older, new: None) as folder:
            files = ScanFiles(folder, job.scan_id)
            files.report_html.write_text("<html>")
            time.sleep(random.uniform(*SECONDS))
            files.report_json.write_text(json.dumps(report))
        self._show(ScanDone(**job.about(), folder=str(self._out / job.scan_id)))


if "paranasal_training.workflow.step" in sys.orig_argv:
    patch()
