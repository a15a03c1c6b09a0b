"""Whether the boxes that stand in the scene may be scored, and how that is said in the panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from ParanasalSSLLib.errors import BadBoxes, NotAHead, SinusOutsideImage
from ParanasalSSLLib.sinuses import Side

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.box import SinusBox
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.scans.volume import Volume


def qualityForScoring(
    volume: Volume, boxes: Mapping[Side, SinusBox], placed: Quality | None
) -> Quality:
    """The quality of the boxes that are about to be scored; `placed`: of their registration.

    Raises:
        BadBoxes: there are no boxes, or left and right are swapped.
        NotAHead: the registration failed, and not every box was put right by hand.
        SinusOutsideImage: too much of a box lies outside the image.
    """
    from ParanasalSSLLib.boxes.box import refuse_swapped_sides
    from ParanasalSSLLib.boxes.quality import judge_place, worst_of

    if not boxes:
        raise BadBoxes(_("There are no boxes yet. Press Place boxes first."))
    if len(boxes) == 2:
        refuse_swapped_sides(boxes, _("The boxes"))
    quality = judge_place(volume, boxes)
    if placed is not None and any(box.origin != "hand" for box in boxes.values()):
        if placed.verdict == "failed":
            raise NotAHead(failedWords(placed))
        quality = worst_of([placed, quality])
    if quality.verdict != "failed":
        return quality
    raise SinusOutsideImage(
        _("{reasons} Drag the box onto the sinus, or use a scan of the whole face.").format(
            reasons=" ".join(quality.reasons)
        )
    )


def verdictWords(verdict: str) -> str:
    """A verdict of the quality in one word; "" stays ""."""
    words = {"ok": _("ok"), "review": _("review"), "failed": _("failed")}
    return words.get(verdict, "")


def failedWords(quality: Quality) -> str:
    """What a user reads when the registration failed."""
    return _(
        "The maxillary sinuses were not found. {reasons} Use an MRI of the whole head, or drag "
        "both boxes onto the sinuses (or delete a box to leave out its side)."
    ).format(reasons=" ".join(quality.reasons))


def qualityWords(quality: Quality) -> str:
    """One line or two for the panel."""
    if quality.verdict == "failed":
        return failedWords(quality)
    if quality.verdict == "review":
        return _("Please check the boxes. {reasons}").format(reasons=" ".join(quality.reasons))
    return _("The boxes were placed; the registration looks good.")
