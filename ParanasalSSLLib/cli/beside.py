"""What programs have in common that another one starts beside itself: they speak `events`, and end
with their input. They need no package that Slicer does not ship.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from ParanasalSSLLib.cli.events import CallFailed, Event, Summary
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.stopping import STOPPED, stop_with_input
from ParanasalSSLLib.cli.views import JsonView

Tell = Callable[[Event], None]


def run_beside(work: Callable[[Tell], Summary]) -> int:
    """Do the work, which may tell how far it is; tell its end; returns the exit status."""
    stop_with_input()
    tell = JsonView(sys.stdout).show
    try:
        summary = work(tell)
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        tell(CallFailed(type(error).__name__, explain(error)))
        return 1
    tell(summary)
    return 0
