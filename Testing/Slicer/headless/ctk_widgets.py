"""Stand-ins for the CTK widgets that .ui files and module code use: names, properties and signals
of the originals, the looks only roughly. Written, as module code is, in PythonQt's manner.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag
from types import ModuleType
from typing import Any

import qt
from PySide6.QtCore import Property, Signal

ARROW = 16  # width of a header's arrow, pixels


def make_ctk() -> ModuleType:
    """The module `ctk`."""
    module = ModuleType("ctk")
    for widget in WIDGETS:
        setattr(module, widget.__name__, widget)
    return module


def stored(kind: Any, name: str, default: Any) -> Any:
    """A property that is only remembered."""
    return Property(
        kind,
        lambda self: self.__dict__.get(f"_{name}", default),
        lambda self, value: self.__dict__.__setitem__(f"_{name}", value),
    )


def forwarded(kind: Any, part: str, name: str) -> Any:
    """A property of an inner widget."""
    return Property(
        kind,
        lambda self: getattr(getattr(self, part), name),
        lambda self, value: setattr(getattr(self, part), name, value),
    )


def row(widget: qt.QWidget, *parts: qt.QWidget) -> None:
    """Put parts side by side into a widget."""
    layout = qt.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)


class ctkCollapsibleButton(qt.QAbstractButton):
    """A header over its content; a click on the header folds the content away."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._folded: list[qt.QWidget] = []
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self._header().height(), 0, 0)
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        self.toggled.connect(self._show_content)

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: not self.checked, setCollapsed)
    flat = stored(bool, "flat", False)
    contentsFrameShape = stored(int, "contentsFrameShape", 0)

    def _show_content(self, shown: bool) -> None:
        """What was hidden before the folding stays hidden after it."""
        if shown:
            for widget in self._folded:
                widget.show()
            self._folded.clear()
        else:
            for child in self.children():
                self._fold(child)
        self.contentsCollapsed.emit(not shown)

    def _fold(self, child: Any) -> None:
        if child.isWidgetType() and not child.isHidden():
            self._folded.append(child)
            child.hide()

    def childEvent(self, event: Any) -> None:
        if event.type() == qt.QEvent.ChildPolished and not self.checked:
            self._fold(event.child())

    def hitButton(self, position: Any) -> bool:
        return bool(self._header().contains(position))

    def _header(self) -> qt.QRect:
        return qt.QRect(0, 0, self.width, self.fontMetrics().height() + 10)

    def paintEvent(self, event: Any) -> None:
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect = self._header()
        style = self.style()
        style.drawControl(qt.QStyle.CE_PushButtonBevel, option, painter, self)
        text = option.rect.adjusted(ARROW + 8, 0, 0, 0)
        style.drawItemText(
            painter, text, qt.Qt.AlignVCenter, option.palette, self.enabled, self.text
        )
        option.rect = qt.QRect(4, 0, ARROW, option.rect.height())
        arrow = "PE_IndicatorArrowDown" if self.checked else "PE_IndicatorArrowRight"
        style.drawPrimitive(getattr(qt.QStyle, arrow), option, painter, self)


def _spin_setter(name: str) -> Callable[[Any, Any], None]:
    """Sets a property of the spin box, after which the slider follows."""

    def setter(self: Any, value: Any) -> None:
        setattr(self._spin, name, value)
        self._follow()

    return setter


class ctkSliderWidget(qt.QWidget):
    """A slider with a spin box; the spin box holds the value."""

    valueChanged = Signal(float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._slider = qt.QSlider(qt.Qt.Horizontal)
        self._spin = qt.QDoubleSpinBox()
        row(self, self._slider, self._spin)
        self._slider.valueChanged.connect(self._on_slider)
        self._spin.valueChanged.connect(self._on_spin)
        self._follow()

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    setMinimum, setMaximum = _spin_setter("minimum"), _spin_setter("maximum")
    setSingleStep, setDecimals = _spin_setter("singleStep"), _spin_setter("decimals")
    value = Property(float, lambda self: self._spin.value, setValue)
    minimum = Property(float, lambda self: self._spin.minimum, setMinimum)
    maximum = Property(float, lambda self: self._spin.maximum, setMaximum)
    singleStep = Property(float, lambda self: self._spin.singleStep, setSingleStep)
    decimals = Property(int, lambda self: self._spin.decimals, setDecimals)
    prefix, suffix = forwarded(str, "_spin", "prefix"), forwarded(str, "_spin", "suffix")
    tracking = forwarded(bool, "_slider", "tracking")
    pageStep = stored(float, "pageStep", 10.0)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._spin.setRange(minimum, maximum)
        self._follow()

    def _follow(self) -> None:
        """Let the slider stand where the spin box is."""
        blocker = qt.QSignalBlocker(self._slider)
        self._slider.setRange(0, round((self.maximum - self.minimum) / self.singleStep))
        self._slider.setValue(round((self.value - self.minimum) / self.singleStep))
        blocker.unblock()

    def _on_slider(self, steps: int) -> None:
        self._spin.setValue(self.minimum + steps * self.singleStep)

    def _on_spin(self, value: float) -> None:
        self._follow()
        self.valueChanged.emit(value)


class ctkPathLineEdit(qt.QWidget):
    """A line for a path, with a button that lets the user browse for it."""

    class Filter(Flag):
        """As in QDir."""

        Dirs = 0x001
        Files = 0x002
        Drives = 0x004
        Readable = 0x010
        Writable = 0x020
        Executable = 0x040
        Hidden = 0x100
        NoDotAndDotDot = 0x6000

    Dirs, Files, Readable, Writable = Filter.Dirs, Filter.Files, Filter.Readable, Filter.Writable
    currentPathChanged = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._line, self._button = qt.QLineEdit(), qt.QToolButton()
        self._button.text = "…"
        row(self, self._line, self._button)
        self._line.textChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)

    currentPath = forwarded(str, "_line", "text")
    filters = stored(object, "filters", Filter.Dirs | Filter.Files)
    nameFilters = stored("QStringList", "nameFilters", [])
    showHistoryButton = stored(bool, "showHistoryButton", True)
    settingKey = stored(str, "settingKey", "")

    def setCurrentPath(self, path: str) -> None:
        self.currentPath = path

    def addCurrentPathToHistory(self) -> None:
        pass

    def browse(self) -> None:
        if self.filters & self.Files:
            path = qt.QFileDialog.getOpenFileName(self, "", self.currentPath)
        else:
            path = qt.QFileDialog.getExistingDirectory(self, "", self.currentPath)
        if path:
            self.currentPath = path


WIDGETS = (ctkCollapsibleButton, ctkSliderWidget, ctkPathLineEdit)
