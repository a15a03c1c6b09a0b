"""What calls of the command line are, and what they print for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Run = Callable[..., int]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
