"""A scan and what `paranasal predict` has written about it, as nodes of the scene."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLPanel import results, views
from ParanasalSSLPanel.boxes import showBoxes
from ParanasalSSLPanel.compute import readFindings
from ParanasalSSLPanel.kept import Origin, keepOrigin
from ParanasalSSLPanel.readings import keepReading
from ParanasalSSLPanel.scanNodes import attributeOf, setAttribute

if TYPE_CHECKING:
    from ParanasalSSLLib.geometry import Grid


def openResult(scan: ScanSource | Path, out: Path, identifier: str) -> vtkMRMLScalarVolumeNode:
    """Show a scan with the boxes and findings in `out`/`identifier`; returns its volume node.

    A scan that was opened before is shown as it is now, a user's corrections included.

    Raises:
        ParanasalError: the scan or its results cannot be read.
    """
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.reading import read_reading
    from ParanasalSSLLib.results.record import read_report

    # Scrambled: a saved scene is not to hold paths of this computer.
    source = scan if isinstance(scan, ScanSource) else ScanSource(scan)
    key = hashlib.sha256(f"{out.resolve()}/{identifier}".encode()).hexdigest()[:20]
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if attributeOf(node, "opened from") == key:
            keepOrigin(node, Origin(source, ScanFiles.in_output(out, identifier)))
            views.lookAtBoxes(node)
            return node
    files = ScanFiles.in_output(out, identifier)
    try:
        record = read_report(files.report_json)
        findings = readFindings(files, record)
    except (OSError, ValueError) as error:
        raise UnreadableScan(
            _("The results of {name} are missing or damaged. Score the scan again.").format(
                name=source.path.name
            )
        ) from error
    node = _load(source, findings.grid)
    setAttribute(node, "opened from", key)
    showBoxes(node, findings.boxes, findings.quality)
    keepOrigin(node, Origin(source, files))
    results.showFindings(node, findings.boxes, findings)
    reading = read_reading(files, record)
    if reading is not None:
        keepReading(node, reading)
    views.lookAtBoxes(node)
    return node


def _load(source: ScanSource, grid: Grid) -> vtkMRMLScalarVolumeNode:
    """Read by the library, so that its grid is the one in which the scan was scored."""
    from ParanasalSSLLib.scans.read import read_again

    volume = read_again(source.path, grid, source.files)
    return slicer.util.addVolumeFromArray(
        volume.data.transpose(2, 1, 0).copy(),
        volume.affine,
        source.path.name.split(".")[0],
        "vtkMRMLScalarVolumeNode",
    )
