"""Hostile folders and archives: DICOM series, enhanced files, mixes of them, zips."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from dicom_objects import write_series
from enhanced import EnhancedFrame, frames_of, write_enhanced
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless, generate_uid
from soak_files import FILES, good_nifti, good_nrrd
from soak_scans import Case, Rng, cut, damage, head

from ParanasalSSLLib.scans.volume import Volume

Change = Callable[[FileDataset], None]


def _nothing(_: FileDataset) -> None: ...


def _rescaled(image: FileDataset) -> None:
    image.RescaleSlope, image.RescaleIntercept = "0.5", "-7"
    image.PixelData = (2 * (image.pixel_array.astype(int) + 7)).astype("<i2").tobytes()


def _inverted(image: FileDataset) -> None:
    """What is stored runs from white to black, about the middle of 0..4000."""
    image.PhotometricInterpretation = "MONOCHROME1"


def _jittered(image: FileDataset) -> None:
    image.PixelSpacing = [
        float(one) * (1 + 1e-7 * (image.InstanceNumber % 3)) for one in image.PixelSpacing
    ]


def _without_uid(image: FileDataset) -> None:
    del image.SOPInstanceUID


def _series_for_each(image: FileDataset) -> None:
    image.SeriesInstanceUID = generate_uid()


def _implicit(image: FileDataset) -> None:
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def _big_endian(image: FileDataset) -> None:
    image.PixelData = image.pixel_array.astype(">i2").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    image._is_big = True


def _rle(image: FileDataset) -> None:
    image.compress(RLELossless)


GOOD: dict[str, Change] = {
    "as scanners write it": _nothing,
    "rescaled": _rescaled,
    "spacing that differs by 1e-7": _jittered,
    "without SOPInstanceUID": _without_uid,
    "a series UID for each slice": _series_for_each,
    "implicit": _implicit,
    "RLE": _rle,
}


def good_series(folder: Path, rng: Rng) -> Case:
    """The slices of one series, with what lies beside them in archives."""
    scan, kind = head(rng), str(rng.choice(list(GOOD)))
    number = iter(range(1, 1000))

    def change(image: FileDataset) -> None:
        image.InstanceNumber = next(number)
        image.SeriesNumber, image.SeriesDescription = 3, "T2"
        GOOD[kind](image)

    series = write_series(scan, folder / "study" / "series", change=change)
    for clutter in (_notes, _localizer, _copies, _ct, _names_without_ending, _subfolders):
        if rng.random() < 0.2:
            clutter(series, rng)
    return Case(f"DICOM, {kind}", folder / "study", "read", scan)


def _notes(series: Path, rng: Rng) -> None:
    (series / "notes.txt").write_text("x" * 900)
    (series / ".DS_Store").write_bytes(b"")
    (series.parent / "DICOMDIR").write_bytes(rng.bytes(300))


def _localizer(series: Path, rng: Rng) -> None:
    write_series(
        head(rng),
        series.parent / "loc",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        SeriesNumber=1,
    )


def _copies(series: Path, _rng: Rng) -> None:
    shutil.copytree(series, series.parent / "copies")


def _ct(series: Path, rng: Rng) -> None:
    write_series(head(rng), series.parent / "ct", Modality="CT")


def _names_without_ending(series: Path, _rng: Rng) -> None:
    for path in sorted(series.glob("*.dcm")):
        path.rename(path.with_suffix(""))


def _subfolders(series: Path, _rng: Rng) -> None:
    for path in sorted(p for p in series.iterdir() if p.is_file()):
        (series / f"of_{path.name}").mkdir()
        path.rename(series / f"of_{path.name}" / "image")


def gap_in_a_series(folder: Path, rng: Rng) -> Case:
    """A slice is missing, empty, a link to nothing, or cut; or two of them are."""
    scan = head(rng, 13)
    series = write_series(scan, folder / "series")
    files = sorted(series.iterdir(), key=lambda p: pydicom.dcmread(p).ImagePositionPatient[2])
    victim = files[int(rng.integers(len(files)))]
    how = str(rng.choice(["gone", "empty", "dead link", "cut", "two gone"]))
    if how == "cut":
        cut(victim, rng)
        return Case("DICOM with a cut slice", series, "any", scan)
    victim.unlink()
    if how == "empty":
        victim.touch()
    elif how == "dead link":
        victim.symlink_to("nowhere.dcm")
    elif how == "two gone":
        files[(files.index(victim) + 1) % len(files)].unlink()
    return Case(f"DICOM, slice {how}", series, "any", scan)


def hostile_series(folder: Path, rng: Rng) -> Case:
    """What cannot be one head MRI."""
    scan = head(rng)
    kinds: dict[str, tuple[Change, dict[str, object]]] = {
        "CT": (_nothing, {"Modality": "CT"}),
        "PET": (_nothing, {"Modality": "PT"}),
        "no position": (lambda i: delattr(i, "ImagePositionPatient"), {}),
        "no orientation": (lambda i: delattr(i, "ImageOrientationPatient"), {}),
        "no spacing": (lambda i: delattr(i, "PixelSpacing"), {}),
        "all at one place": (lambda i: setattr(i, "ImagePositionPatient", [0, 0, 0]), {}),
        "NaN positions": (lambda i: setattr(i, "ImagePositionPatient", ["nan", "nan", "nan"]), {}),
        "spacing 0": (_nothing, {"PixelSpacing": [0, 0]}),
        "cosines of nothing": (_nothing, {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}),
        "skewed cosines": (_nothing, {"ImageOrientationPatient": [1, 0, 0, 0.7, 0.7, 0]}),
        "rows of another number": (lambda i: setattr(i, "Rows", i.Rows + 3), {}),
        "no pixels": (lambda i: delattr(i, "PixelData"), {}),
    }
    name = str(rng.choice(list(kinds)))
    change, tags = kinds[name]
    return Case(
        f"DICOM, {name}", write_series(scan, folder / "series", change=change, **tags), "refuse"
    )


def mixed_series(folder: Path, rng: Rng) -> Case:
    """Two series that could both be the scan, in one folder, with one UID or two."""
    one, other = head(rng), head(rng)
    tags = [
        {"SeriesNumber": 2, "SeriesDescription": "T1"},
        {"SeriesNumber": 3, "SeriesDescription": "T2"},
    ]
    if rng.random() < 0.5:
        uid = generate_uid()
        tags = [{**t, "SeriesInstanceUID": uid} for t in tags]
    write_series(one, folder / "study" / "a", **tags[0])
    write_series(other, folder / "study" / "b", **tags[1])
    return Case("two DICOM series", folder / "study", "refuse")


def damaged_series(folder: Path, rng: Rng) -> Case:
    scan = head(rng)
    series = write_series(scan, folder / "series")
    files = sorted(series.iterdir())
    for _ in range(int(rng.integers(1, 4))):
        damage(files[int(rng.integers(len(files)))], rng, 1500)
    return Case("DICOM, damaged", series, "any")


def enhanced(folder: Path, rng: Rng) -> Case:
    scan = head(rng)
    frames = [f for f in frames_of(scan)]
    if rng.random() < 0.3:
        scaled = Volume(scan.data // 2 * 2, scan.affine)
        frames = [replace(f, volume=scaled, slope=2.0) for f in frames]
        scan = scaled
    frames = [frames[n] for n in rng.permutation(len(frames))]
    change = (_nothing, _rle)[int(rng.integers(2))]
    files = int(rng.integers(1, 4))
    path = folder / "study"
    for number, part in enumerate(np.array_split(np.arange(len(frames)), files)):
        write_enhanced([frames[n] for n in part], path / f"{number}.dcm", change)
    return Case("enhanced MR", path / "0.dcm" if files == 1 else path, "read", scan)


def hostile_enhanced(folder: Path, rng: Rng) -> Case:
    scan = head(rng)
    kinds: dict[str, list[EnhancedFrame]] = {
        "two stacks": frames_of(scan) + frames_of(scan, stack="2"),
        "two echoes": frames_of(scan) + frames_of(scan, echo_ms=90.0),
        "two time points": frames_of(scan) + frames_of(scan, time=2),
        "frames twice": frames_of(scan) * 2,
    }
    name = str(rng.choice(list(kinds)))
    path = write_enhanced(kinds[name], folder / "image.dcm")
    return Case(f"enhanced MR, {name}", path, "refuse")


def damaged_enhanced(folder: Path, rng: Rng) -> Case:
    path = write_enhanced(frames_of(head(rng)), folder / "image.dcm")
    (cut if rng.random() < 0.5 else damage)(path, rng) if rng.random() < 0.5 else damage(
        path, rng, 9000
    )
    return Case("enhanced MR, damaged", path, "any")


def odd_folder(folder: Path, rng: Rng) -> Case:
    """Empty, looped, a pipe, a name that nothing can open."""
    how = str(
        rng.choice(["empty", "loop", "pipe", "long name", "missing", "bytes", "images in it"])
    )
    path = folder / "thing"
    if how == "pipe":
        os.mkfifo(path)
    elif how == "long name":
        path = folder / ("x" * 300)
    elif how == "bytes":
        path = Path(os.fsdecode(bytes(folder) + b"/scan\xff\xfe"))
        path.mkdir()
    elif how != "missing":
        path.mkdir()
    if how == "loop":
        (path / "again").symlink_to(path)
        (path / "self").symlink_to("self")
    elif how == "images in it":
        good_nifti(path, rng)
    return Case(f"folder: {how}", path, "refuse")


def zipped(folder: Path, rng: Rng) -> Case:
    """Any other input, in an archive."""
    makers = (good_series, gap_in_a_series, enhanced, hostile_series, good_nifti, good_nrrd, *FILES)
    inner = makers[int(rng.integers(len(makers)))](folder, rng)
    path = folder / "scan.zip"
    kind = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[int(rng.integers(2))]
    prefix = str(rng.choice(["", "patient/", "../../../../", "/"]))
    several = inner.path.is_file() and inner.path.suffix in (".nhdr", ".mhd", ".zip")
    with zipfile.ZipFile(path, "w", kind) as archive:
        files = [inner.path] if inner.path.is_file() else inner.path.rglob("*")
        for file in sorted(p for p in files if p.is_file()):
            archive.write(file, prefix + str(file.relative_to(folder)))
    if rng.random() < 0.2:
        (cut if rng.random() < 0.5 else damage)(path, rng)
        return Case("zip, damaged", path, "any", inner.truth, inner.in_doubt)
    expect = "any" if several else inner.expect
    return Case(f"zip of {inner.kind}", path, expect, inner.truth, inner.in_doubt)


def zip_in_zip(folder: Path, rng: Rng) -> Case:
    inner = good_series(folder, rng)
    shutil.make_archive(str(folder / "inner"), "zip", inner.path)
    with zipfile.ZipFile(folder / "scan.zip", "w") as archive:
        archive.write(folder / "inner.zip", "export/inner.zip")
    return Case("zip in a zip", folder / "scan.zip", "any", inner.truth)


SERIES = (
    *(good_series, good_series, gap_in_a_series, hostile_series, mixed_series, damaged_series),
    *(enhanced, hostile_enhanced, damaged_enhanced, odd_folder, zipped, zipped, zip_in_zip),
)
