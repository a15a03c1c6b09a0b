"""From one scan to the scores of its maxillary sinuses: read, register, crop, analyse.

`predict_scan` is the whole of it. Its two halves, `find_sinuses` (needs no model) and
`score_sinuses`, are public for callers that show or correct the boxes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.cavity import Cavity, judge_cavities
from ParanasalSSLLib.boxes.gaps import judge_gaps
from ParanasalSSLLib.boxes.placement import Placement, judge_given
from ParanasalSSLLib.boxes.quality import (
    THRESHOLDS,
    Quality,
    judge_evidence,
    judge_source,
    judge_visible,
    worst_of,
)
from ParanasalSSLLib.boxes.refinement import Look, refine
from ParanasalSSLLib.boxes.registration import find_boxes
from ParanasalSSLLib.boxes.visible import shown_grid
from ParanasalSSLLib.crop import SinusCrop, cut_crop
from ParanasalSSLLib.errors import NotAHead, SinusOutsideImage
from ParanasalSSLLib.geometry import Grid
from ParanasalSSLLib.progress import Progress, ProgressSink, Stage, no_progress
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Decision, Side

if TYPE_CHECKING:
    from ParanasalSSLLib.model.bundle import Bundle, SinusScore
    from ParanasalSSLLib.model.opacity import SinusMeasures

Computed = TypeVar("Computed")

GPU_WAS_FULL = (
    "The memory of the GPU was full, so the CPU was used instead; the results are the same."
)


@dataclass(frozen=True, eq=False)
class FoundSinuses:
    """A scan with the boxes around its sinuses, ready to be scored.

    given: the boxes were given, and stay where they are.
    """

    volume: Volume
    placement: Placement
    given: bool = False


@dataclass(frozen=True, eq=False)
class SinusResult:
    """One sinus: its box, what was cut out there, and what the networks say of it.

    The maps of `score` live in the crop's grid; `crop.affine` and `crop.paste` lead back.
    """

    box: SinusBox
    crop: SinusCrop
    score: SinusScore

    @property
    def side(self) -> Side:
        """The patient's side."""
        return self.box.side

    @property
    def is_judged(self) -> bool:
        """Whether a sinus is recognised in the box; a model that outlines none judges every box."""
        return self.score.measures is None or self.score.measures.cavity_ml > 0

    @property
    def probability(self) -> float | None:
        """Calibrated probability of an anomaly, 0..1; None where the side is not judged."""
        return self.score.probability if self.is_judged else None

    @property
    def decision(self) -> Decision:
        """What is said of the side."""
        if not self.is_judged:
            return Decision.NOT_JUDGED
        return Decision.ANOMALY if self.score.anomalous else Decision.CLEAR

    @property
    def residual(self) -> np.ndarray:
        """(64, 64, 64) float32, 0..1, how much the sinus differs from its healthy reconstruction."""
        return self.score.residual

    @property
    def opacity(self) -> np.ndarray:
        """(64, 64, 64) bool, what fills the sinus."""
        return self.score.opacity

    @property
    def opacity_ml(self) -> float:
        """Volume of `opacity`."""
        return float(self.opacity.sum()) * self.crop.voxel_ml

    @property
    def opacity_fraction(self) -> float:
        """Part of the box that `opacity` fills, 0..1."""
        return float(self.opacity.mean())


@dataclass(frozen=True, eq=False)
class ScanResult:
    """All that is known of one scan.

    sinuses: one entry per box
    notices: sentences about the scan, and how it was computed, that users must read
    """

    volume: Volume
    placement: Placement
    sinuses: dict[Side, SinusResult]
    notices: tuple[str, ...] = ()


def predict_scan(
    scan: str | Path | Volume,
    bundle: Bundle,
    placement: Placement | None = None,
    progress: ProgressSink = no_progress,
) -> ScanResult:
    """Score the maxillary sinuses of one scan; see `find_sinuses` and `score_sinuses`."""
    return score_sinuses(find_sinuses(scan, placement, progress), bundle, progress)


def find_sinuses(
    scan: str | Path | Volume,
    placement: Placement | None = None,
    progress: ProgressSink = no_progress,
    files: Sequence[Path] = (),
) -> FoundSinuses:
    """Read a scan and find its boxes, or judge those of `placement`; refuse what is not to be trusted.

    files: those of one DICOM series, where the folder `scan` holds several.

    Raises `UnreadableScan` or `UnsupportedScan` (reading, gaps in a sinus), `NotAHead` or
    `SinusOutsideImage` (quality "failed"; a scan of quality "review" passes).
    """
    progress(Progress.at(Stage.READ))
    volume = scan if isinstance(scan, Volume) else read_volume(scan, files)
    progress(Progress.at(Stage.REGISTER))
    placed = place_boxes(volume, placement)
    refuse_failed(placed.quality)
    return FoundSinuses(volume, placed, given=placement is not None)


def place_boxes(volume: Volume, given: Placement | None = None) -> Placement:
    """Boxes from the registration, or those given, and their quality, failed or not.

    A scan whose source leaves its sides in doubt, or lacks slices near a box, is at best "review".

    Boxes that are given are compared with the scan's own registration, which finds those of another
    patient. It takes a few seconds, as without them.

    Raises `UnsupportedScan` where slices within a sinus are missing that nothing can stand for.
    """
    registered = find_boxes(volume)
    placed = registered if given is None else judge_given(shown_grid(volume), given, registered)
    qualities = [placed.quality, judge_source(volume.provenance)]
    if placed.quality.verdict != "failed":
        qualities.append(judge_gaps(volume, placed.boxes))
    return replace(placed, quality=worst_of(qualities))


def score_sinuses(
    found: FoundSinuses, bundle: Bundle, progress: ProgressSink = no_progress
) -> ScanResult:
    """Cut out the sinuses in the way that the bundle was trained on, and score them.

    Boxes of the registration are moved onto the cavities that the bundle's sinus network finds. When
    the memory of a GPU is full, the CPU computes, and a notice says so.

    Raises `SinusOutsideImage` where the sinuses then turn out to be cut off.
    """
    progress(Progress.at(Stage.CROP))
    scorer = _Scorer(found.volume, bundle, progress)
    sinuses, placement = _score(found, scorer)
    notices = (*found.volume.provenance.notices, *scorer.notices)
    return ScanResult(found.volume, placement, sinuses, notices)


def _score(found: FoundSinuses, scorer: _Scorer) -> tuple[dict[Side, SinusResult], Placement]:
    placement, image = found.placement, shown_grid(found.volume)
    first = Look(placement.boxes, scorer.look(placement.boxes))
    if any(sinus.measures is None for sinus in first.scored.values()):
        return scorer.score(first.scored), placement
    if found.given or len(placement.boxes) < len(Side):
        placement = replace(placement, quality=_judged_where_they_stand(placement, first, image))
        refuse_failed(placement.quality)
        return scorer.score(first.scored), placement
    look, quality = refine(first, scorer.look, image, _is_doubted(placement.quality))
    qualities = [
        _judged_registration(placement.quality),
        judge_visible(look.visible(image)),
        judge_source(found.volume.provenance),
        judge_gaps(found.volume, look.boxes),
        quality,
    ]
    placement = Placement(look.boxes, worst_of(qualities))
    refuse_failed(placement.quality)
    return scorer.score(look.scored), placement


def _judged_where_they_stand(placement: Placement, look: Look[_Outlined], image: Grid) -> Quality:
    """The quality of boxes that stay, with what their cavities tell: how much is visible, too.

    Of a sinus of which that was said already, by its box, it is not said twice.
    """
    said, limit = placement.quality.visible_fraction, THRESHOLDS.review_visible_fraction
    visible = {
        side: part for side, part in look.visible(image).items() if said.get(side, 1.0) >= limit
    }
    cavities = judge_cavities(look.boxes, look.cavities, image)
    return worst_of([placement.quality, judge_visible(visible), cavities])


def _is_doubted(quality: Quality) -> bool:
    """Whether the registration is unsure, or the head as small as a child's."""
    evidence = quality.evidence
    return evidence is None or judge_evidence(evidence).verdict != "ok" or evidence.is_small


def _judged_registration(quality: Quality) -> Quality:
    """What of a quality does not depend on where the boxes lie."""
    if quality.evidence is None:
        return Quality(quality.verdict, quality.reasons)
    return judge_evidence(quality.evidence)


@dataclass(frozen=True, eq=False)
class _Outlined:
    """What the sinus networks say of one box, if there are any; it is not scored yet."""

    box: SinusBox
    crop: SinusCrop
    measures: SinusMeasures | None

    @property
    def cavity(self) -> Cavity:
        """What the networks take for the sinus."""
        if self.measures is None:
            return Cavity(0.0, np.empty((0, 3)), 0.0)
        points = self.crop.to_world(np.argwhere(self.measures.cavity)[::7])
        return Cavity(self.measures.cavity_ml, points, self.measures.filled_fraction)

    @property
    def sinus(self) -> SinusMeasures | None:
        """`measures`, empty where what they outline is too small or large for a sinus."""
        if self.measures is None or self.cavity.is_plausible():
            return self.measures
        return self.measures.none()


class _Scorer:
    """Looks at boxes of one scan, as often as it is asked, and scores the last ones.

    notices: what a reader must know of how it was computed.
    """

    def __init__(self, volume: Volume, bundle: Bundle, progress: ProgressSink) -> None:
        self.volume, self.bundle, self.progress = volume, bundle, progress
        self.notices: tuple[str, ...] = ()

    def look(self, boxes: Mapping[Side, SinusBox]) -> dict[Side, _Outlined]:
        """What the sinus networks alone say."""
        ordered = [boxes[side] for side in Side if side in boxes]
        crops = [cut_crop(self.volume, box, self.bundle.card.crop) for box in ordered]
        self.progress(Progress.at(Stage.ANALYSE))
        self.progress = no_progress
        measures = self._computed(lambda bundle: bundle.measure(crops))
        seen = [_Outlined(*one) for one in zip(ordered, crops, measures, strict=True)]
        return {one.box.side: one for one in seen}

    def score(self, outlined: Mapping[Side, _Outlined]) -> dict[Side, SinusResult]:
        """What all networks say."""
        crops = [one.crop for one in outlined.values()]
        measures = [one.sinus for one in outlined.values()]
        scores = self._computed(lambda bundle: bundle.analyse(crops, measures))
        pairs = zip(outlined.items(), scores, strict=True)
        return {side: SinusResult(one.box, one.crop, score) for (side, one), score in pairs}

    def _computed(self, work: Callable[[Bundle], Computed]) -> Computed:
        try:
            return work(self.bundle)
        except RuntimeError as error:  # torch has no class of its own for every kind of GPU
            if self.bundle.device == "cpu" or "out of memory" not in str(error).lower():
                raise
        self.bundle, self.notices = self.bundle.on("cpu"), (GPU_WAS_FULL,)
        return work(self.bundle)


def refuse_failed(quality: Quality) -> None:
    """Raise the error that fits a quality of "failed"; others pass."""
    if quality.verdict != "failed":
        return
    reasons = " ".join(quality.reasons)
    visible = min(quality.visible_fraction.values(), default=1.0)
    if visible < THRESHOLDS.failed_visible_fraction:
        raise SinusOutsideImage(
            f"The image does not hold enough of the maxillary sinuses. {reasons} Use a scan that "
            "covers the whole face, or place the boxes by hand and give them with --boxes."
        )
    raise NotAHead(
        f"The maxillary sinuses could not be found. {reasons} Check that this is an MRI of a whole "
        "head, or place the boxes by hand and give them with --boxes."
    )
