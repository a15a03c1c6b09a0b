"""Gives a step graphics cards of its own: `python -m paranasal_training.workflow.card N ALL COMMAND...`

N of the machine's ALL cards are taken by locks in the folder `.cards` below the working folder. The
command takes the place of this program and holds them; they are free when it ends, however it ends.
Which cards there are: `CUDA_VISIBLE_DEVICES` of the caller, or else 0 to ALL - 1.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

FOLDER = Path(".cards")
WAIT_S = 0.5


def cards_there(number: int, environment: Mapping[str, str]) -> list[str]:
    """Names of the machine's cards, at most `number` of them."""
    named = [card for card in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]
    return (named or [str(card) for card in range(number)])[:number]


def take_cards(needed: int, names: Sequence[str], folder: Path) -> list[str] | None:
    """Lock free cards until this process, or what takes its place, ends; None: too few are free."""
    import fcntl

    folder.mkdir(exist_ok=True)
    taken: list[str] = []
    with ExitStack() as stack:
        for name in names:
            if len(taken) == needed:
                break
            file = os.open(folder / name, os.O_RDWR | os.O_CREAT)
            stack.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            os.set_inheritable(file, True)
            taken.append(name)
        if len(taken) < needed:
            return None
        stack.pop_all()
    return taken


def main(words: Sequence[str]) -> None:
    """Wait for the cards, then become the command."""
    needed, number, command = int(words[0]), int(words[1]), list(words[2:])
    names = cards_there(number, os.environ)
    needed = min(needed, len(names))
    while (taken := take_cards(needed, names, FOLDER)) is None:
        time.sleep(WAIT_S)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
