"""What a user gets of one scan: a folder of files named in the style of BIDS derivatives.

    OUT/dataset_description.json
    OUT/sub-0001/sub-0001_desc-residual_map.nii.gz      residual, in the scan's own grid
    OUT/sub-0001/sub-0001_desc-residual_dseg.seg.nrrd   segmentation, opens in 3D Slicer
    OUT/sub-0001/sub-0001_desc-boxes.mrk.json           the boxes, opens in 3D Slicer
    OUT/sub-0001/sub-0001_report.json                   all numbers (data/report.schema.json)
    OUT/sub-0001/sub-0001_report.html                   pictures and words, one file
    OUT/sub-0001/sub-0001_desc-boxes_slices.png         the head with the boxes
    OUT/sub-0001/sub-0001_desc-middle_slices.png        slices through the middle of the sinuses
    OUT/sub-0001/sub-0001_desc-leftfinding_slices.png   and through a side's largest finding, if any
    OUT/sub-0001/sub-0001_desc-rightfinding_slices.png

for several scans an overview,

    OUT/index.html                                      what needs a look first, with links
    OUT/results.csv                                     one row for each scan and side
    OUT/findings.csv                                    one row for each finding

    OUT/sub-0001/sub-0001_reading.json                  a reader's verdict, once it was given

and, where it is asked for and the scan is a DICOM series,

    OUT/sub-0001/sub-0001_desc-residual_seg.dcm         DICOM segmentation
    OUT/sub-0001/sub-0001_desc-scores_sr.dcm            DICOM structured report

No file but these two holds a path, a file name or any other identity of the input; a scan is known
by its neutral id alone. (Pictures and boxes do show the head itself.) The DICOM files belong to the
patient and study of their source, as DICOM demands.

This module imports the standard library only, so that Slicer's panel and the workflow can use it
before anything is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DATASET_DESCRIPTION = "dataset_description.json"
PICTURES = ("boxes", "middle", "leftfinding", "rightfinding")
OVERVIEW, TABLE = "index.html", "results.csv"  # of all scans in the folder
GENERATOR = "ParanasalSSL overview"  # in the page; so the table begins:
TABLE_BEGINS = "id,state,series,"
FINDINGS, FINDINGS_BEGIN = "findings.csv", "id,side,finding,"  # of all scans, likewise
BIDS_REPORTS = "reports"  # folder of all this in a data set of BIDS derivatives, see `bids`


@dataclass(frozen=True)
class ScanFiles:
    """The paths of one scan's results, in `folder`, for a scan called `scan_id`."""

    folder: Path
    scan_id: str

    @classmethod
    def in_output(cls, out: str | Path, scan_id: str) -> ScanFiles:
        """The results of a scan in the output folder `out`."""
        return cls(Path(out) / scan_id, scan_id)

    @property
    def residual_map(self) -> Path:
        """The residual in the scan's grid, NIfTI."""
        return self._named("desc-residual_map.nii.gz")

    @property
    def segmentation(self) -> Path:
        """The opacity as one segment a side, NRRD."""
        return self._named("desc-residual_dseg.seg.nrrd")

    @property
    def boxes(self) -> Path:
        """The boxes as Slicer's markups."""
        return self._named("desc-boxes.mrk.json")

    @property
    def report_json(self) -> Path:
        """The numbers, for programs."""
        return self._named("report.json")

    @property
    def report_html(self) -> Path:
        """The page, for people."""
        return self._named("report.html")

    def slices(self, what: str) -> Path:
        """A picture of the page as PNG; what: one of `PICTURES`."""
        return self._named(f"desc-{what}_slices.png")

    @property
    def dicom_segmentation(self) -> Path:
        """DICOM SEG, on request."""
        return self._named("desc-residual_seg.dcm")

    @property
    def dicom_report(self) -> Path:
        """DICOM SR, on request."""
        return self._named("desc-scores_sr.dcm")

    @property
    def reading(self) -> Path:
        """What a reader says of the result."""
        return self._named("reading.json")

    @property
    def beside_report(self) -> dict[str, Path]:
        """All files but `report_json`, by what that calls them; some are made only for some scans."""
        return {
            "residual_map": self.residual_map,
            "segmentation": self.segmentation,
            "boxes": self.boxes,
            "html": self.report_html,
            **{f"{what}_slices": self.slices(what) for what in PICTURES},
            "dicom_seg": self.dicom_segmentation,
            "dicom_sr": self.dicom_report,
        }

    def _named(self, rest: str) -> Path:
        return self.folder / f"{self.scan_id}_{rest}"
