"""The numbers of a run as tables: a line for each side, and a line for each finding."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLTableNode
from slicer.i18n import tr as _

from ParanasalSSLLib.sinuses import UNKNOWN, Side, probability_words
from ParanasalSSLPanel.scanNodes import nodeOf, nodeOrNew
from ParanasalSSLPanel.trust import verdictWords
from ParanasalSSLPanel.words import decisionWords, formWords, sideWords, wallWords

if TYPE_CHECKING:
    from ParanasalSSLLib.results.sinus_record import FindingRecord, SinusRecord
    from ParanasalSSLPanel.compute import Findings

Scored = list[tuple[Side, "SinusRecord"]]


def tableOf(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLTableNode | None:
    """The table of a scan's sides, if it has been scored."""
    return nodeOf(scan, "table")


def findingsTableOf(scan: vtkMRMLScalarVolumeNode) -> vtkMRMLTableNode | None:
    """The table of a scan's findings, if it has been scored."""
    return nodeOf(scan, "findings")


def showTables(scan: vtkMRMLScalarVolumeNode, findings: Findings) -> None:
    """Put both tables beside the scan, in place of those of an earlier run."""
    scored = [(side, findings.sinuses[side]) for side in Side if side in findings.sinuses]
    name = _("{scan} sinus scores").format(scan=scan.GetName())
    node = _emptyTable(scan, "table", name)
    _addScores(node, scored)
    _addMeasures(node, scored)
    _addColumn(node, _("Box quality"), [verdictWords(findings.quality.verdict)] * len(scored))
    name = _("{scan} sinus findings").format(scan=scan.GetName())
    _addFindings(_emptyTable(scan, "findings", name), scored)


def _emptyTable(scan: vtkMRMLScalarVolumeNode, role: str, name: str) -> vtkMRMLTableNode:
    node = nodeOrNew(scan, role, "vtkMRMLTableNode", name)
    node.RemoveAllColumns()
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)  # a table view would let a user type over the numbers
    return node


def _addScores(node: vtkMRMLTableNode, scored: Scored) -> None:
    sinuses = [sinus for _side, sinus in scored]
    _addColumn(node, _("Side"), [sideWords(side) for side, _sinus in scored])
    _addColumn(node, _("Probability"), [probability_words(s.probability) for s in sinuses])
    _addColumn(node, _("In words"), [inWords(s.probability) for s in sinuses])
    _addColumn(node, _("Decision"), [decisionWords(s.decision) for s in sinuses])
    _addColumn(node, _("Opacity (ml)"), [_told(s.opacity_ml, 2) for s in sinuses])


def _addMeasures(node: vtkMRMLTableNode, scored: Scored) -> None:
    """What of the cavity is filled, where the model outlines one."""
    sinuses = [sinus for _side, sinus in scored]
    if all(sinus.cavity_ml is None for sinus in sinuses):
        return
    _addColumn(node, _("Of the cavity (%)"), [_percent(s.filled_fraction) for s in sinuses])
    _addColumn(node, _("Cavity (ml)"), [_told(s.cavity_ml, 1) for s in sinuses])
    _addColumn(node, _("Depth (mm)"), [_told(s.depth_mm, 1) for s in sinuses])
    grades = ["" if s.grade is None else str(s.grade) for s in sinuses]
    _addColumn(node, _("Grade (0-2)"), grades)


def _addFindings(node: vtkMRMLTableNode, scored: Scored) -> None:
    found: list[tuple[Side, FindingRecord]] = [
        (side, finding) for side, sinus in scored for finding in sinus.findings or ()
    ]
    findings = [finding for _side, finding in found]
    _addColumn(node, _("Side"), [sideWords(side) for side, _finding in found])
    _addColumn(node, _("ml"), [round(one.ml, 2) for one in findings])
    _addColumn(node, _("mm"), [one.diameter_mm for one in findings])
    _addColumn(node, _("mm deep"), [one.depth_mm for one in findings])
    _addColumn(node, _("Wall"), [wallWords(one.wall) for one in findings])
    _addColumn(node, _("Form"), [formWords(one.form) for one in findings])


def _percent(fraction: float | None) -> float:
    return math.nan if fraction is None else round(100 * fraction, 1)


def _told(number: float | None, digits: int) -> float:
    """Not a number where it is not known, so that the column holds numbers."""
    return math.nan if number is None else round(number, digits)


def scoresHtml(scan: vtkMRMLScalarVolumeNode) -> str:
    """The table of the sides, turned: a line for each number, a column for each side; "" without it."""
    node = tableOf(scan)
    if node is None:
        return ""
    table = node.GetTable()
    columns = range(table.GetNumberOfColumns())
    sides = range(table.GetNumberOfRows())[::-1]  # the right one on the left, as in pictures
    titles = [node.GetColumnName(column) for column in columns]
    cells = [[_cell(table.GetValue(side, column)) for side in sides] for column in columns]
    return f"<table>{''.join(map(_line, titles, cells))}</table>"


def _cell(value: Any) -> str:
    return UNKNOWN if value.IsDouble() and math.isnan(value.ToDouble()) else value.ToString()


def _line(title: str, cells: list[str]) -> str:
    padded = "".join(f'<td style="padding-left: 12px">{escape(cell)}</td>' for cell in cells)
    return f"<tr><td>{escape(title)}</td>{padded}</tr>"


def inWords(probability: float | None) -> str:
    """How a calibrated probability of an anomaly is said; nothing where it is not known."""
    if probability is None:
        return ""
    for limit, words in (
        (0.1, _("very unlikely")),
        (1 / 3, _("unlikely")),
        (2 / 3, _("uncertain")),
        (0.9, _("likely")),
    ):
        if probability < limit:
            return words
    return _("very likely")


def _addColumn(node: vtkMRMLTableNode, name: str, values: list[str] | list[float]) -> None:
    isText = any(isinstance(value, str) for value in values)
    column = vtk.vtkStringArray() if isText else vtk.vtkDoubleArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    node.AddColumn(column)
    # Written to a file with the table, so that a reloaded scene has numbers as numbers.
    node.SetColumnType(name, vtk.VTK_STRING if isText else vtk.VTK_DOUBLE)
