"""What has changed in a patient's sinuses since an earlier result, as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import UnsupportedScan
from ParanasalSSLLib.results.layout import ScanFiles
from ParanasalSSLLib.results.listing import Entry
from ParanasalSSLPanel import kept, scans
from ParanasalSSLPanel.dicomSeries import patientOf
from ParanasalSSLPanel.words import chanceWords, quantityWords, sideWords

if TYPE_CHECKING:
    from ParanasalSSLLib.results.follow_up import Change
    from ParanasalSSLPanel.worklist import Worklist

BAR = 17  # characters of an error bar


@dataclass(frozen=True, eq=False)
class Earlier:
    """A result that the present one can be compared with.

    title: for a list. files: the result. scan: in the scene, if it is there. entry: of the worklist,
    if it is one of that.
    """

    title: str
    files: ScanFiles
    scan: vtkMRMLScalarVolumeNode | None = None
    entry: Entry | None = None


def earlierResults(scan: vtkMRMLScalarVolumeNode, worklist: Worklist | None) -> list[Earlier]:
    """All other results at hand: of the scene, then of the worklist."""
    inScene = [
        Earlier(node.GetName(), files, node)
        for node in scans.scansInScene()
        if node is not scan and (files := kept.resultOf(node)) is not None
    ]
    shown = [scan, *(one.scan for one in inScene)]
    known = {kept.resultOf(node) for node in shown}
    known |= {origin.home for node in shown if (origin := kept.originOf(node)) is not None}
    return inScene + [one for one in _listed(worklist) if one.files not in known]


def _listed(worklist: Worklist | None) -> Iterator[Earlier]:
    for entry in worklist.entries.values() if worklist is not None else ():
        if entry.state == "done":
            files = ScanFiles.in_output(worklist.folder, entry.identifier)
            yield Earlier(entry.name, files, entry=entry)


def changesHtml(scan: vtkMRMLScalarVolumeNode, earlier: Path) -> str:
    """The present results of a scan against those in the folder `earlier`; first, whether their boxes
    are to be reviewed.

    Raises `ParanasalError`s: the scan has no results of this session, or the two cannot be compared.
    """
    from ParanasalSSLLib.results.follow_up import changes, doubts, result_at

    files = kept.resultOf(scan)
    if files is None:
        raise UnsupportedScan(_("There are no results of this session. Press Run first."))
    results = result_at(earlier), result_at(files.report_json)
    found = changes(*results)
    notices = map(_notice, doubts(*results))
    lines = (_line(one, _reach(found, one.unit)) for one in found)
    return f"{''.join(notices)}<table>{''.join(lines)}</table>"


def doubtHtml(
    scan: vtkMRMLScalarVolumeNode, earlier: Path, earlierScan: vtkMRMLScalarVolumeNode | None
) -> str:
    """A sentence if the DICOM files of the scans, or of their results, name two patients."""
    from ParanasalSSLLib.results.follow_up import patient_beside
    from ParanasalSSLLib.scans.patient import two_patients_words

    files = kept.resultOf(scan)
    now = patientOf(scan) or (patient_beside(files.folder) if files is not None else {})
    before = (patientOf(earlierScan) if earlierScan is not None else {}) or patient_beside(earlier)
    words = two_patients_words(before, now)
    return _notice(words) if words else ""


def _notice(words: str) -> str:
    return f"<p><b>{escape(words)}</b></p>"


def _reach(changes: Iterable[Change], unit: str) -> float:
    """What the error bars of that unit reach to on either side of no change."""
    ends = (abs(one.difference) + 1.96 * (one.sd or 0.0) for one in changes if one.unit == unit)
    return max(*ends, 1e-6, 0.0)


def _bar(change: Change, reach: float) -> str:
    """A line in the middle for no change, a dot for the change, with its 95 % interval where known."""
    middle = BAR // 2

    def place(value: float) -> int:
        return middle + round(value / reach * middle)

    spread = 1.96 * (change.sd or 0.0)
    low, high = place(change.difference - spread), place(change.difference + spread)
    marks = ["\N{BOX DRAWINGS LIGHT HORIZONTAL}" if low <= n <= high else " " for n in range(BAR)]
    marks[middle] = "|"
    marks[place(change.difference)] = "\N{BLACK CIRCLE}"
    return "".join(marks).replace(" ", "\N{NO-BREAK SPACE}")


def _line(change: Change, reach: float) -> str:
    error = "" if change.sd is None else f" ± {change.sd:.2f}"
    cells = (
        sideWords(change.side),
        quantityWords(change.quantity),
        f"{change.earlier:.2f} → {change.later:.2f} {change.unit}",
        f"{change.difference:+.2f}{error}",
        chanceWords(change.is_beyond_chance),
    )
    padded = (f'<td style="padding-right: 8px">{escape(cell)}</td>' for cell in cells)
    return f"<tr>{''.join(padded)}<td><tt>{_bar(change, reach)}</tt></td></tr>"
