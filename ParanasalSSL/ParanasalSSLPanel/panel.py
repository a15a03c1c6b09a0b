"""The panel: it wires its sections to the scene; what they do is in `section*.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLPanel import cases, results, scans, tables
from ParanasalSSLPanel.activity import Activity
from ParanasalSSLPanel.boxes import boxesOf
from ParanasalSSLPanel.compute import Settings
from ParanasalSSLPanel.doing import Doing
from ParanasalSSLPanel.logic import ParanasalSSLLogic, ParanasalSSLParameterNode
from ParanasalSSLPanel.sectionBoxes import BoxesSection
from ParanasalSSLPanel.sectionExport import ExportSection
from ParanasalSSLPanel.sectionFollowUp import FollowUpSection
from ParanasalSSLPanel.sectionResults import ResultsSection
from ParanasalSSLPanel.sectionRun import RunSection
from ParanasalSSLPanel.sectionWorklist import WorklistSection
from ParanasalSSLPanel.terms import loadTerms
from ParanasalSSLPanel.watchedScan import WatchedScan


class ParanasalSSLWidget(Doing, ScriptedLoadableModuleWidget, slicer.util.VTKObservationMixin):
    """A `Panel` to its sections, and the module's widget to Slicer."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        slicer.util.VTKObservationMixin.__init__(self)
        self.logic: ParanasalSSLLogic | None = None
        self.parameters: ParanasalSSLParameterNode | None = None
        self._watched = WatchedScan(self._onScanChanged, self._onBoxMoved)
        self._tags: tuple[int, int] | None = None  # of the parameters' connections
        self._shownScan: str | None = None
        self._shownOverlay: tuple[Any, ...] | None = None
        self._viewsAreLeft = False
        self._stamp = 0

    # ------------------------------------------------------------------------- life of the panel

    def setup(self) -> None:
        """Build the panel; called once, when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/ParanasalSSL.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        loadTerms(Path(self.resourcePath("Terminologies")))
        self.logic = ParanasalSSLLogic()
        self.activity = Activity(self)
        self.boxesSection, self.runSection = BoxesSection(self), RunSection(self)
        self.resultsSection, self.exportSection = ResultsSection(self), ExportSection(self)
        self.worklistSection = WorklistSection(self)
        self.followUpSection = FollowUpSection(self)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneChanged)
        self.addObserver(scene, scene.NodeAddedEvent, self._onNodeAdded)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodeRemoved)
        self.addObserver(scene, scene.EndBatchProcessEvent, self._onNodesChanged)
        if self.parent.isEntered:  # reloaded
            self._connectParameters()

    def cleanup(self) -> None:
        """Stop what runs; called before the panel goes."""
        sections = (self.activity, self.runSection, self.worklistSection, self.followUpSection)
        for section in sections:
            section.stop()
        self._disconnectParameters()
        self.removeObservers()

    def enter(self) -> None:
        """Called whenever the module is opened."""
        self._connectParameters()
        self.runSection.listDevices()

    def exit(self) -> None:
        """Called whenever another module is opened."""
        self._disconnectParameters()

    def _onSceneStartClose(self, caller: Any, event: Any) -> None:
        self.activity.stop()
        self.followUpSection.stop()
        self._disconnectParameters()
        self._shownOverlay = None

    def _onSceneChanged(self, caller: Any, event: Any) -> None:
        if self.parent.isEntered:
            self._connectParameters()

    def _connectParameters(self) -> None:
        """Show the parameters of the present scene; a loaded scene brings its own."""
        self._disconnectParameters()
        self.parameters = self.logic.getParameterNode()
        self._propose()
        # By name, since Slicer's `connectGui` gives nothing to disconnect with (its issue 7547).
        widgets = {
            "scan": self.ui.scanSelector,
            "overlayOpacity": self.ui.opacitySlider,
            "residualThreshold": self.ui.thresholdSlider,
        }
        self._tags = (
            self.parameters.connectParametersToGui(widgets),
            self.parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onParameters),
        )
        self.runSection.showChoices()
        with self._leavingViews():
            self._onParameters()

    def _disconnectParameters(self) -> None:
        self._watched.watch(None)
        if self.parameters is not None:
            guiTag, observerTag = self._tags
            self.parameters.disconnectGui(guiTag)
            self.parameters.RemoveObserver(observerTag)
        self.parameters = None
        self._shownScan = None

    # ------------------------------------------------------------------------------ what is shown

    @property
    def scan(self) -> vtkMRMLScalarVolumeNode | None:
        """The chosen scan."""
        return self.parameters.scan if self.parameters is not None else None

    @property
    def settings(self) -> Settings:
        """Device and model as chosen."""
        return self.runSection.settings

    @property
    def isBusy(self) -> bool:
        """Whether boxes are being placed, or a scan scored or exported."""
        return self.isBlocked or self.activity.isRunning

    def addModel(self, folder: str) -> None:
        """Add a model bundle to the list and choose it. Raises `BadBundle`."""
        self.runSection.addModel(folder)

    def prepare(self) -> None:
        """Install missing Python packages, asking first; raises `PackagesMissing`."""
        self.logic.prepare()
        self.runSection.listDevices()

    def log(self, line: str) -> None:
        """Into the foldable log."""
        self.runSection.log(line)

    def refresh(self) -> None:
        """Show all that is known of the present scan."""
        scan, busy = self.scan, self.isBusy
        self._watched.watch(scan)
        self.ui.scanSelector.enabled = not busy
        self.boxesSection.update(scan, busy)
        self.activity.update()
        self.runSection.update(scan, busy)
        self.resultsSection.update(scan, self._isOutdated())
        self.exportSection.update(scan, busy)
        self.followUpSection.update(scan, busy)
        self._styleOverlay()

    def showResults(self) -> None:
        """Show new results, over the slices too, unless another module is open."""
        self.refresh()
        if self.parameters is not None:
            level = results.levelOf(self.scan)
            if level is not None:
                self.parameters.residualThreshold = level
            self._showInViews()

    def _showInViews(self) -> None:
        """The chosen scan alone, with its overlay."""
        self.followUpSection.stop()
        cases.showCase(self.scan)
        self.showOverlay()

    def showOverlay(self) -> None:
        """Lay the residual over the scan in the slice views."""
        if self.scan is not None:
            results.showOverlay(self.scan, *self.overlay)
        self.resultsSection.showOverlayState(self.scan)

    def showWorklist(self) -> None:
        """Show what has changed in the worklist."""
        self.worklistSection.readAgain()

    @property
    def overlay(self) -> tuple[float, float]:
        """Threshold and opacity of the overlay."""
        opacity = self.parameters.overlayOpacity * (results.FAINT if self._isOutdated() else 1.0)
        return self.parameters.residualThreshold, opacity

    def _onNodeAdded(self, caller: Any, event: Any) -> None:
        """The first scan may have been loaded."""
        if self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        with self._leavingViews():
            self._propose()

    def _propose(self) -> None:
        if self.parameters.scan is None:
            self.parameters.scan = scans.proposedScan()

    @contextmanager
    def _leavingViews(self) -> Iterator[None]:
        """What is not the user's choice of a scan does not change what the views show."""
        self._viewsAreLeft = True
        try:
            yield
        finally:
            self._viewsAreLeft = False

    def _onNodeRemoved(self, caller: Any, event: Any) -> None:
        """The scan, a box or a result may have been deleted in another module."""
        if self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        with self._leavingViews():
            self._onParameters()
        self.refresh()

    def _onNodesChanged(self, caller: Any, event: Any) -> None:
        """The end of a batch, during which nodes were added or removed."""
        self._onNodeAdded(caller, event)
        self._onNodeRemoved(caller, event)

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        """Another scan, or another look of the overlay. What is shown already stays as it is."""
        scan = self.scan
        name = scan.GetID() if scan is not None else ""
        if self._shownScan != name:
            self._shownScan = name
            if scan is not None:
                cases.makeCopyItsOwn(scan)
            self._showScan()
            if not self._viewsAreLeft:
                self._showInViews()
            self.refresh()
        self._styleOverlay()

    def _styleOverlay(self) -> None:
        """Where it is shown, and only if its look is another now."""
        if self.parameters is None or self._shownOverlay == self.overlay:
            return
        self._shownOverlay = self.overlay
        if self.scan is not None:
            results.styleOverlay(self.scan, *self.overlay)
        self.followUpSection.style(*self.overlay)

    def _onScanChanged(self, caller: Any, event: Any) -> None:
        """Its voxels have arrived (a reader adds the node first), were changed, or moved elsewhere."""
        if self._stamp != scans.stampOf(self.scan):
            self._showScan()
        if self.resultsSection.isOutdated != self._isOutdated():
            self._onBoxMoved()

    def _showScan(self) -> None:
        self._stamp = scans.stampOf(self.scan) if self.scan is not None else 0
        self.say("")
        self.boxesSection.showScan(self.scan)

    def _onBoxMoved(self, caller: Any = None, event: Any = None) -> None:
        self.boxesSection.update(self.scan, self.isBusy)
        self.resultsSection.showOutdated(self.scan, self._isOutdated())
        self._styleOverlay()

    def _isOutdated(self) -> bool:
        """Whether the numbers belong to where the boxes were, or the scan was."""
        scan = self.scan
        if scan is None or tables.tableOf(scan) is None:
            return False
        try:
            return results.areOutdated(scan, boxesOf(scan))
        except ParanasalError:  # said when it is run
            return True
