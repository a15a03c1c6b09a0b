"""The only place where a result folder is made; `layout.py` says what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ParanasalSSLLib.boxes.placement import write_placement
from ParanasalSSLLib.files import sha256, write_json, write_whole_folder
from ParanasalSSLLib.predict import ScanResult
from ParanasalSSLLib.progress import Progress, ProgressSink, Stage, no_progress
from ParanasalSSLLib.results.html import write_html_report
from ParanasalSSLLib.results.layout import DATASET_DESCRIPTION, ScanFiles
from ParanasalSSLLib.results.maps import PastedRegion, write_residual_map, write_segmentation
from ParanasalSSLLib.results.older import (
    keep_what_users_made,
    read_object,
    refuse_foreign_dataset,
    refuse_other_scan,
)
from ParanasalSSLLib.results.pictures import draw_pictures, write_key_images
from ParanasalSSLLib.results.reading import Reading, read_reading, write_words
from ParanasalSSLLib.results.record import SOFTWARE, ScanRecord, software_version, write_report

if TYPE_CHECKING:
    from ParanasalSSLLib.model.card import BundleCard
    from ParanasalSSLLib.scans.source_series import SourceSeries


def write_scan(
    result: ScanResult,
    card: BundleCard,
    out: str | Path,
    scan_id: str,
    progress: ProgressSink = no_progress,
    note: str | None = None,
    series: SourceSeries | None = None,
) -> ScanRecord:
    """Write all files of one scan to `out`/`scan_id`; returns what its report says.

    An older result of the same scan is replaced as a whole; what users put into it stays, and what a
    reader has said of it, where the numbers are the same.

    Args:
        note: a sentence about the scan for the reports ("Simulated head, no patient.").
        series: what the scan was read from, where DICOM files are wanted too.

    Raises:
        UnsafeOutput: `out` is another data set, or `out`/`scan_id` no result of this scan.
        MissingPackage, UnsupportedScan: see `dicom.write_dicom`.
    """
    progress(Progress.at(Stage.WRITE))
    record = ScanRecord.of(result, card, scan_id, note)
    final = ScanFiles.in_output(out, scan_id)
    write_dataset_description(Path(out))

    def take_over(older: Path, new: Path) -> None:
        refuse_other_scan(final, record.image.sha256)
        keep_what_users_made(final, new)

    with write_whole_folder(final.folder, take_over) as folder:
        reading = read_reading(final, record)
        record = _write_files(result, record, ScanFiles(folder, scan_id), series, reading)
    progress(Progress.at(Stage.DONE))
    return record


def _write_files(
    result: ScanResult,
    record: ScanRecord,
    files: ScanFiles,
    series: SourceSeries | None,
    reading: Reading | None,
) -> ScanRecord:
    """Write every file but the reading's own; returns the record with their names and checksums."""
    write_placement(result.placement, files.boxes)
    if series is not None:
        from ParanasalSSLLib.results.dicom import write_dicom

        write_dicom(result, record, series, files)
    with ThreadPoolExecutor(1) as beside:
        maps = beside.submit(_write_maps, result, files)
        pictures = draw_pictures(result)
        images = beside.submit(write_key_images, pictures, files)
        write_html_report(pictures, record, files.report_html)
        maps.result()
        images.result()
    if reading is not None:
        write_words(files, reading)
    written = {name: path for name, path in files.beside_report.items() if path.exists()}
    record = replace(
        record,
        files={name: path.name for name, path in written.items()},
        checksums=_checksums(written.values()),
    )
    write_report(record, files.report_json)
    return record


def _write_maps(result: ScanResult, files: ScanFiles) -> None:
    region = PastedRegion.of(result)
    write_residual_map(region, result.volume, files.residual_map)
    write_segmentation(region, files.segmentation)


def _checksums(paths: Iterable[Path]) -> dict[str, str]:
    return {path.name: sha256(path) for path in paths}


def write_dataset_description(out: Path) -> Path:
    """The file that makes `out` a data set of BIDS derivatives. Raises `UnsafeOutput`: see there."""
    refuse_foreign_dataset(out)
    path = out / DATASET_DESCRIPTION
    description = {
        "Name": "ParanasalSSL: residual maps and scores of the maxillary sinuses",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": SOFTWARE, "Version": software_version()}],
    }
    if read_object(path) != description:  # a kill while it is written leaves a temporary file
        write_json(path, description)
    return path
