"""Fixtures that all tests share."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("PARANASAL_TEST_DATA", ROOT.parent / "shared" / "data"))

# Helpers of several files, whose `assert`s are to explain themselves as those of the tests do.
pytest.register_assert_rewrite("dicom_objects", "reading_room", "reports", "site_scans")

# Bars and the libraries' remarks would stand between the lines of a failed test. (The environment
# holds for the programs that tests start, too.)
os.environ.setdefault("TQDM_DISABLE", "1")
for chatty in ("lightning", "pytorch_lightning", "lightning.pytorch", "snakemake"):
    logging.getLogger(chatty).setLevel(logging.ERROR)

# What a shell starts in the background ignores these, and so would the programs that tests interrupt.
for name in ("SIGINT", "SIGHUP"):  # Windows has the first alone
    number = getattr(signal, name, None)
    if number and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real test scans (`heads/`, `donors/`); skips where a user has only the repo."""
    if not (SHARED_DATA / "heads").is_dir():
        pytest.skip(f"real test scans are not at {SHARED_DATA} (set PARANASAL_TEST_DATA)")
    return SHARED_DATA


# ------------------------------------------------------- the head that the library itself brings


@pytest.fixture(scope="session")
def sample_head() -> Path:
    """The simulated head: a whole head on an oblique grid, with a cyst in the left sinus."""
    return ROOT / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"


@pytest.fixture(scope="session")
def sample_centers() -> dict[str, tuple[float, float, float]]:
    """Middle of each of its maxillary sinuses in RAS mm, by eye."""
    return {"left": (-19.0, 58.5, -60.5), "right": (32.0, 55.0, -61.5)}


@pytest.fixture(scope="session")
def sample_series(sample_head: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same head as a series of sagittal DICOM slices, as a scanner would write them."""
    image = nib.load(sample_head)
    folder = tmp_path_factory.mktemp("sample") / "series"
    folder.mkdir()
    voxels = np.asarray(image.dataobj).astype("<i2")
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    step = np.linalg.norm(to_lps[:3, :3], axis=0)
    along_row, along_column = to_lps[:3, 1] / step[1], -to_lps[:3, 2] / step[2]
    series = {
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "Manufacturer": "Maker",
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "PatientBirthDate": "19700101",
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "SeriesNumber": 3,
        "SeriesDescription": "T1 sagittal",
        "ImageOrientationPatient": [f"{c:.10f}" for c in (*along_row, *along_column)],
        "PixelSpacing": [f"{step[2]:.8f}", f"{step[1]:.8f}"],
        "SliceThickness": f"{step[0]:.8f}",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        **{"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
    }
    rows, columns = voxels.shape[2], voxels.shape[1]
    for place in range(voxels.shape[0]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        for name, value in series.items():
            setattr(slice_, name, value)
        slice_.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        corner = to_lps @ (place, 0, rows - 1, 1)
        slice_.ImagePositionPatient = [f"{c:.6f}" for c in corner[:3]]
        slice_.Rows, slice_.Columns = rows, columns
        slice_.PixelData = voxels[place, :, ::-1].T.tobytes()
        slice_.save_as(folder / f"{place * 37 % voxels.shape[0]:03d}.dcm")
    return folder
