"""Who is told what happens in a call: the user, the overview of the results, the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ParanasalSSLLib.cli.events import Event, Note, ScanDone, ScanFailed
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.key import KeyFile, state_of
from ParanasalSSLLib.cli.views import View
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.results.layout import OVERVIEW

if TYPE_CHECKING:
    from ParanasalSSLLib.results.overview import Overview


@dataclass(eq=False)
class Telling:
    """Passes events on; what cannot be written is told and stops no scan.

    done: also called with every scan that was scored.
    """

    view: View
    overview: Overview | None = None
    key: KeyFile | None = None
    done: Callable[[ScanDone], None] | None = None

    def show(self, event: Event) -> None:
        """Show an event; note a scan that is done or has failed."""
        self.view.show(event)
        if isinstance(event, ScanDone) and self.done is not None:
            self._write(partial(self.done, event))
        if isinstance(event, ScanFailed) and self.overview is not None:
            self.overview.failed(event.id, state_of(event), event.error)
        if isinstance(event, ScanDone | ScanFailed):
            self._write(lambda: self.key.note(event) if self.key else None)
            self._write(lambda: self.overview.write(last=False) if self.overview else None)

    def end(self) -> None:
        """All scans were tried, or the call was stopped: write what is known."""
        if self.overview is not None and self.overview.out.is_dir():
            self._write(self.overview.write)
            self.view.show(Note(f"Overview of all results: {self.overview.out / OVERVIEW}"))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, ParanasalError) as error:
            self.view.show(Note(f"Not all was written: {explain(error)}"))
