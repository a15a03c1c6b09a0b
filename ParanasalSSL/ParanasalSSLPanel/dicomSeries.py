"""The DICOM series that a scan is: what SEG and SR refer to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel import kept
from ParanasalSSLPanel.scans import volumeFromNode

if TYPE_CHECKING:
    from ParanasalSSLLib.scans.source_series import SourceSeries
    from ParanasalSSLLib.scans.volume import Volume


def isFromDicom(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume was read from a DICOM series, by Slicer or from the worklist."""
    origin = kept.originOf(scan)
    return bool(scan.GetAttribute("DICOM.instanceUIDs")) or (
        origin is not None and _isSeries(origin.source)
    )


def patientOf(scan: vtkMRMLScalarVolumeNode) -> dict[str, str]:
    """What its DICOM files say of the patient, see `scans.patient`; empty where it is not known."""
    from ParanasalSSLLib.scans.dicom_files import files_below
    from ParanasalSSLLib.scans.patient import patient_in

    source = _sourceOf(scan)
    if isinstance(source, Path):
        source = list(files_below(source)) if source.is_dir() else [source]
    return patient_in(source)


def seriesOf(scan: vtkMRMLScalarVolumeNode, remarks: list[str]) -> SourceSeries | None:
    """The DICOM series that the scan is; None, with a remark, if it is none now."""
    from ParanasalSSLLib.scans.source_series import read_source_series

    without = _("No DICOM files were written: {reason}")
    try:
        source = _sourceOf(scan)
        if not source:
            reason = _("the series is no longer in Slicer's DICOM database.")
        elif not _isUnchanged(volumeFromNode(scan), _readSeries(source)):
            reason = _("the scan was changed or moved after it was loaded.")
        else:
            return read_source_series(source)
    except ParanasalError as error:
        reason = str(error)
    remarks.append(without.format(reason=reason))
    return None


def _sourceOf(scan: vtkMRMLScalarVolumeNode) -> Path | list[Path]:
    """A folder or zip, or the files of the series; empty where they are gone."""
    origin = kept.originOf(scan)
    if origin is not None and _isSeries(origin.source):
        return list(origin.source.files) or origin.source.path
    database = getattr(slicer, "dicomDatabase", None)
    uids = (scan.GetAttribute("DICOM.instanceUIDs") or "").split()
    files = [Path(database.fileForInstance(uid)) for uid in uids] if database is not None else []
    return files if all(file.is_file() for file in files) else []


def _isSeries(source: ScanSource) -> bool:
    path = source.path
    return bool(source.files) or path.is_dir() or path.name.lower().endswith((".zip", ".dcm"))


def _readSeries(source: Path | list[Path]) -> Volume:
    from ParanasalSSLLib.scans.read import read_volume

    return (
        read_volume(source) if isinstance(source, Path) else read_volume(source[0].parent, source)
    )


def _isUnchanged(now: Volume, loaded: Volume) -> bool:
    """Whether a volume still has the voxels of its file, in their places, in whatever order."""
    from ParanasalSSLLib.geometry import is_same_place

    facts = [
        [data.min(), data.max(), data.mean(dtype=float), data.std(dtype=float)]
        for data in (now.data, loaded.data)
    ]
    same = np.allclose(*facts, rtol=1e-4, atol=1e-4 * float(now.data.max() - now.data.min()))
    return same and is_same_place(now, loaded)
