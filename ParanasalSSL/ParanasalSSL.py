"""Slicer module: finds anomalies of the maxillary sinuses in head MRI.

This file only wires: the panel (`ParanasalSSLWidget`) to the logic, the logic to the parts in
`ParanasalSSLPanel`, and these to the library `ParanasalSSLLib`, which knows nothing of Slicer.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


def _findLibrary() -> None:
    """Let the library that came with this file win over an installed one of another version.

    It lies beside this file in a built extension, and one folder higher in a clone of the
    repository; where it is in neither place, pip has installed it.
    """
    here = Path(__file__).resolve().parent
    for folder in (here, here.parent):
        if (folder / "ParanasalSSLLib" / "__init__.py").is_file():
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
            return


_findLibrary()

from ParanasalSSLPanel import results, scans  # noqa: E402
from ParanasalSSLPanel.boxes import boxesOf, boxNode, qualityOf, showBoxes  # noqa: E402
from ParanasalSSLPanel.compute import (  # noqa: E402
    Computation,
    Findings,
    SeparateProcess,
    Settings,
    Watcher,
    Work,
)
from ParanasalSSLPanel.models import SHIPPED  # noqa: E402
from ParanasalSSLPanel.packages import ensurePackages, installFromFolder  # noqa: E402
from ParanasalSSLPanel.process import libraryFolder  # noqa: E402
from ParanasalSSLPanel.sectionBoxes import BoxesSection  # noqa: E402
from ParanasalSSLPanel.sectionExport import ExportSection  # noqa: E402
from ParanasalSSLPanel.sectionResults import ResultsSection  # noqa: E402
from ParanasalSSLPanel.sectionRun import AUTOMATIC, RunSection  # noqa: E402
from ParanasalSSLPanel.sectionWorklist import WorklistSection  # noqa: E402
from ParanasalSSLPanel.terms import loadTerms  # noqa: E402
from ParanasalSSLPanel.trust import qualityForScoring  # noqa: E402

from ParanasalSSLLib.errors import ParanasalError, UnsupportedScan  # noqa: E402
from ParanasalSSLLib.sinuses import Side  # noqa: E402

ERROR_COLOR = "#c0392b"


class ParanasalSSL(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("ParanasalSSL")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Otolaryngology")]
        parent.dependencies = ["Markups", "Segmentations", "SubjectHierarchy", "Tables", "Volumes"]
        parent.contributors = ["The ParanasalSSL developers"]
        parent.helpText = _(
            "Finds anomalies (thickened mucosa, polyps, cysts, filled sinuses) of the maxillary "
            "sinuses in head MRI: places a box around each sinus, scores it, and shows where it "
            "differs from a healthy one. Research use only, no diagnosis."
        )
        parent.acknowledgementText = _(
            "The method follows Bhattacharya et al., Self-supervised learning for classifying "
            "paranasal anomalies in the maxillary sinus (2024)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """The simulated head that the library brings, as an entry of the module Sample Data."""
    import SampleData

    from ParanasalSSLLib.files import sha256

    here = Path(__file__).resolve().parent
    head = libraryFolder() / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="ParanasalSSL",
        sampleName="Simulated head, cyst on the left",
        thumbnailFileName=str(here / "Resources" / "Icons" / "ParanasalSSL.png"),
        uris=head.as_uri(),
        fileNames=head.name,
        checksums=f"SHA256:{sha256(head)}",
        nodeNames="Simulated head",
    )


@parameterNodeWrapper
class ParanasalSSLParameterNode:
    """What the panel remembers in the scene. Boxes and results belong to the scan's own node.

    overlayOpacity: of the residual over the scan, 0..1
    residualThreshold: residuals below it are not painted, 0..1
    device: as `Settings.device`. model: as `models.identityOf` has it
    """

    scan: vtkMRMLScalarVolumeNode
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.6
    residualThreshold: Annotated[float, WithinRange(0, 1)] = 0.2
    device: str = AUTOMATIC
    model: str = SHIPPED


class ParanasalSSLLogic(ScriptedLoadableModuleLogic):
    """The module without its panel: volume nodes in, nodes beside them out.

    In a script:

        logic = slicer.util.getModuleLogic("ParanasalSSL")
        logic.placeBoxes(scan)
        findings = logic.run(scan)
    """

    def __init__(
        self,
        computation: Computation | None = None,
        ensure: Callable[[str], None] = ensurePackages,
    ) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._computation: Computation = computation or SeparateProcess()
        self._ensure = ensure

    def getParameterNode(self) -> ParanasalSSLParameterNode:
        return ParanasalSSLParameterNode(super().getParameterNode())

    def prepare(self) -> None:
        """Install missing Python packages, asking first; raises `PackagesMissing`."""
        self._ensure(_requirements())

    def installFrom(self, folder: Path) -> None:
        """Install the Python packages from a folder of wheels; raises `PackagesMissing`."""
        installFromFolder(_requirements(), folder)

    def placeBoxes(self, scan: vtkMRMLScalarVolumeNode) -> Any:
        """Place the two boxes by registration; returns its `Quality`, which may say "failed".

        Results of an earlier run are removed. Raises `ParanasalError`s.
        """
        volume = scans.volumeFromNode(_checked(scan))
        found = self._computation.localize(volume)
        results.removeFindings(scan)
        showBoxes(scan, found.boxes, found.quality)
        return found.quality

    def start(
        self,
        scan: vtkMRMLScalarVolumeNode,
        settings: Settings,
        watcher: Watcher,
        begun: Callable[[Work], None] = lambda work: None,
    ) -> None:
        """Begin to score the sinuses in the boxes as they stand in the scene.

        When all is well, the findings are put beside the scan before `watcher.done` is called; a run
        that fails or is cancelled leaves the scene as it was. `begun` gets the run, to cancel it.

        Raises `ParanasalError`s for a scan or boxes that cannot be scored.
        """
        volume = scans.volumeFromNode(_checked(scan))
        boxes = boxesOf(scan)
        quality = qualityForScoring(volume, boxes, qualityOf(scan))
        gone = _("The scan was removed while it was being scored.")

        def done(findings: Findings) -> None:
            if slicer.mrmlScene.IsNodePresent(scan):
                results.showFindings(scan, boxes, quality, findings)
                watcher.done(findings)
            else:
                watcher.failed(gone)

        begun(
            self._computation.start(volume, boxes, quality, settings, replace(watcher, done=done))
        )

    def run(self, scan: vtkMRMLScalarVolumeNode, settings: Settings | None = None) -> Findings:
        """As `start`, but for scripts: waits for the end. Raises `ParanasalError`s."""
        found: list[Findings] = []
        failures: list[str] = []
        runs: list[Work] = []
        watcher = Watcher(found.append, failures.append)
        self.start(scan, settings or Settings(), watcher, runs.append)
        runs[0].wait()
        if not found:
            raise ParanasalError(failures[0] if failures else _("Cancelled."))
        return found[0]


def _requirements() -> str:
    return str(Path(__file__).resolve().parent / "Resources" / "requirements.txt")


def _checked(scan: vtkMRMLScalarVolumeNode | None) -> vtkMRMLScalarVolumeNode:
    if scan is None:
        raise UnsupportedScan(_("Choose a scan first."))
    if not scans.isScan(scan):
        raise UnsupportedScan(
            _("{name} is a result of this module. Choose the scan itself.").format(
                name=scan.GetName()
            )
        )
    return scan


class ParanasalSSLWidget(ScriptedLoadableModuleWidget, slicer.util.VTKObservationMixin):
    """The panel: wiring only; what its sections do is in `ParanasalSSLPanel/section*.py`."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        slicer.util.VTKObservationMixin.__init__(self)
        self.logic: ParanasalSSLLogic | None = None
        self.parameters: ParanasalSSLParameterNode | None = None
        self._tags: tuple[int, int] | None = None  # of the parameters' connections
        self._observed: list[tuple[Any, int]] = []
        self._shownScan: str | None = None
        self._shownOverlay: tuple[Any, ...] | None = None
        self._blocked = False
        self._stamp = 0

    # ------------------------------------------------------------------------- life of the panel

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/ParanasalSSL.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        loadTerms(Path(self.resourcePath("Terminologies")))
        self.logic = ParanasalSSLLogic()
        self._boxes, self._run = BoxesSection(self), RunSection(self)
        self._results, self._export = ResultsSection(self), ExportSection(self)
        self._worklist = WorklistSection(self)
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
        for section in (self._run, self._export, self._worklist):
            section.stop()
        self._disconnectParameters()
        self.removeObservers()

    def enter(self) -> None:
        self._connectParameters()
        self._run.listDevices()

    def exit(self) -> None:
        self._disconnectParameters()

    def _onSceneStartClose(self, caller: Any, event: Any) -> None:
        self._run.stop()
        self._export.stop()
        self._disconnectParameters()
        self._shownOverlay = None

    def _onSceneChanged(self, caller: Any, event: Any) -> None:
        if self.parent.isEntered:
            self._connectParameters()

    def _connectParameters(self) -> None:
        """Show the parameters of the present scene; a loaded scene brings its own."""
        self._disconnectParameters()
        self.parameters = self.logic.getParameterNode()
        if self.parameters.scan is None:
            self.parameters.scan = next(iter(scans.scansInScene()), None)
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
        self._run.showChoices()
        self._onParameters()

    def _disconnectParameters(self) -> None:
        self._observe(None)
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
        return self._run.settings

    @property
    def isBusy(self) -> bool:
        """Whether boxes are being placed, or a scan scored or exported."""
        return self._blocked or self._run.isRunning or self._export.isRunning

    def prepare(self) -> None:
        """Install missing Python packages, asking first; raises `PackagesMissing`."""
        self.logic.prepare()
        self._run.listDevices()

    def log(self, line: str) -> None:
        """Into the foldable log."""
        self._run.log(line)

    def say(self, words: str, isError: bool = False) -> None:
        """One line or two below the Run button."""
        self.ui.messageLabel.text = words
        self.ui.messageLabel.styleSheet = f"color: {ERROR_COLOR}" if isError else ""

    def refresh(self) -> None:
        """Show all that is known of the present scan."""
        scan, busy = self.scan, self.isBusy
        self._observe(scan)
        self.ui.scanSelector.enabled = not busy
        self._boxes.update(scan, busy)
        self._run.update(scan, busy)
        self._results.update(scan)
        self._export.update(scan, busy)
        self._sayIfOutdated()

    def showResults(self) -> None:
        """Show new results, over the slices too; while another module is open, on coming back."""
        self.refresh()
        self._shownOverlay = None
        if self.parameters is not None:
            self._onParameters()

    def _onNodeAdded(self, caller: Any, event: Any) -> None:
        """The first scan may have been loaded."""
        if self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        if self.parameters.scan is None:
            self.parameters.scan = next(iter(scans.scansInScene()), None)

    def _onNodeRemoved(self, caller: Any, event: Any) -> None:
        """The scan, a box or a result may have been deleted in another module."""
        if self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self._onParameters()
        self.refresh()

    def _onNodesChanged(self, caller: Any, event: Any) -> None:
        """The end of a batch, during which nodes were added or removed."""
        self._onNodeAdded(caller, event)
        self._onNodeRemoved(caller, event)

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        """Another scan, or another look of the overlay. What is shown already stays as it is."""
        parameters, scan = self.parameters, self.scan
        name = scan.GetID() if scan is not None else ""
        if self._shownScan != name:
            self._shownScan = name
            self._showScan()
            self.refresh()
        overlay = (name, parameters.residualThreshold, parameters.overlayOpacity)
        if self._shownOverlay != overlay:
            self._shownOverlay = overlay
            if scan is not None:
                results.showOverlay(scan, *overlay[1:])

    def _observe(self, scan: vtkMRMLScalarVolumeNode | None) -> None:
        """Hear of the scan and its boxes, and no longer of others."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        # Not by `addObserver`, which keeps every node that it has ever seen.
        self._observed = []
        if scan is None:
            return
        watched = [
            (scan, scan.ImageDataModifiedEvent, self._onScanChanged),
            (scan, vtk.vtkCommand.ModifiedEvent, self._onScanChanged),
        ]
        boxes = [node for side in Side if (node := boxNode(scan, side)) is not None]
        watched += [(node, node.PointModifiedEvent, self._onBoxMoved) for node in boxes]
        for node, event, method in watched:
            self._observed.append((node, node.AddObserver(event, method)))

    def _onScanChanged(self, caller: Any, event: Any) -> None:
        """Its voxels have arrived (a reader adds the node first), or were changed elsewhere."""
        if self._stamp != scans.stampOf(self.scan):
            self._showScan()

    def _showScan(self) -> None:
        self._stamp = scans.stampOf(self.scan) if self.scan is not None else 0
        self.say("")
        self._boxes.showScan(self.scan)

    def _onBoxMoved(self, caller: Any = None, event: Any = None) -> None:
        self._boxes.update(self.scan, self.isBusy)
        self._sayIfOutdated()

    def _sayIfOutdated(self) -> None:
        """Numbers must not stand beside boxes to which they do not belong without a word."""
        scan = self.scan
        words = _("The results below belong to where the boxes were. Press Run to score them anew.")
        try:
            scored = scan is not None and results.tableOf(scan) is not None
            if scored and results.areOutdated(scan, boxesOf(scan)):
                self.say(words)
            elif self.ui.messageLabel.text == words:
                self.say("")
        except ParanasalError as error:
            self.say(str(error), isError=True)

    # ------------------------------------------------------------------------------- what is done

    @contextmanager
    def telling(self) -> Iterator[None]:
        """The user's errors are told in the panel, others by Slicer."""
        self.say("")
        with slicer.util.tryWithErrorDisplay(_("ParanasalSSL failed.")):
            try:
                yield
            except ParanasalError as error:
                self.say(str(error), isError=True)
            finally:
                self._hideProgress()

    def _hideProgress(self) -> None:
        if not self._run.isRunning:
            self.ui.progressBar.visible = False

    @contextmanager
    def working(self, words: str) -> Iterator[None]:
        """Do work that takes seconds inside Slicer; errors as in `telling`."""
        self._blocked = True
        self.refresh()
        self.ui.progressBar.visible = True
        self.ui.progressBar.value = 0
        self.ui.progressBar.setFormat(words)
        _repaint()
        failure = ""
        try:
            with slicer.util.tryWithErrorDisplay(_("ParanasalSSL failed."), waitCursor=True):
                try:
                    yield
                except ParanasalError as error:
                    failure = str(error)
        finally:
            self._blocked = False
            self._hideProgress()
            self.refresh()
            if failure:
                self.say(failure, isError=True)


def _repaint() -> None:
    """Draw the panel, but take no clicks: the scene must not change during a run."""
    slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)


class ParanasalSSLTest(ScriptedLoadableModuleTest):
    """Slicer's "Reload and Test": the way through the scene, with a stand-in for the model."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_findings_lie_beside_the_scan()

    def test_findings_lie_beside_the_scan(self) -> None:
        from ParanasalSSLPanel.selfcheck import StandIn, addMadeUpScan

        logic = ParanasalSSLLogic(StandIn(), ensure=lambda path: None)
        scan = addMadeUpScan()
        logic.placeBoxes(scan)
        findings = logic.run(scan)

        residual = slicer.util.arrayFromVolume(results.residualOf(scan))
        self.assertEqual(residual.shape, slicer.util.arrayFromVolume(scan).shape)
        self.assertAlmostEqual(float(residual.max()), float(findings.residual.max()))
        segmentation = results.segmentationOf(scan).GetSegmentation()
        self.assertEqual(segmentation.GetNumberOfSegments(), len(Side))
        self.assertEqual(results.tableOf(scan).GetNumberOfRows(), len(Side))
        self.delayDisplay("Test passed")
