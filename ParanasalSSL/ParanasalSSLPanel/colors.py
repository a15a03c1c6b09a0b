"""Colours of words, readable on Slicer's light and dark panels (a contrast of 4.5 or more)."""

from __future__ import annotations

from typing import Any

import qt

ERROR = {"light": "#b3261e", "dark": "#ff8a80"}
WARNING = {"light": "#7a4f00", "dark": "#ffcc66"}


def errorStyle(widget: Any) -> str:
    """The style sheet of a label that tells what went wrong."""
    return f"color: {ERROR[_theme(widget)]}"


def warningStyle(widget: Any) -> str:
    """The style sheet of a label that tells what must not be overlooked."""
    return f"color: {WARNING[_theme(widget)]}; font-weight: bold"


def _theme(widget: Any) -> str:
    background = widget.palette.color(qt.QPalette.Window)
    return "dark" if background.lightness() < 128 else "light"
