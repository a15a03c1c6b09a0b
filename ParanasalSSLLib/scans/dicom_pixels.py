"""The pixels of one DICOM file: of its slice, or of some of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ParanasalSSLLib.scans.archive import temporary_folder
from ParanasalSSLLib.scans.dicom_stack import Frame

if TYPE_CHECKING:
    from pydicom import FileDataset
    from pydicom.tag import BaseTag
    from pydicom.uid import UID

_PIXEL_TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelData",
]
_PIXEL_DATA = 0x7FE0_0010


def read_pixels(path: Path, frames: Sequence[Frame] = ()) -> np.ndarray:
    """float32 (rows, columns) of one file, or (frames, rows, columns) of these frames, rescaled.

    Plain pixels are taken by pydicom, which can stop behind them (GDCM took 5 s over 2.5 MB of
    zeros at the end of one file). Compressed ones are left to GDCM. MONOCHROME1 stays as stored.

    Raises whatever the libraries raise for a damaged file.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    def is_behind_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag.group == 0 or tag > _PIXEL_DATA  # group 0: zeros

    tags: list[BaseTag | int] = [Tag(name) for name in _PIXEL_TAGS]
    with path.open("rb") as file:
        data = read_partial(file, is_behind_pixels, force=True, specific_tags=tags)
    compressed = _transfer_syntax(data).is_compressed
    if frames:
        stored = _decompressed(data, path) if compressed else data.pixel_array
        stored = stored.reshape(-1, data.Rows, data.Columns)
        return np.stack([_rescaled(stored[f.number - 1], f.slope, f.intercept) for f in frames])
    if compressed:
        import SimpleITK as sitk

        image = sitk.ReadImage(str(path), sitk.sitkFloat32, "GDCMImageIO")
        pixels = sitk.GetArrayFromImage(image)
        return _as_stored(pixels, data) if _is_inverted(data) else pixels
    return _rescaled(data.pixel_array, *_rescaling(data))


def _rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    pixels = stored.astype(np.float32)
    pixels *= slope
    pixels += intercept
    return pixels


def _decompressed(data: FileDataset, path: Path) -> np.ndarray:
    """Stored values of all frames (frames, rows, columns).

    GDCM rescales all frames as one of them says: it gets the pixels without what would tell it.
    """
    import SimpleITK as sitk
    from pydicom import Dataset
    from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

    bare = Dataset()
    for name in set(_PIXEL_TAGS) - {"RescaleSlope", "RescaleIntercept"}:
        if name in data:
            bare[name] = data[name]
    bare.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    bare.SOPInstanceUID, bare.PhotometricInterpretation = generate_uid(), "MONOCHROME2"
    bare.file_meta = data.file_meta
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
    with temporary_folder(path) as folder:
        copy = folder / "frames.dcm"
        bare.save_as(copy, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(copy), sitk.sitkFloat32, "GDCMImageIO"))


def _rescaling(data: FileDataset) -> tuple[float, float]:
    """Slope and intercept."""
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


def _is_inverted(data: FileDataset) -> bool:
    return data.get("PhotometricInterpretation") == "MONOCHROME1"


def _as_stored(pixels: np.ndarray, data: FileDataset) -> np.ndarray:
    """GDCM turns MONOCHROME1 about the middle of each file's number format: turn it back."""
    slope, intercept = _rescaling(data)
    least_and_greatest = -1 if data.PixelRepresentation else 2**data.BitsStored - 1
    return np.float32(slope * least_and_greatest + 2 * intercept) - pixels


def _transfer_syntax(data: FileDataset) -> UID:
    """How the file is encoded; plain, as its elements were read, where it does not say it.

    Raises ValueError where such a file has other pixels than plain ones.
    """
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in data.file_meta:
        plain = data.Rows * data.Columns * data.BitsAllocated // 8
        if data["PixelData"].is_undefined_length or not 0 <= len(data.PixelData) - plain <= 1:
            raise ValueError("neither a transfer syntax nor plain pixels")
        implicit, little = data.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return data.file_meta.TransferSyntaxUID
