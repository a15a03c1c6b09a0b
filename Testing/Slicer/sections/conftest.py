"""A panel that is ready for a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def panel(openPanel: Callable[[Any], Any], standIn: Any, scan: Any) -> Any:
    """A panel with a scan and its boxes."""
    panel = openPanel(standIn)
    panel.ui.placeBoxesButton.click()
    return panel
