"""What stands on the command line, arranged so that every value follows the name of its option."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ParanasalSSLLib.cli.options import Option
from ParanasalSSLLib.errors import BadConfig

SWITCHES = ("-h", "--help", "--debug", "--quiet")  # of every command


def arranged(options: Sequence[Option], positional: str, words: Sequence[str]) -> Iterator[str]:
    """The words with hyphens in the options' names, and every value without a name given its own.

    A value without a name belongs to the next positional option; when all have theirs, to the last of
    them, or to the repeated option that it follows (`--participant-label 01 02`).
    """
    flags = {option.name: option.flag for option in options}
    repeated = {option.flag for option in options if option.repeats}
    switches = {option.flag for option in options if option.switch} | set(SWITCHES)
    names = [flags[name] for name in positional.split()]
    left, follows = list(names), ""
    takes_all = bool(names) and names[-1] in repeated
    is_value = only_values = False
    for word in words:
        if is_value:
            if not word:
                raise BadConfig("an option has an empty value (of a variable that is not set?)")
            yield word
            is_value = False
        elif word == "--":
            only_values = True
        elif only_values or not word.startswith("-"):
            last = "".join(names[-1:])
            own = left.pop(0) if left else last if takes_all else follows or last
            yield from [own, word] if own else [word]
        else:
            name, equals, value = word.partition("=")
            name = name.replace("_", "-") if name.startswith("--") else name
            is_value = not equals and name not in switches
            follows = name if name in repeated and name not in names else ""
            yield name + equals + value


def refuse_two(options: Sequence[Option], positional: str, words: Sequence[str]) -> None:
    """Raises `BadConfig` for a second value where there is place for one, and for one of nothing."""
    for option in options:
        own = option.name in positional.split() and not option.repeats
        if own and words.count(option.flag) > 1:
            raise BadConfig(f"there is more than one {option.name.upper()}")


def require(options: Sequence[Option], positional: str, values: Mapping[str, Any]) -> None:
    """Raises `BadConfig` naming what has to be given and is not."""
    lacking = [
        option.name.upper() if option.name in positional.split() else option.flag
        for option in options
        if option.required and values[option.name] is None
    ]
    if lacking:
        raise BadConfig(f"{' and '.join(lacking)} must be given")
