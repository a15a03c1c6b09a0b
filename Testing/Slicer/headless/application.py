"""The application around the scene: logics, file types, `slicer.app`, `slicer.modules`, loading."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

from PySide6.QtCore import QSettings, Signal
from PySide6.QtWidgets import QApplication

from headless import pythonqt

SLICE_VIEWS = ("Red", "Green", "Yellow")


def install() -> ModuleType:
    """Make `import slicer`, `import qt` and `import ctk` work for module code; return slicer."""
    import slicer

    sys.modules["qt"] = pythonqt.make_qt()
    core = Core(slicer)
    slicer.app = Application(core)
    slicer.mrmlScene = core.scene
    for name in ("modules", "moduleNames"):
        module = ModuleType(f"slicer.{name}")
        sys.modules[module.__name__] = module
        setattr(slicer, name, module)
    for name, logic in core.logics.items():
        setattr(slicer.modules, name.lower(), SimpleNamespace(logic=lambda logic=logic: logic))
    _install_written_for_pythonqt(slicer)
    import slicer.util

    return slicer


def _install_written_for_pythonqt(slicer: ModuleType) -> None:
    """What itself imports `qt` and `ctk`."""
    from headless import ctk_widgets

    sys.modules["ctk"] = ctk_widgets.make_ctk()
    from headless import mrml_widgets

    mrml_widgets.install()
    pythonqt.QUiLoader.register((*ctk_widgets.WIDGETS, *mrml_widgets.WIDGETS))
    from headless import scripting

    scripting.install(slicer)


def load_module(path: Path) -> ModuleType:
    """Do what Slicer does with a scripted module's file: put its folder on the path, import it,
    instantiate its class, register it under `slicer.modules`."""
    import slicer

    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    parent = SimpleNamespace(path=str(path), name=path.stem)
    parent.instance = getattr(module, path.stem)(parent)
    setattr(slicer.modules, path.stem.lower(), parent)
    return module


def open_module(module: ModuleType) -> Any:
    """The module's panel, made and shown as when a user goes to the module; `cleanup()` ends it."""
    import slicer

    parent = slicer.qSlicerScriptedLoadableModuleWidget()
    widget = getattr(module, f"{module.__name__}Widget")(parent)
    widget.setup()
    parent.show()
    parent.isEntered = True
    if hasattr(widget, "enter"):
        widget.enter()
    return widget


class Core:
    """A scene with the logics that the application would connect to it."""

    def __init__(self, slicer: ModuleType) -> None:
        import vtk

        self.scene = slicer.vtkMRMLScene()
        self.application = slicer.vtkSlicerApplicationLogic()
        self.application.SetMRMLScene(self.scene)
        self.application.GetColorLogic().SetMRMLScene(self.scene)
        self.application.GetColorLogic().AddDefaultColorNodes()
        self.application.SetSliceLogics(vtk.vtkCollection())
        self.application.SetViewLogics(vtk.vtkCollection())
        kinds = {
            "Colors": slicer.vtkSlicerColorLogic,
            "Volumes": slicer.vtkSlicerVolumesLogic,
            "Terminologies": slicer.vtkSlicerTerminologiesModuleLogic,
            "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
            "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic,
            "Markups": slicer.vtkSlicerMarkupsLogic,
            "Sequences": slicer.vtkSlicerSequencesLogic,
        }
        self.logics = {name: self._connected(name, kind()) for name, kind in kinds.items()}
        self._add_views(slicer)
        self._fill_subject_hierarchy(slicer)
        self._connect_file_access(slicer)

    def _connected(self, name: str, logic: Any) -> Any:
        logic.SetMRMLScene(self.scene)
        logic.SetMRMLApplicationLogic(self.application)
        self.application.SetModuleLogic(name, logic)
        return logic

    def _add_views(self, slicer: ModuleType) -> None:
        """The nodes of the three slice views; nothing is drawn."""
        self.scene.AddNode(slicer.vtkMRMLCrosshairNode())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        for name in SLICE_VIEWS:
            for kind in (slicer.vtkMRMLSliceNode, slicer.vtkMRMLSliceCompositeNode):
                node = kind()
                node.SetName(name)
                node.SetLayoutName(name)
                node.SetSingletonTag(name)
                self.scene.AddNode(node)

    def _fill_subject_hierarchy(self, slicer: ModuleType) -> None:
        """Give every node that holds data an item, as the application's plugins do."""
        import vtk

        kinds = (
            *(slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode),
            *(slicer.vtkMRMLMarkupsROINode, slicer.vtkMRMLTableNode),
        )

        @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
        def on_node_added(scene: Any, event: Any, node: Any) -> None:
            if (
                isinstance(node, kinds)
                and not node.GetHideFromEditors()
                and not scene.IsImporting()
            ):
                hierarchy = scene.GetSubjectHierarchyNode()
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

        self.scene.AddObserver(self.scene.NodeAddedEvent, on_node_added)

    def _connect_file_access(self, slicer: ModuleType) -> None:
        """Without these, reading an .mrb fails."""
        self.remote = slicer.vtkMRMLRemoteIOLogic()
        self.remote.SetMRMLScene(self.scene)
        self.remote.SetMRMLApplicationLogic(self.application)
        self.remote.GetCacheManager().SetRemoteCacheDirectory(tempfile.mkdtemp())
        self.data_io = slicer.vtkDataIOManagerLogic()
        self.data_io.SetMRMLScene(self.scene)
        self.data_io.SetMRMLApplicationLogic(self.application)
        self.data_io.SetAndObserveDataIOManager(self.remote.GetDataIOManager())
        self.remote.AddDataIOToScene()


class FileAccess:
    """`slicer.app.coreIOManager()`: picks the reader by suffix; reading itself is Slicer's own."""

    TYPES: ClassVar = {".mrb": "SceneFile", ".mrml": "SceneFile", ".tsv": "TableFile"}

    def __init__(self, core: Core) -> None:
        self._core = core

    def fileType(self, path: str) -> str:
        return self.TYPES.get(Path(path).suffix, "VolumeFile")

    def loadNodes(self, kind: str, properties: dict[str, Any], nodes: Any, messages: Any) -> bool:
        path = str(properties["fileName"])
        if not Path(path).exists():
            return False
        if kind == "SceneFile":
            return bool(self._core.scene.ReadFromMRB(path))
        if kind != "VolumeFile":
            raise NotImplementedError(f"The stand-in does not load files of type {kind}.")
        name = properties.get("name") or Path(path).name.split(".")[0]
        node = self._core.logics["Volumes"].AddArchetypeVolume(path, name, 0)
        if node is not None:
            nodes.AddItem(node)
        return node is not None

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any) -> bool:
        path = str(properties["fileName"])
        if "nodeID" not in properties or kind == "SceneFile":
            return bool(self._core.scene.WriteToMRB(path))
        node = self._core.scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))

    def fileWriterFileType(self, node: Any) -> str:
        return node.GetClassName()


class Application(QApplication):
    """`slicer.app`, in testing mode, so that `slicer.util`'s message boxes only write a log."""

    majorVersion, minorVersion = 5, 13
    startupCompleted = Signal()

    def __init__(self, core: Core) -> None:
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("NA-MIC")
        pythonqt.prepare(self)
        self._core = core
        self._file_access = FileAccess(core)
        self.temporaryPath = tempfile.mkdtemp()

    def mrmlScene(self) -> Any:
        return self._core.scene

    def applicationLogic(self) -> Any:
        return self._core.application

    def coreIOManager(self) -> FileAccess:
        return self._file_access

    ioManager = coreIOManager

    def moduleManager(self) -> Application:
        return self

    def layoutManager(self) -> None:
        return None

    def userSettings(self) -> QSettings:
        return QSettings()

    settings = userSettings

    def testingEnabled(self) -> bool:
        return True

    def pauseRender(self) -> None:
        pass

    def resumeRender(self) -> None:
        pass
