"""Lets a user tick some of many scans: of a CD, or of Slicer's DICOM database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


class Chooser:
    """A dialog with a line for each choice, and a field that leaves those that hold its words.

    Shown at once; blocks nothing but the main window. `chosen` is called with what was ticked, unless
    the user cancels. Whoever makes it keeps it.
    """

    def __init__(
        self,
        title: str,
        choices: Mapping[Any, str],
        ticked: bool,
        chosen: Callable[[list[Any]], None],
    ) -> None:
        self._choices, self._chosen = list(choices), chosen
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(title)
        self.dialog.setModal(True)
        self.words, self.list, self.all = qt.QLineEdit(), qt.QListWidget(), qt.QCheckBox()
        self.words.setPlaceholderText(_("Show only lines with these words"))
        self.all.text = _("all that are shown")
        self.buttons = qt.QDialogButtonBox()
        self.buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        layout = qt.QVBoxLayout(self.dialog)
        for widget in (self.words, self.list, self.all, self.buttons):
            layout.addWidget(widget)
        for row, words in enumerate(choices.values()):
            self.list.addItem(words)
            self.list.item(row).setCheckState(_state(ticked))
        self.all.setChecked(ticked)
        self.words.connect("textChanged(QString)", self._onWords)
        self.all.connect("clicked(bool)", self._onAll)
        self.buttons.connect("accepted()", self._onAccepted)
        self.buttons.connect("rejected()", self.dialog.reject)
        self.dialog.resize(640, 420)
        self.dialog.show()

    def _onWords(self, text: str) -> None:
        for row in range(len(self._choices)):
            item = self.list.item(row)
            shown = all(word in item.text().casefold() for word in text.casefold().split())
            item.setHidden(not shown)

    def _onAll(self, ticked: bool = False) -> None:
        for row in range(len(self._choices)):
            if not self.list.item(row).isHidden():
                self.list.item(row).setCheckState(_state(self.all.checked))

    def _onAccepted(self) -> None:
        rows = range(len(self._choices))
        ticked = [row for row in rows if self.list.item(row).checkState() == qt.Qt.Checked]
        self.dialog.accept()
        self._chosen([self._choices[row] for row in ticked])


def _state(ticked: bool) -> Any:
    return qt.Qt.Checked if ticked else qt.Qt.Unchecked
