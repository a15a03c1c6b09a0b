"""The button that makes a model for the scans of a worklist."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLPanel.adaptation import AdaptationRun
from ParanasalSSLPanel.interface import Panel, WorklistPart
from ParanasalSSLPanel.packages import requireTraining


class WorklistAdaptation:
    """Wires the button."""

    def __init__(self, panel: Panel, section: WorklistPart) -> None:
        self._panel, self._section = panel, section
        self._run: AdaptationRun | None = None
        panel.ui.adaptButton.connect("clicked(bool)", self._onAdapt)

    @property
    def isRunning(self) -> bool:
        """Whether a model is being adapted."""
        return self._run is not None

    def cancel(self) -> None:
        """Stop; what was done so far is kept."""
        if self._run is not None:
            self._run.cancel()

    def wait(self) -> None:
        """Return when nothing is adapted any more."""
        if self._run is not None:
            self._run.wait()

    def _onAdapt(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Choose an empty folder for the new model")
        )
        if folder:
            self.adapt(Path(folder))

    def adapt(self, output: Path) -> None:
        """Adapt the chosen model to the scans of the list, in the background."""
        with self._panel.telling():
            requireTraining()
            self._panel.prepare()
            worklist = self._section.worklist
            scans = {name: worklist.sourceOf(entry) for name, entry in worklist.entries.items()}
            say, settings = self._section.say, self._panel.settings
            self._run = AdaptationRun(
                scans, output, settings, say, self._panel.log, self._onAdapted
            )
            forget = partial(setattr, self, "_run", None)
            with self._section.starting(_("Adapting in the background."), forget):
                self._run.start()

    def _onAdapted(self, folder: str, words: str) -> None:
        self._run = None
        self._section.say(words)
        if folder:
            with self._panel.telling():
                self._panel.addModel(folder)
                done = _(
                    "The new model is chosen above. Before you use it, look at {folder}.report/"
                    "adaptation.html: what was used, and what has changed."
                )
                self._section.say(done.format(folder=folder))
        self._section.update()
