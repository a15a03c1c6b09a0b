"""The pixels of one DICOM file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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


def read_pixels(path: Path) -> np.ndarray:
    """float32 (rows, columns) of one file, rescaled.

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
    if _transfer_syntax(data).is_compressed:
        import SimpleITK as sitk

        image = sitk.ReadImage(str(path), sitk.sitkFloat32, "GDCMImageIO")
        pixels = sitk.GetArrayFromImage(image)
        return _as_stored(pixels, data) if _is_inverted(data) else pixels
    slope, intercept = _rescaling(data)
    pixels = data.pixel_array.astype(np.float32)
    pixels *= slope
    pixels += intercept
    return pixels


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
