"""One button makes a model for the scans of the worklist; a stand-in for the command answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ParanasalSSLLib.model.bundle import shipped_bundle_path
from ParanasalSSLLib.scans.source import ScanSource

SHIPPED = str(shipped_bundle_path())


@pytest.fixture
def ready(
    openPanel: Any, standIn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    """Opens the panel on a list of two series of a folder, as if the training part were there."""
    from ParanasalSSLPanel import worklistAdaptation
    from ParanasalSSLPanel.worklist import Worklist

    monkeypatch.setattr(worklistAdaptation, "requireTraining", lambda: None)

    def open_panel() -> Any:
        panel = openPanel(standIn)
        series = [ScanSource(tmp_path, (tmp_path / f"{n}1", tmp_path / f"{n}2"), n) for n in "ab"]
        Worklist(tmp_path / "results").add(dict.fromkeys(series, ""))
        panel.ui.worklistFolderEdit.currentPath = str(tmp_path / "results")
        return panel

    return open_panel


def fake(ready: Any, fakeLibrary: Any, code: str, tmp_path: Path, until: str) -> Any:
    """A panel whose command is `code`, after it has said `until`."""
    import headless

    fakeLibrary(code)
    panel = ready()
    panel.worklistSection.adaptation.adapt(tmp_path / "site")
    headless.wait_until(lambda: until in panel.ui.worklistLabel.text, 20)
    return panel


DONE = f"""
import json
print(json.dumps({{"event": "step", "words": "Learning", "fraction": 0.5}}), flush=True)
print("ARGUMENTS", *sys.argv[1:], flush=True)
print(open(sys.argv[sys.argv.index("--scan-list") + 1]).read(), file=sys.stderr, flush=True)
print(json.dumps({{"event": "summary", "done": 2, "failed": 0, "out": {SHIPPED!r}}}), flush=True)
os._exit(0)
"""
FAILS = """
import json
print(json.dumps({"event": "failed", "error": "BadConfig", "message": "Too few."}), flush=True)
os._exit(1)
"""
WAITS = """
import json
print(json.dumps({"event": "step", "words": "Learning", "fraction": 0.5}), flush=True)
sys.stdin.read()
os._exit(130)
"""


def test_a_new_model_is_added_and_chosen(ready: Any, fakeLibrary: Any, tmp_path: Path) -> None:
    panel = fake(ready, fakeLibrary, DONE, tmp_path, "look at")
    assert panel.settings.model == shipped_bundle_path()
    assert "adaptation.html" in panel.ui.worklistLabel.text
    assert panel.ui.adaptButton.enabled and not panel.ui.cancelWorklistButton.enabled
    log = panel.ui.logText.toPlainText()
    assert f"-o {tmp_path / 'site'} --json-progress --end-with-input" in log
    assert all(str(tmp_path / name) in log for name in ("a1", "a2", "b1", "b2"))


def test_why_nothing_was_adapted_is_told(ready: Any, fakeLibrary: Any, tmp_path: Path) -> None:
    panel = fake(ready, fakeLibrary, FAILS, tmp_path, "Too few.")
    assert panel.settings.model is None and panel.ui.adaptButton.enabled


def test_it_can_be_stopped(ready: Any, fakeLibrary: Any, tmp_path: Path) -> None:
    import headless

    panel = fake(ready, fakeLibrary, WAITS, tmp_path, "Learning (50 %)")
    assert not panel.ui.adaptButton.enabled and not panel.ui.runWorklistButton.enabled
    panel.ui.cancelWorklistButton.click()
    headless.wait_until(lambda: "Stopped" in panel.ui.worklistLabel.text, 20)
    assert panel.ui.adaptButton.enabled and panel.ui.runWorklistButton.enabled


def test_what_adapting_needs_is_told_with_the_command_that_installs_it(
    openPanel: Any, standIn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ParanasalSSLPanel import packages

    monkeypatch.setattr(packages, "TRAINING_PACKAGES", ("no_such_package",))
    panel = openPanel(standIn)
    panel.worklistSection.adaptation.adapt(tmp_path)
    assert "pip install" in panel.ui.messageLabel.text
    assert "[training]" in panel.ui.messageLabel.text


def test_an_empty_list_cannot_be_adapted_to(openPanel: Any, standIn: Any, tmp_path: Path) -> None:
    panel = openPanel(standIn)
    panel.ui.worklistFolderEdit.currentPath = str(tmp_path)
    assert not panel.ui.adaptButton.enabled
