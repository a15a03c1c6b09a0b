"""The worklist as a table: what its cells say, and in which order the rows stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ParanasalSSLLib.results.listing import Row
from ParanasalSSLLib.sinuses import Side, probability_words
from ParanasalSSLPanel.trust import verdictWords
from ParanasalSSLPanel.words import stateWords


class WorklistTable:
    """Wires the table. opened: called with the id of a row that was clicked."""

    def __init__(self, table: Any, opened: Callable[[str], None]) -> None:
        self._table, self._opened = table, opened
        self._rows: list[Row] = []
        # Column, and whether the largest comes first; None: the list's own order, the urgent first.
        self._sortedBy: tuple[int, bool] | None = None
        headers = [_("Scan"), _("Left"), _("Right"), _("Quality"), _("State")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        header.setSortIndicator(-1, qt.Qt.AscendingOrder)
        header.setSortIndicatorShown(True)
        header.connect("sectionClicked(int)", self._onHeader)
        table.connect("cellClicked(int,int)", self._onRow)
        table.connect("cellActivated(int,int)", self._onRow)  # by keyboard

    def fill(self, rows: list[Row]) -> None:
        """Show these rows."""
        self._rows = rows
        self._table.setRowCount(len(rows))
        for number, row in enumerate(self._sorted()):
            for column, text in enumerate(_cells(row)):
                self._table.setItem(number, column, _item(text, row))
            tip = f"{row.entry.path}\n{self._table.item(number, 1).toolTip()}".strip()
            self._table.item(number, 0).setToolTip(tip)

    def _sorted(self) -> list[Row]:
        """Not by Qt, which would sort "< 0.01" as a text."""
        if self._sortedBy is None:
            return self._rows
        column, descending = self._sortedBy
        return sorted(self._rows, key=lambda row: _sortKeys(row)[column], reverse=descending)

    def _onHeader(self, column: int) -> None:
        descending = self._sortedBy == (column, False)  # a second click turns the order around
        self._sortedBy = column, descending
        order = qt.Qt.DescendingOrder if descending else qt.Qt.AscendingOrder
        self._table.horizontalHeader().setSortIndicator(column, order)
        self.fill(self._rows)

    def _onRow(self, row: int, column: int) -> None:
        self._opened(self._table.item(row, 0).data(qt.Qt.UserRole))


def _cells(row: Row) -> list[str]:
    """What the table's columns show."""
    sides = (row.probability(side) for side in (Side.LEFT, Side.RIGHT))
    words = ("" if each is None else probability_words(each) for each in sides)
    return [row.entry.name, *words, _qualityWords(row), stateWords(row.entry.state)]


def _qualityWords(row: Row) -> str:
    return _("read") if row.is_read else verdictWords(row.quality)


def _sortKeys(row: Row) -> list[tuple[float, str]]:
    """What the table's columns are sorted by: number, then text; without a number below all."""
    sides = (row.probability(side) for side in (Side.LEFT, Side.RIGHT))
    name, *_words, quality, state = _cells(row)
    numbers = [(-1.0 if each is None else each, name) for each in sides]
    return [(0.0, name), *numbers, (0.0, quality), (0.0, state)]


def _item(text: str, row: Row) -> Any:
    item = qt.QTableWidgetItem(text)
    item.setData(qt.Qt.UserRole, row.entry.identifier)
    reasons = row.record.quality.reasons if row.record is not None else ()
    item.setToolTip(row.entry.message or " ".join(reasons))
    return item
