"""The module's own terms in Slicer's terminologies logic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ParanasalSSLLib.sinuses import OPACITY_TYPE, SINUSES, Part, Side, segment_facts

FOLDER = Path(__file__).resolve().parents[2] / "ParanasalSSL" / "Resources" / "Terminologies"
GREY = [127, 127, 127]  # what Slicer gives to terms that it does not know


def terms_of(side: Side, part: Part = Part.OPACITY) -> str:
    return segment_facts(side, part).terminology


@pytest.fixture
def terminologies(slicer: Any) -> Any:
    """A logic that knows no terms yet; slicer-core comes without those of the application."""
    return slicer.vtkSlicerTerminologiesModuleLogic()


@pytest.fixture
def load(terminologies: Any, slicer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    from types import SimpleNamespace

    from ParanasalSSLPanel.terms import loadTerms

    module = SimpleNamespace(logic=lambda: terminologies)
    monkeypatch.setattr(slicer.modules, "terminologies", module)
    return lambda: loadTerms(FOLDER)


def lookedUp(slicer: Any, terminologies: Any, side: Side) -> Any:
    """A segment's entry, as Slicer's views complete it from the lists that are loaded."""
    entry = slicer.vtkSlicerTerminologyEntry()
    assert terminologies.DeserializeTerminologyEntry(terms_of(side), entry)
    assert terminologies.UpdateEntryFromLoadedTerminologies(entry, [], [])
    return entry


def meanings(entry: Any) -> list[str]:
    parts = (entry.GetTypeObject(), entry.GetRegionObject(), entry.GetRegionModifierObject())
    return [part.GetCodeMeaning() for part in parts]


@pytest.mark.parametrize("side", Side)
def test_without_our_lists_a_segment_still_has_its_terms(
    slicer: Any, terminologies: Any, side: Side
) -> None:
    entry = lookedUp(slicer, terminologies, side)
    assert meanings(entry) == ["Lesion", "Maxillary sinus", SINUSES[side].snomed_side]
    assert list(entry.GetTypeObject().GetRecommendedDisplayRGBValue()) == GREY


@pytest.mark.parametrize("side", Side)
def test_with_our_lists_a_segments_terms_are_found_in_them(
    slicer: Any, terminologies: Any, load: Callable[[], None], side: Side
) -> None:
    load()
    entry = lookedUp(slicer, terminologies, side)
    assert meanings(entry) == ["Lesion", "Maxillary sinus", SINUSES[side].snomed_side]
    assert "ParanasalSSL" in entry.GetTerminologyContextName()
    assert "ParanasalSSL" in entry.GetRegionContextName()
    color = entry.GetTypeObject().GetRecommendedDisplayRGBValue()
    assert list(color) == [round(255 * part) for part in SINUSES[Side.LEFT].opacity_color]


@pytest.mark.parametrize("side", Side)
def test_terms_of_a_cavity_are_found_in_our_lists(
    slicer: Any, terminologies: Any, load: Callable[[], None], side: Side
) -> None:
    load()
    entry = slicer.vtkSlicerTerminologyEntry()
    assert terminologies.DeserializeTerminologyEntry(terms_of(side, Part.CAVITY), entry)
    assert terminologies.UpdateEntryFromLoadedTerminologies(entry, [], [])
    assert entry.GetTypeObject().GetCodeMeaning() == "Maxillary sinus"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == SINUSES[side].snomed_side
    assert "ParanasalSSL" in entry.GetTerminologyContextName()
    color = entry.GetTypeModifierObject().GetRecommendedDisplayRGBValue()
    assert list(color) == pytest.approx([255 * part for part in SINUSES[side].cavity_color], abs=1)


def test_our_lists_offer_what_our_segments_use(
    slicer: Any, terminologies: Any, load: Callable[[], None]
) -> None:
    load()
    load()  # a reloaded module
    import vtk

    names = vtk.vtkStringArray()
    terminologies.GetLoadedTerminologyNames(names)
    assert names.GetNumberOfValues() == 1
    context = names.GetValue(0)
    category, kind = slicer.vtkSlicerTerminologyCategory(), slicer.vtkSlicerTerminologyType()
    assert terminologies.GetNthCategoryInTerminology(context, 0, category)
    assert terminologies.GetNumberOfTypesInTerminologyCategory(context, category) == 1
    assert terminologies.GetNthTypeInTerminologyCategory(context, category, 0, kind)
    assert (kind.GetCodeValue(), kind.GetCodeMeaning()) == OPACITY_TYPE
    assert category.GetShowAnatomy()


def test_the_panel_loads_the_lists(
    terminologies: Any, load: Callable[[], None], openPanel: Callable[[Any], Any], standIn: Any
) -> None:
    context = "Segmentation category and type - ParanasalSSL"
    assert not terminologies.IsTerminologyContextLoaded(context)
    openPanel(standIn)
    assert terminologies.IsTerminologyContextLoaded(context)


def test_a_slicer_without_terminologies_is_no_error(
    slicer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ParanasalSSLPanel.terms import loadTerms

    monkeypatch.delattr(slicer.modules, "terminologies")
    loadTerms(FOLDER)
