"""The panel's section "Scan and boxes": is this a scan, where are the boxes, who put them there."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel import boxes, scans, trust, views
from ParanasalSSLPanel.interface import Panel


class BoxesSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self._resetButtons = {
            Side.LEFT: self._ui.leftResetButton,
            Side.RIGHT: self._ui.rightResetButton,
        }
        self._mirrorButtons = {
            Side.LEFT: self._ui.leftMirrorButton,
            Side.RIGHT: self._ui.rightMirrorButton,
        }
        self._labels = {Side.LEFT: self._ui.leftBoxLabel, Side.RIGHT: self._ui.rightBoxLabel}
        # Kept here: PythonQt holds no reference to what it calls.
        self._slots = [lambda _checked=False, s=side: self._onReset(s) for side in Side]
        self._slots += [lambda _checked=False, s=side: self._onMirror(s) for side in Side]
        buttons = [*(self._resetButtons[s] for s in Side), *(self._mirrorButtons[s] for s in Side)]
        for button, slot in zip(buttons, self._slots, strict=True):
            button.connect("clicked(bool)", slot)
        self._ui.placeBoxesButton.connect("clicked(bool)", self.onPlaceBoxes)
        self._ui.lockBoxesCheckBox.connect("toggled(bool)", self._onLock)

    def showScan(self, scan: Any) -> None:
        """Whether the present scan can be judged, before anything is computed."""
        trouble = scans.troubleWith(scan) if scan is not None else ""
        self._ui.judgementLabel.text = trouble
        self._ui.judgementLabel.visible = bool(trouble)

    def update(self, scan: Any, busy: bool) -> None:
        """What the section says about the boxes as they are now."""
        quality = boxes.qualityOf(scan) if scan is not None else None
        words = trust.qualityWords(quality) if quality else _("No boxes yet.")
        locked = scan is not None and boxes.areLocked(scan)
        self._ui.placeBoxesButton.enabled = scan is not None and not busy and not locked
        self._ui.lockBoxesCheckBox.checked = locked
        present = {side: boxes.isMoved(scan, side) if scan is not None else None for side in Side}
        self._ui.lockBoxesCheckBox.enabled = any(moved is not None for moved in present.values())
        if any(present.values()):
            words = _(
                "{words} A box was moved by hand: it is as good as you have placed it."
            ).format(words=words)
        self._ui.qualityLabel.text = words
        both = None not in present.values()
        for side, moved in present.items():
            self._labels[side].text = _boxWords(side, moved)
            free = not locked and not busy
            self._resetButtons[side].enabled = bool(moved) and boxes.isPlaced(scan, side) and free
            self._mirrorButtons[side].enabled = both and free

    def onPlaceBoxes(self, checked: bool = False) -> None:
        """Find both sinuses in the chosen scan and show their boxes."""
        with self._panel.telling():
            self._panel.prepare()  # it may ask, which no other cursor should cover
            with self._panel.working(_("Finding the maxillary sinuses")):
                self._panel.logic.placeBoxes(self._panel.scan)
                views.jumpToBoxes(self._panel.scan)

    def _onReset(self, side: Side) -> None:
        with self._panel.telling():
            boxes.resetBox(self._panel.scan, side)

    def _onMirror(self, side: Side) -> None:
        with self._panel.telling():
            boxes.mirrorBox(self._panel.scan, side)

    def _onLock(self, locked: bool) -> None:
        scan = self._panel.scan
        if scan is not None and locked != boxes.areLocked(scan):
            boxes.lockBoxes(scan, locked)
            self._panel.refresh()


def _boxWords(side: Side, moved: bool | None) -> str:
    words = {
        (Side.LEFT, None): _("Left: no box"),
        (Side.LEFT, False): _("Left: registered"),
        (Side.LEFT, True): _("Left: by hand"),
        (Side.RIGHT, None): _("Right: no box"),
        (Side.RIGHT, False): _("Right: registered"),
        (Side.RIGHT, True): _("Right: by hand"),
    }
    return words[side, moved]
