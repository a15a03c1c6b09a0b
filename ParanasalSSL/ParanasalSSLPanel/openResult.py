"""A scan and what `paranasal predict` has written about it, as nodes of the scene."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel import results, views
from ParanasalSSLPanel.boxes import showBoxes
from ParanasalSSLPanel.compute import readFindings
from ParanasalSSLPanel.kept import Origin, keepOrigin
from ParanasalSSLPanel.readings import keepReading
from ParanasalSSLPanel.scanNodes import attributeOf, setAttribute

if TYPE_CHECKING:
    from ParanasalSSLLib.geometry import Grid
    from ParanasalSSLLib.results.record import ScanRecord

NUMBERS = "numbers in its folder"  # fact on a scan's node: what its result said when it was opened


def openResult(scan: ScanSource | Path, out: Path, identifier: str) -> vtkMRMLScalarVolumeNode:
    """Show a scan with the boxes and findings in `out`/`identifier`; returns its volume node.

    A scan that was opened before is shown as it is now, a user's corrections included; but with its
    new results, if it was scored anew elsewhere.

    Raises:
        ParanasalError: the scan or its results cannot be read, or it is not the scan of these results.
    """
    from ParanasalSSLLib.results.reading import judged_probabilities, read_reading
    from ParanasalSSLLib.results.record import read_report

    # Scrambled: a saved scene is not to hold paths of this computer.
    source = scan if isinstance(scan, ScanSource) else ScanSource(scan)
    key = hashlib.sha256(f"{out.resolve()}/{identifier}".encode()).hexdigest()[:20]
    files = ScanFiles.in_output(out, identifier)
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    known = next((node for node in nodes if attributeOf(node, "opened from") == key), None)
    if known is not None and not _isScoredAnew(known, files):
        keepOrigin(known, Origin(source, files))
        views.lookAtBoxes(known)
        return known
    try:
        record = read_report(files.report_json)
        findings = readFindings(files, record)
    except (OSError, ValueError) as error:
        raise UnreadableScan(
            _("The results of {name} are missing or damaged. Score the scan again.").format(
                name=source.path.name
            )
        ) from error
    node = known or _load(source, findings.grid, record)
    setAttribute(node, "opened from", key)
    setAttribute(node, NUMBERS, _words(judged_probabilities(record.sinuses)))
    showBoxes(node, findings.boxes, findings.quality)
    keepOrigin(node, Origin(source, files))
    results.showFindings(node, findings.boxes, findings)
    reading = read_reading(files, record)
    if reading is not None:
        keepReading(node, reading)
    views.lookAtBoxes(node)
    return node


def _isScoredAnew(node: vtkMRMLScalarVolumeNode, files: ScanFiles) -> bool:
    """Whether the result has other numbers by now than those that were opened, or are shown."""
    from ParanasalSSLLib.results.reading import judged_probabilities
    from ParanasalSSLLib.results.record import read_report

    try:
        now = _words(judged_probabilities(read_report(files.report_json).sinuses))
    except (OSError, ValueError):
        return False
    return now not in (attributeOf(node, NUMBERS), _words(results.probabilitiesOf(node)))


def _words(probabilities: Mapping[Side, float]) -> str:
    return json.dumps(probabilities, sort_keys=True)


def _load(source: ScanSource, grid: Grid, record: ScanRecord) -> vtkMRMLScalarVolumeNode:
    """Read by the library, so that its grid is the one in which the scan was scored."""
    from ParanasalSSLLib.results.record import fingerprint
    from ParanasalSSLLib.scans.read import read_again

    volume = read_again(source.path, grid, source.files)
    if record.image.sha256 not in (None, fingerprint(volume)):
        raise UnreadableScan(
            _(
                "{name} is not the scan of these results, or has changed since it was scored. Score "
                "it again, into another folder."
            ).format(name=source.path.name)
        )
    return slicer.util.addVolumeFromArray(
        volume.data.transpose(2, 1, 0).copy(),
        volume.affine,
        source.path.name.split(".")[0],
        "vtkMRMLScalarVolumeNode",
    )
