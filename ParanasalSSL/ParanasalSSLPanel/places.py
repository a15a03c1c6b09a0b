"""Where the findings of a scan are, and the way from one to the next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ParanasalSSLLib.sinuses import Decision, Side
from ParanasalSSLPanel.scanNodes import attributeOf, setAttribute
from ParanasalSSLPanel.scans import worldAffine
from ParanasalSSLPanel.views import lookAt
from ParanasalSSLPanel.words import sinusName, wallWords

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLPanel.compute import Findings


@dataclass(frozen=True)
class Place:
    """One finding, in the order of the table.

    side: value of `Side`. index: (3,) of its middle in the scan's voxels. clear: whether the model
    calls its sinus clear. ml, mm: volume and greatest diameter; None where the model measures no
    single findings: then the place is where the residual of the side is largest.
    """

    side: str
    index: tuple[float, float, float]
    clear: bool
    ml: float | None = None
    mm: float | None = None
    wall: str | None = None

    @property
    def words(self) -> str:
        """One line for people."""
        sinus = sinusName(Side(self.side))
        if self.ml is None:
            return _("{sinus}: its largest residual").format(sinus=sinus)
        return _("{sinus}: {ml} ml, {mm} mm, {wall}").format(
            sinus=sinus, ml=f"{self.ml:.2f}", mm=f"{self.mm:.0f}", wall=wallWords(self.wall)
        )


def placesOf(scan: vtkMRMLScalarVolumeNode) -> list[Place]:
    """All findings of a scan; empty if it was not scored, or has none."""
    content = json.loads(attributeOf(scan, "places") or "[]")
    return [Place(**{**entry, "index": tuple(entry["index"])}) for entry in content]


def keepPlaces(
    scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox], findings: Findings
) -> None:
    """Remember on the scan where its findings are."""
    found = [asdict(place) for place in _places(scan, boxes, findings)]
    setAttribute(scan, "places", json.dumps(found))


def forgetPlaces(scan: vtkMRMLScalarVolumeNode) -> None:
    """The scan has no results any more."""
    setAttribute(scan, "places", None)


def goTo(scan: vtkMRMLScalarVolumeNode, place: Place) -> None:
    """Centre the views on a finding."""
    lookAt((worldAffine(scan) @ [*place.index, 1.0])[:3], Side(place.side))


class Tour:
    """Goes from one finding to the next, and around; past those of sinuses that are clear.

    Other findings, of another scan or run, are gone through from the first one on.
    """

    def __init__(self) -> None:
        self._last, self._places = -1, list[Place]()

    def go(self, scan: vtkMRMLScalarVolumeNode, step: int) -> Place | None:
        """Look at the next (`step` 1) or previous (-1) finding; None if there is none."""
        places = self._placesOf(scan)
        worth = [number for number, place in enumerate(places) if not place.clear]
        if not worth:
            return None
        if step > 0:
            after = (number for number in worth if number > self._last)
            self._last = next(after, worth[0])
        else:
            before = (number for number in reversed(worth) if number < self._last)
            self._last = next(before, worth[-1])
        goTo(scan, places[self._last])
        return places[self._last]

    def goTo(self, scan: vtkMRMLScalarVolumeNode, number: int) -> Place | None:
        """Look at the finding in that line of the table."""
        places = self._placesOf(scan)
        if not 0 <= number < len(places):
            return None
        self._last = number
        goTo(scan, places[number])
        return places[number]

    def _placesOf(self, scan: vtkMRMLScalarVolumeNode) -> list[Place]:
        places = placesOf(scan)
        if places != self._places:
            self._last, self._places = -1, places
        return places


def _places(
    scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox], findings: Findings
) -> Iterator[Place]:
    toIndex = np.linalg.inv(worldAffine(scan))
    for side in (side for side in Side if side in findings.sinuses):
        sinus = findings.sinuses[side]
        if sinus.decision == Decision.NOT_JUDGED:
            continue
        clear = sinus.decision == Decision.CLEAR
        if sinus.findings is None:
            index = _peak(scan, boxes, findings, side)
            if index is not None:
                yield Place(side.value, index, clear)
        for one in sinus.findings or ():
            i, j, k, _one = (toIndex @ [*one.center_ras_mm, 1.0]).tolist()
            yield Place(side.value, (i, j, k), clear, one.ml, one.diameter_mm, one.wall)


def _peak(
    scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox], findings: Findings, side: Side
) -> tuple[float, float, float] | None:
    """Where the residual of a side is largest, in its opacity if there is one."""
    own = findings.masks[side]
    index = np.argwhere(own if own.any() else _nearest(scan, boxes, findings, side))
    if not len(index):
        return None
    i, j, k = index[findings.residual[tuple(index.T)].argmax()].tolist()
    return i, j, k


def _nearest(
    scan: vtkMRMLScalarVolumeNode, boxes: Mapping[Side, SinusBox], findings: Findings, side: Side
) -> np.ndarray:
    """bool (I, J, K): residuals that are nearer to the box of this side than to the other one."""
    affine, inside = worldAffine(scan), findings.residual > 0
    ras = np.argwhere(inside) @ affine[:3, :3].T + affine[:3, 3]
    away = {s: np.linalg.norm(ras - box.center_ras_mm, axis=1) for s, box in boxes.items()}
    inside[inside] = away[side] <= np.min(list(away.values()), axis=0)
    return inside
