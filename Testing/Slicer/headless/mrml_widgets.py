"""Stand-ins for Slicer's own widgets (qMRML...), on the real scene: names, properties and signals of
the originals, the looks only roughly. Written, as module code is, in PythonQt's manner.
"""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from PySide6.QtCore import Property, Signal

from headless.ctk_widgets import row, stored

CREATE = object()  # stands in a node selector's list for "Create new ..."


class Observers:
    """What a widget observes in VTK; ends with the widget, as Qt's own connections do."""

    def __init__(self, widget: qt.QObject) -> None:
        self._tags: list[tuple[Any, int]] = []
        widget.destroyed.connect(self.clear)

    def add(self, observed: Any, event: Any, callback: Any) -> None:
        self._tags.append((observed, observed.AddObserver(event, callback)))

    def clear(self, *_: Any) -> None:
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags.clear()


class qMRMLWidget(qt.QWidget):
    """A widget that hands the scene on to others, by the connections of its .ui file."""

    mrmlSceneChanged = Signal(object)
    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """What the application gives a scripted widget as its parent."""

    isEntered = False

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        qt.QVBoxLayout(self).setContentsMargins(0, 0, 0, 0)


class qMRMLNodeComboBox(qt.QWidget):
    """Chooses one of the scene's nodes of some types; follows what is added, removed, renamed."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAddedByUser = Signal(object)

    nodeTypes = stored("QStringList", "nodeTypes", ["vtkMRMLNode"])
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True)
    showHidden = stored(bool, "showHidden", False)
    noneEnabled = stored(bool, "noneEnabled", False)
    noneDisplay = stored(str, "noneDisplay", "None")
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    renameEnabled = stored(bool, "renameEnabled", False)
    editEnabled = stored(bool, "editEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    baseName = stored(str, "baseName", "")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._current = ""  # the chosen node's ID
        self._observers = Observers(self)
        self._box = qt.QComboBox()
        self._box.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        row(self, self._box)
        self._box.currentIndexChanged.connect(self._choose)
        self._box.activated.connect(lambda index: self.nodeActivated.emit(self.currentNode()))

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self._refresh()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node else "")

    def setCurrentNodeID(self, identifier: str) -> None:
        self._refresh()
        self._box.setCurrentIndex(max(self._box.findData(identifier or ""), self._nothing()))

    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodes(self) -> list[Any]:
        return self._nodes()

    def addNode(self) -> Any:
        """As a user does with "Create new ..."."""
        node = self._scene.AddNewNodeByClass(self.nodeTypes[0], self.baseName)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        nodes = (self._scene.GetNthNode(n) for n in range(self._scene.GetNumberOfNodes()))
        return [node for node in nodes if self._fits(node)]

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        return any(
            node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind
            for kind in self.nodeTypes
        )

    def _refresh(self, *_: Any) -> None:
        """List the nodes anew; a chosen node that is gone gives way to none, or to the first."""
        nodes = self._nodes()
        self._observe(nodes)
        blocker = qt.QSignalBlocker(self._box)
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        kind = self.nodeTypes[0].removeprefix("vtkMRML").removesuffix("Node")
        self._box.setPlaceholderText(f"Select a {kind}")
        if self.addEnabled:
            self._box.addItem(f"Create new {kind}", CREATE)
        index = self._box.findData(self._current) if self._current else -1
        first = 0 if nodes else self._nothing()
        self._box.setCurrentIndex(first if index < 0 else index)
        blocker.unblock()
        self._choose(self._box.currentIndex)

    def _nothing(self) -> int:
        """Where the list says that no node is chosen."""
        return 0 if self.noneEnabled else -1

    def _observe(self, nodes: list[Any]) -> None:
        self._observers.clear()
        scene = self._scene
        if scene is None:
            return
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent):
            self._observers.add(scene, event, self._refresh)
        for node in nodes:
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self._rename)

    def _rename(self, node: Any, event: Any) -> None:
        index = self._box.findData(node.GetID())
        if index >= 0:
            self._box.setItemText(index, node.GetName())

    def _choose(self, index: int) -> None:
        data = self._box.itemData(index)
        if data is CREATE:
            self._box.setCurrentIndex(self._box.findData(self._current))
            self.addNode()
        elif (data or "") != self._current:
            self._current = data or ""
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(self._current)


class qMRMLTableView(qt.QTableView):
    """Shows a table node."""

    _node: Any = None

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._observers = Observers(self)
        self._items = qt.QStandardItemModel(self)
        self.setModel(self._items)

    def setMRMLScene(self, scene: Any) -> None:
        pass

    def mrmlTableNode(self) -> Any:
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:
        self._observers.clear()
        self._node = node
        if node is not None:
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self._fill)
        self._fill()

    def _fill(self, *_: Any) -> None:
        self._items.clear()
        table = self._node.GetTable() if self._node else None
        for index in range(table.GetNumberOfColumns() if table else 0):
            values = (table.GetValue(n, index) for n in range(table.GetNumberOfRows()))
            items = [qt.QStandardItem(value.ToString()) for value in values]
            for item in items:
                item.setEditable(not self._node.GetLocked())
            self._items.appendColumn(items)
            titled = self._node.GetUseColumnTitleAsColumnHeader()
            title = self._node.GetColumnName(index) if titled else chr(ord("A") + index)
            self._items.setHorizontalHeaderItem(index, qt.QStandardItem(title))
        self.resizeColumnsToContents()


WIDGETS = (
    qMRMLWidget,
    qMRMLNodeComboBox,
    qMRMLTableView,
    qSlicerScriptedLoadableModuleWidget,
)


def install() -> None:
    """Register the widgets as `slicer.<name>`."""
    for widget in WIDGETS:
        setattr(slicer, widget.__name__, widget)
