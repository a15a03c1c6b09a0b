"""What the library says in English, as texts that Slicer can translate: each stands here whole."""

from __future__ import annotations

from slicer.i18n import tr as _

from ParanasalSSLLib.sinuses import Decision, Side


def sideWords(side: Side) -> str:
    """The patient's side, in a table."""
    words: dict[Side, str] = {Side.LEFT: _("left"), Side.RIGHT: _("right")}
    return words[side]


def sinusName(side: Side) -> str:
    """The sinus of that side."""
    words: dict[Side, str] = {
        Side.LEFT: _("Left maxillary sinus"),
        Side.RIGHT: _("Right maxillary sinus"),
    }
    return words[side]


def decisionWords(decision: str) -> str:
    """What the model says of a side."""
    words: dict[str, str] = {
        Decision.ANOMALY: _("Anomaly suspected"),
        Decision.CLEAR: _("No anomaly suspected"),
        Decision.NOT_JUDGED: _("Not judged"),
    }
    return words[decision]


def wallWords(wall: str | None) -> str:
    """The wall on which a finding lies, in a table; None: it touches none."""
    words: dict[str | None, str] = {
        None: _("no wall"),
        "lateral": _("outer wall"),
        "medial": _("medial wall"),
        "back": _("back wall"),
        "front": _("front wall"),
        "floor": _("floor"),
        "roof": _("roof"),
    }
    return words[wall]


def formWords(form: str) -> str:
    """What a finding looks like, in a table."""
    words = {
        "band": _("band"),
        "dome": _("dome"),
        "lobulated": _("lobulated"),
        "complete": _("fills the sinus"),
    }
    return words[form]


def stageWords(stage: str) -> str:
    """What happens to a scan; stage: as `ParanasalSSLLib.progress.Stage` has it."""
    words = {
        "read": _("Reading the scan"),
        "register": _("Finding the maxillary sinuses"),
        "crop": _("Cropping"),
        "analyse": _("Scoring the sinuses"),
        "write": _("Writing the results"),
        "done": _("Done"),
    }
    return words[stage]


def stateWords(state: str) -> str:
    """How far a scan of a list is, in a table."""
    words = {
        "waiting": _("waiting"),
        "running": _("running"),
        "done": _("done"),
        "failed": _("failed"),
        "left out": _("left out"),
    }
    return words[state]


def quantityWords(quantity: str) -> str:
    """What a comparison measures, in a table."""
    words = {
        "opacity": _("opacity"),
        "cavity": _("cavity"),
        "depth": _("depth"),
        "diameter": _("diameter"),
    }
    return words[quantity]


def chanceWords(isBeyondChance: bool | None) -> str:
    """Whether a change is more than chance; nothing where that is not known."""
    words = {None: "", True: _("beyond chance"), False: _("may be chance")}
    return words[isBeyondChance]
