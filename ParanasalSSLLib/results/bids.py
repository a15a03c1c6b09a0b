"""Results as BIDS derivatives, named after the scans of a BIDS data set.

    OUT/dataset_description.json, README.md, .bidsignore
    OUT/sub-01/[ses-1/]anat/sub-01_ses-1_desc-residual_T1w.nii.gz       and .json
    OUT/sub-01/[ses-1/]anat/sub-01_ses-1_desc-opacityT1w_dseg.nii.gz    and .json with the numbers, .tsv
    OUT/reports/sub-01_ses-1_T1w/...                                    as `layout` says

The first two are made from the last; BIDS has no place for reports and Slicer's formats, so that
folder is in `.bidsignore`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ParanasalSSLLib.files import write_json, write_whole
from ParanasalSSLLib.results.layout import BIDS_REPORTS, DATASET_DESCRIPTION, ScanFiles
from ParanasalSSLLib.results.maps import read_labels
from ParanasalSSLLib.results.older import read_object, refuse_foreign_dataset
from ParanasalSSLLib.results.record import RESEARCH_USE, SOFTWARE, read_report, software_version
from ParanasalSSLLib.scans.bids import bids_suffix
from ParanasalSSLLib.scans.volume import nifti_image
from ParanasalSSLLib.sinuses import SEGMENT_LABELS, SINUSES

_README = f"""# ParanasalSSL: anomalies of the maxillary sinuses

For each scan: `desc-residual`, how much each voxel in the boxes around the sinuses differs from a
healthy sinus (0 to 1); `desc-opacity*_dseg`, what fills a sinus (1 left, 2 right), with the
probabilities in the JSON file beside it. `{BIDS_REPORTS}/index.html` shows all scans, what needs a
look first.

{RESEARCH_USE}
"""


def write_data_set(out: Path, raw: Path) -> None:
    """What makes `out` a BIDS data set of derivatives of `raw`. Raises `UnsafeOutput`: not ours."""
    refuse_foreign_dataset(out)
    description = {
        "Name": "ParanasalSSL: anomalies of the maxillary sinuses",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": SOFTWARE, "Version": software_version()}],
        "DatasetLinks": {"raw": Path(os.path.relpath(raw.resolve(), out.resolve())).as_posix()},
    }
    if read_object(out / DATASET_DESCRIPTION) != description:
        write_json(out / DATASET_DESCRIPTION, description)
    for name, text in (("README.md", _README), (".bidsignore", f"/{BIDS_REPORTS}\n")):
        if not (out / name).exists():
            with write_whole(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8")


def publish(out: Path, raw: Path, scan: Path, scan_id: str) -> Path:
    """Write the derivatives of one scan from its results; returns the file with the numbers, the last.

    Args:
        out: folder of the derivatives; the results are in its `BIDS_REPORTS`.
        raw: folder of the data set.
        scan: the scan in it, named as BIDS names scans.
        scan_id: what its results are called.
    """
    files = ScanFiles.in_output(out / BIDS_REPORTS, scan_id)
    suffix = bids_suffix(scan.name)
    inside = scan.relative_to(raw)
    stem = scan.name.split(f"_{suffix}.nii")[0]
    folder = out / inside.parent
    folder.mkdir(parents=True, exist_ok=True)
    about = {"Sources": [f"bids:raw:{inside.as_posix()}"], "SpatialReference": "orig"}
    _write_residual(files, folder / f"{stem}_desc-residual_{suffix}", about)
    return _write_opacity(files, folder / f"{stem}_desc-opacity{suffix}_dseg", about)


def _write_residual(files: ScanFiles, target: Path, about: dict[str, Any]) -> None:
    with write_whole(target.with_name(f"{target.name}.nii.gz")) as temporary:
        shutil.copyfile(files.residual_map, temporary)
    words = (
        "Difference from a healthy sinus, 0 to 1; 0 outside the boxes around the maxillary sinuses."
    )
    write_json(
        target.with_name(f"{target.name}.json"),
        {"Description": words, "SkullStripped": False, **about},
    )


def _write_opacity(files: ScanFiles, target: Path, about: dict[str, Any]) -> Path:
    grid: Any = nib.load(files.residual_map)
    labels = read_labels(files, grid.shape)[0].astype(np.uint8)
    with write_whole(target.with_name(f"{target.name}.nii.gz")) as temporary:
        nib.save(nifti_image(labels, grid.affine), temporary)
    with write_whole(target.with_name(f"{target.name}.tsv")) as temporary:
        temporary.write_text(_label_table(), encoding="utf-8")
    report = read_report(files.report_json).to_json()
    numbers = {name: report[name] for name in ("sinuses", "quality", "model", "notice")}
    words = "What fills the maxillary sinuses: 1 left, 2 right (the patient's)."
    path = target.with_name(f"{target.name}.json")
    write_json(path, {"Description": words, "Manual": False, **about, "ParanasalSSL": numbers})
    return path


def _label_table() -> str:
    lines = ["index\tname\tcolor"]
    for side, value in SEGMENT_LABELS.items():
        color = "".join(f"{round(255 * part):02x}" for part in SINUSES[side].opacity_color)
        lines.append(f"{value}\t{SINUSES[side].opacity_name}\t#{color}")
    return "\n".join(lines) + "\n"
