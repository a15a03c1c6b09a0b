"""DICOM series: the slices of the one MR series, files or frames, sorted and read as a `Volume`.

Slices are grouped by SeriesInstanceUID, and by number and description where that does not tell
series apart. Single missing slices are filled from both neighbours; the provenance says which.
"""

from __future__ import annotations

import filecmp
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ParanasalSSLLib.errors import ParanasalError, SeveralSeries, UnreadableScan, UnsupportedScan
from ParanasalSSLLib.scans.archive import KEPT_SUFFIXES
from ParanasalSSLLib.scans.checks import LIMITS, checked_grid, checked_volume, refuse_modality
from ParanasalSSLLib.scans.dicom_files import count_lost, file_in, files_below, read_headers
from ParanasalSSLLib.scans.dicom_pixels import read_pixels
from ParanasalSSLLib.scans.dicom_stack import (
    SliceHeader,
    SliceStack,
    are_parallel,
    stack_slices,
)
from ParanasalSSLLib.scans.volume import Provenance, Volume

_ONE_FILE = " Those that share a file have to be split first, for example with dcm2niix."


def read_dicom_folder(folder: Path) -> Volume:
    """Read the one MR series in a folder (subfolders and other files may be there).

    Localizers, single pictures and other modalities beside it are ignored.

    Args:
        folder: its subfolders are searched too.

    Returns:
        The volume, checked.

    Raises:
        UnreadableScan: no DICOM image in it, or a damaged one.
        SeveralSeries: more than one series that could be the scan.
        UnsupportedScan: slices of several patients, CT, colour, missing or unevenly spaced slices.
    """
    headers = read_headers(files_below(folder), folder)
    if not headers:
        images = any(p.name.lower().endswith(KEPT_SUFFIXES) for p in folder.iterdir())
        advice = "one of the image files or zips in it" if images else "the folder of one series"
        raise UnreadableScan(f"{folder} holds no DICOM image. Give {advice}.")
    return _read_series(headers, folder)


def read_dicom_file(path: Path) -> Volume:
    """Read a multi-frame DICOM file that holds the whole series; else as `read_dicom_folder`."""
    headers = read_headers([path], path)
    if not any(header.frame or header.frames > 1 for header in headers):
        raise UnsupportedScan(
            f"{path} is a single DICOM file. Give the folder with all slices of its series instead."
        )
    return _read_series(headers, path)


def read_dicom_series(files: Sequence[Path], folder: Path) -> Volume:
    """Read the one series that these files of a folder are; see `read_dicom_folder`."""
    return _read_series(read_headers(files, folder), folder)


def series_among(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """All series that are long enough to show a head, of whatever modality, each image once."""
    return _told_apart(_without_copies(headers))


def _read_series(headers: list[SliceHeader], named: Path) -> Volume:
    stack = stack_of_series(headers, named)
    # Before loading: what cannot be a head costs no time.
    grid = checked_grid(stack.shape, stack.affine, named)
    lost = count_lost(stack.headers) if named.is_dir() else 0
    return checked_volume(_voxels(stack, named), grid.affine, _provenance(stack, lost), named)


def _provenance(stack: SliceStack, lost: int) -> Provenance:
    """lost: files of the series that hold nothing."""
    notices, slices = [], stack.shape[2]
    if stack.missing:
        places = ", ".join(str(place + 1) for place in stack.missing)
        notices.append(
            f"{len(stack.missing)} of the series' {slices} slices {_is(len(stack.missing))} missing "
            f"and made up from the neighbours (in the order of their places: {places})."
        )
    if lost:
        notices.append(
            f"{lost} {'file' if lost == 1 else 'files'} among the slices {_is(lost)} empty, damaged, "
            "or a link to nothing: what they showed is missing."
        )
    return Provenance(
        "DICOM",
        stack.headers[0].modality,
        interpolated_slices=stack.missing,
        lost_slices=max(0, lost - len(stack.missing)),
        notices=tuple(notices),
        description=stack.headers[0].description,
    )


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def stack_of_series(headers: list[SliceHeader], folder: Path) -> SliceStack:
    """The slices of the one grey MR series among the headers, in their order.

    Args:
        headers: of all images that were found.
        folder: named in errors only.

    Returns:
        The slices on an even grid; single missing ones are left out.

    Raises:
        SeveralSeries: more than one series that could be the scan.
        UnsupportedScan: none, slices of several patients, a CT, colour, missing or unevenly spaced
            slices.
    """
    series = _choose_series(_without_copies(headers), folder)
    _refuse_several_patients(series, folder)
    _refuse_missing_files(series, folder)
    refuse_modality(series[0].modality, folder)
    if not all(header.grey for header in series):
        raise UnsupportedScan(f"{folder} holds colour pictures. Give the grey MR series.")
    if len({header.inverted for header in series}) > 1:
        raise UnsupportedScan(
            f"{folder} mixes slices whose greatest value is white with others whose greatest value "
            "is black (MONOCHROME1). Export the series again in one form."
        )
    return stack_slices(series, folder)


def _choose_series(headers: list[SliceHeader], folder: Path) -> list[SliceHeader]:
    """The slices of the one series that can be a head scan."""
    stacks = _told_apart(headers)
    if not stacks:
        raise _no_series(headers, folder)
    # Each rule chooses only where it leaves something to choose.
    stacks = [s for s in stacks if s[0].modality in (None, "MR")] or stacks
    stacks = [s for s in stacks if not s[0].localizer] or stacks
    stacks = [s for s in stacks if are_parallel(s)] or stacks
    if len(stacks) > 1:
        found = [f"{s[0].description} ({len(s)} slices)" for s in stacks]
        raise SeveralSeries(
            f"{folder} holds {len(stacks)} series: {'; '.join(found)}. "
            "Put the wanted one (FLAIR, T2 or T1 with thin slices) into a folder of its own and "
            f"give that.{_ONE_FILE if any(s[0].frame for s in stacks) else ''}"
        )
    return stacks[0]


def _refuse_several_patients(series: list[SliceHeader], folder: Path) -> None:
    """Slices that only a UID in common makes one series may be of two heads."""
    patients = {header.patient for header in series if header.patient}
    if len(patients) > 1:
        raise UnsupportedScan(
            f"{folder} has slices with {len(patients)} different patient IDs in one series. Put each "
            "patient's files into a folder of their own; if all are of one patient, export or "
            "anonymise the series again with one ID."
        )


def _refuse_missing_files(series: list[SliceHeader], folder: Path) -> None:
    """An image that was cut into several files must have them all."""
    cut = {header.frame.concatenation for header in series if header.frame}
    for image in {one.image for one in cut if one}:
        files = [one for one in cut if one and one.image == image]
        total = max(one.total for one in files)
        if len(files) < total:
            raise UnsupportedScan(
                f"{folder} holds {len(files)} of the {total} files of a multi-frame image. Export "
                "the whole series again."
            )


def _without_copies(headers: list[SliceHeader]) -> list[SliceHeader]:
    """Each image once. What only shares its UID with another image, by a scanner's fault, stays."""
    kept: dict[tuple[object, ...], list[SliceHeader]] = defaultdict(list)
    for header in headers:
        place = header.plane and tuple(header.plane.position.tolist())
        number = header.frame and header.frame.number
        alike = kept[header.series, header.instance, number, place]
        if not any(_is_copy(header, other) for other in alike):
            alike.append(header)
    found = [header for alike in kept.values() for header in alike]
    return sorted(found, key=lambda header: header.path)


def _is_copy(one: SliceHeader, other: SliceHeader) -> bool:
    if filecmp.cmp(one.path, other.path, shallow=False):
        return True
    try:
        pixels = [read_pixels(h.path, [h.frame] if h.frame else []) for h in (one, other)]
        return np.array_equal(pixels[0].ravel(), pixels[1].ravel())
    except Exception:  # damaged files make pydicom raise almost anything; told when it is read
        return False


def _told_apart(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """The series that are long enough to show a head, without overview pictures among their slices.

    Some archives give one UID to several series, or one to every slice: number and description
    tell those apart, and stacks, echoes, time points those in one file.
    """
    groups = _grouped(headers, lambda header: header.series)
    alone = [group[0] for group in groups if len(group) == 1]
    groups = [part for group in groups for part in _parts(group)]
    groups += _grouped(alone, lambda header: header.description)
    return [_without_localizers(group) for group in groups if _is_long(group)]


def _grouped(
    headers: Iterable[SliceHeader], key: Callable[[SliceHeader], str]
) -> list[list[SliceHeader]]:
    groups = defaultdict(list)
    for header in headers:
        groups[key(header)].append(header)
    return list(groups.values())


def _parts(group: list[SliceHeader]) -> list[list[SliceHeader]]:
    """The series of a UID: usually one, the group itself."""
    long = [p for p in _grouped(group, lambda header: header.description) if _is_long(p)]
    # A short stack of frames is an overview; a slice without the others' description is none.
    return long if len(long) > 1 or any(part[0].frame for part in long) else [group]


def _without_localizers(group: list[SliceHeader]) -> list[SliceHeader]:
    kept = [header for header in group if not header.localizer]
    return kept if _is_long(kept) else group


def _is_long(series: list[SliceHeader]) -> bool:
    return len(series) >= LIMITS.smallest_axis_voxels


def _no_series(headers: list[SliceHeader], folder: Path) -> UnsupportedScan:
    if any(header.frames > 1 and not header.frame for header in headers):
        return UnsupportedScan(
            f"{folder} holds a multi-frame DICOM file that does not say where its frames lie. Convert "
            "it to NIfTI (for example with dcm2niix) or export it as single slices."
        )
    return UnsupportedScan(
        f"{folder} holds no series of at least {LIMITS.smallest_axis_voxels} slices "
        f"({len(headers)} DICOM image(s) in all). Give the whole series."
    )


def _voxels(stack: SliceStack, folder: Path) -> np.ndarray:
    """float32 (columns, rows, slices), rescaled as DICOM says, missing slices filled in.

    Bright is always greater: what is stored the other way round (MONOCHROME1) is turned about the
    middle of the whole series' values.
    """
    slices = np.empty(stack.shape[::-1], np.float32)
    files = defaultdict(list)
    for place, header in zip(stack.places.tolist(), stack.headers, strict=True):
        files[header.path].append((place, header.frame))
    for path, members in files.items():
        try:
            pixels = read_pixels(path, [frame for _, frame in members if frame])
            slices[[place for place, _ in members]] = pixels.reshape(-1, *slices.shape[1:])
        except ParanasalError:
            raise
        except Exception as error:  # damaged files make pydicom raise almost anything
            raise UnreadableScan(
                f"{file_in(folder, path)} is a DICOM image that is truncated, damaged or "
                "compressed in a way that is not read here. Copy or export the series again, "
                "uncompressed."
            ) from error
    for place in stack.missing:
        slices[place] = (slices[place - 1] + slices[place + 1]) / 2
    if stack.headers[0].inverted:
        slices = slices.min() + slices.max() - slices
    return slices.transpose(2, 1, 0)
