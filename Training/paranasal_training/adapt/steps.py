"""How far an adaptation is, for people (a bar) or programs (JSON lines)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from ParanasalSSLLib.cli.events import StepBegun, to_json

Tell = Callable[[str, float], None]


@contextmanager
def bar_steps() -> Iterator[Tell]:
    """A bar on the terminal; nothing where standard error is no terminal."""
    form = "{l_bar}{bar}| {elapsed}"
    with tqdm(total=1.0, file=sys.stderr, disable=None, leave=False, bar_format=form) as bar:

        def tell(words: str, fraction: float) -> None:
            bar.set_description(words, refresh=False)
            bar.n = fraction
            bar.refresh()

        yield tell


@contextmanager
def line_steps(output: TextIO) -> Iterator[Tell]:
    """One event a line, each once."""
    last = ""

    def tell(words: str, fraction: float) -> None:
        nonlocal last
        line = to_json(StepBegun(words, round(fraction, 2)))
        if line != last:
            print(line, file=output, flush=True)
        last = line

    yield tell
