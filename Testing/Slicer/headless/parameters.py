"""`slicer.parameterNodeWrapper`: annotated classes whose members live in a scene's parameter node.

Types: str, int, float, bool, pathlib.Path, Enum, nodes, lists of the first five (a list is stored
when it is assigned, not when something is appended to it), each also `| None`. As in Slicer, defaults
are written to the node, wrong types and values out of range are refused, and a widget that cannot show
a parameter of its type is an error.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import ctk
import qt
import slicer
import vtk


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Minimum:
    minimum: float


@dataclass(frozen=True)
class Maximum:
    maximum: float


@dataclass(frozen=True)
class Choice:
    choices: list[Any]


@dataclass(frozen=True)
class Default:
    value: Any


EXPORTED = (WithinRange, Minimum, Maximum, Choice, Default)


# -------------------------------------------------------------------------------------- parameters


@dataclass(frozen=True)
class Parameter:
    """One annotated member of a wrapped class."""

    name: str
    kind: type
    items: type | None  # of a list
    optional: bool
    annotations: tuple[Any, ...]
    default: Any = field(default=None)

    @property
    def is_node(self) -> bool:
        return issubclass(self.kind, slicer.vtkMRMLNode)

    def annotated(self, kind: type) -> Any:
        return next((a for a in self.annotations if isinstance(a, kind)), None)

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        if node.GetParameterNames() is None or self.name not in node.GetParameterNames():
            return self.default
        return self._from_text(node.GetParameter(self.name))

    def write(self, node: Any, value: Any) -> None:
        self._check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value else None)
        elif value is None:
            node.UnsetParameter(self.name)
        else:
            node.SetParameter(self.name, self._to_text(value))

    def _from_text(self, text: str) -> Any:
        if self.items is None:
            return _from_text(self.kind, text)
        return [_from_text(self.items, each) for each in json.loads(text)]

    def _to_text(self, value: Any) -> str:
        if self.items is None:
            return _to_text(value)
        return json.dumps([_to_text(each) for each in value])

    def _check(self, value: Any) -> None:
        if value is None and (self.optional or self.is_node):
            return
        wanted = {float: (int, float), Path: PurePath}.get(self.kind, self.kind)
        if not isinstance(value, wanted):
            raise TypeError(f"{self.name} takes a {self.kind.__name__}, not {value!r}")
        low, high = self.limits
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"{self.name} = {value} is not within {low}..{high}")
        choice = self.annotated(Choice)
        if choice is not None and value not in choice.choices:
            raise ValueError(f"{self.name} = {value} is none of {choice.choices}")

    @property
    def limits(self) -> tuple[float | None, float | None]:
        both = self.annotated(WithinRange)
        low, high = both or self.annotated(Minimum), both or self.annotated(Maximum)
        return (low.minimum if low else None, high.maximum if high else None)


def _from_text(kind: type, text: str) -> Any:
    if issubclass(kind, Enum):
        return kind[text]
    return text == "True" if kind is bool else kind(text)


def _to_text(value: Any) -> str:
    return value.name if isinstance(value, Enum) else str(value)


def _parameter(wrapped: type, name: str, hint: Any) -> Parameter:
    annotations: tuple[Any, ...] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *rest = typing.get_args(hint)
        annotations = tuple(rest)
    optional = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if optional:
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
    items = typing.get_args(hint)[0] if typing.get_origin(hint) is list else None
    kind = list if items else hint
    parameter = Parameter(name, kind, items, optional, annotations)
    default = parameter.annotated(Default)
    value = getattr(wrapped, name, default.value if default else _empty(parameter))
    return Parameter(name, kind, items, optional, annotations, value)


def _empty(parameter: Parameter) -> Any:
    if parameter.optional or parameter.is_node:
        return None
    if issubclass(parameter.kind, Enum):
        return next(iter(parameter.kind))
    choice = parameter.annotated(Choice)
    return choice.choices[0] if choice else parameter.kind()


def parameterNodeWrapper(wrapped: type) -> type:
    """Turn annotated members into properties that live in the parameter node."""
    hints = typing.get_type_hints(wrapped, include_extras=True)
    parameters = {name: _parameter(wrapped, name, hint) for name, hint in hints.items()}
    for name, parameter in parameters.items():
        setattr(wrapped, name, _property(parameter))
    wrapped.allParameters = parameters  # type: ignore[attr-defined]
    wrapped.__init__ = _initialise  # type: ignore[misc]
    for method in (
        connectParametersToGui,
        disconnectGui,
        AddObserver,
        RemoveObserver,
        getValue,
        setValue,
    ):
        setattr(wrapped, method.__name__, method)
    return wrapped


def _property(parameter: Parameter) -> property:
    return property(
        lambda self: parameter.read(self.parameterNode),
        lambda self, value: parameter.write(self.parameterNode, value),
    )


def _initialise(self: Any, parameterNode: Any) -> None:
    self.parameterNode = parameterNode
    self._connected = {}
    self._updatingGui = False
    for parameter in self.allParameters.values():
        if not parameter.is_node:
            parameter.write(parameterNode, parameter.read(parameterNode))


def getValue(self: Any, name: str) -> Any:
    return getattr(self, name)


def setValue(self: Any, name: str, value: Any) -> None:
    setattr(self, name, value)


def AddObserver(self: Any, event: Any, callback: Any, priority: float = 0.0) -> int:
    return self.parameterNode.AddObserver(event, callback, priority)


def RemoveObserver(self: Any, tag: int) -> None:
    self.parameterNode.RemoveObserver(tag)


# ----------------------------------------------------------------------------------------- widgets


class Connector:
    """A widget that shows one parameter: how to read it, write it and hear of its changes."""

    def __init__(self, widget: Any, parameter: Parameter) -> None:
        self.widget = widget
        self.parameter = parameter
        name, self.signal = _fitting(widget, parameter)
        self.name = name
        self.values = self._fill()
        for limit, value in zip(("minimum", "maximum"), parameter.limits, strict=True):
            if value is not None and hasattr(type(widget), limit):
                setattr(widget, limit, value)

    def _fill(self) -> list[Any]:
        """What a combo box offers."""
        if self.name != "currentIndex":
            return []
        choice = self.parameter.annotated(Choice)
        values = choice.choices if choice else list(self.parameter.kind)
        self.widget.clear()
        for value in values:
            label = getattr(value, "label", None)
            self.widget.addItem(label() if label else _to_text(value))
        return values

    def read(self) -> Any:
        if self.name == "currentNode":
            return self.widget.currentNode()
        value = getattr(self.widget, self.name)
        return self.values[value] if self.values else self.parameter.kind(value)

    def write(self, value: Any) -> None:
        if self.name == "currentNode":
            self.widget.setCurrentNode(value)
        elif self.values:
            self.widget.currentIndex = self.values.index(value)
        elif value is not None:
            setattr(self.widget, self.name, str(value) if isinstance(value, PurePath) else value)


def _fitting(widget: Any, parameter: Parameter) -> tuple[str, str]:
    """The widget's property and signal for a parameter of that type."""
    kind = parameter.kind
    for widgets, kinds, name, signal in CONNECTIONS:
        if type(widget) in widgets and issubclass(kind, kinds):
            return name, signal
    raise RuntimeError(f"A {type(widget).__name__} cannot show {parameter.name} ({kind.__name__}).")


CONNECTIONS: tuple[tuple[tuple[type, ...], type | tuple[type, ...], str, str], ...] = (
    ((qt.QCheckBox, qt.QPushButton), bool, "checked", "toggled"),
    ((qt.QSpinBox, qt.QSlider), int, "value", "valueChanged"),
    ((qt.QDoubleSpinBox, ctk.ctkSliderWidget), float, "value", "valueChanged"),
    ((qt.QComboBox,), (int, float, str, bool, Enum), "currentIndex", "currentIndexChanged"),
    ((qt.QLineEdit,), str, "text", "textChanged"),
    ((qt.QTextEdit,), str, "plainText", "textChanged"),
    ((ctk.ctkPathLineEdit,), PurePath, "currentPath", "currentPathChanged"),
    ((ctk.ctkDirectoryButton,), PurePath, "directory", "directoryChanged"),
    ((slicer.qMRMLNodeComboBox,), slicer.vtkMRMLNode, "currentNode", "currentNodeChanged"),
)


def connectParametersToGui(self: Any, mapping: dict[str, Any]) -> int:
    """Keep parameters and their widgets the same, both ways. Returns what `disconnectGui` takes.

    mapping: widgets by the names of their parameters.
    """
    connectors = {name: Connector(w, self.allParameters[name]) for name, w in mapping.items()}
    disconnect = [_connect(self, name, each) for name, each in connectors.items()]

    def to_gui(*_: Any) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            for name, connector in connectors.items():
                connector.write(getattr(self, name))
        finally:
            self._updatingGui = False

    tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, to_gui)
    self._connected[tag] = disconnect
    return tag


def _connect(self: Any, name: str, connector: Connector) -> Callable[[], Any]:
    """Returns what ends the connection."""
    connector.write(getattr(self, name))

    def to_parameter(*_: Any) -> None:
        if not self._updatingGui:
            setattr(self, name, connector.read())

    signal = getattr(connector.widget, connector.signal)
    signal.connect(to_parameter)
    return lambda: signal.disconnect(to_parameter)


def disconnectGui(self: Any, tag: int | None) -> None:
    for disconnect in self._connected.pop(tag, []):
        disconnect()
    if tag is not None:
        self.RemoveObserver(tag)
