"""The views of a room: where they look first, and their first frames."""

from __future__ import annotations

import asyncio
from typing import Any

# A page tells the sizes of its views some time after it has come, or has got others.
FIRST_FRAMES_S = (0.3, 0.7, 2.0, 4.0, 8.0, 15.0)


class Sights:
    """Sees to it that a page shows something, without moving what a reader has aimed."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._aimed: tuple[Any, ...] = ()
        self._drawn: tuple[Any, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._moved = False

    def look(self, scan: Any) -> None:
        """Look at a case that has just come, or in views that have just come."""
        if scan is not None:
            self._aim(scan)
        self._follow(scan)

    def draw(self, scan: Any) -> None:
        """A new page has come: it needs frames of all views, whatever they show."""
        self._drawn = ()
        self._follow(scan)

    def moved(self) -> None:
        """A reader has aimed at something else."""
        self._moved = True

    def _aim(self, scan: Any) -> None:
        """At the boxes of a case, or at all of a scan that has none."""
        from ParanasalSSLPanel import views

        from ParanasalSSLViewer.scene import lookAtMiddle

        if views.boxCenters(scan):
            views.lookAtBoxes(scan)
        else:
            lookAtMiddle(scan)
        for view in self._app.view_manager.get_threed_views():
            view.reset_view()
            view.zoom(-0.3)
        self._aimed, self._moved = self._sizes(), False

    def _follow(self, scan: Any) -> None:
        """For the next seconds: aim and draw anew once the views have got another size."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_event_loop().create_task(self._followed(scan))

    async def _followed(self, scan: Any) -> None:
        for pause in FIRST_FRAMES_S:
            await asyncio.sleep(pause)
            if scan is not None and not self._moved and self._aimed != self._sizes():
                self._aim(scan)
            if self._drawn != self._sizes() or pause == FIRST_FRAMES_S[-1]:
                self._drawn = self._sizes()
                for view in self._app.view_manager.get_views():
                    view.schedule_render()

    def _sizes(self) -> tuple[Any, ...]:
        views = self._app.view_manager.get_views()
        return tuple(view.render_window().GetSize() for view in views)
