"""`slicer.parameterNodeWrapper`: annotated classes whose members live in a scene's parameter node.

Types: str, float and nodes. As in Slicer, defaults are written to the node, wrong types and values out
of range are refused, and a widget that cannot show a parameter of its type is an error.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ctk
import slicer
import vtk


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


# -------------------------------------------------------------------------------------- parameters


@dataclass(frozen=True)
class Parameter:
    """One annotated member of a wrapped class; a node's default is None."""

    name: str
    kind: type
    limits: WithinRange | None
    default: Any

    @property
    def is_node(self) -> bool:
        return issubclass(self.kind, slicer.vtkMRMLNode)

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        if node.GetParameterNames() is None or self.name not in node.GetParameterNames():
            return self.default
        return self.kind(node.GetParameter(self.name))

    def write(self, node: Any, value: Any) -> None:
        self._check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value else None)
        else:
            node.SetParameter(self.name, str(value))

    def _check(self, value: Any) -> None:
        if value is None and self.is_node:
            return
        wanted = (int, float) if self.kind is float else self.kind
        if not isinstance(value, wanted):
            raise TypeError(f"{self.name} takes a {self.kind.__name__}, not {value!r}")
        limits = self.limits
        if limits is not None and not limits.minimum <= value <= limits.maximum:
            raise ValueError(
                f"{self.name} = {value} is not within {limits.minimum}..{limits.maximum}"
            )


def _parameter(wrapped: type, name: str, hint: Any) -> Parameter:
    limits = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, limits = typing.get_args(hint)
    empty = None if issubclass(hint, slicer.vtkMRMLNode) else hint()
    return Parameter(name, hint, limits, getattr(wrapped, name, empty))


def parameterNodeWrapper(wrapped: type) -> type:
    """Turn annotated members into properties that live in the parameter node."""
    hints = typing.get_type_hints(wrapped, include_extras=True)
    parameters = {name: _parameter(wrapped, name, hint) for name, hint in hints.items()}
    for name, parameter in parameters.items():
        setattr(wrapped, name, _property(parameter))
    wrapped.allParameters = parameters  # type: ignore[attr-defined]
    wrapped.__init__ = _initialise  # type: ignore[misc]
    for method in (connectParametersToGui, disconnectGui, AddObserver, RemoveObserver):
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


def AddObserver(self: Any, event: Any, callback: Any, priority: float = 0.0) -> int:
    return self.parameterNode.AddObserver(event, callback, priority)


def RemoveObserver(self: Any, tag: int) -> None:
    self.parameterNode.RemoveObserver(tag)


# ----------------------------------------------------------------------------------------- widgets


class SliderConnector:
    """A slider and a number."""

    def __init__(self, widget: ctk.ctkSliderWidget, parameter: Parameter) -> None:
        self.widget, self.signal = widget, widget.valueChanged
        if parameter.limits is not None:
            widget.minimum, widget.maximum = parameter.limits.minimum, parameter.limits.maximum

    def read(self) -> float:
        return float(self.widget.value)

    def write(self, value: float) -> None:
        self.widget.value = value


class NodeConnector:
    """A node selector and a node."""

    def __init__(self, widget: slicer.qMRMLNodeComboBox, parameter: Parameter) -> None:
        self.widget, self.signal = widget, widget.currentNodeChanged

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


def _connector(widget: Any, parameter: Parameter) -> SliderConnector | NodeConnector:
    if type(widget) is ctk.ctkSliderWidget and parameter.kind is float:
        return SliderConnector(widget, parameter)
    if type(widget) is slicer.qMRMLNodeComboBox and parameter.is_node:
        return NodeConnector(widget, parameter)
    kinds = type(widget).__name__, parameter.kind.__name__
    raise RuntimeError(f"A {kinds[0]} cannot show {parameter.name} ({kinds[1]}).")


def connectParametersToGui(self: Any, mapping: dict[str, Any]) -> int:
    """Keep parameters and their widgets the same, both ways. Returns what `disconnectGui` takes.

    mapping: widgets by the names of their parameters.
    """
    connectors = {name: _connector(w, self.allParameters[name]) for name, w in mapping.items()}
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


def _connect(self: Any, name: str, connector: Any) -> Callable[[], Any]:
    """Returns what ends the connection."""
    connector.write(getattr(self, name))

    def to_parameter(*_: Any) -> None:
        if not self._updatingGui:
            setattr(self, name, connector.read())

    connector.signal.connect(to_parameter)
    return lambda: connector.signal.disconnect(to_parameter)


def disconnectGui(self: Any, tag: int | None) -> None:
    for disconnect in self._connected.pop(tag, []):
        disconnect()
    if tag is not None:
        self.RemoveObserver(tag)
