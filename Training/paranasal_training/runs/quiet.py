"""Keeps what Lightning has to say about itself off the terminal; errors and progress stay."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")
# Warnings that are no user's business: of deprecation inside Lightning, of loaders without
# processes (crops are in memory), of few batches, of a folder of checkpoints that is resumed.
WARNINGS = (
    r".*(LeafSpec|treespec).*",
    r".*does not have many workers.*",
    r".*number of training batches .* is smaller than the logging interval.*",
    r"Checkpoint directory .* exists and is not empty.*",
    r".*is deprecated.*",
    r"Precision .* is not supported by the model summary.*",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Inside, Lightning logs errors only, and its warnings about itself are not shown."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for text in WARNINGS:
            warnings.filterwarnings("ignore", message=text, module=r"(pytorch_)?lightning")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
