"""One command line for all commands: a command is a frozen dataclass, its options are the fields.

Which options a dataclass has is said in `options`. They are written with hyphens, and read with
underscores too. Every command also takes `--config FILE` (YAML or JSON; what comes later on the line
wins), `--debug` and `--quiet`. jsonargparse checks the types; this module only says which options
there are, so that no command's own code, and no heavy package, is imported before the command runs.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import jsonargparse

from ParanasalSSLLib.cli.options import Group, Option, build, flag_of, option_groups
from ParanasalSSLLib.cli.words import arranged, refuse_two, require
from ParanasalSSLLib.errors import ParanasalError

SHORT = {"output": "-o"}


@dataclass(frozen=True)
class Command:
    """One command; what it needs is imported when it is chosen.

    name, help: on the command line, and its one line in the list.
    subject: the heading that it stands under in the list.
    config: "module:class" of its options, in a module that imports nothing heavy.
    run: "module:function" of its work, which takes the config, and the `Call` if it has a parameter
        `call`. Returns what is to be shown (a path, figures), an exit status, or None.
    positional: options whose values may stand without their names, in this order.
    extra: what of the installation it needs beyond the library itself.
    output: whether `run` also takes a parameter `output`, which its config lacks.
    """

    name: str
    help: str
    subject: str
    config: str
    run: str
    positional: str = ""
    extra: str = ""
    output: bool = False


@dataclass(frozen=True)
class Call:
    """How a command was called."""

    debug: bool = False
    """Show the place in the program where an error arose, and what libraries print."""
    quiet: bool = False
    """Show nothing but errors."""


CONFIG_HELP = "YAML or JSON file of options; what comes later on the line wins."
RESULT = Group("result", (Option("output", Path, "File or folder for the result.", MISSING),))


def load(path: str) -> Any:
    """The object of "module:name"."""
    module, name = path.split(":")
    return getattr(import_module(module), name)


# ------------------------------------------------------------------------------------- the parser


class _Help(jsonargparse.DefaultHelpFormatter):
    """The sentences as they are."""

    def _expand_help(self, action: argparse.Action) -> str:
        return action.help or ""


class _Parser(jsonargparse.ArgumentParser):
    """Says what is wrong in one sentence, with the option that was probably meant."""

    options: Mapping[str, Option] = MappingProxyType({})  # by their flags

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        message = self._plainly(message.strip().rstrip("."))
        unknown = re.findall(r"--[A-Za-z][\w.-]*", message) if "nrecognized" in message else []
        meant = [near for word in unknown for near in get_close_matches(word, self.options, 1)]
        hint = f" Did you mean {' and '.join(meant)}?" if meant else ""
        self.exit(2, f"{self.prog}: {message}.{hint}\nSee {self.prog} --help.\n")

    def _plainly(self, message: str) -> str:
        """What jsonargparse says of a value of the wrong type, in the words of the help."""
        found = re.match(r'Parser key "([^"]+)":.*Got value: (.*)', message, re.DOTALL)
        option = self.options.get(flag_of(found[1])) if found else None
        if found is None or option is None:
            return message
        return f"{option.flag} takes {option.metavar}, not {found[2]}"


def make_parser(command: Command, groups: Sequence[Group], about: str) -> _Parser:
    """The parser of one command. about: the text above the options."""
    parser = _Parser(
        prog=f"paranasal {command.name}",
        description=inspect.cleandoc(about),
        allow_abbrev=False,
        print_config=None,
        formatter_class=_Help,
    )
    value = f" {command.positional.upper()}" if command.positional else ""
    parser.usage = f"paranasal {command.name}{value} [options]"
    for group in groups:
        section = parser.add_argument_group(group.title)
        for option in group.options:
            _add(section, option)
    parser.add_argument("--config", action="config", metavar="PATH", help=CONFIG_HELP)
    for option in option_groups(Call)[0].options:
        _add(parser, option)
    parser.options = {option.flag: option for group in groups for option in group.options}
    return parser


def _add(section: Any, option: Option) -> None:
    how: dict[str, Any] = {"help": option.text, "dest": option.name}
    if option.switch:
        how["action"] = "store_true"
    else:
        how["metavar"] = option.metavar
        # jsonargparse would take a file called [1] or null for what it says.
        how |= {"action": "append"} if option.repeats else {"type": option.hint}
        how["default"] = None if option.required or option.loose else option.default
    short = [SHORT[option.name]] if option.name in SHORT else []
    section.add_argument(*short, option.flag, **how)


def parse(command: Command, words: Sequence[str]) -> tuple[Any, dict[str, Any], Call]:
    """The command's options, what its function takes besides, and how it was called.

    Ends the program with status 2 for words that make no sense, with 0 after `--help`.
    """
    kind = load(command.config)
    groups = [*([RESULT] if command.output else []), *option_groups(kind)]
    parser = make_parser(command, groups, kind.__doc__ or command.help)
    try:
        options = [option for group in groups for option in group.options]
        line = list(arranged(options, command.positional, words))
        refuse_two(options, command.positional, line)
        values = _flat(parser.parse_args(line))
        call = Call(values.pop("debug"), values.pop("quiet"))
        require(options, command.positional, values)
        extra = {"output": values.pop("output")} if command.output else {}
        return build(kind, values), extra, call
    except (ValueError, TypeError, ParanasalError) as error:
        parser.error(str(error))


def _flat(parsed: jsonargparse.Namespace) -> dict[str, Any]:
    flat = vars(parsed.as_flat())
    return {name: value for name, value in flat.items() if name.split(".")[0] != "config"}
