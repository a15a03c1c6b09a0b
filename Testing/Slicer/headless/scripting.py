"""Stand-ins for the Python packages of the application: base classes of scripted modules,
`slicer.i18n`, `slicer.packaging`, `slicer.parameterNodeWrapper`.

They keep the names and the behaviour that module code relies on, in the fewest lines; parameter
nodes store as Slicer's do (parameters and node references of a vtkMRMLScriptedModuleNode).
"""

from __future__ import annotations

import sys
import typing
import unittest
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import vtk


def install(slicer: ModuleType) -> None:
    """Register the stand-ins as `slicer.<name>`."""
    _register(
        slicer,
        "ScriptedLoadableModule",
        ScriptedLoadableModule=ScriptedLoadableModule,
        ScriptedLoadableModuleWidget=ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic=ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest=ScriptedLoadableModuleTest,
    )
    _register(slicer, "i18n", tr=lambda text: text, translate=lambda context, text: text)
    _register(
        slicer, "packaging", load_requirements=load_requirements, pip_ensure=lambda *a, **k: None
    )
    _register(
        slicer,
        "parameterNodeWrapper",
        parameterNodeWrapper=parameterNodeWrapper,
        WithinRange=WithinRange,
    )


def _register(slicer: ModuleType, name: str, **content: Any) -> None:
    module = ModuleType(f"slicer.{name}")
    module.__dict__.update(content)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)


# ------------------------------------------------------------------- slicer.ScriptedLoadableModule


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, name: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / name)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name: str) -> str:
        import slicer

        path = getattr(slicer.modules, self.moduleName.lower()).path
        return str(Path(path).parent / "Resources" / name)

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        import slicer

        kind = "vtkMRMLScriptedModuleNode"
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, kind)
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass(kind)
            node.UnRegister(None)  # CreateNodeByClass returns an owned reference
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def runTest(self) -> None:
        raise NotImplementedError

    def delayDisplay(self, message: str, *args: Any) -> None:
        pass


# ------------------------------------------------------------------------------ slicer.packaging


def load_requirements(path: str) -> list[str]:
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


# -------------------------------------------------------------------- slicer.parameterNodeWrapper


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


def parameterNodeWrapper(wrapped: type) -> type:
    """Turn annotated members into properties that live in the parameter node."""
    import slicer

    for name, hint in typing.get_type_hints(wrapped, include_extras=True).items():
        kind, *annotations = typing.get_args(hint) or (hint,)
        limits = next((a for a in annotations if isinstance(a, WithinRange)), None)
        is_node = issubclass(kind, slicer.vtkMRMLNode)
        default = getattr(wrapped, name, None if is_node else kind())
        make = _node_property if is_node else _value_property
        setattr(wrapped, name, make(name, kind, default, limits))
    wrapped.__init__ = _initialise  # type: ignore[misc]
    for method in (connectGui, disconnectGui, AddObserver, RemoveObserver):
        setattr(wrapped, method.__name__, method)
    return wrapped


def _node_property(name: str, kind: type, default: Any, limits: WithinRange | None) -> property:
    def read(self: Any) -> Any:
        return self.parameterNode.GetNodeReference(name)

    def write(self: Any, value: Any) -> None:
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} takes a {kind.__name__}")
        self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)

    return property(read, write)


def _value_property(name: str, kind: type, default: Any, limits: WithinRange | None) -> property:
    def read(self: Any) -> Any:
        text = self.parameterNode.GetParameter(name)
        return kind(text) if text else default

    def write(self: Any, value: Any) -> None:
        if not isinstance(value, (int, kind) if kind is float else kind):
            raise TypeError(f"{name} takes a {kind.__name__}")
        if limits and not limits.minimum <= value <= limits.maximum:
            raise ValueError(f"{name} is outside {limits}")
        self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


def _initialise(self: Any, parameterNode: Any) -> None:
    self.parameterNode = parameterNode
    self._connected = {}


def connectGui(self: Any, gui: Any) -> int:
    """Keep each widget with a `SlicerParameterName` and its parameter the same, both ways."""
    names = {w.property("SlicerParameterName"): w for w in vars(gui).values()}
    widgets = {name: widget for name, widget in names.items() if name}

    def to_gui(*_: Any) -> None:
        for name, widget in widgets.items():
            widget.show_parameter(getattr(self, name))

    to_gui()
    for name, widget in widgets.items():
        widget.on_parameter_change(lambda value, name=name: setattr(self, name, value))
    tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, to_gui)
    self._connected[tag] = list(widgets.values())
    return tag


def disconnectGui(self: Any, tag: int) -> None:
    self.RemoveObserver(tag)
    for widget in self._connected.pop(tag):
        widget.on_parameter_change(None)


def AddObserver(self: Any, event: Any, callback: Any, priority: float = 0.0) -> int:
    return self.parameterNode.AddObserver(event, callback, priority)


def RemoveObserver(self: Any, tag: int) -> None:
    self.parameterNode.RemoveObserver(tag)
