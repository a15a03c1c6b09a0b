"""Widgets that hold values and call back, but draw nothing; made from the module's real .ui file.

They let the Widget class run and be clicked through. They are no Qt: layout, looks and Qt's own
behaviour are not tested by them.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any


class Widget:
    """Any widget: its attributes are those of the .ui file and whatever is set later."""

    def __init__(self, kind: str = "QWidget", name: str = "") -> None:
        self.kind = kind
        self.name = name
        self.children: list[Widget] = []
        self.enabled = True
        self.visible = True
        self.isEntered = False
        self._slots: dict[str, list[Callable[..., None]]] = {}
        self._dynamic: dict[str, Any] = {}

    def property(self, name: str) -> Any:
        return self._dynamic.get(name)

    def set_from_ui(self, name: str, value: Any, dynamic: bool) -> None:
        if dynamic:
            self._dynamic[name] = value
        else:
            setattr(self, name, value)

    def connect(self, signal: str, slot: Callable[..., None]) -> None:
        self._slots.setdefault(signal, []).append(slot)

    def emit(self, signal: str, *arguments: Any) -> None:
        for slot in list(self._slots.get(signal, [])):
            slot(*arguments)

    def click(self) -> None:
        """Click a button; a disabled one does not react."""
        if self.enabled:
            self.emit("clicked(bool)", False)

    def layout(self) -> Widget:
        return self

    def addWidget(self, widget: Widget) -> None:
        self.children.append(widget)

    def setMRMLScene(self, scene: Any) -> None:
        self.scene = scene

    def setMRMLTableNode(self, node: Any) -> None:
        self.table_node = node

    # What the stand-in of `connectGui` needs: a value that parameter and widget share.

    _on_change: Callable[[Any], None] | None = None
    value: Any = None

    def on_parameter_change(self, callback: Callable[[Any], None] | None) -> None:
        self._on_change = callback

    def show_parameter(self, value: Any) -> None:
        self.value = value

    def choose(self, value: Any) -> None:
        """The user moves the slider or chooses the node."""
        self.value = value
        if self._on_change is not None:
            self._on_change(value)


def make_qt() -> ModuleType:
    """As much of PythonQt's `qt` as module code names."""
    module = ModuleType("qt")
    module.__dict__.update(
        Qt=SimpleNamespace(WaitCursor=3),
        QEventLoop=SimpleNamespace(ExcludeUserInputEvents=1),
    )
    return module


def make_ctk() -> ModuleType:
    return ModuleType("ctk")


def load_ui(path: str) -> Widget:
    """The top widget of a Designer file, with all its children."""
    root = ET.parse(path).getroot().find("widget")
    assert root is not None
    return _widget(root)


def child_widget_variables(widget: Widget) -> SimpleNamespace:
    return SimpleNamespace(**{child.name: child for child in _descendants(widget)})


def _widget(element: ET.Element) -> Widget:
    widget = Widget(element.attrib["class"], element.attrib["name"])
    for item in element.findall("property"):
        dynamic = item.get("stdset") == "0"
        widget.set_from_ui(item.attrib["name"], _property_value(item), dynamic)
    widget.children = [_widget(child) for child in _child_elements(element)]
    return widget


def _child_elements(element: ET.Element) -> Iterator[ET.Element]:
    for child in element:
        if child.tag == "widget":
            yield child
        elif child.tag in ("layout", "item"):
            yield from _child_elements(child)


def _property_value(item: ET.Element) -> Any:
    value = item[0]
    text = value.text or ""
    convert: dict[str, Callable[[str], Any]] = {
        "bool": lambda text: text == "true",
        "number": int,
        "double": float,
    }
    return convert.get(value.tag, str)(text)


def _descendants(widget: Widget) -> Iterator[Widget]:
    for child in widget.children:
        yield child
        yield from _descendants(child)
