"""PySide6 with PythonQt's habits, so that module code written for Slicer finds what it expects.

PySide6's own classes are changed, for the whole process: Qt's properties become attributes
(`label.text`, `button.enabled = False`; setters and other methods stay),
`button.connect("clicked()", slot)` works, and `qt.QUiLoader` knows the stand-ins for Slicer's own
widgets. As in PythonQt, a signal that an object does not have is refused, and an error in a slot goes
to `sys.excepthook`; an unknown attribute is not refused, but `unknown_attributes` finds it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from functools import partial, reduce
from operator import or_
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

MRML_POINTER = re.compile(r"(vtkMRML\w+|vtkObject|vtkSegment\w*) ?\*")


def make_qt() -> ModuleType:
    """The module `qt`; changes PySide6's classes."""
    module = ModuleType("qt")
    for part in (QtCore, QtGui, QtWidgets):
        for name in dir(part):
            item = getattr(part, name)
            setattr(module, name, item)
            if isinstance(item, type) and issubclass(item, QtCore.QObject):
                _adapt(item)
    module.QUiLoader = QUiLoader  # type: ignore[attr-defined]
    for name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName"):
        ask = getattr(QtWidgets.QFileDialog, name)
        setattr(QtWidgets.QFileDialog, name, staticmethod(_without_filter(ask)))
    QtCore.QObject.name = _Attribute("objectName", QtCore.QObject.objectName)
    QtCore.QObject.className = lambda self: self.metaObject().className()
    return module


def _without_filter(ask: Callable[..., Any]) -> Callable[..., Any]:
    """PythonQt's file dialogs return the path alone."""
    return lambda *given: ask(*given)[0]


def prepare(application: QtWidgets.QApplication) -> None:
    """The same look on every machine, and settings that leave the user's own alone."""
    application.setStyle("Fusion")
    _keep_matplotlib_off_qt()
    number = QtGui.QFontDatabase.addApplicationFont(str(_font()))
    application.setFont(QtGui.QFont(QtGui.QFontDatabase.applicationFontFamilies(number)[0], 9))
    ini = QtCore.QSettings.IniFormat
    QtCore.QSettings.setDefaultFormat(ini)
    QtCore.QSettings.setPath(ini, QtCore.QSettings.UserScope, tempfile.mkdtemp())


def _keep_matplotlib_off_qt() -> None:
    """It would draw in any Qt application that it finds, and does not know PythonQt's habits."""
    os.environ["MPLBACKEND"] = "Agg"
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].use("Agg")


def _font() -> Path:
    """A font that needs no system package; matplotlib itself is not imported."""
    matplotlib = importlib.util.find_spec("matplotlib")
    assert matplotlib is not None and matplotlib.origin is not None
    return Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


# ------------------------------------------------------------------------ properties as attributes


class _Attribute:
    """A Qt property of instances; on the class, the method of that name is still found."""

    def __init__(self, name: str, method: Any) -> None:
        self._name = name
        self._method = method

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self._method
        if self._method is not None:
            return self._method(instance)
        return instance.property(self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        setter = getattr(instance, f"set{_capital(self._name)}", None)
        if setter is None:
            instance.setProperty(self._name, value)
        else:
            setter(value)


def _adapt(kind: type) -> None:
    """Make the properties that this class itself declares attributes of its instances."""
    meta = kind.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        method = getattr(kind, name, None) or getattr(kind, f"is{_capital(name)}", None)
        setattr(kind, name, _Attribute(name, method))
    kind.__getattribute__ = _with_connect(kind.__getattribute__)  # type: ignore[method-assign]


def unknown_attributes(ui: Any) -> list[str]:
    """What was set on a panel's widgets that they do not have; PythonQt raises an error there."""
    return [
        f"{widget.name}.{name}"
        for widget in vars(ui).values()
        for name, value in vars(widget).items()
        if not (
            name.startswith("_")
            or hasattr(type(widget), name)
            or isinstance(value, QtCore.QObject)  # set by QUiLoader
        )
    ]


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


# ------------------------------------------------------------------------------------- connections


def _with_connect(get: Any) -> Callable[[Any, str], Any]:
    """Attribute access that finds our `connect`; PySide6 looks for its own before the class's."""
    get = getattr(get, "of_qt", get)  # not once more for every base class

    def found(self: Any, name: str) -> Any:
        if name in ("connect", "disconnect"):
            return partial(_connecting, self, get(self, name), getattr(QtCore.QObject, name))
        return get(self, name)

    found.of_qt = get  # type: ignore[attr-defined]
    return found


def _connecting(
    sender: Any, own: Callable[..., Any], static: Callable[..., Any], *given: Any
) -> bool:
    """`connect(signature, slot)` as PythonQt has it; PySide6 itself uses the other forms."""
    if len(given) == 2 and isinstance(given[0], str) and callable(given[1]):
        return bool(static(sender, _signal(sender, given[0]), given[1]))
    return bool(own(*given))


def _signal(sender: Any, signature: str) -> str:
    """The signal as Qt wants it; nodes travel as Python objects.

    Raises:
        ValueError: the object has no such signal.
    """
    signature = MRML_POINTER.sub("PyObject", signature)
    normalized = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
    if sender.metaObject().indexOfSignal(normalized) < 0:
        raise ValueError(f"{sender.className()} has no signal {signature}")
    return str(QtCore.SIGNAL(normalized))


# --------------------------------------------------------------------------------------- .ui files


class QUiLoader(QtUiTools.QUiLoader):
    """Loads Designer's files with the stand-ins for Slicer's widgets."""

    widgets: ClassVar[list[type]] = []

    @classmethod
    def register(cls, widgets: Iterable[type]) -> None:
        cls.widgets.extend(widgets)

    def load(self, device: Any, parent: Any = None) -> Any:
        """What Qt cannot do for classes written in Python is done here: connections that carry nodes,
        values of the classes' own enumerations."""
        for widget in self.widgets:
            self.registerCustomWidget(widget)
        tree = ET.fromstring(bytes(device.readAll().data()))
        connections = _take(tree, "connections", "connection", lambda c: "vtkMRML" in _text(c))
        values = [
            (widget.get("name", ""), item.get("name"), _text(item).strip())
            for widget in tree.iter("widget")
            for item in _take(widget, ".", "property", _is_own_enumeration)
        ]
        rest = QtCore.QBuffer()
        rest.setData(ET.tostring(tree))
        top = super().load(rest, parent)
        for connection in connections:
            sender, signal, receiver, slot = (connection.findtext(p, "") for p in _CONNECTION)
            method = getattr(_named(top, receiver), slot.split("(")[0])
            _named(top, sender).connect(signal, method)
        for name, attribute, keys in values:
            widget = _named(top, name)
            flags = (getattr(widget, key.split("::")[-1]) for key in keys.split("|"))
            setattr(widget, attribute, reduce(or_, flags))
        return top


_CONNECTION = ("sender", "signal", "receiver", "slot")


def _take(
    tree: ET.Element, where: str, tag: str, wanted: Callable[[ET.Element], bool]
) -> list[ET.Element]:
    """Remove elements from a part of the tree; returns them."""
    part = tree.find(where)
    taken = (
        [element for element in part.findall(tag) if wanted(element)] if part is not None else []
    )
    for element in taken:
        part.remove(element)  # type: ignore[union-attr]
    return taken


def _is_own_enumeration(item: ET.Element) -> bool:
    return item[0].tag in ("set", "enum") and _text(item).strip().startswith(("ctk", "qMRML"))


def _text(element: ET.Element) -> str:
    return "".join(element.itertext())


def _named(top: Any, name: str) -> Any:
    return top if top.name == name else top.findChild(QtCore.QObject, name)
