"""What is installed with the module, what is loaded with it, and where it finds its library."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
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


def test_the_requirements_leave_slicers_own_packages_alone() -> None:
    from packaging.requirements import Requirement

    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for requirement in wanted:
        assert {specifier.operator for specifier in requirement.specifier} == {">="}
        assert requirement.name.lower() not in {"torch", "simpleitk", "numpy", "scipy", "vtk"}
    # All else that the library needs is asked for, in the same versions.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shipped = {"torch", "numpy", "scipy", "SimpleITK", "pydicom"}  # torch: by its own extension
    needed = {line for line in project["dependencies"] if Requirement(line).name not in shipped}
    assert {str(requirement) for requirement in wanted} == needed


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


def test_a_module_alone_uses_the_library_that_pip_has_installed(
    installed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "modules" / "ParanasalSSL"
    shutil.copytree(MODULE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    site = tmp_path / "site-packages"
    ignore = shutil.ignore_patterns("__pycache__", "bundles")
    shutil.copytree(LIBRARY, site / "ParanasalSSLLib", ignore=ignore)
    monkeypatch.setenv("PYTHONPATH", str(site))
    library, _ = load_in_a_fresh_python(folder / "ParanasalSSL.py", tmp_path)
    assert Path(library) == site / "ParanasalSSLLib"


# ------------------------------------------------------------------- what Slicer's index asks for

ENTRY = ROOT / "Docs" / "extensions-index" / "ParanasalSSL.json"
# Of Slicer's schema for entries, version 1.0.1: types of the fields, of which three must be there.
FIELDS = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
REQUIRED = {"$schema", "category", "scm_url"}
RAW = "https://raw.githubusercontent.com/ParanasalSSL/ParanasalSSL/main/"


def fact(name: str) -> str:
    """What the extension's CMakeLists.txt says under that name."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(rf'^set\({name} "(.*)"\)$', text, re.MULTILINE)
    assert found is not None, name
    return found[1]


def test_the_entry_of_the_index_is_named_after_the_project() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"^project\((\w+)\)", text, re.MULTILINE) == [ENTRY.stem]
    assert not ENTRY.stem.startswith("Slicer")


def test_the_entry_of_the_index_has_the_schemas_fields() -> None:
    entry = json.loads(ENTRY.read_text(encoding="utf-8"))
    assert entry.keys() >= REQUIRED
    for name, value in entry.items():
        assert type(value) is FIELDS[name], name
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert entry["tier"] in (1, 3, 5) and entry["scm_type"] in ("git", "local")
    assert entry["category"] == "Otolaryngology"
    assert fact("EXTENSION_HOMEPAGE") in entry["scm_url"]
    assert entry["build_dependencies"] == []
    assert fact("EXTENSION_DEPENDS") == "NA"  # Slicer's word for none
    assert entry["category"] in (MODULE / "ParanasalSSL.py").read_text(encoding="utf-8")


def test_the_description_is_a_sentence_or_two() -> None:
    assert 1 <= len(re.findall(r"[^.]+\.", fact("EXTENSION_DESCRIPTION"))) <= 2
    assert (ROOT / "LICENSE.txt").is_file()


def test_the_icon_and_the_screenshots_are_in_the_repository() -> None:
    icon = ROOT / fact("EXTENSION_ICONURL").removeprefix(RAW)
    header = icon.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (128, 128)
    screenshots = fact("EXTENSION_SCREENSHOTURLS").split()
    assert screenshots
    for url in screenshots:
        assert (ROOT / url.removeprefix(RAW)).is_file(), url


def test_nothing_is_imported_early_that_slicer_does_not_ship() -> None:
    shipped = {"slicer", "vtk", "SimpleITK", "numpy", "scipy", "qt", "ctk"}
    ours = {"ParanasalSSLLib", "ParanasalSSLPanel"}
    for path in sorted(MODULE.rglob("*.py")):
        foreign = set(imported(path)) - set(sys.stdlib_module_names) - shipped - ours
        assert foreign == set(), path.name


def test_reading_the_modules_file_loads_and_finds_nothing_of_ours() -> None:
    entry = MODULE / "ParanasalSSL.py"
    assert not set(imported(entry)) & {"ParanasalSSLLib", "ParanasalSSLPanel", "numpy"}
    tree = ast.parse(entry.read_text(encoding="utf-8"))
    done = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Expr | ast.If)]
    assert not any("sys.path" in each or "_findLibrary" in each for each in done)


def imported(path: Path) -> Iterator[str]:
    """The packages that a file imports when it is loaded: not in functions, not for type checkers."""
    waiting = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            yield str(node.module).split(".")[0]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def test_the_tutorial_shows_every_picture_and_they_are_small() -> None:
    text = (ROOT / "Docs" / "tutorial.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\((tutorial/\w+\.(?:png|jpg))\)", text)
    pictures = sorted((ROOT / "Docs" / "tutorial").iterdir())
    assert sorted(shown) == [f"tutorial/{path.name}" for path in pictures]
    sizes = [path.stat().st_size for path in pictures]
    assert max(sizes) < 70_000 and sum(sizes) < 600_000


def test_every_field_of_the_panel_is_reached_from_its_label() -> None:
    text = (MODULE / "Resources" / "UI" / "ParanasalSSL.ui").read_text(encoding="utf-8")
    root = ET.fromstring(text)
    widgets = {widget.get("name"): widget for widget in root.iter("widget")}
    buddies = [
        item.findtext("cstring") for item in root.iter("property") if item.get("name") == "buddy"
    ]
    kinds = ("qMRMLNodeComboBox", "QComboBox", "ctkSliderWidget", "ctkPathLineEdit")
    fields = {name for name, widget in widgets.items() if widget.get("class") in kinds}
    assert set(buddies) == fields


def test_no_two_keys_of_the_panel_are_the_same_nor_one_of_slicers_menus() -> None:
    text = (MODULE / "Resources" / "UI" / "ParanasalSSL.ui").read_text(encoding="utf-8")
    keys = [match.lower() for match in re.findall(r"&amp;(\w)", text)]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set("fevh"), "File, Edit, View, Help"
