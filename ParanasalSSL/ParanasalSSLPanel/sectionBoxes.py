"""The panel's section "Scan and boxes": is this a scan, where are the boxes, who put them there."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel import boxes, cases, scans, trust, views
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
        self._ui.adjustBoxesButton.connect("clicked(bool)", self._onAdjust)
        self._ui.turnBoxesCheckBox.connect("clicked(bool)", self._onAdjust)
        self._ui.closeCaseButton.connect("clicked(bool)", self._onCloseCase)

    def showScan(self, scan: Any) -> None:
        """Whether the present scan can be judged, before anything is computed."""
        trouble = scans.troubleWith(scan) if scan is not None else ""
        self._ui.judgementLabel.text = trouble
        self._ui.judgementLabel.visible = bool(trouble)

    def update(self, scan: Any, busy: bool) -> None:
        """What the section says about the boxes as they are now."""
        quality = boxes.qualityOf(scan) if scan is not None else None
        words = trust.qualityWords(quality) if quality else _("No boxes yet.")
        adjusted = scan is not None and boxes.areAdjusted(scan)
        for button in (self._ui.placeBoxesButton, self._ui.closeCaseButton):
            button.enabled = scan is not None and not busy
        present = {side: boxes.isMoved(scan, side) if scan is not None else None for side in Side}
        anything = any(moved is not None for moved in present.values())
        self._ui.adjustBoxesButton.enabled = anything and not busy
        self._ui.adjustBoxesButton.checked = adjusted
        self._ui.turnBoxesCheckBox.enabled = adjusted and not busy
        self._ui.turnBoxesCheckBox.checked = scan is not None and boxes.areTurned(scan)
        if any(present.values()):
            words = _(
                "{words} A box was moved by hand: it is as good as you have placed it."
            ).format(words=words)
        self._ui.qualityLabel.text = words
        both = None not in present.values()
        for side, moved in present.items():
            self._labels[side].text = _boxWords(side, moved)
            free = adjusted and not busy
            self._resetButtons[side].enabled = bool(moved) and boxes.isPlaced(scan, side) and free
            self._mirrorButtons[side].enabled = both and free

    def onPlaceBoxes(self, checked: bool = False) -> None:
        """Find both sinuses in the chosen scan and show their boxes; installs nothing."""
        with self._panel.telling():
            scan = self._panel.scan
            self._panel.activity.start(
                lambda watcher, begun: self._panel.logic.startPlacing(scan, watcher, begun),
                lambda _placement: self._onPlaced(scan),
            )

    def _onPlaced(self, scan: Any) -> None:
        if self._panel.parameters is not None:  # else another module is open
            cases.showCase(scan)
            views.lookAtBoxes(scan)

    def _onReset(self, side: Side) -> None:
        with self._panel.telling():
            boxes.resetBox(self._panel.scan, side)

    def _onMirror(self, side: Side) -> None:
        with self._panel.telling():
            boxes.mirrorBox(self._panel.scan, side)

    def _onAdjust(self, checked: bool = False) -> None:
        adjusted, turned = self._ui.adjustBoxesButton.checked, self._ui.turnBoxesCheckBox.checked
        boxes.adjustBoxes(self._panel.scan, adjusted, turned)
        self._panel.refresh()

    def _onCloseCase(self, checked: bool = False) -> None:
        cases.closeCase(self._panel.scan)


def _boxWords(side: Side, moved: bool | None) -> str:
    words = {
        (Side.LEFT, None): _("Left: no box"),
        (Side.LEFT, False): _("Left: automatic"),
        (Side.LEFT, True): _("Left: manual"),
        (Side.RIGHT, None): _("Right: no box"),
        (Side.RIGHT, False): _("Right: automatic"),
        (Side.RIGHT, True): _("Right: manual"),
    }
    return words[side, moved]
