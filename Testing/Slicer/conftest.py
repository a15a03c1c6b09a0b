"""The module on Slicer's own libraries, without the application; see `headless`.

In the environment of the reading room the same tests run on what that stands in for the application;
those of the module's panel are skipped there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
MODULE = HERE.parents[1] / "ParanasalSSL" / "ParanasalSSL.py"
WHY_SKIPPED = "needs Slicer's libraries: pip install slicer-core (the extra `test` has it)"
WHY_NO_QT = (
    "Qt does not start; it needs PySide6-Essentials (the extra `test` has it), and of Debian libegl1 "
    "libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0: "
)
IS_ROOM = importlib.util.find_spec("trame_slicer") is not None
WHY_NO_PANEL = "the reading room has no panel: make test"
WHY_NOT_IN_ROOM = "needs a part of Slicer that the reading room has not: make test"
START_QT = "from PySide6.QtWidgets import QApplication; QApplication([])"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the panel's tests, those of the scene run in the reading room's environment, too."""
    for item in items if IS_ROOM else []:
        if item.get_closest_marker("application") is not None:
            item.add_marker(pytest.mark.skip(reason=WHY_NOT_IN_ROOM))


@pytest.fixture(scope="session")
def installed() -> ModuleType:
    """`slicer` with stand-ins for the application."""
    pytest.importorskip("vtk", reason=WHY_SKIPPED)
    pytest.importorskip("slicer", reason=WHY_SKIPPED)
    if IS_ROOM:
        return room_scene()
    skip_without_qt()
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    import headless

    return headless.install()


def room_scene() -> ModuleType:
    """`slicer` as the reading room has it."""
    import slicer
    from trame_slicer.core import SlicerApp

    from ParanasalSSLViewer import stand_ins

    app = SlicerApp()
    stand_ins.install(app)
    for name in ("Red", "Green", "Yellow"):  # of slice views, in which nothing is drawn here
        for kind in (slicer.vtkMRMLSliceNode, slicer.vtkMRMLSliceCompositeNode):
            node = kind()
            node.SetName(name)
            node.SetLayoutName(name)
            node.SetSingletonTag(name)
            app.scene.AddNode(node)
    _register("slicer.ScriptedLoadableModule", ScriptedLoadableModuleLogic=Base)
    _register(
        "slicer.parameterNodeWrapper", parameterNodeWrapper=lambda kind: kind, WithinRange=max
    )
    _register("qt")
    return slicer


class Base:
    """What the module's logic is derived from; the room does without both."""

    def __init__(self) -> None:
        pass


def _register(name: str, **content: Any) -> None:
    made = sys.modules[name] = ModuleType(name)
    made.__dict__.update(content)


def skip_without_qt() -> None:
    """Tried in a process of its own: where a system library is missing, Qt may end its process."""
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    started = subprocess.run(
        [sys.executable, "-c", START_QT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if started.returncode != 0:
        lines = started.stderr.strip().splitlines() or [f"exit code {started.returncode}"]
        pytest.skip(WHY_NO_QT + lines[-1])


@pytest.fixture(scope="session")
def module(installed: ModuleType) -> ModuleType:
    """The module's file, loaded as Slicer loads it."""
    if IS_ROOM:
        pytest.skip(WHY_NO_PANEL)
    import headless

    return headless.load_module(MODULE)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Errors in slots and observers, of which Qt and VTK only tell `sys.excepthook`.

    A test fails with those that it does not take out of the list.
    """
    found: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: found.append(error))
    yield found
    for error in found:
        raise error


@pytest.fixture
def slicer(
    installed: ModuleType, faults: list[BaseException], request: pytest.FixtureRequest
) -> Iterator[ModuleType]:
    """`slicer` with an empty scene."""
    if not IS_ROOM:
        request.getfixturevalue("module")
    installed.mrmlScene.Clear()
    yield installed
    installed.mrmlScene.Clear()


@pytest.fixture
def standIn(slicer: ModuleType) -> Any:
    """A computation that needs no model."""
    from ParanasalSSLPanel.selfcheck import StandIn

    return StandIn()


@pytest.fixture
def writing(standIn: Any, tmp_path: Path) -> Any:
    """The stand-in, which now writes its findings as `paranasal predict` does."""
    from dataclasses import replace

    from ParanasalSSLLib.boxes.placement import Placement, write_placement
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.maps import PastedRegion, write_residual_map, write_segmentation
    from ParanasalSSLLib.results.record import ImageRecord, ModelRecord, ScanRecord, write_report
    from ParanasalSSLLib.sinuses import SEGMENT_LABELS

    whole, number = standIn.findings, iter(range(99))

    def findings(volume: Any, boxes: Any, quality: Any) -> Any:
        found = whole(volume, boxes, quality)
        labels = np.zeros(volume.shape, np.uint8)
        for side, mask in found.masks.items():
            labels[mask] = SEGMENT_LABELS[side]
        files = ScanFiles(tmp_path / f"run{next(number)}" / "sub-slicer", "sub-slicer")
        files.folder.mkdir(parents=True)
        region = PastedRegion(np.zeros(3, int), volume, found.residual, labels, tuple(boxes))
        write_residual_map(region, volume, files.residual_map)
        write_segmentation(region, files.segmentation)
        write_placement(Placement(boxes, quality), files.boxes)
        files.report_html.write_text('sub-slicer <div id="reading"></div><!-- reading -->')
        model = ModelRecord("stand-in", "0", "0", True, 0.5, ())
        record = ScanRecord(
            files.scan_id, None, "0", model, ImageRecord.of(volume), quality, found.sinuses
        )
        write_report(record, files.report_json)
        return replace(found, files=files)

    standIn.findings = findings
    return standIn


@pytest.fixture
def scan(slicer: ModuleType) -> Any:
    """A made-up scan in the scene."""
    from ParanasalSSLPanel.selfcheck import addMadeUpScan

    return addMadeUpScan()


@pytest.fixture
def makeLogic(slicer: ModuleType) -> Callable[[Any], Any]:
    """The module's logic on a given computation; installs nothing."""
    from ParanasalSSLPanel.logic import ParanasalSSLLogic

    return lambda computation: ParanasalSSLLogic(computation, ensure=lambda path: None)


@pytest.fixture
def logic(makeLogic: Callable[[Any], Any], standIn: Any) -> Any:
    return makeLogic(standIn)


@pytest.fixture
def scored(slicer: Any, logic: Any, scan: Any) -> Any:
    """The made-up scan after a run; the findings of the run are its attribute."""
    logic.placeBoxes(scan)
    scan.findings = logic.run(scan)
    return scan


@pytest.fixture
def openPanel(
    slicer: Any,
    module: ModuleType,
    makeLogic: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[Any], Any]]:
    """Opens the panel on a given computation, as Slicer does when a user enters the module.

    It does not ask for devices, which takes a process that loads torch.
    """
    import headless
    from ParanasalSSLPanel import packages

    monkeypatch.setattr(packages, "isTorchInstalled", lambda: False)
    opened = []

    def open_panel(computation: Any) -> Any:
        panel = headless.open_module(module)
        panel.logic = makeLogic(computation)
        opened.append(panel)
        return panel

    yield open_panel
    for panel in opened:
        panel.cleanup()
        assert headless.unknown_attributes(panel.ui) == []


@pytest.fixture
def panel(openPanel: Callable[[Any], Any], standIn: Any) -> Any:
    """The panel with the stand-in for the library."""
    return openPanel(standIn)


@pytest.fixture
def fakeLibrary(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Lets a few lines of Python stand for the library's command line."""
    from ParanasalSSLPanel import process

    def write(code: str) -> None:
        folder = tmp_path / "Lïb with spaces"
        (folder / "ParanasalSSLLib").mkdir(parents=True)
        (folder / "ParanasalSSLLib" / "__init__.py").touch()
        text = "import os, sys, time\n" + textwrap.dedent(code)
        (folder / "ParanasalSSLLib" / "cli.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(process, "libraryFolder", lambda: folder)

    return write


@pytest.fixture
def geometry(slicer: ModuleType) -> SimpleNamespace:
    """Small helpers that read geometry out of nodes."""

    def ijkToRas(node: Any) -> np.ndarray:
        import vtk

        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        return slicer.util.arrayFromVTKMatrix(matrix)

    def objectToWorld(node: Any) -> np.ndarray:
        return slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())

    def move(node: Any, shift: tuple[float, float, float]) -> None:
        """As a user drags a box."""
        matrix = objectToWorld(node)
        matrix[:3, 3] += shift
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))

    def tableRows(node: Any) -> list[list[str]]:
        table = node.GetTable()
        return [
            [table.GetValue(row, column).ToString() for column in range(table.GetNumberOfColumns())]
            for row in range(table.GetNumberOfRows())
        ]

    return SimpleNamespace(
        ijkToRas=ijkToRas, objectToWorld=objectToWorld, move=move, tableRows=tableRows
    )
