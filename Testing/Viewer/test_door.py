"""Who may come into a room, and which files it hands out."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("aiohttp", reason="needs aiohttp, which comes with the extra `viewer`")

from aiohttp import ClientSession, CookieJar, web

from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLViewer import door
from ParanasalSSLViewer.case_list import CaseList
from ParanasalSSLViewer.door import LOCKED, Door, zipped

Visit = Callable[[ClientSession, str], Awaitable[None]]
Export = Callable[[str, bool], bytes]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "sub-0001"
    folder.mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "sub-0001_report.json").write_text("{}")
    (folder / "sub-0001_report.html").write_text("the report")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return tmp_path / "out"


def visit(out: Path, *visits: Visit, export: Export | None = None) -> None:
    """Runs the visits at a server behind a door."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="the room")

    async def room(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/index.html", page)
        app.router.add_get("/ws", room)
        Door("right", CaseList(out, {}), export).open(SimpleNamespace(app=app))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            for each in visits:
                await each(session, address)
        await runner.cleanup()

    asyncio.run(run())


async def come_in(session: ClientSession, address: str) -> None:
    async with session.get(f"{address}/index.html?token=right") as answer:
        assert await answer.text() == "the room" and "token" not in str(answer.url)


def test_without_the_token_nothing_is_told(out: Path) -> None:
    async def knock(session: ClientSession, address: str) -> None:
        for path in ("/index.html", "/ws", "/report/sub-0001", "/index.html?token=wrong"):
            async with session.get(address + path) as answer:
                assert (answer.status, await answer.text()) == (403, LOCKED)

    visit(out, knock, come_in)


def test_a_second_window_waits_until_the_first_is_closed(out: Path) -> None:
    async def two(session: ClientSession, address: str) -> None:
        async with session.ws_connect(f"{address}/ws"):
            async with session.get(f"{address}/ws") as answer:
                assert answer.status == 409
            async with session.get(f"{address}/index.html") as answer:
                assert "open in another window" in await answer.text()
            async with session.get(f"{address}/free") as answer:
                assert await answer.json() is False
        async with session.get(f"{address}/free") as answer:
            assert await answer.json() is True

    visit(out, come_in, two, come_in)


def test_two_windows_at_once_do_not_both_get_the_room(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a browser opens all its windows again."""

    async def second(session: ClientSession, address: str) -> None:
        async with session.get(f"{address}/index.html") as answer:
            assert "open in another window" in await answer.text()

    async def waits(session: ClientSession, address: str) -> None:
        await asyncio.sleep(0.3)

    monkeypatch.setattr(door, "CONNECTS_WITHIN_S", 60.0)
    visit(out, come_in, second)
    monkeypatch.setattr(door, "CONNECTS_WITHIN_S", 0.2)
    visit(out, come_in, waits, come_in)


def test_another_sites_page_cannot_open_the_room(out: Path) -> None:
    async def foreign(session: ClientSession, address: str) -> None:
        headers = {"Origin": "http://elsewhere.example"}
        async with session.get(f"{address}/ws", headers=headers) as answer:
            assert answer.status == 409

    visit(out, come_in, foreign)


def test_only_files_of_the_rooms_cases_are_handed_out(out: Path) -> None:
    async def ask(session: ClientSession, address: str) -> None:
        async with session.get(f"{address}/report/sub-0001") as answer:
            assert await answer.text() == "the report"
        for path in (
            "/report/..%2Fsecret.txt",
            "/export/..%2Fout",
            "/export/sub-0002",
            "/secret.txt",
        ):
            async with session.get(address + path) as answer:
                assert answer.status == 404
        (out / "sub-0001" / "sub-0001_report.json").unlink()
        async with session.get(f"{address}/export/sub-0001") as answer:
            assert answer.status == 404

    visit(out, come_in, ask)


def test_what_cannot_be_exported_is_told_without_its_folder(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask(session: ClientSession, address: str) -> None:
        async with session.get(f"{address}/export/sub-0001") as answer:
            assert answer.status == 409
            assert await answer.text() == "Permission denied (sub-0001/sub-0001_report.json)."

    def export(case: str, dicom: bool) -> bytes:
        raise PermissionError(13, "Permission denied", str(out / case / f"{case}_report.json"))

    visit(out, come_in, ask, export=export)
    assert str(out) in capsys.readouterr().err


def test_a_link_out_of_the_folder_is_not_exported(out: Path) -> None:
    content = zipped(ScanFiles.in_output(out, "sub-0001"), out)
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert names == ["sub-0001/sub-0001_report.html", "sub-0001/sub-0001_report.json"]


def test_a_report_is_asked_for_anew_and_runs_nothing(out: Path) -> None:
    """A browser that kept the old one would show its numbers after the next run."""

    async def ask(session: ClientSession, address: str) -> None:
        for path in ("/report/sub-0001", "/export/sub-0001"):
            async with session.get(address + path) as answer:
                assert answer.headers["Cache-Control"] == "no-store"
        async with session.get(f"{address}/report/sub-0001") as answer:
            assert answer.headers["Content-Security-Policy"] == "sandbox"

    visit(out, come_in, ask)
