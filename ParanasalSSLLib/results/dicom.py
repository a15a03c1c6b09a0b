"""What a PACS gets of one scan: a DICOM segmentation (SEG) and a structured report (SR).

Both belong to the patient and study of the source series. They are the only outputs that carry an
identity, because DICOM demands it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset

from ParanasalSSLLib.errors import MissingPackage
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.quiet import quietly
from ParanasalSSLLib.results.dicom_seg import make_segmentation
from ParanasalSSLLib.results.dicom_source import DicomScan
from ParanasalSSLLib.results.dicom_sr import make_report
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.maps import PastedRegion
from ParanasalSSLLib.results.record import ScanRecord
from ParanasalSSLLib.scans.source_series import SourceSeries

if TYPE_CHECKING:
    from ParanasalSSLLib.predict import ScanResult


def write_dicom(
    result: ScanResult, record: ScanRecord, series: SourceSeries, files: ScanFiles
) -> list[Path]:
    """Write SEG and SR of a scored scan into `files.folder`, each whole or not at all.

    The result's volume must lie where the series lies; its axes may run in another order.

    Returns what was written: the paths of SEG and SR, or of the SR alone where nothing is outlined
    (a SEG without a segment would be invalid).

    Raises:
        MissingPackage: highdicom is not installed.
        UnsupportedScan: the volume lies elsewhere, or has another grid than the series.
    """
    return _write(DicomScan.of(result, record, series), files)


def write_dicom_of(
    region: PastedRegion, record: ScanRecord, series: SourceSeries, files: ScanFiles
) -> list[Path]:
    """As `write_dicom`, of what a result folder holds: `region` is the whole of the scan's grid."""
    return _write(DicomScan.of_region(region, record, series), files)


def _write(scan: DicomScan, files: ScanFiles) -> list[Path]:
    require_highdicom()
    with quietly("highdicom"):  # its warnings show values, a patient's name too
        segmentation = make_segmentation(scan)
        report = make_report(scan, segmentation)
        written = []
        if segmentation is not None:
            written.append(_save(segmentation, files.dicom_segmentation))
        written.append(_save(report, files.dicom_report))
        return written


def require_highdicom() -> None:
    """Raise `MissingPackage` where highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            "DICOM output needs the package highdicom, which is not installed. Install it with "
            f"`{sys.executable} -m pip install 'highdicom>=0.27'`, or do without DICOM output."
        ) from error


def _save(data: Dataset, path: Path) -> Path:
    with write_whole(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
    return path
