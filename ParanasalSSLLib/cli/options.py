"""The fields of a dataclass as the options of a command, and the dataclass of what was typed.

The string below a field is the option's help; a field that is itself a dataclass is a group of
options (`--network.latent 256`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser

METAVARS: dict[Any, str] = {Path: "PATH", int: "N", float: "X", str: "TEXT", bool: "{true,false}"}


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
        return flag_of(self.name)

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


def flag_of(name: str) -> str:
    """How the option of this name is typed: kebab-case, with its dashes."""
    return "--" + name.replace("_", "-")


def option_groups(
    kind: type,
    prefix: str = "",
    title: str = "settings",
    loose: bool = False,
    start: Any = None,
) -> list[Group]:
    """The options of a dataclass and of those inside it, each under its subject.

    start: one of that kind whose values are the defaults (unset: the dataclass's own).
    """
    hints, sentences = get_type_hints(kind), field_sentences(kind)
    own: list[Option] = []
    inner: list[Group] = []
    for item in dataclasses.fields(kind):
        name, hint = prefix + item.name, hints[item.name]
        help_text = sentences.get(item.name, "")
        nested = _without_none(hint)
        default = _default(item) if start is None else getattr(start, item.name)
        if dataclasses.is_dataclass(nested) and isinstance(nested, type):
            about = f"{item.name.replace('_', ' ')}: {help_text.rstrip('.')}"
            inside = default if isinstance(default, nested) else None
            inner += option_groups(nested, f"{name}.", about, loose or item.default is None, inside)
        elif item.init:
            own.append(Option(name, hint, help_text, default, loose))
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
            elif said := {k: v for k, v in inner.items() if v is not None and v is not False}:
                given[item.name] = build(nested, said, f"{name}.")
        elif name in values:
            given[item.name] = _typed(values[name], hints[item.name])
    return kind(**given)


def _typed(value: Any, hint: Any) -> Any:
    """The values of a repeated option in their type; every other value has its type already."""
    kind = _without_none(hint)
    is_list = get_origin(kind) is list and value is not None
    return [get_args(kind)[0](one) for one in value] if is_list else value
