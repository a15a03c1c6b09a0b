"""What a user gets of one scan: a folder of files named in the style of BIDS derivatives.

    OUT/dataset_description.json
    OUT/sub-0001/sub-0001_desc-residual_map.nii.gz      residual, in the scan's own grid
    OUT/sub-0001/sub-0001_desc-residual_dseg.seg.nrrd   segmentation, opens in 3D Slicer
    OUT/sub-0001/sub-0001_desc-boxes.mrk.json           the boxes, opens in 3D Slicer
    OUT/sub-0001/sub-0001_report.json                   all numbers (data/report.schema.json)
    OUT/sub-0001/sub-0001_report.html                   pictures and words, one file

and, where it is asked for and the scan is a DICOM series,

    OUT/sub-0001/sub-0001_desc-residual_seg.dcm         DICOM segmentation
    OUT/sub-0001/sub-0001_desc-scores_sr.dcm            DICOM structured report

No file but these two holds a path, a file name or any other identity of the input; a scan is known
by its neutral id alone. (Pictures and boxes do show the head itself.) The DICOM files belong to the
patient and study of their source, as DICOM demands.

Where the two boxes overlap, near the midline, a voxel belongs to the sinus whose box centre is
nearer: so one layer holds both sinuses, in the map and in the segmentation.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError

from ParanasalSSLLib.boxes.placement import write_placement
from ParanasalSSLLib.crop import paste
from ParanasalSSLLib.errors import UnreadableScan, UnsupportedScan
from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.predict import ScanResult, SinusResult
from ParanasalSSLLib.progress import Progress, ProgressSink, Stage, no_progress
from ParanasalSSLLib.scans.itk import to_sitk
from ParanasalSSLLib.scans.volume import Volume, nifti_image
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, SINUSES, Side, terminology_entry

if TYPE_CHECKING:
    from ParanasalSSLLib.model.bundle import BundleCard
    from ParanasalSSLLib.scans.source_series import SourceSeries

RESEARCH_USE = (
    "Research use only. This is no medical device and gives no diagnosis; every finding needs a "
    "look at the images by a qualified reader."
)
SIMULATED_MODEL = (
    "The model was trained on simulated data; its probabilities have not been validated on a "
    "clinical population."
)
REPORT_FORMAT = "paranasal-report"
REPORT_VERSION = 1
REPORT_SCHEMA = Path(__file__).parents[1] / "data" / "report.schema.json"
RESIDUAL_STEP = 1e-4  # the map's int16 voxels count these


@dataclass(frozen=True)
class ScanFiles:
    """The paths of one scan's results, in `folder`, for a scan called `scan_id`."""

    folder: Path
    scan_id: str

    @property
    def residual_map(self) -> Path:
        return self._named("desc-residual_map.nii.gz")

    @property
    def segmentation(self) -> Path:
        return self._named("desc-residual_dseg.seg.nrrd")

    @property
    def boxes(self) -> Path:
        return self._named("desc-boxes.mrk.json")

    @property
    def report_json(self) -> Path:
        return self._named("report.json")

    @property
    def report_html(self) -> Path:
        return self._named("report.html")

    @property
    def dicom_segmentation(self) -> Path:
        return self._named("desc-residual_seg.dcm")

    @property
    def dicom_report(self) -> Path:
        return self._named("desc-scores_sr.dcm")

    def _named(self, rest: str) -> Path:
        return self.folder / f"{self.scan_id}_{rest}"


def software_version() -> str:
    """Version of the installed package, or "unknown" when the folder is used without installing."""
    try:
        return version("paranasal-ssl")
    except PackageNotFoundError:
        return "unknown"


# ------------------------------------------------------------------------------ a whole scan


def write_scan(
    result: ScanResult,
    card: BundleCard,
    out: str | Path,
    scan_id: str,
    progress: ProgressSink = no_progress,
    note: str | None = None,
    series: SourceSeries | None = None,
) -> ScanFiles:
    """Write all files of one scan to `out`/`scan_id`, replacing an older result as a whole.

    note: a sentence about the scan for the reports ("Simulated head, no patient.").
    series: what the scan was read from, where DICOM files are wanted too (`dicom_objects.py`).
    """
    from ParanasalSSLLib.results.html import write_html_report

    progress(Progress.at(Stage.WRITE))
    out = Path(out)
    write_dataset_description(out)
    with write_whole_folder(out / scan_id) as folder:
        files = ScanFiles(folder, scan_id)
        region = PastedRegion.of(result)
        write_residual_map(region, result.volume, files.residual_map)
        write_segmentation(region, files.segmentation)
        write_placement(result.placement, files.boxes)
        dicom = [] if series is None else _write_dicom(result, card, series, files)
        report = scan_report(result, card, scan_id, note, dicom)
        write_json(files.report_json, report, allow_nan=False)
        write_html_report(result, report, files.report_html)
    progress(Progress.at(Stage.DONE))
    return ScanFiles(out / scan_id, scan_id)


def _write_dicom(
    result: ScanResult, card: BundleCard, series: SourceSeries, files: ScanFiles
) -> list[Path]:
    from ParanasalSSLLib.results.dicom_objects import write_dicom

    return write_dicom(result, card, series, files)


@contextmanager
def write_whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block succeeds.

    When the block raises (Ctrl-C too), the new folder is removed and an older one stays. What a
    process that was killed has left behind is put right at the next call.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy_up(path)
    mark = uuid.uuid4().hex[:8]
    new = path.with_name(f".{path.name}.{mark}.new")
    old = path.with_name(f".{path.name}.{mark}.old")
    new.mkdir()
    try:
        yield new
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _tidy_up(path: Path) -> None:
    """Put back an older result that was moved aside, and remove a new one that was not finished."""
    for old in path.parent.glob(f".{path.name}.*.old"):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(old, path)
    for new in path.parent.glob(f".{path.name}.*.new"):
        shutil.rmtree(new, ignore_errors=True)


def write_dataset_description(out: Path) -> Path:
    """The file that makes `out` a data set of BIDS derivatives."""
    path = out / "dataset_description.json"
    description = {
        "Name": "ParanasalSSL: residual maps and scores of the maxillary sinuses",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "ParanasalSSL", "Version": software_version()}],
    }
    write_json(path, description)
    return path


# -------------------------------------------------------------------- maps in the scan's grid


@dataclass(frozen=True, eq=False)
class PastedRegion:
    """The part of the scan's grid that holds all boxes, with both sinuses pasted into it.

    offset: (3,) index of the region's first voxel in the scan
    volume: the scan, cut to the region
    residual: float32, 0..1, and 0 outside the boxes
    labels: uint8, 0 or `SEGMENT_LABELS` where the residual is above what healthy sinuses show
    sides: the sides that were scored
    """

    offset: np.ndarray
    volume: Volume
    residual: np.ndarray
    labels: np.ndarray
    sides: tuple[Side, ...]

    @property
    def window(self) -> tuple[slice, ...]:
        """The region as slices of the scan's array."""
        ends = zip(self.offset, self.residual.shape, strict=True)
        return tuple(slice(start, start + n) for start, n in ends)

    @classmethod
    def of(cls, result: ScanResult) -> PastedRegion:
        start, stop = _region_of(result)
        volume = _cut(result.volume, start, stop)
        owner = _owners(result, volume)
        residual = np.zeros(volume.shape, np.float32)
        labels = np.zeros(volume.shape, np.uint8)
        for side, sinus in result.sinuses.items():
            pasted = paste(sinus.residual, sinus.crop, volume)
            mine = np.isfinite(pasted) & (owner == SEGMENT_LABELS[side])
            residual[mine] = pasted[mine]
            marked = paste(sinus.opacity.astype(np.float32), sinus.crop, volume, outside=0.0)
            labels[mine & (marked >= 0.5)] = SEGMENT_LABELS[side]
        return cls(start, volume, residual, labels, tuple(result.sinuses))


def _region_of(result: ScanResult) -> tuple[np.ndarray, np.ndarray]:
    """First and past-the-last index of the scan's voxels that any box may reach."""
    corners = np.concatenate([s.box.corners_ras_mm() for s in result.sinuses.values()])
    to_index = np.linalg.inv(result.volume.affine)
    indices = corners @ to_index[:3, :3].T + to_index[:3, 3]
    shape = np.array(result.volume.shape)
    start = np.clip(np.floor(indices.min(axis=0)).astype(int), 0, shape - 1)
    stop = np.clip(np.ceil(indices.max(axis=0)).astype(int) + 1, start + 1, shape)
    return start, stop


def _cut(volume: Volume, start: np.ndarray, stop: np.ndarray) -> Volume:
    """The same voxels at the same place in the head, only fewer of them."""
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ start
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return Volume(volume.data[window], affine, volume.provenance)


def _owners(result: ScanResult, volume: Volume) -> np.ndarray:
    """Label of the sinus whose box centre is nearest, for each voxel of `volume`."""
    sides = list(result.sinuses)
    if len(sides) == 1:
        return np.full(volume.shape, SEGMENT_LABELS[sides[0]], np.uint8)
    first, second = (result.sinuses[side].box.center_ras_mm for side in sides)
    # |x - first| < |x - second| is one side of a plane, hence linear in the voxel's index.
    normal = second - first
    offset = (second @ second - first @ first) / 2
    weights = normal @ volume.affine[:3, :3]
    i, j, k = (np.arange(n) * w for n, w in zip(volume.shape, weights, strict=True))
    along = i[:, None, None] + j[None, :, None] + k[None, None, :]
    nearer_first = along < offset - normal @ volume.affine[:3, 3]
    return np.where(nearer_first, *(np.uint8(SEGMENT_LABELS[side]) for side in sides))


def write_residual_map(region: PastedRegion, volume: Volume, path: Path) -> None:
    """NIfTI in the scan's own grid: the residual (0..1) inside the boxes, 0 outside.

    Stored as int16 with a scale factor (steps of `RESIDUAL_STEP`), which every reader applies.
    """
    stored = np.zeros(volume.shape, np.int16)
    stored[region.window] = np.rint(region.residual / RESIDUAL_STEP)
    image = nifti_image(stored, volume.affine)
    header = image.header
    header.set_slope_inter(RESIDUAL_STEP, 0.0)
    header["cal_max"] = 1.0
    header["descrip"] = b"ParanasalSSL residual 0..1, 0 outside the boxes"
    with write_whole(path) as temporary:
        nib.save(image, temporary)  # nibabel compresses at level 1: fast


def write_segmentation(region: PastedRegion, path: Path) -> None:
    """3D Slicer's segmentation format (.seg.nrrd): one layer, one segment per sinus.

    Format: Slicer's developer guide, "Segmentation labelmap file format". The image covers the
    boxes only; its own origin puts it in place, and the offset tells Slicer the voxels' indices in
    the scan.
    """
    image = sitk.GetImageFromArray(region.labels.transpose(2, 1, 0))
    image.CopyInformation(to_sitk(region.volume))
    for key, value in _segmentation_fields(region).items():
        image.SetMetaData(key, value)
    with write_whole(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True, compressionLevel=4)


def _segmentation_fields(region: PastedRegion) -> dict[str, str]:
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|Closed surface|",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": " ".join(str(int(n)) for n in region.offset),
    }
    # All segments of a layer share one image, so each has the extent of the whole file.
    extent = " ".join(f"0 {n - 1}" for n in region.labels.shape)
    for index, side in enumerate(region.sides):
        segment = {
            "ID": f"{side.value}_maxillary_sinus_residual",
            "Name": SINUSES[side].residual_name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{part:g}" for part in SINUSES[side].residual_color),
            "ColorAutoGenerated": "0",
            "LabelValue": str(SEGMENT_LABELS[side]),
            "Layer": "0",
            "Extent": extent,
            "Tags": f"TerminologyEntry:{terminology_entry(side)}|",
        }
        fields |= {f"Segment{index}_{key}": value for key, value in segment.items()}
    return fields


def read_residual_map(path: Path) -> Volume:
    """A residual map that `write_residual_map` wrote, 0..1, in the scan's own grid.

    Raises:
        UnreadableScan: it is missing or damaged.
        UnsupportedScan: it is an image, but its values are no residuals.
    """
    try:
        volume = _read_map(path)
    except _DAMAGED as error:
        raise UnreadableScan(f"{path.name} cannot be read as a NIfTI image.") from error
    if volume.data.ndim != 3 or not (volume.data.min() >= 0 and 0 < volume.data.max() <= 1):
        raise UnsupportedScan(f"{path.name} is no residual map: its values are not 0 to 1.")
    return volume


def read_maps(files: ScanFiles) -> tuple[np.ndarray, np.ndarray]:
    """What `write_scan` has written of a scan, in the scan's own grid.

    Returns:
        residual: float32 (I, J, K), 0..1, and 0 outside the boxes.
        labels: uint8 (I, J, K), 0 or `SEGMENT_LABELS`.

    Raises:
        UnreadableScan: a file is missing or damaged.
    """
    try:
        residual = _read_map(files.residual_map).data
    except _DAMAGED as error:
        raise _lost(files) from error
    return residual, read_labels(files, residual.shape)


def read_labels(files: ScanFiles, shape: tuple[int, ...]) -> np.ndarray:
    """The segments that `write_scan` has written of a scan of that shape: as in `read_maps`.

    Raises:
        UnreadableScan: the file is missing or damaged, or of a scan of another shape.
    """
    labels = np.zeros(shape, np.uint8)
    try:
        segmentation = sitk.ReadImage(str(files.segmentation))
        offset = segmentation.GetMetaData("Segmentation_ReferenceImageExtentOffset").split()
        part = sitk.GetArrayViewFromImage(segmentation).transpose(2, 1, 0)
        window = (slice(int(o), int(o) + n) for o, n in zip(offset, part.shape, strict=True))
        labels[tuple(window)] = part
    except (ValueError, RuntimeError) as error:
        raise _lost(files) from error
    return labels


_DAMAGED = (OSError, EOFError, zlib.error, ValueError, ImageFileError)


def _read_map(path: Path) -> Volume:
    """A NIfTI image with its scale applied; raises one of `_DAMAGED`."""
    image: Any = nib.load(path)
    return Volume(np.asarray(image.dataobj, np.float32), image.affine)


def _lost(files: ScanFiles) -> UnreadableScan:
    return UnreadableScan(
        f"The results in {files.folder} are missing or damaged. Score the scan again."
    )


# ------------------------------------------------------------------------------- report.json


def scan_report(
    result: ScanResult,
    card: BundleCard,
    scan_id: str,
    note: str | None = None,
    dicom: Sequence[Path] = (),
) -> dict[str, Any]:
    """The content of `report.json`; described field by field in data/report.schema.json.

    dicom: the DICOM files that were written.
    """
    files = ScanFiles(Path(), scan_id)
    names = {path.name for path in dicom}
    optional = {"dicom_seg": files.dicom_segmentation.name, "dicom_sr": files.dicom_report.name}
    return {
        "format": REPORT_FORMAT,
        "format_version": REPORT_VERSION,
        "scan": scan_id,
        "note": note,
        "notice": RESEARCH_USE,
        "software": {"name": "ParanasalSSL", "version": software_version()},
        "model": _model_facts(card, result.notices),
        "image": {
            "format": result.volume.provenance.format,
            "modality": result.volume.provenance.modality,
            "shape": [int(n) for n in result.volume.shape],
            "spacing_mm": _rounded(result.volume.spacing_mm),
        },
        "quality": result.placement.quality.to_json(),
        "sinuses": {
            side.value: _sinus_facts(sinus, card) for side, sinus in result.sinuses.items()
        },
        "files": {
            "residual_map": files.residual_map.name,
            "segmentation": files.segmentation.name,
            "boxes": files.boxes.name,
            "html": files.report_html.name,
            **{key: name for key, name in optional.items() if name in names},
        },
    }


def _rounded(values: Any, digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in np.asarray(values).ravel()]


def _sinus_facts(sinus: SinusResult, card: BundleCard) -> dict[str, Any]:
    return {
        "name": SINUSES[sinus.side].name,
        "probability": round(sinus.probability, 4),
        "decision": decision_word(sinus),
        "threshold": round(card.decision_threshold, 4),
        "anomaly_ml": round(sinus.opacity_ml, 3),
        "share_of_cube": round(sinus.opacity_fraction, 5),
        "box": {
            "center_ras_mm": _rounded(sinus.box.center_ras_mm, 3),
            "axes_ras": [_rounded(axis, 6) for axis in sinus.box.rotation.T],
            "edge_mm": float(sinus.box.edge_mm),
            "origin": sinus.box.origin,
        },
    }


def decision_word(sinus: SinusResult) -> str:
    """The decision in one word, the same in every output."""
    return "anomaly" if sinus.anomalous else "clear"


def read_report(path: Path) -> dict[str, Any]:
    """The content of a `report.json` that `write_scan` has written."""
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def _model_facts(card: BundleCard, notices: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "weights_sha256": card.weights_sha256,
        "simulated": card.simulated,
        "decision_threshold": round(card.decision_threshold, 4),
        "notices": [SIMULATED_MODEL, *notices] if card.simulated else [*notices],
    }
