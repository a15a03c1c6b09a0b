"""What belongs to a scan: node references and attributes of its volume node.

They are saved with the scene, so that a reloaded scene is complete, every scan of a scene keeps its
own boxes and results, and a second run replaces the first one's nodes.
"""

from __future__ import annotations

from typing import Any

import slicer
from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode

PREFIX = "ParanasalSSL."
OWNED = "of a scan"  # fact on a node that belongs to a scan, which may have been deleted since
OWNER = "ParanasalSSL owner"  # role of that scan


def nodeOf(scan: vtkMRMLScalarVolumeNode, role: str) -> vtkMRMLNode | None:
    """The node of that role ("residual", "left box", ...), if the scan has one."""
    node = scan.GetNodeReference(PREFIX + role)
    return None if node is None or isOfAnother(node, scan) else node


def rolesOf(scan: vtkMRMLScalarVolumeNode) -> list[str]:
    """The roles that a scan has nodes for, or had."""
    count = scan.GetNumberOfNodeReferenceRoles()
    roles = [scan.GetNthNodeReferenceRole(n) for n in range(count)]
    return [role.removeprefix(PREFIX) for role in roles if role.startswith(PREFIX)]


def isOfAnother(node: vtkMRMLNode, scan: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a node that a scan refers to belongs to another one: a clone refers to the original's."""
    owner = node.GetNodeReference(OWNER)  # scenes of early versions know none
    return owner is not None and owner is not scan


def nodeOrNew(scan: vtkMRMLScalarVolumeNode, role: str, nodeClass: str, name: str) -> vtkMRMLNode:
    """The node of that role; if there is none, it is made, named and put beside the scan."""
    node = nodeOf(scan, role)
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
        scan.SetNodeReferenceID(PREFIX + role, node.GetID())
        node.SetNodeReferenceID(OWNER, scan.GetID())
        setAttribute(node, OWNED, "yes")
        _putBeside(scan, node)
    return node


def removeNode(scan: vtkMRMLScalarVolumeNode, role: str) -> None:
    """Take the node of that role out of the scene."""
    node = nodeOf(scan, role)
    if node is not None:
        removeWhole(node)


def removeWhole(node: vtkMRMLNode) -> None:
    """Take a node out of the scene, with its display and storage nodes.

    The scene would keep these, and a volume's display node keeps its voxels in memory.
    """
    own = []
    if node.IsA("vtkMRMLDisplayableNode"):
        own += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        own += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    slicer.mrmlScene.RemoveNode(node)
    for each in (each for each in own if each is not None):
        slicer.mrmlScene.RemoveNode(each)


def releaseNode(scan: vtkMRMLScalarVolumeNode, role: str) -> None:
    """Let the node of that role stay in the scene as one that is nobody's."""
    node = nodeOf(scan, role)
    if node is not None:
        setAttribute(node, OWNED, None)
        node.SetNodeReferenceID(OWNER, None)
    scan.SetNodeReferenceID(PREFIX + role, None)


def setAttribute(node: vtkMRMLNode, key: str, value: str | None) -> None:
    """Write a small fact on a node; None removes it."""
    if value is None:
        node.RemoveAttribute(PREFIX + key)
    else:
        node.SetAttribute(PREFIX + key, value)


def attributeOf(node: vtkMRMLNode, key: str) -> str | None:
    """The fact that `setAttribute` wrote."""
    return node.GetAttribute(PREFIX + key)


def _putBeside(scan: vtkMRMLScalarVolumeNode, node: Any) -> None:
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    if hierarchy is None:
        return
    scanItem, nodeItem = (hierarchy.GetItemByDataNode(each) for each in (scan, node))
    if hierarchy.GetInvalidItemID() not in (scanItem, nodeItem):
        hierarchy.SetItemParent(nodeItem, hierarchy.GetItemParent(scanItem))
