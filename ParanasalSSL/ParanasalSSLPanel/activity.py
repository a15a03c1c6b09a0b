"""The one computation that the panel waits for: its progress, its Cancel button, its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from slicer.i18n import tr as _

from ParanasalSSLPanel.compute import Watcher, Work
from ParanasalSSLPanel.words import stageWords

Begin = Callable[[Watcher[Any], Callable[[Work], None]], None]


class Teller(Protocol):
    """What tells of the computation: the panel. ui: the widgets of the .ui file, by their names."""

    ui: Any

    def refresh(self) -> None:
        """Show what can be pressed now."""
        ...

    def log(self, line: str) -> None:
        """Append a line to the foldable log."""
        ...

    def say(self, words: str, isError: bool = False) -> None:
        """Show one line or two below the Run button."""
        ...


class Activity:
    """Wires the progress bar and the Cancel button."""

    def __init__(self, panel: Teller) -> None:
        self._panel, self._ui = panel, panel.ui
        self.work: Work | None = None
        self._isOver = True
        self._done: Callable[[Any], None] = _ignored
        self._ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self._ui.progressBar.visible = False

    @property
    def isRunning(self) -> bool:
        """Whether something is being computed."""
        return self.work is not None

    def start(self, begin: Begin, done: Callable[[Any], None]) -> None:
        """Begin a computation, errors of which are raised; `done` is called once all is well."""
        self._isOver, self._done = False, done
        self._ui.logText.clear()
        self.show(0, _("Starting"))
        watcher = Watcher(
            self._onDone, self._onFailed, self._onCancelled, self.onProgress, self._panel.log
        )
        try:
            begin(watcher, self._begun)
        except BaseException:
            self._done = _ignored
            raise

    def _begun(self, work: Work) -> None:
        if not self._isOver:  # a computation inside Slicer is over before it is said to have begun
            self.work = work
            self._panel.refresh()

    def update(self) -> None:
        """What can be pressed now."""
        self._ui.cancelButton.enabled = self.isRunning

    def onCancel(self, checked: bool = False) -> None:
        """Stop; the scene stays as it was."""
        if self.work is not None:
            self._ui.cancelButton.enabled = False
            self.show(self._ui.progressBar.value, _("Stopping"))
            self.work.cancel()

    def stop(self) -> None:
        """Before the panel goes, or its scene: nothing may arrive any more."""
        if self.work is not None:
            self.work.cancel()
            self.work.kill()
            self.work.wait()

    def onProgress(self, progress: Any) -> None:
        """Show how far the scan is."""
        self.show(round(100 * progress.fraction), stageWords(progress.stage))

    def show(self, percent: int, words: str) -> None:
        """Show the progress bar."""
        self._ui.progressBar.visible = True
        self._ui.progressBar.value = percent
        self._ui.progressBar.setFormat(words)

    def hide(self) -> None:
        """Take the progress bar away, unless something is being computed."""
        if not self.isRunning:
            self._ui.progressBar.visible = False

    def _onDone(self, found: Any) -> None:
        done = self._done
        self._ended("")
        done(found)

    def _onFailed(self, words: str) -> None:
        self._ended(words, isError=True)

    def _onCancelled(self) -> None:
        self._ended(_("Cancelled. Nothing was changed."))

    def _ended(self, words: str, isError: bool = False) -> None:
        self.work = None
        self._isOver = True
        self._done = _ignored  # a scan is not kept in memory
        self.hide()
        self._panel.refresh()
        if words:
            self._panel.say(words, isError)


def _ignored(found: Any) -> None:
    """Nobody asks for it."""
