"""The panel's worklist, button by button."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def listed(panel: Any, tmp_path: Path) -> Any:
    """A panel with a worklist of two files that are no images."""
    import headless

    folder = tmp_path / "scans"
    for patient in ("A", "B"):
        (folder / patient).mkdir(parents=True)
        (folder / patient / "head.nii").write_text("nothing")
    panel.ui.worklistFolderEdit.currentPath = str(tmp_path)
    panel.worklistSection.sources.addFolder(folder)
    assert panel.ui.cancelWorklistButton.enabled and not panel.ui.addFolderButton.enabled
    headless.wait_until(lambda: not panel.worklistSection.isRunning, 30)
    return panel


def column(panel: Any, number: int) -> list[str]:
    table = panel.ui.worklistTable
    return [table.item(row, number).text() for row in range(table.rowCount)]


def test_scans_of_one_name_are_told_apart(listed: Any) -> None:
    assert column(listed, 0) == [str(Path("A") / "head.nii"), str(Path("B") / "head.nii")]


def test_the_table_is_sorted_by_a_click_on_its_header(listed: Any) -> None:
    for _click in range(2):  # the second turns the order around
        listed.ui.worklistTable.horizontalHeader().sectionClicked.emit(0)
    assert column(listed, 0)[0].startswith("B")


def test_loaded_scans_are_added_by_their_names(listed: Any) -> None:
    import slicer

    slicer.util.addVolumeFromArray(np.zeros((3, 64, 64), np.float32), np.eye(4), "Flat")
    listed.ui.addLoadedButton.click()
    assert "Made-up scan" in column(listed, 0) and "Flat" not in column(listed, 0)
    assert listed.ui.worklistLabel.text.startswith("1 new scans.\nFlat has")


def test_what_failed_can_be_tried_again(listed: Any, fakeLibrary: Any) -> None:
    import headless

    fakeLibrary(
        """
        for name in ("sub-0001", "sub-0002"):
            print('{"event": "scan_failed", "message": "Damaged.", "id": "%s"}' % name)
        print('{"event": "summary"}')
        sys.exit(1)
        """
    )
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert column(listed, 4) == ["failed", "failed"]
    assert "Damaged." in listed.ui.worklistTable.item(0, 0).toolTip()
    assert not listed.ui.runWorklistButton.enabled
    listed.ui.tryAgainButton.click()
    assert column(listed, 4) == ["waiting", "waiting"]
    assert listed.ui.runWorklistButton.enabled and not listed.ui.tryAgainButton.enabled


def test_a_broken_model_costs_no_scan(listed: Any, fakeLibrary: Any) -> None:
    import headless

    fakeLibrary(
        """
        print('{"event": "stage", "stage": "read", "id": "sub-0001"}')
        print('{"event": "failed", "message": "The bundle is damaged."}')
        sys.exit(1)
        """
    )
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert listed.ui.worklistLabel.text == "The bundle is damaged."
    assert column(listed, 4) == ["waiting", "waiting"]


def test_a_stopped_worklist_goes_on_later(listed: Any, fakeLibrary: Any) -> None:
    import headless

    fakeLibrary(
        """
        print('{"event": "stage", "stage": "read", "id": "sub-0001"}', flush=True)
        sys.stdin.read()
        """
    )
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: "running" in column(listed, 4))
    listed.ui.cancelWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert column(listed, 4) == ["waiting", "waiting"]


def test_a_worklist_folder_that_is_gone_is_told_in_words(
    listed: Any, fakeLibrary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headless
    from ParanasalSSLPanel import worklist

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worklist, "write_json", full)
    fakeLibrary("""print('{"event": "stage", "stage": "read", "id": "sub-0001"}')""")
    listed.ui.runWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning)
    assert "No space left on device" in listed.ui.worklistLabel.text


def test_the_csv_is_written_where_the_user_says(
    listed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    chosen = staticmethod(lambda *_: str(tmp_path / "list.csv"))
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", chosen)
    listed.ui.csvButton.click()
    assert (tmp_path / "list.csv").read_text().startswith("id,state,quality")


def test_the_next_slicer_opens_the_same_worklist(
    listed: Any, openPanel: Callable[[Any], Any], standIn: Any
) -> None:
    assert column(openPanel(standIn), 0) == column(listed, 0)


def test_dicom_files_are_written_only_on_request(
    listed: Any, fakeLibrary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headless

    fakeLibrary(f"open({str(tmp_path / 'arguments')!r}, 'w').write(' '.join(sys.argv))")
    for wanted in (False, True):
        listed.ui.worklistDicomCheckBox.setChecked(wanted)
        listed.ui.runWorklistButton.click()
        headless.wait_until(lambda: not listed.worklistSection.isRunning)
        assert ("--dicom-out" in (tmp_path / "arguments").read_text()) == wanted


@pytest.mark.parametrize("when", ["at once", "with those that are left"])
def test_a_damaged_list_of_files_leaves_no_button_dead(
    listed: Any, fakeLibrary: Any, tmp_path: Path, when: str
) -> None:
    """Once it is put right, or taken out, the others can be scored."""
    import headless

    lost = tmp_path / "worklist.series" / "sub-0002.json"
    lost.parent.mkdir()
    fakeLibrary(
        f"""
        print('{{"event": "scan_failed", "message": "Damaged.", "id": "sub-0001"}}')
        open({str(lost)!r}, "w").write("nothing")
        print('{{"event": "summary"}}')
        """
    )
    if when == "at once":
        lost.write_text("nothing")
    ui = listed.ui
    ui.runWorklistButton.click()
    headless.wait_until(lambda: not listed.worklistSection.isRunning, 30)
    assert lost.name in ui.messageLabel.text + ui.worklistLabel.text
    assert ui.runWorklistButton.enabled and not ui.cancelWorklistButton.enabled


def test_a_full_disk_leaves_no_button_dead(
    listed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ParanasalSSLPanel import adaptation, scanSearch, worklist, worklistAdaptation

    def full() -> Path:
        raise OSError(28, "No space left on device")

    for user in (adaptation, scanSearch, worklist):
        monkeypatch.setattr(user, "newFolder", full)
    monkeypatch.setattr(worklistAdaptation, "requireTraining", lambda: None)
    section, ui = listed.worklistSection, listed.ui
    for begin in (
        section.onRun,
        lambda: section.sources.addFolder(tmp_path / "scans"),
        lambda: section.adaptation.adapt(tmp_path / "model"),
    ):
        with pytest.raises(OSError, match="No space left"):  # Slicer shows it
            begin()
        assert not section.isRunning and ui.runWorklistButton.enabled
        assert ui.addFolderButton.enabled and ui.adaptButton.enabled
