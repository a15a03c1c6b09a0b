"""`paranasal bids`: the call of a BIDS App, and derivatives that a BIDS validator takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ParanasalSSLLib.cli.main import main

Run = Callable[..., int]


@pytest.fixture
def data_set(toolbox: Any, tmp_path: Path) -> Path:
    """Two participants, one with two sessions of two contrasts; something derived beside them."""
    raw = tmp_path / "raw data"
    volume = toolbox.head()
    image = nib.Nifti1Image(volume.data, volume.affine)
    image.set_qform(volume.affine, code=1)
    names = ("sub-01/ses-a/anat/sub-01_ses-a_T1w", "sub-01/ses-a/anat/sub-01_ses-a_FLAIR")
    for name in (*names, "sub-02/anat/sub-02_acq-hi_T1w", "sub-02/anat/sub-02_space-x_T1w"):
        path = raw / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, path)
    described = {"Name": "raw", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (raw / "dataset_description.json").write_text(json.dumps(described))
    return raw


@pytest.fixture
def run(stand_ins: Any) -> Run:
    """`paranasal bids ...` with the networks and the registration replaced by stand-ins."""
    return lambda *words: main(["bids", *map(str, words)])


def test_derivatives_are_named_after_the_scans_and_valid(run: Run, data_set: Path) -> None:
    out = data_set / "derivatives" / "paranasal"
    assert run(data_set, out, "participant") == 0
    numbers = sorted(path.relative_to(out).as_posix() for path in out.glob("sub-*/**/*_dseg.json"))
    assert numbers == [
        "sub-01/ses-a/anat/sub-01_ses-a_desc-opacityFLAIR_dseg.json",
        "sub-01/ses-a/anat/sub-01_ses-a_desc-opacityT1w_dseg.json",
        "sub-02/anat/sub-02_acq-hi_desc-opacityT1w_dseg.json",
    ]
    written = json.loads((out / numbers[2]).read_text())
    assert written["Sources"] == ["bids:raw:sub-02/anat/sub-02_acq-hi_T1w.nii.gz"]
    assert 0 <= written["ParanasalSSL"]["sinuses"]["left"]["probability"] <= 1
    labels = nib.load(out / numbers[2].replace(".json", ".nii.gz"))
    scan = nib.load(data_set / "sub-02/anat/sub-02_acq-hi_T1w.nii.gz")
    np.testing.assert_allclose(labels.affine, scan.affine, atol=1e-5)
    assert labels.shape == scan.shape
    assert (out / "reports" / "index.html").is_file()
    assert (out / "reports" / "sub-01_ses-a_T1w" / "sub-01_ses-a_T1w_report.html").is_file()
    assert errors_of_the_validator(out) == []


def errors_of_the_validator(folder: Path) -> list[tuple[str, str]]:
    """(code, place) of all errors of bids-validator, by the schema that it ships."""
    program = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("bids-validator-deno is not installed (extra test)")
    done = subprocess.run(
        [program, str(folder), "--json", "--ignoreWarnings"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["totalFiles"] > 9
    return [
        (issue["code"], issue.get("location", ""))
        for issue in found["issues"]["issues"]
        if issue["severity"] == "error"
    ]


@pytest.mark.parametrize("labels", [("01",), ("sub-01",), ("02", "01")])
def test_participants_are_chosen_with_or_without_their_prefix(
    run: Run, data_set: Path, tmp_path: Path, labels: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    assert run(data_set, out, "participant", "--participant_label", *labels) == 0
    chosen = sorted(path.name for path in out.glob("sub-*"))
    assert chosen == sorted({f"sub-{label.removeprefix('sub-')}" for label in labels})


@pytest.mark.parametrize("words", [("--participant-label", "09"), ("--session-label", "b")])
def test_participant_or_session_that_is_not_there_is_told(
    run: Run, data_set: Path, tmp_path: Path, words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(data_set, tmp_path / "out", "participant", *words) == 1
    assert words[1] in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_derivatives_do_not_go_among_raw_data(
    run: Run, data_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(data_set.rglob("*"))
    assert run(data_set, data_set, "participant") == 1
    assert "among raw data" in capsys.readouterr().err
    assert sorted(data_set.rglob("*")) == before


@pytest.mark.parametrize("words", [("participant", "more"), (), ("group",)])
def test_words_that_are_no_bids_call_are_wrong_usage(
    run: Run, data_set: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(data_set, tmp_path / "out", *words)
    assert stop.value.code == 2
