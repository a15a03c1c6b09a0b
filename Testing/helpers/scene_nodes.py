"""What a run has left in the scene of a scan."""

from __future__ import annotations

from typing import Any


def residual_of(scan: Any) -> Any:
    from ParanasalSSLPanel.results import residualOf

    return residualOf(scan)


def segmentation_of(scan: Any) -> Any:
    from ParanasalSSLPanel.results import segmentationOf

    return segmentationOf(scan)


def table_of(scan: Any) -> Any:
    from ParanasalSSLPanel.tables import tableOf

    return tableOf(scan)
