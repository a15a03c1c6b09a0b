"""What the sections of the page have in common; each is a file `section_*`, as in the panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ParanasalSSLViewer.interface import Room


class Section:
    """Widgets of the page, and what they do.

    STATE: what the page knows of it, as it is before a case is open.
    """

    STATE: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, room: Room) -> None:
        self.room, self.state = room, room.state

    @property
    def scan(self) -> Any:
        """The volume node of the case on screen; None where there is none."""
        return self.room.scan

    def draw(self) -> None:
        """Put the widgets into the page that is being made."""

    def show(self) -> None:
        """Another case is on screen, or none, or it has other results."""
