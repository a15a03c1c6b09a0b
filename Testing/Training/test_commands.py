"""The training commands as they are typed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import paranasal_training
import pytest
from paranasal_training.commands import COMMANDS
from paranasal_training.data.store import CropStore

from ParanasalSSLLib.cli.main import main


def test_every_command_is_listed_and_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for command in COMMANDS:
        assert command.name in listed
        with pytest.raises(SystemExit) as stopped:
            main([command.name, "--help"])
        assert stopped.value.code == 0
        options = capsys.readouterr().out
        assert "--output" in options or command.name in ("model-card", "add-onnx")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from paranasal_training.commands import COMMANDS\n"
        "from ParanasalSSLLib.cli.main import main\n"
        "for command in COMMANDS:\n"
        "    try:\n"
        "        main([command.name, '--help'])\n"
        "    except SystemExit:\n"
        "        pass\n"
        "heavy = {'torch', 'pytorch_lightning', 'monai', 'pandas', 'matplotlib', 'scipy', 'sklearn'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert "--label-fraction" in done.stdout


def test_options_come_from_file_and_line(
    toy_store: CropStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.yaml").write_text(
        "epochs: 3\nbatch_size: 8\nnetwork: {latent: 8, channels: [2, 2, 4]}\n"
    )
    words = ["train", "--config", tmp_path / "train.yaml", "--store", toy_store.folder]
    words += ["--output", tmp_path / "run", "--epochs", "1"]
    assert main([str(word) for word in words]) == 0
    record = (tmp_path / "run/config.json").read_text()
    assert '"epochs": 1' in record
    assert '"latent": 8' in record
    assert str(tmp_path / "run") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "0"], "epochs is 1 or more"),
        (["--optimizer.lr", "-1"], "lr is above 0"),
    ],
)
def test_values_that_make_no_sense_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    base = ["train", "--store", str(tmp_path), "--output", str(tmp_path / "r")]
    try:
        status = main(base + words)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status != 0
    assert said in capsys.readouterr().err


def test_missing_store_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--store", tmp_path / "none", "--output", tmp_path / "r"]
    assert main([str(word) for word in words]) == 1
    assert "is no crop store" in capsys.readouterr().err


def test_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--store", str(tmp_path), "--output", str(tmp_path), "--epoch", "3"])
    assert stopped.value.code == 2


def test_every_file_beside_the_code_is_installed_with_it() -> None:
    package = Path(paranasal_training.__file__).parent
    project = package.parents[1] / "pyproject.toml"
    if not project.is_file():
        pytest.skip("the package is installed without its repository")
    setup = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]
    named = {path for each in setup["package-data"][package.name] for path in package.glob(each)}
    files = {p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {path for path in files if path.suffix != ".py"} <= named
    packages = {each.replace(".", "/") for each in setup["packages"]}
    assert {
        p.parent.relative_to(package.parent).as_posix() for p in files if p.suffix == ".py"
    } <= (packages)
