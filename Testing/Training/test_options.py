"""Every option of every training command says what it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args, get_type_hints

import docstring_parser
import pytest
from paranasal_training.commands import COMMANDS
from paranasal_training.methods import method_names

CONFIGS = {
    command.name: (f"paranasal_training.{command.module}", command.config) for command in COMMANDS
} | {f"method {name}": (f"paranasal_training.methods.{name}", "Options") for name in method_names()}


def described(kind: type) -> set[str]:
    """Fields of a dataclass, inherited ones too, that have a docstring."""
    known = set()
    for one in kind.__mro__[:-1]:
        for entry in docstring_parser.parse_from_object(one).params:
            if entry.description and entry.description.rstrip().endswith("."):
                known.add(entry.arg_name)
    return known


def undescribed(kind: type, prefix: str = "") -> Iterator[str]:
    """Options of a configuration and of those inside it that lack a sentence."""
    known = described(kind)
    hints: dict[str, Any] = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.name not in known:
            yield prefix + field.name
        hint = hints[field.name]
        for inner in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(inner) and isinstance(inner, type):
                yield from undescribed(inner, f"{prefix}{field.name}.")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_option_has_a_sentence(name: str) -> None:
    module, kind = CONFIGS[name]
    assert list(undescribed(getattr(import_module(module), kind))) == []
