"""Slicer module: finds anomalies of the maxillary sinuses in head MRI.

This file only wires: the panel (`ParanasalSSLWidget`) to the logic, the logic to the parts in
`ParanasalSSLPanel`, and these to the library `ParanasalSSLLib`, which knows nothing of Slicer.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

from ParanasalSSLPanel import results  # noqa: E402
from ParanasalSSLPanel.boxes import boxesOf, boxNode, qualityOf, showBoxes  # noqa: E402
from ParanasalSSLPanel.compute import (  # noqa: E402
    Computation,
    Findings,
    InProcess,
    ProgressSink,
)
from ParanasalSSLPanel.packages import ensurePackages  # noqa: E402
from ParanasalSSLPanel.scans import volumeFromNode  # noqa: E402
from ParanasalSSLPanel.trust import qualityForScoring, qualityWords  # noqa: E402

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


@parameterNodeWrapper
class ParanasalSSLParameterNode:
    """What the panel remembers in the scene. Boxes and results belong to the scan's own node.

    overlayOpacity: of the residual over the scan, 0..1
    residualThreshold: residuals below it are not painted, 0..1
    """

    scan: vtkMRMLScalarVolumeNode
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.6
    residualThreshold: Annotated[float, WithinRange(0, 1)] = 0.1


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
        self._computation: Computation = computation or InProcess()
        self._ensure = ensure

    def getParameterNode(self) -> ParanasalSSLParameterNode:
        return ParanasalSSLParameterNode(super().getParameterNode())

    def prepare(self) -> None:
        """Install missing Python packages, asking first; raises `PackagesMissing`."""
        requirements = Path(__file__).resolve().parent / "Resources" / "requirements.txt"
        self._ensure(str(requirements))

    def placeBoxes(self, scan: vtkMRMLScalarVolumeNode) -> Any:
        """Place the two boxes by registration; returns its `Quality`, which may say "failed".

        Results of an earlier run are removed. Raises `ParanasalError`s.
        """
        volume = volumeFromNode(_checked(scan))
        found = self._computation.localize(volume)
        results.removeFindings(scan)
        showBoxes(scan, found.boxes, found.quality)
        return found.quality

    def run(
        self, scan: vtkMRMLScalarVolumeNode, progress: ProgressSink = lambda _progress: None
    ) -> Findings:
        """Score the sinuses in the boxes as they stand in the scene; raises `ParanasalError`s."""
        volume = volumeFromNode(_checked(scan))
        boxes = boxesOf(scan)
        quality = qualityForScoring(volume, boxes, qualityOf(scan))
        findings = self._computation.score(volume, boxes, quality, progress)
        results.showFindings(scan, boxes, quality, findings)
        return findings


def _checked(scan: vtkMRMLScalarVolumeNode | None) -> vtkMRMLScalarVolumeNode:
    if scan is None:
        raise UnsupportedScan(_("Choose a scan first."))
    if results.isResidual(scan):
        raise UnsupportedScan(
            _("{name} is a result of this module. Choose the scan itself.").format(
                name=scan.GetName()
            )
        )
    return scan


class ParanasalSSLWidget(ScriptedLoadableModuleWidget, slicer.util.VTKObservationMixin):
    """The panel: wiring only."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        slicer.util.VTKObservationMixin.__init__(self)
        self.logic: ParanasalSSLLogic | None = None
        self._parameters: ParanasalSSLParameterNode | None = None
        self._guiTag: int | None = None
        self._shown: tuple[Any, ...] | None = None

    # ------------------------------------------------------------------------- life of the panel

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/ParanasalSSL.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = ParanasalSSLLogic()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneChanged)
        self.addObserver(scene, scene.NodeAddedEvent, self._onNodeAdded)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodeRemoved)
        self.ui.placeBoxesButton.connect("clicked(bool)", self.onPlaceBoxes)
        self.ui.runButton.connect("clicked(bool)", self.onRun)
        self.ui.progressBar.visible = False
        self._connectParameters()

    def cleanup(self) -> None:
        self._disconnectParameters()
        self.removeObservers()

    def enter(self) -> None:
        self._connectParameters()

    def exit(self) -> None:
        self._disconnectParameters()

    def _onSceneStartClose(self, caller: Any, event: Any) -> None:
        self._disconnectParameters()

    def _onSceneChanged(self, caller: Any, event: Any) -> None:
        if self.parent.isEntered:
            self._connectParameters()

    def _connectParameters(self) -> None:
        """Show the parameters of the present scene; a loaded scene brings its own."""
        self._disconnectParameters()
        self._parameters = self.logic.getParameterNode()
        if self._parameters.scan is None:
            self._parameters.scan = _firstScan()
        self._guiTag = self._parameters.connectGui(self.ui)
        self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._onParameters()

    def _disconnectParameters(self) -> None:
        self._observeBoxes(None)
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameters = None
        self._shown = None

    # ------------------------------------------------------------------------------ what is shown

    def _onNodeAdded(self, caller: Any, event: Any) -> None:
        """The first scan may have been loaded."""
        if self._parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        if self._parameters.scan is None:
            self._parameters.scan = _firstScan()

    def _onNodeRemoved(self, caller: Any, event: Any) -> None:
        """The scan, a box or a result may have been deleted in another module."""
        if self._parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self._onParameters()
        self._showScan()

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        """Another scan, or another look of the overlay."""
        wanted = (
            self._parameters.scan,
            self._parameters.residualThreshold,
            self._parameters.overlayOpacity,
        )
        if wanted == self._shown:
            return
        scanChanged = self._shown is None or self._shown[0] is not wanted[0]
        self._shown = wanted
        if scanChanged:
            self._showScan()
        if wanted[0] is not None:
            results.showOverlay(*wanted)

    def _showScan(self) -> None:
        """All that the panel says about the present scan."""
        scan = self._parameters.scan
        self._observeBoxes(scan)
        self.ui.placeBoxesButton.enabled = scan is not None
        self.ui.runButton.enabled = scan is not None
        self.ui.tableView.setMRMLTableNode(results.tableOf(scan) if scan else None)
        self.ui.noticesLabel.text = "\n".join(results.noticesOf(scan)) if scan else ""
        quality = qualityOf(scan) if scan else None
        self.ui.qualityLabel.text = qualityWords(quality) if quality else _("No boxes yet.")
        self._say("")
        self._onBoxMoved()

    def _observeBoxes(self, scan: vtkMRMLScalarVolumeNode | None) -> None:
        self.removeObservers(self._onBoxMoved)
        for node in (boxNode(scan, side) for side in Side) if scan else ():
            if node is not None:
                self.addObserver(node, node.PointModifiedEvent, self._onBoxMoved)

    def _onBoxMoved(self, caller: Any = None, event: Any = None) -> None:
        """Numbers must not stand beside boxes to which they do not belong without a word."""
        scan = self._parameters.scan
        if scan is None or results.tableOf(scan) is None:
            return
        try:
            outdated = results.areOutdated(scan, boxesOf(scan))
        except ParanasalError as error:
            self._say(str(error), isError=True)
            return
        self._say(
            _("The results below belong to where the boxes were. Press Run to score them anew.")
            if outdated
            else ""
        )

    def _say(self, words: str, isError: bool = False) -> None:
        self.ui.messageLabel.text = words
        self.ui.messageLabel.styleSheet = f"color: {ERROR_COLOR}" if isError else ""

    # ------------------------------------------------------------------------------- what is done

    def onPlaceBoxes(self, checked: bool = False) -> None:
        with self._working(_("Finding the maxillary sinuses")):
            self.logic.prepare()
            self.logic.placeBoxes(self._parameters.scan)

    def onRun(self, checked: bool = False) -> None:
        with self._working(_("Scoring the sinuses")):
            self.logic.prepare()
            self.logic.run(self._parameters.scan, self._onProgress)

    def _onProgress(self, progress: Any) -> None:
        self.ui.progressBar.value = round(100 * progress.fraction)
        self.ui.progressBar.format = _(progress.stage.words)
        _repaint()

    @contextmanager
    def _working(self, words: str) -> Iterator[None]:
        """Do work that takes seconds; the user's errors are told in the panel, others by Slicer."""
        self._setBusy(True)
        self.ui.progressBar.value = 0
        self.ui.progressBar.format = words
        _repaint()
        failure = ""
        try:
            with slicer.util.tryWithErrorDisplay(_("ParanasalSSL failed."), waitCursor=True):
                try:
                    yield
                except ParanasalError as error:
                    failure = str(error)
        finally:
            self._setBusy(False)
            self._shown = None
            self._onParameters()
            if failure:
                self._say(failure, isError=True)

    def _setBusy(self, busy: bool) -> None:
        self.ui.progressBar.visible = busy
        self.ui.placeBoxesButton.enabled = not busy
        self.ui.runButton.enabled = not busy
        self.ui.scanSelector.enabled = not busy


def _repaint() -> None:
    """Draw the panel, but take no clicks: the scene must not change during a run."""
    slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)


def _firstScan() -> vtkMRMLScalarVolumeNode | None:
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not results.isResidual(node):
            return node
    return None


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
