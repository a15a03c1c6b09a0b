"""Missing packages: asked for when first needed; every way in which that fails is told in words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FAILED = subprocess.CalledProcessError(1, "pip")


class Calls(list[Any]):
    """Notes what was asked for; raises or returns what it is told to."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.append((arguments, options))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def packages(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The part of the panel, on a Slicer without PyTorch."""
    from ParanasalSSLPanel import packages

    monkeypatch.setattr(packages, "isTorchInstalled", lambda: False)
    return packages


@pytest.fixture
def requirements() -> str:
    module = Path(__file__).resolve().parents[2] / "ParanasalSSL"
    return str(module / "Resources" / "requirements.txt")


def with_pip_ensure(monkeypatch: pytest.MonkeyPatch, pip_ensure: Callable[..., Any]) -> None:
    monkeypatch.setattr(sys.modules["slicer.packaging"], "pip_ensure", pip_ensure)


def test_the_requirements_are_asked_for_in_the_modules_name(
    packages: Any, requirements: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Calls()
    with_pip_ensure(monkeypatch, asked)
    packages.ensurePackages(requirements)
    ((arguments, options),) = asked
    names = [str(wanted) for wanted in arguments[0]]
    assert any(name.startswith("onnxruntime") for name in names)
    assert not any(name.startswith("torch") for name in names)
    assert options.pop("constraints").name == "constraints.txt"
    assert options == {"requester": "ParanasalSSL"}


def test_what_slicer_has_already_is_held_by_constraints(
    packages: Any, requirements: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import version

    held: list[str] = []

    def pip_ensure(wanted: Any, constraints: Path, requester: str) -> None:
        held.extend(constraints.read_text().splitlines())

    with_pip_ensure(monkeypatch, pip_ensure)
    packages.ensurePackages(requirements)
    assert f"numpy=={version('numpy')}" in held
    assert not any(line.startswith("onnxruntime==") for line in held), "it may have to be newer"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [(RuntimeError("declined"), "agree to the installation"), (FAILED, "The log .* says why")],
    ids=["declined", "without a word"],
)
def test_packages_that_were_not_installed_are_told_in_words(
    packages: Any,
    requirements: str,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Exception,
    words: str,
) -> None:
    with_pip_ensure(monkeypatch, Calls(outcome))
    with pytest.raises(packages.PackagesMissing, match=words):
        packages.ensurePackages(requirements)


WINDOWS, MAC, LINUX = ("Windows", "AMD64"), ("Darwin", "x86_64"), ("Linux", "x86_64")


@pytest.mark.parametrize(
    ("line", "system", "words"),
    [
        (
            "WARNING: Retrying after NewConnectionError(...)",
            LINUX,
            "pypi.org, .* cannot be reached",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED]", WINDOWS, "certificate is not trusted"),
        ("ProxyError('Cannot connect to proxy.')", WINDOWS, "proxy has refused"),
        ("OSError: [Errno 28] No space left on device", LINUX, "disk is full"),
        ("[WinError 5] Access is denied: 'C:/Program Files'", WINDOWS, "as administrator"),
        ("[Errno 13] Permission denied: '/opt/Slicer'", LINUX, "folder of your own"),
        ("[Errno 30] Read-only file system: '/private'", MAC, "the folder Applications"),
        ("ERROR: No matching distribution found for onnxruntime>=1.20", MAC, "M processor"),
        (
            "ERROR: No matching distribution found for onnxruntime>=1.20",
            LINUX,
            "of onnxruntime for",
        ),
        ("ERROR: ResolutionImpossible: for help visit", LINUX, "other extensions"),
        ("ERROR: Something else.", LINUX, "pip says: Something else."),
    ],
)
def test_what_has_really_failed_is_told_for_each_system(
    packages: Any,
    requirements: str,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    system: tuple[str, str],
    words: str,
) -> None:
    from ParanasalSSLPanel import pipWords

    def pip_ensure(*arguments: Any, **options: Any) -> None:
        print("Collecting onnxruntime\n" + line)
        raise FAILED

    monkeypatch.setattr(pipWords.platform, "system", lambda: system[0])
    monkeypatch.setattr(pipWords.platform, "machine", lambda: system[1])
    with_pip_ensure(monkeypatch, pip_ensure)
    with pytest.raises(packages.PackagesMissing, match=words):
        packages.ensurePackages(requirements)


def test_a_lacking_wheel_is_named(
    slicer: Any, packages: Any, requirements: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def pip_install(arguments: list[str]) -> None:
        print("ERROR: No matching distribution found for nibabel>=5.3")
        raise FAILED

    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    with pytest.raises(packages.PackagesMissing, match="nibabel is missing there"):
        packages.installFromFolder(requirements, tmp_path)


def test_an_old_slicer_is_told_in_words(
    packages: Any, requirements: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    with pytest.raises(packages.PackagesMissing, match=r"Slicer 5\.12 or newer"):
        packages.ensurePackages(requirements)


def test_wheels_are_taken_from_a_folder_without_network(
    slicer: Any, packages: Any, requirements: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pip_install = Calls()
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    packages.installFromFolder(requirements, tmp_path)
    ((arguments, _),) = pip_install
    assert arguments[0][:4] == ["--no-index", "--find-links", str(tmp_path), "-c"]
    assert any(name.startswith("nibabel") for name in arguments[0])
    assert not any(name.startswith("#") for name in arguments[0])
    pip_install.outcome = FAILED
    with pytest.raises(packages.PackagesMissing, match="a wheel is missing there"):
        packages.installFromFolder(requirements, tmp_path)


def test_highdicom_is_asked_for_only_where_it_is_missing(
    packages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Calls()
    with_pip_ensure(monkeypatch, asked)
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: object())
    packages.ensureHighdicom()
    assert not asked
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    packages.ensureHighdicom()
    assert asked[0][0][0][0].startswith("highdicom")
