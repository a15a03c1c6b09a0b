"""One command line for all commands: a command is a frozen dataclass, its options are the fields.

The string below a field is the option's help; a field that is itself a dataclass is a group of
options (`--network.latent 256`). Options are written with hyphens, and read with underscores too.
Every command also takes `--config FILE` (YAML or JSON; what comes later on the line wins), `--debug`
and `--quiet`. jsonargparse checks the types; this module only says which options there are, so that
no command's own code, and no heavy package, is imported before the command runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import docstring_parser
import jsonargparse

from ParanasalSSLLib.cli.words import arranged, refuse_two, require
from ParanasalSSLLib.errors import ParanasalError

SHORT = {"output": "-o"}
METAVARS: dict[Any, str] = {Path: "PATH", int: "N", float: "X", str: "TEXT", bool: "{true,false}"}


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


@dataclass(frozen=True)
class Option:
    """One option.

    name: dotted, with underscores. default: `MISSING` where a value is required.
    loose: its group as a whole may be None, so that no value of it is filled in.
    """

    name: str
    hint: Any
    help: str
    default: Any
    loose: bool = False

    @property
    def flag(self) -> str:
        """As it is typed: kebab-case, with its dashes."""
        return _flag(self.name)

    @property
    def required(self) -> bool:
        """Whether the command cannot run without it."""
        return self.default is MISSING

    @property
    def switch(self) -> bool:
        """Whether its name alone says it, without a value."""
        return self.hint is bool and self.default is False

    @property
    def text(self) -> str:
        """What the help says of it."""
        if self.required:
            return f"{self.help} (required)"
        said = "default" in self.help or self.default is None or self.default is False
        shown = not said and self.default not in ("", (), {})
        return f"{self.help} (default: {_words(self.default)})" if shown else self.help

    @property
    def metavar(self) -> str | None:
        """What stands for its value in the help; None lets the choices stand there."""
        kind = _without_none(self.hint)
        kind = get_args(kind)[0] if self.repeats else kind
        if get_origin(kind) is Literal:
            return "{" + ",".join(map(str, get_args(kind))) + "}"
        return METAVARS.get(kind, "[A,B,...]" if get_origin(kind) is tuple else "VALUE")

    @property
    def repeats(self) -> bool:
        """Whether every value is given with the option's name once more."""
        return get_origin(_without_none(self.hint)) is list


@dataclass(frozen=True)
class Group:
    """Options of one subject."""

    title: str
    options: tuple[Option, ...]


CONFIG_HELP = "YAML or JSON file of options; what comes later on the line wins."
RESULT = Group("result", (Option("output", Path, "File or folder for the result.", MISSING),))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def load(path: str) -> Any:
    """The object of "module:name"."""
    module, name = path.split(":")
    return getattr(import_module(module), name)


# ------------------------------------------------------------------------------- from a dataclass


def option_groups(
    kind: type, prefix: str = "", title: str = "settings", loose: bool = False
) -> list[Group]:
    """The options of a dataclass and of those inside it, each under its subject."""
    hints, sentences = get_type_hints(kind), field_sentences(kind)
    own: list[Option] = []
    inner: list[Group] = []
    for item in dataclasses.fields(kind):
        name, hint = prefix + item.name, hints[item.name]
        help_text = sentences.get(item.name, "")
        nested = _without_none(hint)
        if dataclasses.is_dataclass(nested) and isinstance(nested, type):
            about = f"{item.name.replace('_', ' ')}: {help_text.rstrip('.')}"
            inner += option_groups(nested, f"{name}.", about, loose or item.default is None)
        elif item.init:
            own.append(Option(name, hint, help_text, _default(item), loose))
    return [Group(title, tuple(own)), *inner] if own else inner


def field_sentences(kind: type) -> dict[str, str]:
    """The docstring of every field, inherited ones too."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        for entry in docstring_parser.parse_from_object(one).params:
            if entry.description:
                found[entry.arg_name] = " ".join(entry.description.split())
    return found


def _words(default: Any) -> str:
    """A default value as it would be typed."""
    return f"[{','.join(map(str, default))}]" if isinstance(default, tuple) else str(default)


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return item.default


def _without_none(hint: Any) -> Any:
    """X of `X | None`; every other type as it is."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return kinds[0] if len(kinds) == 1 and type(None) in get_args(hint) else hint


def build(kind: type, values: dict[str, Any], prefix: str = "") -> Any:
    """The dataclass of parsed values; a group that may be missing and got no value is None."""
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        name, nested = prefix + item.name, _without_none(hints[item.name])
        if dataclasses.is_dataclass(nested) and isinstance(nested, type):
            inner = {k: v for k, v in values.items() if k.startswith(f"{name}.")}
            if item.default is not None:
                given[item.name] = build(nested, inner, f"{name}.")
            elif said := {k: v for k, v in inner.items() if v not in (None, False)}:
                given[item.name] = build(nested, said, f"{name}.")
        elif name in values:
            given[item.name] = _typed(values[name], hints[item.name])
    return kind(**given)


def _typed(value: Any, hint: Any) -> Any:
    """The values of a repeated option in their type; every other value has its type already."""
    kind = _without_none(hint)
    is_list = get_origin(kind) is list and value is not None
    return [get_args(kind)[0](one) for one in value] if is_list else value


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
        option = self.options.get(_flag(found[1])) if found else None
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
