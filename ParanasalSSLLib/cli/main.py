"""The command `paranasal`: finds its sub-commands by entry points and turns errors into words.

Exit status: 0 all went well; 1 something failed (said on standard error); 2 wrong usage;
130 stopped by Ctrl-C. Nothing heavy is imported before a sub-command runs, so that `--help`
comes at once.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from ParanasalSSLLib.cli.devices import register_devices
from ParanasalSSLLib.cli.predict import STOPPED, register_predict
from ParanasalSSLLib.errors import ParanasalError

COMMANDS_GROUP = "paranasal.commands"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `paranasal` with `arguments` (default: the command line's); returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args) or 0)
    except ParanasalError as error:
        print(f"paranasal: {error}", file=sys.stderr)
        if getattr(args, "debug", False):
            traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        print("paranasal: stopped; what was complete is kept.", file=sys.stderr)
        return STOPPED


def build_parser() -> argparse.ArgumentParser:
    """The parser with every sub-command that is installed.

    A sub-command is an entry point of the group `paranasal.commands`: a function that takes the
    sub-parsers, adds its own, and sets `run` (arguments -> exit status) as its default. One whose
    requirements are not installed is left out, with a word at the end of the help.
    """
    parser = argparse.ArgumentParser(
        prog="paranasal",
        description="Finds anomalies of the maxillary sinuses in head MRI. Research use only.",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    register_predict(subparsers)
    register_devices(subparsers)
    missing = []
    for point in sorted(entry_points(group=COMMANDS_GROUP), key=lambda point: point.name):
        if point.name == "predict":  # registered above, so that it is there without installing
            continue
        try:
            point.load()(subparsers)
        except ImportError as error:
            missing.append(f"{point.name} (needs {error.name or error})")
    if missing:
        parser.epilog = "Not available here: " + ", ".join(missing) + "."
    return parser


class _ShowVersion(argparse.Action):
    """Reads the installed version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ParanasalSSLLib.results.write import software_version

        print(f"{parser.prog} {software_version()}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
