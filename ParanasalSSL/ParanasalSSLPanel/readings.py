"""What a reader says of the results of a scan, in the scene and in the worklist that it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel import kept, results
from ParanasalSSLPanel.dicomSeries import seriesOf
from ParanasalSSLPanel.scanNodes import attributeOf, setAttribute
from ParanasalSSLPanel.scans import voxelMl
from ParanasalSSLPanel.segments import masksOf

if TYPE_CHECKING:
    import numpy as np

    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.reading import Reading, Verdict
    from ParanasalSSLLib.scans.source_series import SourceSeries


def verdictOf(scan: vtkMRMLScalarVolumeNode) -> Reading:
    """What the reader says of the present numbers."""
    from ParanasalSSLLib.results.reading import Reading

    read = results.probabilitiesOf(scan)
    text = attributeOf(scan, "reading")
    reading = Reading.from_json(json.loads(text)) if text is not None else Reading()
    if dict(reading.read) != read:  # said of earlier numbers
        reading = Reading(read=read)
    return reading


def readingOf(scan: vtkMRMLScalarVolumeNode) -> Reading:
    """As `verdictOf`, with the volumes of what the reader has edited.

    Not for what answers to changes of the scene: reading segments adds and removes nodes.
    """
    edited = editedOpacities(scan) or {}
    volumes = {side: round(float(mask.sum()) * voxelMl(scan), 3) for side, mask in edited.items()}
    return replace(verdictOf(scan), edited_ml=volumes)


def editedOpacities(scan: vtkMRMLScalarVolumeNode) -> dict[Side, np.ndarray] | None:
    """Per side, bool (I, J, K): what a user has made of the opacities; None where all is as found."""
    node = results.segmentationOf(scan)
    return masksOf(node, scan) if node is not None and results.isEdited(scan) else None


def setReading(
    scan: vtkMRMLScalarVolumeNode, verdicts: Mapping[Side, Verdict], comment: str
) -> None:
    """Keep a verdict with the scan, in its result, and in the worklist where the scan comes from.

    Raises `ParanasalError`: the worklist's folder cannot be written, or has other numbers by now.
    """
    from ParanasalSSLLib.results.reading import write_reading
    from ParanasalSSLLib.results.record import read_report

    reading = replace(verdictOf(scan), verdicts=dict(verdicts), comment=comment.strip())
    keepReading(scan, reading)
    origin, result = kept.originOf(scan), kept.resultOf(scan)
    home = origin.home if origin is not None else result
    try:
        places = [*filter(None, {home, result})]
        if not all(reading.is_of(read_report(files.report_json)) for files in places):
            other = _("the scan was scored anew elsewhere; close the case and open it again")
            raise ValueError(other)
        for files in places:
            write_reading(files, reading)
        if origin is not None:
            _updateOverview(origin.home)
    except (OSError, ValueError) as error:
        words = _("The verdict could not be written to the worklist ({reason}).")
        raise ParanasalError(words.format(reason=error)) from error


def keepReading(scan: vtkMRMLScalarVolumeNode, reading: Reading) -> None:
    """Keep a verdict with the scan."""
    setAttribute(scan, "reading", json.dumps(reading.to_json()))


def writeBack(scan: vtkMRMLScalarVolumeNode) -> bool:
    """Put the present result in the place of the one in the worklist that the scan comes from.

    Where that one has DICOM objects, the new one gets them, too, if the series is still there.

    Returns whether it comes from one. Raises `ParanasalError`: it cannot be written there.
    """
    from ParanasalSSLLib.results.export import export_result

    origin, files = kept.originOf(scan), kept.resultOf(scan)
    if origin is None or files is None or files == origin.home:
        return False
    series = _seriesFor(scan, origin.home)
    try:
        export_result(files, origin.home, editedOpacities(scan), series=series)
        _updateOverview(origin.home)
    except (OSError, ValueError) as error:
        words = _("The new result could not be written to the worklist ({reason}).")
        raise ParanasalError(words.format(reason=error)) from error
    return True


def _seriesFor(scan: vtkMRMLScalarVolumeNode, home: ScanFiles) -> SourceSeries | None:
    """What DICOM objects are made of; None where there were none, or none can be made."""
    wanted = home.dicom_report.is_file() and find_spec("highdicom") is not None
    return seriesOf(scan, []) if wanted else None


def _updateOverview(home: ScanFiles) -> None:
    """Let table and page of the folder say what is there now."""
    from ParanasalSSLLib.results.overview import update_overview

    with suppress(ImportError):  # before the first run in this Slicer: the page then stays
        update_overview(home.folder.parent)
