"""The views of a room: where they look first, and their first frames."""

from __future__ import annotations

import asyncio
from typing import Any

# A page tells the sizes of its views some time after it has come.
FIRST_FRAMES_S = (0.3, 0.7, 2.0, 4.0, 8.0, 15.0)


class Sights:
    """Sees to it that a new page shows something, without moving what a reader has aimed."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._aimed: tuple[Any, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._moved = False

    def aim(self, scan: Any) -> None:
        """Look at the boxes of a case, or at all of a scan that has none."""
        from ParanasalSSLPanel import views

        from ParanasalSSLViewer.scene import lookAtMiddle

        if views.boxCenters(scan):
            views.lookAtBoxes(scan)
        else:
            lookAtMiddle(scan)
        for view in self._app.view_manager.get_threed_views():
            view.reset_view()
            view.zoom(-0.3)
        self._aimed, self._moved = (self._sizes(), scan), False

    def moved(self) -> None:
        """A reader has aimed at something else."""
        self._moved = True

    def draw(self, scan: Any) -> None:
        """For the next seconds: draw all views, and aim anew when they have got another size."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_event_loop().create_task(self._drawn(scan))

    async def _drawn(self, scan: Any) -> None:
        for pause in FIRST_FRAMES_S:
            await asyncio.sleep(pause)
            if scan is not None and not self._moved and self._aimed != (self._sizes(), scan):
                self.aim(scan)
            for view in self._app.view_manager.get_views():
                view.schedule_render()

    def _sizes(self) -> tuple[Any, ...]:
        views = self._app.view_manager.get_views()
        return tuple(view.render_window().GetSize() for view in views)
