"""A Slicer that is too old for the module: a sentence, and no traceback."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ENTRY = Path(__file__).resolve().parents[2] / "ParanasalSSL" / "ParanasalSSL.py"
SENTENCE = "ParanasalSSL needs Slicer 5.12 or newer"


@pytest.fixture
def oldModule(
    slicer: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """The module's file as Slicer 5.8 loads it, whose Python cannot read the rest of the module."""
    import headless

    for name in list(sys.modules):
        if name.partition(".")[0] in ("ParanasalSSLPanel", "ParanasalSSLLib"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ParanasalSSLPanel", None)  # an import would fail
    monkeypatch.setitem(sys.modules, "ParanasalSSLLib", None)
    monkeypatch.setattr(slicer.app, "minorVersion", 8)
    yield headless.load_module(ENTRY)
    sys.modules["ParanasalSSL"] = module


def test_an_old_slicer_says_which_one_is_needed(
    oldModule: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    import headless
    import qt

    panel = headless.open_module(oldModule)
    words = [label.text for label in panel.parent.findChildren(qt.QLabel)]
    assert any(SENTENCE in each for each in words)
    assert SENTENCE in oldModule.TOO_OLD


def test_the_list_of_modules_says_it_too(oldModule: ModuleType, slicer: Any) -> None:
    assert SENTENCE in slicer.modules.paranasalssl.instance.parent.helpText


def test_the_file_is_read_by_the_python_of_slicer_5_8() -> None:
    tree = ast.parse(ENTRY.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }
    assert "annotations" in imported, "so that no annotation is evaluated"
    assert not imported & {"StrEnum", "Self", "assert_never", "tomllib", "TypeAlias"}
    assert not any(
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) for node in ast.walk(tree)
    ), "X | Y of types is not known there"
    assert len(ENTRY.read_text(encoding="utf-8").splitlines()) < 120
