"""Into how many groups a site's persons are divided, and who is in which."""

from __future__ import annotations

from collections.abc import Sequence

from paranasal_training.adapt.choose import Choice
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.card import BundleCard

FEWEST_GROUPS = 3


def members(card: BundleCard) -> int:
    """Networks of the new bundle: as many as there are, or three of one."""
    assert card.sinus is not None
    return card.sinus.members if card.sinus.members > 1 else FEWEST_GROUPS


def require_persons(found: int, needed: int, what: str) -> None:
    """Each network is judged by persons of its own. Raises `BadConfig` where there are too few."""
    if found < needed:
        raise BadConfig(
            f"{what} are needed of {needed} persons or more; there are those of {found}. Give more "
            "scans. (Those of a `sub-...` folder are one person's, those of one of several folders, "
            "the series of a DICOM folder; a table with the columns path and patient says otherwise.)"
        )


def groups_of(choices: Sequence[Choice], number: int) -> list[list[str]]:
    """The persons in so many groups, those with most clear sinuses dealt out first.

    Raises:
        BadConfig: fewer persons with clear sinuses than groups.
    """
    clear = dict.fromkeys((choice.facts.person for choice in choices), 0)
    for choice in choices:
        clear[choice.facts.person] += choice.used
    persons = sum(count > 0 for count in clear.values())
    require_persons(persons, number, "Sinuses that can be taken as clear")
    order = sorted(clear, key=lambda person: (-clear[person], person))
    return [sorted(order[start::number]) for start in range(number)]
