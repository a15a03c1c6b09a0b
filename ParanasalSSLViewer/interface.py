"""What the page and its sections may ask of the room that they show."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from ParanasalSSLViewer.case_list import CaseList
from ParanasalSSLViewer.inputs import Inputs
from ParanasalSSLViewer.runs import Runs
from ParanasalSSLViewer.sights import Sights


class Room(Protocol):
    """One room, as its sections see it.

    cases: all that it shows. inputs: the paths of their scans. scan: the volume node of the case on
    screen, None where there is none. runs: what is being computed. sights: where the views look.
    """

    cases: CaseList
    inputs: Inputs
    runs: Runs
    scan: Any
    sights: Sights

    @property
    def state(self) -> Any:
        """What the page knows."""
        ...

    def open(self, identifier: str) -> None:
        """Show a case, with its results if it has any."""
        ...

    def load(self, identifier: str) -> Any:
        """The volume node of a case, with its results if it has any. Raises `ParanasalError`s."""
        ...

    def show(self) -> None:
        """Show what is known of the case on screen."""
        ...

    def listRows(self) -> None:
        """Show what has changed in the worklist."""
        ...

    def runWaiting(self) -> None:
        """Score all that was not scored yet."""
        ...

    def setLayout(self, layout: str) -> None:
        """Arrange the views anew."""
        ...

    def say(self, words: str, failed: bool = False) -> None:
        """One line or two at the top of the page."""
        ...

    def telling(self) -> AbstractContextManager[None]:
        """Do something whose errors are told on the page."""
        ...
