"""What a used working folder holds of other crops, other residuals or another division is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paranasal_training.workflow.needed import Needed
from paranasal_training.workflow.plan import Plan
from paranasal_training.workflow.used_folder import other_runs

from ParanasalSSLLib.files import sha256, write_json

SPLITS = "splits.csv"
TUNED = "finetune/two-channels/10/fold1"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Working folder of the experiment `beyond` with all its runs."""
    record = {"crops.npy": "c", "table.csv": "t"}
    store = {"format_version": 1, "kind": "crop store", "rows": 0, "sha256": record, "info": {}}
    write_json(tmp_path / "crops/store.json", store)
    (tmp_path / SPLITS).write_text("row,part\n")
    write_json(tmp_path / "splits.json", {"store": "c"})
    needed = Needed(Plan.read("cpu"), "beyond")
    for name in needed.residuals:
        folds = range(1, 6) if name == "crossed" else (1,)
        first, *more = [{"config": {"fold": fold}} for fold in folds]
        write_json(
            tmp_path / "residuals" / name / "residuals.json", {"cae": first, "crossed": more}
        )
    for name, of in needed.runs():
        write_json(tmp_path / name / "config.json", of)
        write_json(tmp_path / name / "inputs.json", digests(tmp_path, of))
    assert others(tmp_path) == set()
    return tmp_path


def digests(work: Path, of: dict[str, Any]) -> dict[str, str]:
    """What a run notes of its input."""
    files = {"splits": work / SPLITS}
    if of.get("residuals"):
        files["residuals"] = work / of["residuals"] / "residuals.json"
    return {"store": "c", "store's table": "t"} | {k: sha256(path) for k, path in files.items()}


def others(work: Path, **settings: Any) -> set[str]:
    return other_runs(work, Plan.read("cpu", **settings), "beyond")


@pytest.mark.parametrize("file", ["crops.npy", "table.csv"])
def test_runs_of_crops_that_were_replaced_whatever_their_age(work: Path, file: str) -> None:
    record = {"crops.npy": "c", "table.csv": "t", file: "new"}
    store = {"format_version": 1, "kind": "crop store", "rows": 0, "sha256": record, "info": {}}
    write_json(work / "crops/store.json", store)
    found = others(work)
    assert {"autoencoder/plain", "pretrain/residual/seed1", TUNED} <= found
    assert (SPLITS in found) == (file == "crops.npy")


def test_runs_of_another_division(work: Path) -> None:
    (work / SPLITS).write_text("row,part\n1,test\n")
    found = others(work)
    assert {"autoencoder/plain", "pretrain/residual/seed1", TUNED} <= found


def test_runs_of_residuals_that_were_made_anew(work: Path) -> None:
    path = work / "residuals/crossed/residuals.json"
    write_json(path, {"cae": {"config": {"fold": 1}}, "crossed": [{"config": {"fold": 2}}]})
    tuned = {f"finetune/two-channels/{p}/fold{k}" for p in (10, 20) for k in range(1, 6)}
    assert others(work) == {"residuals/crossed", *tuned}


def test_residuals_of_more_folds_than_there_are_now(work: Path) -> None:
    assert others(work, folds=3) == {"residuals/crossed"}


def test_early_runs_without_a_note_of_their_input_are_taken_as_they_are(work: Path) -> None:
    for path in work.glob("*/*/**/inputs.json"):
        path.unlink()
    assert others(work) == set()
