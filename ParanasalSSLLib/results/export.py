"""A result that is there already, once more elsewhere: under another id, with what a reader made of it.

Nothing is scored again. Needs no network of the model, so that Slicer's panel can call it.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ParanasalSSLLib.files import sha256, write_whole_folder
from ParanasalSSLLib.results.dicom import write_dicom_of
from ParanasalSSLLib.results.layout import PICTURES, ScanFiles
from ParanasalSSLLib.results.maps import (
    PastedRegion,
    read_labels,
    read_residual_map,
    write_segmentation,
)
from ParanasalSSLLib.results.older import keep_what_users_made, refuse_other_scan
from ParanasalSSLLib.results.reading import Reading, write_reading
from ParanasalSSLLib.results.record import ScanRecord, read_report, write_report
from ParanasalSSLLib.scans.source_series import SourceSeries
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, Side

# What stands before the scan's id in its page, and the id.
_IDS_OF_PAGE = re.compile(
    r'(<title>ParanasalSSL report |<div class="soft">Scan |<code>)[^<]*?(?=</title>| ·|_desc-)'
)


def export_result(
    old: ScanFiles,
    new: ScanFiles,
    opacities: Mapping[Side, np.ndarray] | None = None,
    reading: Reading | None = None,
    series: SourceSeries | None = None,
) -> ScanRecord:
    """Write a result once more, whole or not at all; returns its report.

    An older result of the same scan is replaced; what users put into it stays.

    Args:
        old: the result. new: where it goes, and what it is called there.
        opacities: a reader's, in place of the model's: per side, bool (I, J, K) in the scan's grid.
        reading: what the reader says.
        series: what the scan was read from, where DICOM SEG and SR are wanted.

    Raises:
        UnsafeOutput: the folder is no result of this scan.
        UnreadableScan: the result is damaged.
        MissingPackage, UnsupportedScan: see `dicom.write_dicom_of`.
        OSError, ValueError: its report is missing or damaged, or the folder cannot be written.
    """
    record = read_report(old.report_json)

    def take_over(older: Path, made: Path) -> None:
        refuse_other_scan(new, record.image.sha256)
        keep_what_users_made(new, made)

    with write_whole_folder(new.folder, take_over) as folder:
        files = ScanFiles(folder, new.scan_id)
        _copy(old, files)
        region = _region(files, record, opacities)
        if opacities is not None:
            write_segmentation(region, files.segmentation)
        if series is not None:
            write_dicom_of(region, record, series, files)
        record = _described(record, files)
        if opacities is not None:  # the model's checksum stays: so it is known as a user's own
            kept = read_report(old.report_json).checksums.get(old.segmentation.name, "")
            sums = {**record.checksums, files.segmentation.name: kept}
            record = replace(record, checksums=sums)
        write_report(record, files.report_json)
        if reading is not None:
            write_reading(files, reading)
    return record


def _copy(old: ScanFiles, new: ScanFiles) -> None:
    """All files of the result itself; DICOM files are made anew where they are wanted."""
    ours = old.beside_report | {"reading": old.reading}
    for name, path in ours.items():
        if path.is_file() and name not in ("dicom_seg", "dicom_sr"):
            target = new.folder / f"{new.scan_id}{path.name.removeprefix(old.scan_id)}"
            shutil.copyfile(path, target)
    if new.scan_id != old.scan_id:
        _rename_pictures(new)
    page = new.report_html
    if page.is_file():
        page.write_text(_renamed(page.read_text(encoding="utf-8"), new.scan_id), encoding="utf-8")


def _rename_pictures(files: ScanFiles) -> None:
    """The id stands in them. Without Pillow they are left out: the page has them, without the id."""
    try:
        from ParanasalSSLLib.results.pictures import rename_key_images
    except ImportError:  # in Slicer before the first run
        for what in PICTURES:
            files.slices(what).unlink(missing_ok=True)
    else:
        rename_key_images(files)


def _renamed(page: str, scan_id: str) -> str:
    """The page under another id. An id may be as short as 1: it is replaced where it stands alone."""
    return _IDS_OF_PAGE.sub(lambda found: found[1] + html.escape(scan_id), page)


def _region(
    files: ScanFiles, record: ScanRecord, opacities: Mapping[Side, np.ndarray] | None
) -> PastedRegion:
    """The whole of the scan's grid, with what is opaque now."""
    residual = read_residual_map(files.residual_map)
    labels, cavities = read_labels(files, residual.shape)
    if opacities is not None:
        labels = np.zeros_like(labels)
        for side, mask in opacities.items():
            labels[mask] = SEGMENT_LABELS[side]
    sides = tuple(record.sinuses)
    return PastedRegion(np.zeros(3, int), residual, residual.data, labels, sides, cavities)


def _described(record: ScanRecord, files: ScanFiles) -> ScanRecord:
    """The report of the files that are there now."""
    written = {name: path for name, path in files.beside_report.items() if path.exists()}
    return replace(
        record,
        scan=files.scan_id,
        files={name: path.name for name, path in written.items()},
        checksums={path.name: sha256(path) for path in written.values()},
    )
