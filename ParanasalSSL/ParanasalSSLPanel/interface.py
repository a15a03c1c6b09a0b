"""What a section of the panel may ask of the panel that it is part of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from ParanasalSSLPanel.activity import Activity

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

    from ParanasalSSLPanel.compute import Settings
    from ParanasalSSLPanel.logic import ParanasalSSLLogic, ParanasalSSLParameterNode


class Panel(Protocol):
    """The module's widget, as its sections see it.

    ui: the widgets of the .ui file, by their names.
    activity: what is being computed, at most one thing at a time.
    worklistSection: the worklist.
    parameters: None while the module is not open, or the scene is being closed.
    """

    ui: Any
    logic: ParanasalSSLLogic
    parameters: ParanasalSSLParameterNode | None
    activity: Activity
    worklistSection: WorklistPart

    @property
    def scan(self) -> vtkMRMLScalarVolumeNode | None:
        """The chosen scan."""
        ...

    @property
    def settings(self) -> Settings:
        """Device and model as chosen."""
        ...

    @property
    def overlay(self) -> tuple[float, float]:
        """Threshold and opacity of the overlay."""
        ...

    @property
    def isBusy(self) -> bool:
        """Whether boxes are being placed, or a scan scored or exported."""
        ...

    def addModel(self, folder: str) -> None:
        """Add a model bundle to the list and choose it. Raises `BadBundle`."""
        ...

    def prepare(self) -> None:
        """Install missing Python packages, asking first; raises `PackagesMissing`."""
        ...

    def log(self, line: str) -> None:
        """Append a line to the foldable log."""
        ...

    def say(self, words: str, isError: bool = False) -> None:
        """Show one line or two below the Run button."""
        ...

    def refresh(self) -> None:
        """Show all that is known of the present scan."""
        ...

    def showResults(self) -> None:
        """Show new results, over the slices too."""
        ...

    def showOverlay(self) -> None:
        """Lay the residual over the scan in the slice views."""
        ...

    def showWorklist(self) -> None:
        """Show what has changed in the worklist."""
        ...

    def telling(self) -> AbstractContextManager[None]:
        """Do something whose errors are told in the panel."""
        ...

    def working(self, words: str) -> AbstractContextManager[None]:
        """Do work that takes seconds inside Slicer; errors as in `telling`."""
        ...


class WorklistPart(Protocol):
    """The section "Worklist", as its parts see it. worklist: None while no folder is chosen."""

    worklist: Any

    def update(self) -> None:
        """Show the list and what can be pressed."""
        ...

    def say(self, words: str) -> None:
        """Show a line or some below the list."""
        ...

    def starting(self, words: str, forget: Callable[[], None]) -> AbstractContextManager[None]:
        """Start something in the background, as `words` say; what cannot begin is forgotten."""
        ...
