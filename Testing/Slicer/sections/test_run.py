"""The panel's section of model and run, and the sample head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


def test_a_good_bundle_is_added_with_its_card(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import qt

    from ParanasalSSLLib.model.bundle import shipped_bundle_path

    folder = tmp_path / "site model"
    shutil.copytree(shipped_bundle_path(), folder)
    chosen = staticmethod(lambda *_: str(folder))
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", chosen)
    panel.ui.addModelButton.click()
    assert "(site model)" in panel.ui.modelComboBox.currentText
    assert panel.settings.model == folder
    assert "Limits" in panel.ui.logText.toPlainText()
    assert not panel.ui.logCollapsibleButton.collapsed


def test_stages_and_log_are_shown_and_cancel_ends_the_process(
    slicer: Any, openPanel: Callable[[Any], Any], standIn: Any, scan: Any, fakeLibrary: Any
) -> None:
    import headless
    from ParanasalSSLPanel.separateProcess import SeparateProcess

    computation = SeparateProcess()
    computation.place = standIn.place  # type: ignore[method-assign]
    panel = openPanel(computation)
    panel.ui.placeBoxesButton.click()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    fakeLibrary(
        """
        print('{"event": "stage", "stage": "analyse", "fraction": 0.5}', flush=True)
        print("some library's words", flush=True)
        sys.stdin.read()
        """
    )
    panel.ui.runButton.click()
    headless.wait_until(lambda: "some library's words" in panel.ui.logText.toPlainText())
    assert panel.ui.progressBar.value == 50
    assert panel.ui.progressBar.format == "Scoring the sinuses"
    process = panel.activity.work
    panel.ui.cancelButton.click()
    headless.wait_until(lambda: not panel.activity.isRunning)
    assert not process.isRunning
    assert panel.ui.messageLabel.text == "Cancelled. Nothing was changed."
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.ui.scoresLabel.text == ""


def test_the_sample_head_is_offered_with_its_checksum(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    from urllib.parse import unquote, urlparse

    import qt
    from ParanasalSSLPanel.sampleData import registerSampleData

    from ParanasalSSLLib.files import sha256

    offered: dict[str, Any] = {}
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **given: offered.update(given))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    registerSampleData()
    path = Path(unquote(urlparse(offered["uris"]).path))
    assert path.name == offered["fileNames"]
    assert offered["checksums"] == f"SHA256:{sha256(path)}"
    thumbnail = qt.QImage(offered["thumbnailFileName"])
    assert (thumbnail.width(), thumbnail.height()) == (260, 280)
