"""The command `paranasal`: finds the command that is meant, runs it, turns errors into words.

Exit status: 0 all went well; 1 something failed (said on standard error); 2 wrong usage;
130 stopped by Ctrl-C. Nothing heavy is imported before a command runs, so that `--help` comes at
once. Other packages add commands by an entry point of the group `paranasal.commands`: a function
that returns them.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points

from ParanasalSSLLib.cli.command import Call, Command, load, parse
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.stopping import STOPPED
from ParanasalSSLLib.cli.views import say, show_result
from ParanasalSSLLib.errors import ParanasalError, install_line

COMMANDS_GROUP = "paranasal.commands"
COMMANDS = (
    Command(
        "predict",
        "score the maxillary sinuses of head MRI scans",
        "Scans",
        "ParanasalSSLLib.cli.predict:PredictConfig",
        "ParanasalSSLLib.cli.predict:run_predict",
        positional="scans",
    ),
    Command(
        "bids",
        "score a BIDS data set, as a BIDS App",
        "Scans",
        "ParanasalSSLLib.cli.bids:BidsConfig",
        "ParanasalSSLLib.cli.bids:run_bids",
        positional="bids_dir output level",
    ),
    Command(
        "follow-up",
        "compare two results of one patient",
        "Scans",
        "ParanasalSSLLib.cli.follow_up:FollowUpConfig",
        "ParanasalSSLLib.cli.follow_up:run_follow_up",
        positional="earlier later",
    ),
    Command(
        "devices",
        "list where the networks can run",
        "Scans",
        "ParanasalSSLLib.cli.devices:DevicesConfig",
        "ParanasalSSLLib.cli.devices:run_devices",
    ),
)
CHATTY = (
    "pytorch_lightning",
    "lightning",
    "monai",
    "nibabel",
    "pydicom",
    "highdicom",
    "matplotlib",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `paranasal` with `arguments` (default: the command line's); returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _print_any_name()
    if words and words[0] == "--version":
        from ParanasalSSLLib.results.record import software_version

        say(f"paranasal {software_version()}")
        return 0
    commands, missing = find_commands()
    if words and words[0] not in ("-h", "--help"):
        return _run_named(words[0], words[1:], commands)
    say(*_overview(commands, missing), stream=sys.stdout if words else sys.stderr)
    return 0 if words else 2


def find_commands() -> tuple[list[Command], list[str]]:
    """All commands that are installed, and what is known of those that cannot be loaded."""
    commands, missing = list(COMMANDS), []
    for point in sorted(entry_points(group=COMMANDS_GROUP), key=lambda point: point.name):
        try:
            commands += point.load()()
        except (ImportError, AttributeError) as error:  # gone, or of another version
            missing.append(f"{point.name} ({error})")
    return commands, missing


def _run_named(name: str, words: list[str], commands: list[Command]) -> int:
    for command in commands:
        if command.name == name:
            return run_command(command, words)
    near = difflib.get_close_matches(name, [command.name for command in commands], 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    say(f"paranasal: there is no command {name!r}.{hint}", "See paranasal --help.", error=True)
    return 2


def run_command(command: Command, words: Sequence[str]) -> int:
    """Parse the words, run the command, show its result; returns the exit status.

    Ends the program with status 2 for words that make no sense, with 0 after `--help`.
    """
    call = Call()
    try:
        config, extra, call = parse(command, words)
        _silence_libraries(call)
        work = load(command.run)
        if "call" in inspect.signature(work).parameters:
            extra["call"] = call
        result = work(config, **extra)
    except ParanasalError as error:
        return _failed(str(error), call)
    except OSError as error:  # a name that is too long, a full disk, a folder that is locked
        return _failed(explain(error), call)
    except ModuleNotFoundError as error:
        if not command.extra or _is_ours(error):
            raise
        return _failed(_what_is_missing(command, error), call)
    except KeyboardInterrupt:
        say("paranasal: stopped; what was complete is kept.", error=True)
        return STOPPED
    if isinstance(result, int):
        return result
    if not call.quiet:
        show_result(result)
    return 0


def _failed(message: str, call: Call) -> int:
    say(f"paranasal: {message}", error=True)
    if call.debug:
        traceback.print_exc()
    return 1


def _is_ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").split(".")[0] in ("ParanasalSSLLib", "paranasal_training")


def _what_is_missing(command: Command, error: ModuleNotFoundError) -> str:
    return (
        f"{command.name} needs the package {error.name}, which is not installed. This installs it:\n"
        f"  {install_line(command.extra)}"
    )


def _print_any_name() -> None:
    """Let file names be printed that the terminal has no letters for."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _silence_libraries(call: Call) -> None:
    """Keep advertising, deprecations and, on request, bars of libraries off the terminal."""
    if call.quiet:
        os.environ["TQDM_DISABLE"] = "1"
    if not call.debug:
        warnings.simplefilter("ignore")
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)


def _overview(commands: Sequence[Command], missing: Sequence[str]) -> Iterable[str]:
    yield "usage: paranasal COMMAND [options]"
    yield ""
    yield "Finds anomalies of the maxillary sinuses in head MRI. Research use only."
    width = max(len(command.name) for command in commands)
    for subject in dict.fromkeys(command.subject for command in commands):
        yield f"\n{subject}"
        members = (command for command in commands if command.subject == subject)
        yield from (f"  {command.name:<{width}}  {command.help}" for command in members)
    yield "\nparanasal COMMAND --help explains the options; paranasal --version tells the version."
    if missing:
        yield "Not available here: " + ", ".join(missing) + "."


if __name__ == "__main__":
    sys.exit(main())
