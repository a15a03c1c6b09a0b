"""`paranasal view`; nothing heavy is imported before it runs."""

from __future__ import annotations

from ParanasalSSLLib.cli.command import Command

COMMANDS = (
    Command(
        "view",
        "read results in the browser, on 3D Slicer's views",
        "Scans",
        f"{__package__}.config:ViewConfig",
        f"{__package__}.serve:run_view",
        positional="paths",
        extra="viewer",
    ),
)


def register() -> tuple[Command, ...]:
    """What the library's command line asks for."""
    return COMMANDS
