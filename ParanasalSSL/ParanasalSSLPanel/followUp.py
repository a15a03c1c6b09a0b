"""What has changed in a patient's sinuses since an earlier result, as a table for people."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLPanel import kept
from ParanasalSSLPanel.words import sideWords

if TYPE_CHECKING:
    from ParanasalSSLLib.results.follow_up import Change


def changesHtml(scan: vtkMRMLScalarVolumeNode, earlier: Path) -> str:
    """The present results of a scan against those in the folder `earlier`.

    Raises `ParanasalError`s: the scan has no results of this session, or the two cannot be compared.
    """
    from ParanasalSSLLib.results.follow_up import changes, result_at

    files = kept.resultOf(scan)
    if files is None:
        raise UnsupportedScan(_("There are no results of this session. Press Run first."))
    found = changes(result_at(earlier), result_at(files.report_json))
    return f"<table>{''.join(map(_line, found))}</table>"


def _line(change: Change) -> str:
    error = "" if change.sd is None else f" ± {change.sd:.2f}"
    cells = (
        sideWords(change.side),
        _quantityWords(change.quantity),
        f"{change.earlier:.2f} → {change.later:.2f} {change.unit}",
        f"{change.difference:+.2f}{error}",
        _chanceWords(change.is_beyond_chance),
    )
    padded = (f'<td style="padding-right: 8px">{escape(cell)}</td>' for cell in cells)
    return f"<tr>{''.join(padded)}</tr>"


def _quantityWords(quantity: str) -> str:
    words = {
        "opacity": _("opacity"),
        "cavity": _("cavity"),
        "depth": _("depth"),
        "diameter": _("diameter"),
    }
    return words[quantity]


def _chanceWords(isBeyondChance: bool | None) -> str:
    words = {None: "", True: _("beyond chance"), False: _("may be chance")}
    return words[isBeyondChance]
