"""What is installed with the module, what is loaded with it, and where it finds its library."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "ParanasalSSL"
LIBRARY = ROOT / "ParanasalSSLLib"


def listed(cmake: Path, prefix: str = "") -> set[str]:
    """The files that a CMakeLists.txt names, with its own variables filled in."""
    text = cmake.read_text(encoding="utf-8").replace("${MODULE_NAME}", "ParanasalSSL")
    text = re.sub(r"#.*", "", text)
    files = re.findall(r"^\s+([\w/]+\.[\w.]+)\s*$", text, re.MULTILINE)
    return {name for name in files if name.startswith(prefix)}


def on_disk(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt"
    }


def test_every_file_of_the_module_is_listed_in_cmake() -> None:
    assert listed(MODULE / "CMakeLists.txt") == on_disk(MODULE)


def test_every_file_of_the_library_is_listed_in_cmake() -> None:
    files = {f"ParanasalSSLLib/{name}" for name in on_disk(LIBRARY)}
    names = listed(ROOT / "CMakeLists.txt", "ParanasalSSLLib/")
    assert files - names == set(), "not listed in CMakeLists.txt"
    lacking = names - files
    if lacking and all("/bundles/" in name for name in lacking):
        pytest.skip("the shipped bundle is missing")
    assert lacking == set(), "listed in CMakeLists.txt, but not there"


def test_every_parameter_of_the_panel_has_its_widget(module: ModuleType) -> None:
    root = ET.parse(MODULE / "Resources" / "UI" / "ParanasalSSL.ui").getroot()
    bound = {
        item.findtext("string")
        for item in root.iter("property")
        if item.get("name") == "SlicerParameterName"
    }
    assert bound == {"scan", "overlayOpacity", "residualThreshold"}
    assert all(hasattr(module.ParanasalSSLParameterNode, name) for name in bound)


def test_the_requirements_leave_slicers_own_packages_alone() -> None:
    from packaging.requirements import Requirement

    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for requirement in wanted:
        assert {specifier.operator for specifier in requirement.specifier} == {">="}
        assert requirement.name.lower() not in {"torch", "simpleitk", "numpy", "scipy", "vtk"}


LOAD = """
import importlib.abc, sys
sys.path[:] = [p for p in sys.path if p != {root!r}]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in str(f).lower()]
sys.path.insert(0, {testing!r})
import headless
headless.install()
before = set(sys.modules)
from pathlib import Path
module = headless.load_module(Path({module!r}))
import ParanasalSSLLib
print(Path(ParanasalSSLLib.__file__).parent)
print(sorted(set(name.split(".")[0] for name in set(sys.modules) - before)))
"""


def load_in_a_fresh_python(module: Path, cwd: Path) -> list[str]:
    """Load the module without pip's installation of the library; the lines that it printed."""
    code = LOAD.format(root=str(ROOT), testing=str(Path(__file__).parent), module=str(module))
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_loading_the_module_from_a_clone_finds_the_library_and_loads_no_torch(
    installed: ModuleType, tmp_path: Path
) -> None:
    library, loaded = load_in_a_fresh_python(MODULE / "ParanasalSSL.py", tmp_path)
    assert Path(library) == LIBRARY
    for heavy in ("torch", "monai", "nibabel", "matplotlib", "SimpleITK"):
        assert f"'{heavy}'" not in loaded


def test_a_built_extension_uses_the_library_beside_the_module(
    installed: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "qt-scripted-modules"
    ignore = shutil.ignore_patterns("__pycache__", "bundles")
    shutil.copytree(MODULE, folder, ignore=ignore)
    shutil.copytree(LIBRARY, folder / "ParanasalSSLLib", ignore=ignore)
    library, _ = load_in_a_fresh_python(folder / "ParanasalSSL.py", tmp_path)
    assert Path(library) == folder / "ParanasalSSLLib"
