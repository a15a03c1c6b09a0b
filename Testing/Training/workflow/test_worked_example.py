"""The worked example of the documentation: its commands and its preset are ones that there are."""

from __future__ import annotations

import re
from pathlib import Path

from paranasal_training.workflow.plan import Plan

from ParanasalSSLLib.cli.main import find_commands

FOLDER = Path(__file__).parents[3] / "Docs/worked_example"


def test_its_commands_and_its_preset_are_ones_that_there_are() -> None:
    script = (FOLDER / "run.sh").read_text(encoding="utf-8")
    called = re.findall(r"^step .* paranasal (\S+)", script, flags=re.MULTILINE)
    assert called == ["prepare", "experiment", "bundle-experiment", "predict"]
    assert set(called) <= {command.name for command in find_commands()[0]}
    text = FOLDER.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"paranasal {name} " in text for name in called)
    plan = Plan.read(str(FOLDER / "preset.yaml"))
    assert plan.closed_rows("loss") == ["l1", "l2", "calibrated"]
    assert (plan.folds, plan.percents("loss")) == (2, (100,))
