"""The whole adaptation with small networks on made-up heads: stopped, resumed, names nobody."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_objects import write_series
from paranasal_training.adapt import adapt as steps
from paranasal_training.adapt import look
from paranasal_training.adapt.adapt import adapt, report_folder
from paranasal_training.adapt.config import AdaptConfig
from paranasal_training.adapt.look import LookJob, look_at, read_looked
from paranasal_training.adapt.scans import listed_site_scans

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.cli.events import CallFailed, StepBegun, Summary, from_json
from ParanasalSSLLib.cli.scan_list import write_scan_list
from ParanasalSSLLib.errors import BadBundle, ParanasalError, UnsafeOutput
from ParanasalSSLLib.files import sha256
from ParanasalSSLLib.model.bundle import Bundle, load_bundle, shipped_bundle_path
from ParanasalSSLLib.model.bundle_saving import save_bundle
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import SinusReading
from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork
from ParanasalSSLLib.model.torch_networks import load_torch_networks
from ParanasalSSLLib.scans.find import find_scans
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

SMALL = SinusNetworkConfig(widths=(4, 4, 4, 4), decoder=(4, 4, 4, 4))
CENTER = {Side.LEFT: np.array([-26.0, 10.0, 4.0]), Side.RIGHT: np.array([26.0, 10.0, 4.0])}
RADIUS_MM, VOXEL_MM = 14.0, 3.0
PATIENTS = ("Meier", "Bauer", "Koch")


def save_head(path: Path, seed: int) -> Path:
    """Two round sinuses in noisy tissue."""
    reach = np.array([80.0, 70.0, 62.0])
    shape = tuple((2 * reach / VOXEL_MM).astype(int))
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = -reach
    mm = np.indices(shape) * VOXEL_MM - reach.reshape(3, 1, 1, 1)
    data = 400 + 2 * mm[1] + np.random.default_rng(seed).normal(0, 4, shape)
    for center in CENTER.values():
        away = np.linalg.norm(mm - center.reshape(3, 1, 1, 1), axis=0)
        data *= 0.02 + 0.98 * np.clip((away - RADIUS_MM) / VOXEL_MM + 0.5, 0, 1)
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.float32(data), affine), path)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three persons with a scan each, and one file that is no scan."""
    folder = tmp_path_factory.mktemp("site")
    scans = [save_head(folder / name / f"{name}.nii", n) for n, name in enumerate(PATIENTS)]
    (folder / "Wolf").mkdir()
    (folder / "Wolf" / "Wolf.nii").write_text("no scan")
    return [*scans, folder / "Wolf" / "Wolf.nii"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle with one small sinus network of random weights that suspects nothing."""
    torch.manual_seed(0)
    shipped = load_bundle(shipped_bundle_path())
    reading = SinusReading(SMALL, Calibration(1.0, -3.0))
    card = replace(shipped.card, sinus=reading, decision_threshold=0.999)
    sinus = SinusEnsemble([SinusNetwork(SMALL)]).eval()
    networks = replace(load_torch_networks(shipped_bundle_path()), sinus=sinus)
    made = Bundle(card, networks, shipped.residual_thresholds)
    return save_bundle(made, tmp_path_factory.mktemp("bundles") / "small", "# Older card\n")


def know_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up heads are none to the registration; a network of random weights sees no cavity."""

    def place(volume: Volume) -> Placement:
        return Placement({side: SinusBox(side, center + 2.0) for side, center in CENTER.items()})

    monkeypatch.setattr(look, "place_boxes", place)
    monkeypatch.setattr("paranasal_training.adapt.choose.OF_CAVITY", (0.0, np.inf))
    monkeypatch.setattr(look, "LEAK_MM", np.inf)


def config_of(site: list[Path], bundle: Path, **options: object) -> AdaptConfig:
    small = {"samples": 40, "steps": 3, "batch_size": 2, "judged": 20, "processes": 1}
    return AdaptConfig(scans=site, bundle=bundle, **small | options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(
    site: list[Path], bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A bundle of an adaptation that was stopped after every step; what the last call printed."""
    output = tmp_path_factory.mktemp("made") / "Meierhof"
    with pytest.MonkeyPatch.context() as patch:
        know_boxes(patch)
        for step in ("paint", "learn_jobs", "judge", "write"):
            stop_at(step, config_of(site, bundle), output)
        lines = io.StringIO()
        with redirect_stdout(lines):
            assert adapt(config_of(site, bundle, json_progress=True), output) == 0
    return output, lines.getvalue()


def stop_at(step: str, config: AdaptConfig, output: Path) -> None:
    def stop(*words: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps._Adaptation, step, stop)
        with pytest.raises(KeyboardInterrupt):
            adapt(config, output)
    assert not output.exists()


def test_a_stopped_adaptation_is_resumed_and_leaves_nothing_behind(made: tuple[Path, str]) -> None:
    output, _ = made
    names = {path.name for path in output.parent.iterdir()}
    assert names == {output.name, report_folder(output).name}


def test_what_was_done_is_not_done_again(made: tuple[Path, str]) -> None:
    events = [from_json(line) for line in made[1].splitlines()]
    begun = [event.fraction for event in events if isinstance(event, StepBegun)]
    assert begun == sorted(begun) and begun[0] == pytest.approx(0.2), "all scans were looked at"
    assert events[-1] == Summary(3, 1, str(made[0]))


def test_the_bundle_has_a_network_for_each_group_and_its_own_threshold(
    made: tuple[Path, str], bundle: Path
) -> None:
    adapted, older = load_bundle(made[0]), load_bundle(bundle)
    sinus = load_torch_networks(made[0]).sinus
    assert sinus is not None and adapted.card.onnx_sha256
    assert adapted.card.sinus is not None and adapted.card.sinus.members == 3
    assert adapted.card.version == f"{older.card.version}+site"
    assert adapted.card.decision_threshold != older.card.decision_threshold
    learnt = [member.head.weight for member in sinus.members]
    assert not torch.equal(learnt[0], learnt[1])
    facts = adapted.card.training["adaptation"]
    assert sorted(p for group in facts["left_out"] for p in group) == ["p0001", "p0002", "p0003"]
    text = (made[0] / "README.md").read_text()
    assert text.startswith("# Adapted to the site") and "# Older card" in text


def test_the_report_says_what_was_used_and_names_nobody(made: tuple[Path, str]) -> None:
    output, _ = made
    folder = report_folder(output)
    page = (folder / "adaptation.html").read_text()
    assert "p0001_1:left" in page and "could not be used" in page and "p0004_1" in page
    assert (folder / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    assert "| painted disease |" in (folder / "adaptation.md").read_text()
    written = [path for path in (*folder.iterdir(), *output.iterdir()) if path.suffix != ".png"]
    for path in written:
        content = path.read_bytes()
        for private in (*PATIENTS, "Wolf", str(output.parent)):
            assert private.encode() not in content, f"{private} in {path.name}"


def test_the_bundle_that_was_adapted_is_not_changed(bundle: Path, made: tuple[Path, str]) -> None:
    assert sha256(bundle / "model.safetensors") == load_bundle(bundle).card.weights_sha256


def test_an_output_that_is_there_is_refused(
    made: tuple[Path, str], site: list[Path], bundle: Path
) -> None:
    with pytest.raises(UnsafeOutput, match="is there already"):
        adapt(config_of(site, bundle), made[0])


def test_what_cannot_work_is_refused_before_any_scan_is_looked_at(
    site: list[Path], bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for words, options in {
        "no store": {"donors": [tmp_path / "empty"]},
        "Scans are needed of 3 persons or more; there are those of 1": {"scans": [site[0]]},
        "must not lie in the new bundle": {"key": tmp_path / "out" / "key.csv"},
    }.items():
        with pytest.raises(ParanasalError, match=words):
            adapt(replace(config_of(site, bundle), **options), tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_of_a_folder_with_two_series_the_listed_one_is_looked_at(
    site: list[Path], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Mustermann"
    for seed, path in enumerate(site[:2]):
        series = write_series(read_volume(path), tmp_path / str(seed), SeriesNumber=seed)
        for file in series.iterdir():
            folder.mkdir(exist_ok=True)
            file.rename(folder / f"Mustermann_{seed}{file.name}")
    found = find_scans(folder).scans
    write_scan_list(tmp_path / "list.json", {"1": found[1], "2": ScanSource(folder)})
    listed = listed_site_scans(tmp_path / "list.json")
    know_boxes(monkeypatch)
    jobs = [LookJob(scan, bundle, tmp_path) for scan in listed]
    for job in jobs:
        look_at(job)
    one, both = map(read_looked, jobs)
    assert len(found) == 2 and len(one.sides) == 2 and not one.reason
    assert not both.sides and "2 series" in both.reason and "Mustermann" not in both.reason
    listed[0].source.files[0].write_bytes(listed[0].source.files[0].read_bytes()[:-50])
    jobs[0].record.unlink()
    look_at(jobs[0])
    damaged = read_looked(jobs[0]).reason
    assert "truncated" in damaged and "Mustermann" not in damaged


def test_programs_are_told_of_a_bundle_that_cannot_be_adapted(
    site: list[Path], tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_bundle(bundle)
    card = replace(loaded.card, sinus=None)
    plain = replace(loaded, card=card, networks=load_torch_networks(bundle))
    folder = save_bundle(plain, tmp_path / "plain")
    with pytest.raises(BadBundle, match="no sinus network"):
        adapt(config_of(site, folder), tmp_path / "out")
    assert adapt(config_of(site, folder, json_progress=True), tmp_path / "out") == 1
    event = from_json(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(event, CallFailed) and event.error == "BadBundle"
    assert not (tmp_path / "out").exists()
    assert json.loads((folder / "bundle.json").read_text())["sinus"] is None
