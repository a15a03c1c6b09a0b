"""The panel's section "Run": device, model, log, packages without network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLPanel import models, packages
from ParanasalSSLPanel.compute import AUTOMATIC, Settings
from ParanasalSSLPanel.interface import Panel
from ParanasalSSLPanel.process import Ending, LibraryProcess, Listener
from ParanasalSSLPanel.readings import writeBack


class RunSection:
    """Wires the section's widgets."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._ui = panel, panel.ui
        self._devices: LibraryProcess | None = None
        self._answer = ""
        self._ui.runButton.connect("clicked(bool)", self.onRun)
        self._ui.addModelButton.connect("clicked(bool)", self._onAddModel)
        self._ui.modelCardButton.connect("clicked(bool)", self._onModelCard)
        self._ui.wheelFolderButton.connect("clicked(bool)", self._onWheelFolder)
        for combo in (self._ui.deviceComboBox, self._ui.modelComboBox):
            combo.connect("activated(int)", self._onChosen)
        self._ui.deviceComboBox.addItem(_("Automatic"), AUTOMATIC)
        self._ui.deviceComboBox.addItem(_("CPU"), "cpu")
        self.listModels()

    # ------------------------------------------------------------------------------ choices

    @property
    def settings(self) -> Settings:
        """As the user has chosen."""
        device, model = self._ui.deviceComboBox, self._ui.modelComboBox
        return Settings(
            device.itemData(device.currentIndex),
            models.folderOf(model.itemData(model.currentIndex)),
        )

    def _onChosen(self, index: int) -> None:
        """Remember what the user has chosen; a scene is not to hold paths of this computer."""
        settings, parameters = self.settings, self._panel.parameters
        parameters.device = settings.device
        parameters.model = models.identityOf(str(settings.model or models.SHIPPED))

    def showChoices(self) -> None:
        """Choose what the scene remembers; what this computer lacks becomes the default."""
        parameters = self._panel.parameters
        if parameters is not None:
            device, model = self._ui.deviceComboBox, self._ui.modelComboBox
            device.setCurrentIndex(max(device.findData(parameters.device), 0))
            folders = [model.itemData(index) for index in range(model.count)]
            identities = [models.identityOf(folder) for folder in folders]
            known = parameters.model in identities
            model.setCurrentIndex(identities.index(parameters.model) if known else 0)

    def listModels(self, chosen: str = models.SHIPPED) -> None:
        """Fill the list of models, and choose the one in that folder."""
        combo = self._ui.modelComboBox
        combo.clear()
        for folder in (models.SHIPPED, *models.addedModels()):
            combo.addItem(models.titleOf(folder), folder)
        combo.setCurrentIndex(max(combo.findData(chosen), 0))

    def listDevices(self) -> None:
        """Ask in the background which devices there are, if torch is there to be asked."""
        if self._devices is not None or not packages.isTorchInstalled():
            return
        listener = Listener(lambda event: None, self._onDeviceLine, self._onDevices)
        self._devices = LibraryProcess(listener)
        self._devices.start(["devices", "--json"])

    def _onDeviceLine(self, line: str) -> None:
        if line.startswith('{"devices"'):
            self._answer = line

    def _onDevices(self, ending: Ending, words: str) -> None:
        if ending is not Ending.FINISHED or not self._answer:
            self._devices = None  # asked again another time
            return
        combo = self._ui.deviceComboBox
        titles: dict[str, str] = json.loads(self._answer)["devices"]
        best = next(iter(titles.values()))
        combo.clear()
        combo.addItem(_("Automatic ({device})").format(device=best), AUTOMATIC)
        for device, title in titles.items():
            combo.addItem(title, device)
        self.showChoices()

    def _onAddModel(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Choose a model bundle")
        )
        if folder:
            with self._panel.telling():
                self.addModel(folder)
                self._onModelCard()

    def addModel(self, folder: str) -> None:
        """Add a model bundle to the list and choose it. Raises `BadBundle`."""
        models.addModel(folder)
        self.listModels(folder)
        if self._panel.parameters is not None:
            self._onChosen(self._ui.modelComboBox.currentIndex)

    def _onModelCard(self, checked: bool = False) -> None:
        with self._panel.telling():
            combo = self._ui.modelComboBox
            self._ui.logCollapsibleButton.collapsed = False
            self._ui.logText.setPlainText(models.cardOf(combo.itemData(combo.currentIndex)))

    def _onWheelFolder(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Choose the folder of wheels")
        )
        if folder:
            with self._panel.working(_("Installing packages")):
                self._panel.logic.installFrom(Path(folder))
                self.listDevices()
                self._panel.log(_("The packages were installed."))

    # -------------------------------------------------------------------------------- a run

    def update(self, scan: Any, busy: bool) -> None:
        """What can be pressed now."""
        self._ui.runButton.enabled = scan is not None and not busy
        for widget in (
            self._ui.deviceComboBox,
            self._ui.modelComboBox,
            self._ui.addModelButton,
            self._ui.modelCardButton,  # it would stand where the log is
            self._ui.wheelFolderButton,
        ):
            widget.enabled = not busy

    def onRun(self, checked: bool = False) -> None:
        """Score the chosen scan in its boxes."""
        with self._panel.telling():
            self._panel.prepare()
            scan, settings = self._panel.scan, self.settings
            self._panel.activity.start(
                lambda watcher, begun: self._panel.logic.start(scan, settings, watcher, begun),
                lambda _findings: self._onDone(scan),
            )

    def _onDone(self, scan: Any) -> None:
        self._panel.showResults()
        with self._panel.telling():
            if writeBack(scan):
                self._panel.showWorklist()

    def stop(self) -> None:
        """Before the panel goes, or its scene: nothing may arrive any more."""
        devices = self._devices
        if devices is not None:
            devices.kill()
            devices.wait()

    def log(self, line: str) -> None:
        """Add a line to the log."""
        self._ui.logText.appendPlainText(line)
