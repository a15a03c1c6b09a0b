"""Finished runs are read whole, or the file that is wrong is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from paranasal_training.evaluation.comparison.collect import METRICS, collect
from sklearn.metrics import roc_auc_score

from ParanasalSSLLib.errors import BadStore

METHODS = ("none", "transfer", "residual")


@pytest.fixture
def runs(small_runs: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(small_runs, tmp_path / "runs"))


def test_one_line_a_run(small_runs: Path) -> None:
    table = collect(small_runs, METHODS, (10, 100)).table
    assert list(table.columns) == ["method", "percent", "fold", *METRICS]
    assert len(table) == 16
    written = json.loads((small_runs / "none/100/fold2/metrics.json").read_text())["test"]
    line = table.query("method == 'none' and percent == 100 and fold == 2").iloc[0]
    assert {name: line[name] for name in METRICS} == {name: written[name] for name in METRICS}


def test_absent_runs_stay_open_with_their_reason(small_runs: Path) -> None:
    found = collect(small_runs, METHODS, (10,), {"transfer": "no file"})
    assert found.missing == {("transfer", 10): "no file"}
    assert collect(small_runs, METHODS, (10,)).missing == {("transfer", 10): "not run"}


def test_runs_of_a_row_that_is_open_now_are_of_another_table(small_runs: Path) -> None:
    found = collect(small_runs, METHODS, (10,), {"none": "its file was not given"})
    assert found.missing["none", 10] == "its file was not given"
    assert ("none", 10) not in found.runs


def test_a_cell_without_all_folds_is_open(runs: Path) -> None:
    shutil.rmtree(runs / "none/10/fold2")
    found = collect(runs, METHODS, (10, 100))
    assert found.missing["none", 10] == "only fold 1, 3, 4 of fold 1, 2, 3, 4 has run"
    assert ("none", 10) not in found.runs


def test_folds_of_an_earlier_division_are_not_counted(runs: Path) -> None:
    found = collect(runs, METHODS, (10, 100), most=3)
    assert found.folds == (1, 2, 3)
    assert {len(cell) for cell in found.runs.values()} == {3}


def test_no_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match="none of the runs"):
        collect(tmp_path, METHODS, (10,))


@pytest.mark.parametrize("name", ["predictions.csv", "metrics.json"])
def test_missing_file_is_named(runs: Path, name: str) -> None:
    (runs / "none/10/fold1" / name).unlink()
    with pytest.raises(BadStore, match=f"none/10/fold1/{name}"):
        collect(runs, METHODS, (10,))


@pytest.mark.parametrize("name", ["predictions.csv", "metrics.json"])
@pytest.mark.parametrize("content", [b"", b'{"test": 3}', b"\xff\xfe\x00bad"])
def test_damaged_file_is_named(runs: Path, name: str, content: bytes) -> None:
    (runs / "none/10/fold1" / name).write_bytes(content)
    with pytest.raises(BadStore, match=f"none/10/fold1/{name}"):
        collect(runs, METHODS, (10,))


def test_metric_that_is_no_number_is_refused(runs: Path) -> None:
    path = runs / "none/10/fold1/metrics.json"
    record = json.loads(path.read_text())
    record["test"]["ece"] = float("nan")
    path.write_text(json.dumps(record))
    with pytest.raises(BadStore, match=r"metrics\.json.*not finite"):
        collect(runs, METHODS, (10,))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("probability", 1.2, "row 3"), ("label", 2, "row 3"), ("row", 0, "row 0 stands there twice")],
)
def test_impossible_row_is_named(runs: Path, column: str, value: float, words: str) -> None:
    path = runs / "none/10/fold1/predictions.csv"
    table = pd.read_csv(path)
    table.loc[(table["split"] == "test") & (table["row"] == 3), column] = value
    table.to_csv(path, index=False)
    with pytest.raises(BadStore, match=words):
        collect(runs, METHODS, (10,))


def test_runs_of_other_test_crops_are_not_compared(runs: Path) -> None:
    path = runs / "residual/10/fold2/predictions.csv"
    table = pd.read_csv(path)
    table["patient"] = table["patient"].replace("test-0", "someone-else")
    table.to_csv(path, index=False)
    with pytest.raises(BadStore, match=r"residual/10/fold2 was tested on other crops than none/10"):
        collect(runs, METHODS, (10,))


def test_files_of_different_runs_are_found_out(runs: Path) -> None:
    shutil.copy(runs / "residual/10/fold1/metrics.json", runs / "none/10/fold1/metrics.json")
    with pytest.raises(BadStore, match="different runs"):
        collect(runs, METHODS, (10,))


def test_ranks_tell_rounded_predictions_apart(runs: Path) -> None:
    """Saturated probabilities are told apart by the margin; a negative slope turns margins round."""
    path = runs / "none/10/fold1"
    table = pd.read_csv(path / "predictions.csv")
    before = collect(runs, ("none",), (10,)).runs["none", 10][0]
    table["margin"] *= -1
    table.to_csv(path / "predictions.csv", index=False)
    record = json.loads((path / "metrics.json").read_text())
    record["calibration"]["slope"] *= -1
    (path / "metrics.json").write_text(json.dumps(record))
    after = collect(runs, ("none",), (10,)).runs["none", 10][0]
    assert roc_auc_score(after.test["label"], after.ranks) == pytest.approx(
        roc_auc_score(before.test["label"], before.ranks)
    )
