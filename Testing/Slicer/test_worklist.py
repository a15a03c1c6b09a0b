"""Scans come into the worklist and are scored in the background; a bad one stops nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from reports import validated

from ParanasalSSLLib.sinuses import Side


@pytest.fixture
def sample() -> Path:
    import ParanasalSSLLib

    library = Path(ParanasalSSLLib.__file__).parent
    return library / "data" / "sample" / "simulated_head.nii.gz"


@pytest.fixture
def listing(openPanel: Any, standIn: Any, tmp_path: Path) -> Any:
    """A panel with an empty worklist."""
    panel = openPanel(standIn)
    panel.ui.worklistFolderEdit.currentPath = str(tmp_path / "results")
    return panel


def add_folder(panel: Any, folder: Path) -> None:
    import headless

    panel.worklistSection.sources.addFolder(folder)
    headless.wait_until(lambda: not panel.worklistSection.isRunning, 60)


def names(panel: Any) -> list[str]:
    table = panel.ui.worklistTable
    return sorted(table.item(row, 0).text() for row in range(table.rowCount))


def test_a_folder_is_searched_as_the_command_line_does(
    listing: Any, tmp_path: Path, sample: Path
) -> None:
    folder = tmp_path / "scans"
    (folder / "a").mkdir(parents=True)
    shutil.copy(sample, folder / "a" / "head.nii.gz")
    shutil.copy(sample, folder / "a" / "head_mask.nii.gz")
    (folder / "note.txt").touch()
    add_folder(listing, folder)
    assert names(listing) == [str(Path("a") / "head.nii.gz")]
    assert "1 new scans" in listing.ui.worklistLabel.text
    assert "Left out" in listing.ui.worklistLabel.text
    (folder / "a" / "nothing").mkdir()
    add_folder(listing, folder / "a" / "nothing")
    assert listing.ui.worklistLabel.text == "0 new scans."


def test_a_search_can_be_stopped(listing: Any, tmp_path: Path, sample: Path) -> None:
    import headless

    (tmp_path / "scans").mkdir()
    shutil.copy(sample, tmp_path / "scans" / "head.nii.gz")
    listing.worklistSection.sources.addFolder(tmp_path / "scans")
    listing.ui.cancelWorklistButton.click()
    headless.wait_until(lambda: not listing.worklistSection.isRunning, 20)
    assert "Cancelled" in listing.ui.worklistLabel.text and names(listing) == []


@pytest.fixture
def cd(sample_series: Path, tmp_path: Path) -> Path:
    """Two series of one patient in one folder, as on some CDs."""
    folder = tmp_path / "CD" / "IMAGES"
    folder.mkdir(parents=True)
    (tmp_path / "CD" / "DICOMDIR").touch()
    uid = generate_uid()
    for number, path in enumerate(sorted(sample_series.iterdir())):
        shutil.copy(path, folder / f"IM{number:04d}")
        second = pydicom.dcmread(path)
        second.SeriesInstanceUID, second.SeriesNumber = uid, 4
        second.SeriesDescription = "T1 again"
        second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        second.save_as(folder / f"IN{number:04d}")
    return tmp_path / "CD"


def test_of_a_cd_with_several_series_a_user_chooses(listing: Any, cd: Path) -> None:
    import qt

    from ParanasalSSLLib.scans.read import read_volume

    add_folder(listing, cd)
    chooser = listing.worklistSection.sources.chooser
    lines = [chooser.list.item(row).text() for row in range(2)]
    assert any("T1 again" in line for line in lines) and any("sagittal" in line for line in lines)
    assert names(listing) == [], "nothing is added before OK"
    chooser.words.text = "again"
    chooser.all.click()  # takes away the tick of the one that is shown
    chooser.buttons.button(qt.QDialogButtonBox.Ok).click()
    assert not chooser.dialog.visible
    [name] = names(listing)
    assert "sagittal" in name
    worklist = listing.worklistSection.worklist
    source = worklist.sourceOf(worklist.entries["sub-0001"])
    assert len(source.files) == read_volume(source.path, source.files).shape[2]
    # The same series is not added twice, the other one is.
    add_folder(listing, cd)
    listing.worklistSection.sources.chooser.buttons.button(qt.QDialogButtonBox.Ok).click()
    assert len(names(listing)) == 2


class Database:
    """What the module asks of Slicer's DICOM database (ctkDICOMDatabase)."""

    isOpen = True

    def __init__(self, series: dict[str, list[Path]]) -> None:
        self._files = {uid: [str(path) for path in files] for uid, files in series.items()}

    def patients(self) -> list[str]:
        return ["1"]

    def studiesForPatient(self, patient: str) -> list[str]:
        return ["1.2"]

    def seriesForStudy(self, study: str) -> list[str]:
        return list(self._files)

    def filesForSeries(self, uid: str) -> list[str]:
        return self._files[uid]

    def fileValue(self, path: str, tag: str) -> str:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        element = header.get(pydicom.tag.Tag(*(int(part, 16) for part in tag.split(","))))
        return "" if element is None else str(element.value)


def test_series_of_slicers_database_are_chosen_by_patient_and_opened(
    slicer: Any,
    listing: Any,
    sample_series: Path,
    tmp_path: Path,
    writing: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import qt

    ct = tmp_path / "ct.dcm"
    header = pydicom.dcmread(next(sample_series.iterdir()))
    header.Modality = "CT"
    header.save_as(ct)
    database = Database({"1.2.3": sorted(sample_series.iterdir()), "1.2.4": [ct]})
    listing.ui.addDatabaseButton.click()
    assert "database is not open" in listing.ui.messageLabel.text
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    listing.ui.addDatabaseButton.click()
    chooser = listing.worklistSection.sources.chooser
    [line] = [chooser.list.item(row).text() for row in range(chooser.list.count)]
    assert line.startswith("Doe^Jane") and "3: T1 sagittal" in line, "no CT"
    chooser.list.item(0).setCheckState(qt.Qt.Checked)
    chooser.buttons.button(qt.QDialogButtonBox.Ok).click()
    assert names(listing) == [line]
    worklist = listing.worklistSection.worklist
    assert set(worklist.sourceOf(worklist.entries["sub-0001"]).files) == set(
        sample_series.iterdir()
    )


# ------------------------------------------------------------------------------------ for real


@pytest.mark.slow
def test_five_scans_one_of_them_broken(
    slicer: Any, openPanel: Any, standIn: Any, sample: Path, tmp_path: Path, geometry: Any
) -> None:
    """The real command line with the shipped model, from the panel."""
    import headless

    folder = tmp_path / "Schäns with spaces"
    folder.mkdir()
    for number in range(5):
        shutil.copy(sample, folder / f"scan {number}.nii.gz")
    broken = folder / "scan 2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:1000])
    panel = openPanel(standIn)
    ui = panel.ui
    ui.worklistFolderEdit.currentPath = str(tmp_path / "results")
    add_folder(panel, folder)
    assert ui.worklistTable.rowCount == 5
    ui.runWorklistButton.click()
    assert not ui.runWorklistButton.enabled and ui.cancelWorklistButton.enabled
    headless.wait_until(lambda: "could not be scored" in ui.worklistLabel.text, 240)
    table = [[ui.worklistTable.item(r, c).text() for c in range(5)] for r in range(5)]
    states = {row[0]: row[4] for row in table}
    assert states.pop("scan 2.nii.gz") == "failed"
    assert set(states.values()) == {"done"}
    assert len({(row[1], row[2]) for row in table if row[4] == "done"}) == 1
    assert not list((tmp_path / "results").glob(".*"))
    assert len(validated(tmp_path / "results")) == 4

    row = next(n for n, cells in enumerate(table) if cells[0] == "scan 3.nii.gz")
    ui.worklistTable.cellClicked.emit(row, 0)
    from ParanasalSSLPanel import results, tables
    from ParanasalSSLPanel.boxes import boxesOf

    scan = panel.parameters.scan
    assert scan.GetName() == "scan 3"
    assert set(boxesOf(scan)) == set(Side)
    assert {box.origin for box in boxesOf(scan).values()} == {"registration"}
    assert tables.tableOf(scan).GetNumberOfRows() == 2
    residual = slicer.util.arrayFromVolume(results.residualOf(scan))
    assert residual.max() > 0
    identifier = identifier_of(panel, row)
    file = nib.load(tmp_path / "results" / identifier / f"{identifier}_desc-residual_map.nii.gz")
    # The overlay shows the map within the cavities alone.
    shown, whole = residual.transpose(2, 1, 0), np.asarray(file.dataobj, np.float32)
    np.testing.assert_array_equal(shown[shown > 0], whole[shown > 0])
    for node in (scan, results.residualOf(scan)):
        np.testing.assert_allclose(geometry.ijkToRas(node), file.affine, atol=1e-4)
    ui.worklistTable.cellClicked.emit(row, 0)
    assert panel.parameters.scan is scan, "opened twice"

    # A new panel, as after a restart, shows the same list.
    again = openPanel(standIn)
    again.ui.worklistFolderEdit.currentPath = ""
    again.ui.worklistFolderEdit.currentPath = str(tmp_path / "results")
    assert again.ui.worklistTable.rowCount == 5
    assert not again.ui.runWorklistButton.enabled


def identifier_of(panel: Any, row: int) -> str:
    import qt

    return str(panel.ui.worklistTable.item(row, 0).data(qt.Qt.UserRole))


def test_loaded_scans_without_a_file_are_written_once(
    slicer: Any, scan: Any, tmp_path: Path
) -> None:
    from ParanasalSSLPanel.scans import fileOf

    from ParanasalSSLLib.scans.read import read_volume

    path = fileOf(scan, tmp_path)
    assert path == fileOf(scan, tmp_path)
    volume = read_volume(path)
    voxels = slicer.util.arrayFromVolume(scan).transpose(2, 1, 0)
    np.testing.assert_allclose(volume.data, voxels)
    assert slicer.util.saveNode(scan, str(tmp_path / "own.nii.gz"))
    assert fileOf(scan, tmp_path) == tmp_path / "own.nii.gz"
