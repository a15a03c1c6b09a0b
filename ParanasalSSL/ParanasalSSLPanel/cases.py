"""One case on screen, or two of one patient: scans with their boxes and results; others are hidden."""

from __future__ import annotations

from collections.abc import Iterator

import slicer
from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode

from ParanasalSSLPanel.kept import keepResult
from ParanasalSSLPanel.scanNodes import (
    OWNED,
    PREFIX,
    attributeOf,
    isOfAnother,
    nodeOf,
    removeWhole,
    rolesOf,
    setAttribute,
)

HIDDEN = "hidden with its case"


def nodesOfCase(scan: vtkMRMLScalarVolumeNode) -> list[vtkMRMLNode]:
    """Boxes and results of a scan; empty if it has none."""
    nodes = (nodeOf(scan, role) for role in rolesOf(scan))
    return [node for node in nodes if node is not None]


def makeCopyItsOwn(scan: vtkMRMLScalarVolumeNode) -> None:
    """Take from a clone what it says of boxes and results: they are the original's."""
    nodes = (scan.GetNodeReference(PREFIX + role) for role in rolesOf(scan))
    if not any(node is not None and isOfAnother(node, scan) for node in nodes):
        return
    keepResult(scan, None)
    for role in rolesOf(scan):
        scan.SetNodeReferenceID(PREFIX + role, None)
    for name in scan.GetAttributeNames():
        if name.startswith(PREFIX):
            scan.RemoveAttribute(name)


def showCase(*scans: vtkMRMLScalarVolumeNode | None) -> None:
    """Hide what belongs to other scans, deleted ones too; show what was hidden of these."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    present = {node.GetID() for scan in volumes for node in drawn(scan)}
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        owned = attributeOf(node, OWNED) is not None and not node.IsA("vtkMRMLVolumeNode")
        if owned and node.GetID() not in present:
            _hide(node)
    for scan in volumes:
        for node in drawn(scan):
            if scan in scans:
                _showAgain(node)
            else:
                _hide(node)


def closeCase(scan: vtkMRMLScalarVolumeNode) -> None:
    """Take a scan and all that belongs to it out of the scene."""
    for node in (*nodesOfCase(scan), scan):
        removeWhole(node)


def drawn(scan: vtkMRMLScalarVolumeNode) -> Iterator[vtkMRMLNode]:
    """What is drawn by itself; a volume is seen only where a slice view shows it."""
    for node in nodesOfCase(scan):
        if not node.IsA("vtkMRMLVolumeNode") and node.IsA("vtkMRMLDisplayableNode"):
            yield node


def _hide(node: vtkMRMLNode) -> None:
    if node.GetDisplayVisibility():
        setAttribute(node, HIDDEN, "yes")
        node.SetDisplayVisibility(False)


def _showAgain(node: vtkMRMLNode) -> None:
    """What a user has hidden stays hidden."""
    if attributeOf(node, HIDDEN) is not None:
        setAttribute(node, HIDDEN, None)
        node.SetDisplayVisibility(True)
