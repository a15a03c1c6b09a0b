"""No pretraining: random initial weights, the comparison's lower end."""

from __future__ import annotations

from dataclasses import dataclass

from paranasal_training.methods import Method


@dataclass(frozen=True)
class Options:
    """There are none."""


class Task(Method):
    """Nothing is learnt."""

    learns = False
