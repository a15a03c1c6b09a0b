"""How the panel does something: what goes wrong is told, what takes seconds is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLPanel.activity import Activity
from ParanasalSSLPanel.colors import errorStyle


class Doing:
    """Part of the panel. isBlocked: whether it is doing something for which Slicer stands still."""

    ui: Any
    activity: Activity
    isBlocked = False

    def say(self, words: str, isError: bool = False) -> None:
        """One line or two below the Run button."""
        self.ui.messageLabel.text = words
        self.ui.messageLabel.styleSheet = errorStyle(self.ui.messageLabel) if isError else ""

    def refresh(self) -> None:
        """Show all that is known of the present scan."""
        raise NotImplementedError

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
                self.activity.hide()

    @contextmanager
    def working(self, words: str) -> Iterator[None]:
        """Do work that takes seconds inside Slicer; errors as in `telling`."""
        self.isBlocked = True
        self.refresh()
        self.activity.show(0, words)
        _repaint()
        failure = ""
        try:
            with slicer.util.tryWithErrorDisplay(_("ParanasalSSL failed."), waitCursor=True):
                try:
                    yield
                except ParanasalError as error:
                    failure = str(error)
        finally:
            self.isBlocked = False
            self.activity.hide()
            self.refresh()
            if failure:
                self.say(failure, isError=True)


def _repaint() -> None:
    """Draw the panel, but take no clicks: the scene must not change during a run."""
    slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)
