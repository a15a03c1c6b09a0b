"""The module without its panel: parameters, and what scripts call."""

# Without `from __future__ import annotations`: the parameter node needs its types at run time.
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from ParanasalSSLLib.errors import ParanasalError, UnsupportedScan
from ParanasalSSLLib.sinuses import Side
from ParanasalSSLPanel import results, scans
from ParanasalSSLPanel.boxes import (
    adjustBoxes,
    areAutomatic,
    boxesOf,
    isMoved,
    qualityOf,
    showBoxes,
)
from ParanasalSSLPanel.compute import (
    AUTOMATIC,
    Computation,
    Findings,
    Settings,
    Watcher,
    Work,
)
from ParanasalSSLPanel.models import SHIPPED
from ParanasalSSLPanel.packages import ensurePackages, installFromFolder
from ParanasalSSLPanel.trust import qualityForScoring

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"


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
        if computation is None:
            from ParanasalSSLPanel.separateProcess import SeparateProcess  # it needs Qt

            computation = SeparateProcess()
        self._computation = computation
        self._ensure = ensure

    def getParameterNode(self) -> ParanasalSSLParameterNode:
        """The module's parameters of this scene."""
        return ParanasalSSLParameterNode(super().getParameterNode())

    def prepare(self) -> None:
        """Install missing Python packages, asking first; raises `PackagesMissing`."""
        self._ensure(str(REQUIREMENTS))

    def installFrom(self, folder: Path) -> None:
        """Install the Python packages from a folder of wheels; raises `PackagesMissing`."""
        installFromFolder(str(REQUIREMENTS), folder)

    def startPlacing(
        self,
        scan: vtkMRMLScalarVolumeNode,
        watcher: Watcher[Any],
        begun: Callable[[Work], None] = lambda work: None,
    ) -> None:
        """Begin to place the two boxes by registration.

        When all is well, they are put beside the scan, and results of an earlier run are removed,
        before `watcher.done` is called with the `Placement`, whose quality may say "failed"; else the
        scene stays as it was. `begun` gets the work, to cancel it.

        Raises `ParanasalError`s for a scan that cannot be scored.
        """
        volume = scans.volumeFromNode(_checked(scan))

        def show(found: Any) -> None:
            results.removeFindings(scan)
            showBoxes(scan, found.boxes, found.quality)

        begun(self._computation.place(volume, _shown(scan, volume, show, watcher)))

    def placeBoxes(self, scan: vtkMRMLScalarVolumeNode) -> Any:
        """As `startPlacing`, but for scripts: waits, and returns the `Quality` of the boxes."""
        return _waited(partial(self.startPlacing, scan)).quality

    def start(
        self,
        scan: vtkMRMLScalarVolumeNode,
        settings: Settings,
        watcher: Watcher[Findings],
        begun: Callable[[Work], None] = lambda work: None,
    ) -> None:
        """Begin to score the sinuses in the boxes of the scene; see `areAutomatic` for which are moved.

        When all is well, the findings are put beside the scan before `watcher.done` is called; a run
        that fails or is cancelled leaves the scene as it was. `begun` gets the run, to cancel it.

        Raises `ParanasalError`s for a scan or boxes that cannot be scored.
        """
        volume = scans.volumeFromNode(_checked(scan))
        boxes = boxesOf(scan)
        quality = qualityForScoring(volume, boxes, qualityOf(scan))

        def show(findings: Findings) -> None:
            scored = (findings.boxes if areAutomatic(boxes) else {}) or boxes
            # A box that was moved during the run stays where it is, and the findings are outdated.
            if scored is not boxes and all(isMoved(scan, side) is False for side in Side):
                showBoxes(scan, scored, findings.quality)
            results.showFindings(scan, scored, findings)
            adjustBoxes(scan, False)

        shown = _shown(scan, volume, show, watcher)
        begun(self._computation.start(volume, boxes, quality, settings, shown))

    def run(self, scan: vtkMRMLScalarVolumeNode, settings: Settings | None = None) -> Findings:
        """As `start`, but for scripts: waits for the end. Raises `ParanasalError`s."""
        return _waited(partial(self.start, scan, settings or Settings()))


def _shown(
    scan: vtkMRMLScalarVolumeNode,
    volume: Any,
    show: Callable[[Any], None],
    watcher: Watcher[Any],
) -> Watcher[Any]:
    """The watcher, told only after what was found is shown.

    A scan that has gone, or lies elsewhere than the `volume` that was given away, is a failure.
    """
    gone = _("The scan was removed in the meantime.")
    moved = _("The scan was moved in the meantime, so nothing is shown. Try again.")

    def done(found: Any) -> None:
        if not slicer.mrmlScene.IsNodePresent(scan):
            watcher.failed(gone)
        elif not scans.isWhere(scan, volume):
            watcher.failed(moved)
        else:
            show(found)
            watcher.done(found)

    return replace(watcher, done=done)


def _waited(start: Callable[[Watcher[Any], Callable[[Work], None]], None]) -> Any:
    """What a computation has found, once it has ended. Raises `ParanasalError`s."""
    found: list[Any] = []
    failures: list[str] = []
    works: list[Work] = []
    start(Watcher(found.append, failures.append), works.append)
    works[0].wait()
    if not found:
        raise ParanasalError(failures[0] if failures else _("Cancelled."))
    return found[0]


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
