"""`paranasal view`: finds the cases, opens the room, serves it until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
import sys
import webbrowser

from ParanasalSSLLib.cli.views import say
from ParanasalSSLViewer.case_list import gather
from ParanasalSSLViewer.config import ViewConfig

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def run_view(config: ViewConfig) -> None:
    """Serve the room. Raises `ParanasalError`s for what was named on the command line."""
    cases = gather(config.paths, config.output, config.key, say)
    from trame.app import get_server

    from ParanasalSSLViewer.door import Door
    from ParanasalSSLViewer.room import Room

    server = get_server("paranasal")
    room = Room(server, cases, config)
    door = Door(secrets.token_urlsafe(24), cases, room.export)
    server.controller.on_server_bind.add(door.open)
    port = config.port or _free_port(config.host)
    shown = config.host if config.host not in ("0.0.0.0", "::") else socket.gethostname()
    address = f"http://{shown}:{port}/?token={door.token}"
    server.controller.on_server_ready.add(lambda **_: _tell(address, config))
    sys.argv = sys.argv[:1]  # trame would read the rest as its own options
    server.start(
        port=port, host=config.host, open_browser=False, show_connection_info=False, timeout=0
    )


def _tell(address: str, config: ViewConfig) -> None:
    say(f"The reading room is at {address}", "It closes with Ctrl-C.")
    if config.host not in LOOPBACK:
        say("Other computers can reach it, unencrypted: use it in a network that you trust.")
    if not config.no_browser:
        webbrowser.open(address)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])
