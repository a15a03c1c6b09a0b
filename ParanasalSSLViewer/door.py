"""Who may come into a room: whoever has its token, one window at a time; and the files it hands out."""

from __future__ import annotations

import hmac
import io
import time
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web

from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.views import say
from ParanasalSSLLib.errors import ParanasalError
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLViewer.case_list import CaseList

LOCKED = "This reading room is locked. Use the whole address that the command has printed."
PAGES = ("/", "/index.html")
CONNECTS_WITHIN_S = 5.0
OCCUPIED = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>ParanasalSSL</title>
<body style="font: 16px system-ui, sans-serif; margin: 20vh auto; max-width: 34em">
<p id="words"></p><script>
const words = "This reading room is open in another window. Close that one; this page then opens it.";
setTimeout(() => document.getElementById("words").textContent = words, 1500);
const ask = () => fetch("/free").then(answer => answer.json()).then(
  free => free ? location.reload() : setTimeout(ask, 500));
ask();
</script>"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Stands before every request of a room's server.

    export: makes the zip of a case, by its id, with DICOM objects or without; see `zipped`.
    """

    def __init__(
        self, token: str, cases: CaseList, export: Callable[[str, bool], bytes] | None = None
    ) -> None:
        self.token, self._cases = token, cases
        self._zipped = export or (lambda case, dicom: zipped(cases.files(case), cases.out))
        self._occupied = False
        self._expected = 0.0  # until when a page that was given out may open its connection

    def open(self, server: Any) -> None:
        """Before the web server starts. server: wslink's."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        server.app.middlewares.append(guard)
        server.app.router.add_get("/free", self._free)
        server.app.router.add_get("/report/{case}", self._report)
        server.app.router.add_get("/export/{case}", self._export)

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.query.get("token")
        if given is not None and self._is_right(given):  # it goes out of the address
            response: web.StreamResponse = web.HTTPFound("/index.html")
            response.set_cookie(
                _cookie(request), self.token, httponly=True, samesite="Strict", path="/"
            )
            return response
        if not self._is_right(request.cookies.get(_cookie(request), "")):
            return web.Response(status=403, text=LOCKED)
        if request.path == "/ws":
            return await self._enter(request, handler)
        if request.path in PAGES and self._is_taken:
            return web.Response(text=OCCUPIED, content_type="text/html", headers=_FRESH)
        response = await handler(request)
        if request.path in PAGES:
            self._expected = time.monotonic() + CONNECTS_WITHIN_S
            response.headers.update(_FRESH)
        return response

    async def _enter(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._occupied or not _is_own_page(request):
            return web.Response(status=409, text="The room is open in another window.")
        self._occupied, self._expected = True, 0.0
        try:
            return await handler(request)
        finally:
            self._occupied = False

    @property
    def _is_taken(self) -> bool:
        """Whether a window has the room, or has got its page and is about to come in."""
        return self._occupied or time.monotonic() < self._expected

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    async def _free(self, request: web.Request) -> web.Response:
        return web.json_response(not self._is_taken, headers=_FRESH)

    async def _report(self, request: web.Request) -> web.StreamResponse:
        files = self._files(request)
        if not _is_inside(files.report_html, self._cases.out):
            raise web.HTTPNotFound(text="This case has no report.")
        return web.FileResponse(files.report_html, headers=_OF_REPORT)

    async def _export(self, request: web.Request) -> web.Response:
        files = self._files(request)
        if not files.report_json.is_file():
            raise web.HTTPNotFound(text="This case was not scored yet.")
        name = quote(f"{files.scan_id}.zip")
        try:
            body = self._zipped(files.scan_id, "dicom" in request.query)
        except (ParanasalError, OSError) as error:
            say(explain(error), error=True)
            raise web.HTTPConflict(text=self._cases.told(explain(error))) from error
        return web.Response(
            body=body,
            content_type="application/zip",
            headers={**_FRESH, "Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _files(self, request: web.Request) -> ScanFiles:
        try:
            return self._cases.files(request.match_info["case"])
        except ParanasalError as error:
            raise web.HTTPNotFound(text=str(error)) from error


_FRESH = {"Cache-Control": "no-store"}  # a browser would show a report from before the last run
_OF_REPORT = {
    **_FRESH,
    "Content-Security-Policy": "sandbox",
}  # whatever has written it runs nothing


def _cookie(request: web.Request) -> str:
    """Browsers do not tell ports apart."""
    return f"paranasal-{urlsplit(f'//{request.host}').port or 80}"


def _is_own_page(request: web.Request) -> bool:
    """Whether the page that asks is one of this server's."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _is_inside(path: Path, folder: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def zipped(files: ScanFiles, out: Path) -> bytes:
    """All files of a result, but none that is a link out of the folder."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files.folder.iterdir()):
            if _is_inside(path, out):
                archive.write(path, f"{files.scan_id}/{path.name}")
    return content.getvalue()
