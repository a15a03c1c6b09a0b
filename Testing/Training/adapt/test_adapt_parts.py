"""Which scans belong together, which sides are taken as clear, what sets the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from paranasal_training.adapt import report as pages
from paranasal_training.adapt.adapt import _fingerprint, write_key
from paranasal_training.adapt.choose import Choice, choose
from paranasal_training.adapt.config import AdaptConfig
from paranasal_training.adapt.learn import blended, mixed_rows
from paranasal_training.adapt.look import SideFacts
from paranasal_training.adapt.outcome import (
    DecisionRule,
    Outcome,
    called,
    fit_rule,
    outcome_of,
)
from paranasal_training.adapt.persons import groups_of
from paranasal_training.adapt.scans import find_site_scans, listed_site_scans
from scipy.special import logit

from ParanasalSSLLib.cli.scan_list import write_scan_list
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.bundle import shipped_bundle_path
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import read_card
from ParanasalSSLLib.scans.source import ScanSource
from ParanasalSSLLib.sinuses import Side


def quiet(words: str) -> None:
    """Tells nobody."""


def clear_side(scan: str = "p0001_1", side: Side = Side.LEFT, **other: object) -> SideFacts:
    facts = SideFacts(
        scan=scan, person=scan.split("_")[0], modality="t1", side=side, verdict="ok",
        probability=0.05, evidence=0.04, opacity_ml=0.0, cavity_ml=15.0, outline_ml=16.0,
        level=0.05,
    )  # fmt: skip
    return replace(facts, **other)  # type: ignore[arg-type]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


# ---------------------------------------------------------------------------------------- scans


def test_a_bids_folder_gives_all_scans_of_a_subject_to_one_person(tmp_path: Path) -> None:
    for subject in ("sub-Meier", "sub-02"):
        for suffix in ("FLAIR", "T1w"):
            touch(tmp_path / subject / "anat" / f"{subject}_{suffix}.nii.gz".replace("Meier", "M"))
    scans = find_site_scans([tmp_path], quiet)
    assert [scan.name for scan in scans] == ["p0001_1", "p0001_2", "p0002_1", "p0002_2"]
    assert [scan.modality for scan in scans] == ["flair", "t1"] * 2


def test_scans_given_one_by_one_belong_together_by_subject_or_folder(tmp_path: Path) -> None:
    in_folders = [touch(tmp_path / p / name) for p in "ab" for name in ("x.nii", "y_T2.nii")]
    assert [s.person for s in find_site_scans(in_folders, quiet)] == ["p0001"] * 2 + ["p0002"] * 2
    in_one = in_folders[:2]
    assert [s.person for s in find_site_scans(in_one, quiet)] == ["p0001", "p0002"]
    subjects = [touch(tmp_path / n) for n in ("sub-1_a.nii", "sub-1_b.nii", "sub-2_a.nii")]
    assert [s.person for s in find_site_scans(subjects, quiet)] == ["p0001", "p0001", "p0002"]


def test_it_is_said_when_every_scan_is_taken_for_another_persons(tmp_path: Path) -> None:
    said: list[str] = []
    one_folder = [touch(tmp_path / f"001_{kind}.nii") for kind in ("T1w", "FLAIR")]
    assert len({s.person for s in find_site_scans(one_folder, said.append)}) == 2
    assert len(said) == 1 and "of another person" in said[0]
    find_site_scans([touch(tmp_path / f"sub-1_{n}.nii") for n in "ab"], said.append)
    assert len(said) == 1


def test_a_table_says_whose_scans_they_are(tmp_path: Path) -> None:
    touch(tmp_path / "x.nii"), touch(tmp_path / "y.nii")
    (tmp_path / "scans.csv").write_text("path,patient\nx.nii,Meier\ny.nii,Meier\n")
    assert {s.person for s in find_site_scans([tmp_path / "scans.csv"], quiet)} == {"p0001"}


def test_missing_and_repeated_scans_are_refused(tmp_path: Path) -> None:
    path = touch(tmp_path / "x.nii")
    with pytest.raises(BadConfig, match="twice"):
        find_site_scans([path, path], quiet)
    with pytest.raises(BadConfig, match="does not exist"):
        find_site_scans([path, tmp_path / "z.nii"], quiet)


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("sub-1_T1w.nii", "t1"), ("3DT1.nii", "t1"), ("ax_t2_flair.nii", "flair"),
        ("T2FLAIR.nii", "flair"), ("ax_t2.nii", "t2"), ("patient1.nii", ""),
        ("patient2_updated.nii", ""), ("t10.nii", ""),
    ],
)  # fmt: skip
def test_a_kind_of_scan_is_a_word_of_its_own_in_the_name(
    tmp_path: Path, name: str, modality: str
) -> None:
    scans = find_site_scans([touch(tmp_path / name), touch(tmp_path / "z.nii")], quiet)
    assert scans[0].modality == modality


def list_series(folder: Path, listed: Path) -> Path:
    """Two series that share a folder, and a scan beside it."""
    series = [(touch(folder / f"{name}1"), touch(folder / f"{name}2")) for name in "ab"]
    found = [ScanSource(folder, files, f"t{n} sag") for n, files in enumerate(series, start=1)]
    other = ScanSource(touch(folder.parent / "Bauer.nii"))
    write_scan_list(listed, {str(n): scan for n, scan in enumerate([*found, other])})
    return listed


def test_listed_series_keep_their_files_and_those_of_a_folder_belong_together(
    tmp_path: Path,
) -> None:
    scans = listed_site_scans(list_series(tmp_path / "Meier", tmp_path / "list.json"))
    assert [scan.name for scan in scans] == ["p0001_1", "p0001_2", "p0002_1"]
    assert [scan.modality for scan in scans] == ["t1", "t2", ""]
    assert [file.name for file in scans[1].source.files] == ["b1", "b2"]


def test_lists_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    listed, scan = tmp_path / "list.json", ScanSource(touch(tmp_path / "x.nii"))
    wrong = {"lists no scans": {}, "twice": {"a": scan, "b": scan}}
    for words, scans in wrong.items():
        write_scan_list(listed, scans)
        with pytest.raises(BadConfig, match=words):
            listed_site_scans(listed)


def test_what_was_done_is_kept_as_long_as_the_series_own_files_are_the_same(
    tmp_path: Path,
) -> None:
    listed, card = tmp_path / "list.json", read_card(shipped_bundle_path())
    scans = listed_site_scans(list_series(tmp_path / "Meier", listed))[:1]

    def fingerprint(name: str) -> str:
        return _fingerprint(AdaptConfig(scan_list=tmp_path / name), scans, card)

    before = fingerprint("list.json")
    (tmp_path / "Meier" / "b1").write_text("of the other series")
    assert fingerprint("a list of another name.json") == before
    (tmp_path / "Meier" / "a2").write_text("of this series")
    assert fingerprint("list.json") != before


def test_a_key_is_written_over_keys_only(tmp_path: Path) -> None:
    scans = find_site_scans([touch(tmp_path / "Meier.nii"), touch(tmp_path / "Bauer.nii")], quiet)
    for _ in range(2):
        write_key(scans, tmp_path / "key.csv", tmp_path / "new")
    assert (tmp_path / "key.csv").read_text().splitlines()[1].endswith("Meier.nii")
    (tmp_path / "notes.txt").write_text("mine\n")
    with pytest.raises(BadConfig, match="is no key"):
        write_key(scans, tmp_path / "notes.txt", tmp_path / "new")


@pytest.mark.parametrize("where", ["new/key.csv", "new/deeper/key.csv", "new.report/key.csv"])
def test_a_key_lies_in_nothing_that_names_nobody(tmp_path: Path, where: str) -> None:
    with pytest.raises(BadConfig, match="must not lie in"):
        write_key([], tmp_path / where, tmp_path / "new")
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------- choice


def test_clear_sides_are_used() -> None:
    sides = [clear_side(), clear_side(side=Side.RIGHT)]
    assert all(choice.used for choice in choose(sides, 0.5, 1 / 3))


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("No plausible outline", {"outline_ml": 0.0}),
        ("different size", {"outline_ml": 30.0}),
        ("different size", {"outline_ml": 8.0}),
        ("brighter", {"level": 0.16}),
        ("suspects", {"probability": 0.7}),
    ],
)
def test_a_side_in_doubt_is_not_used(why: str, change: dict[str, float]) -> None:
    others = [clear_side(f"p{n:04d}_1") for n in range(2, 6)]
    doubtful, *rest = choose([clear_side(**change), *others], 0.5, 1 / 3)
    assert not doubtful.used and why in doubtful.reasons[0]
    assert all(choice.used for choice in rest)


def test_a_side_much_smaller_than_the_other_is_not_used() -> None:
    small = clear_side(side=Side.RIGHT, outline_ml=8.0, cavity_ml=8.0)
    left, right = choose([clear_side(), small], 0.5, 1 / 3)
    assert left.used and "other side" in right.reasons[0]


def sides_of(probabilities: Sequence[float]) -> list[SideFacts]:
    return [clear_side(f"p{n:04d}_1", probability=p) for n, p in enumerate(probabilities)]


def test_of_a_kind_of_scan_that_the_model_does_not_know_all_but_the_diseased_part_is_used() -> None:
    used = [choice.used for choice in choose(sides_of(np.linspace(0.3, 0.7, 9)), 0.5, 1 / 3)]
    assert used == [True] * 6 + [False] * 3
    used = [choice.used for choice in choose(sides_of(np.linspace(0.3, 0.7, 9)), 0.5, 2 / 3)]
    assert used == [True] * 3 + [False] * 6


def test_what_the_model_is_sure_of_is_never_used_however_many_there_are() -> None:
    """Most patients of a clinic for sinuses are ill; that is no kind of scan to get used to."""
    used = [choice.used for choice in choose(sides_of([0.1] * 3 + [0.9] * 9), 0.5, 1 / 3)]
    assert used == [True] * 3 + [False] * 9


def test_few_scans_of_a_kind_do_not_say_what_is_usual_there() -> None:
    assert not any(choice.used for choice in choose(sides_of([0.6] * 5), 0.5, 1 / 3))
    assert all(choice.used for choice in choose(sides_of([0.6] * 6), 0.5, 1 / 3))


# --------------------------------------------------------------------------------------- groups


def choices_of(persons: int, used: int) -> list[Choice]:
    sides = [clear_side(f"p{n:04d}_1") for n in range(persons)]
    return [Choice(side, () if n < used else ("no",)) for n, side in enumerate(sides)]


def test_every_group_has_clear_sinuses_and_every_person_one_group() -> None:
    groups = groups_of(choices_of(10, 4), 3)
    assert sorted(person for group in groups for person in group) == [
        f"p{n:04d}" for n in range(10)
    ]
    clear = {f"p{n:04d}" for n in range(4)}
    assert all(clear & set(group) for group in groups)


def test_too_few_clear_persons_are_told() -> None:
    with pytest.raises(BadConfig, match="of 3 persons or more; there are those of 2"):
        groups_of(choices_of(10, 2), 3)


# ------------------------------------------------------------------------------------- learning


def test_half_of_each_batch_are_old_donors() -> None:
    batches = mixed_rows(np.arange(10), np.arange(100, 105), 4, np.random.default_rng(0))
    assert all((rows >= 100).sum() == 2 for rows in islice(batches, 20))
    alone = mixed_rows(np.arange(10), np.arange(0), 4, np.random.default_rng(0))
    assert all((rows < 10).all() and len(rows) == 4 for rows in islice(alone, 20))


def test_old_and_new_weights_are_averaged() -> None:
    old, new = ({"w": torch.full((2,), v), "n": torch.tensor(1)} for v in (1.0, 2.0))
    assert torch.equal(blended(old, new, 0.25)["w"], torch.full((2,), 1.75))
    assert blended(old, new, 0.25)["n"].dtype == torch.int64


# -------------------------------------------------------------------------------------- outcome


def painted(scan: str, evidence: float, ml: float, when: str) -> dict[str, object]:
    return {
        "scan": scan, "side": "left", "seen_evidence": evidence, "opacity_ml": ml, "signal": 0.5,
        "dice_cavity": 0.9, "dice_opacity": 0.8, "when": when, "group": scan, "kind": "dome",
        "modality": "t1", "slice_mm": 1.0,
    }  # fmt: skip


def outcome_with_a_doubtful_side() -> Outcome:
    """Three sides in which little is seen, and one in which much is, before and after."""
    choices = [Choice(clear_side(f"p{n:04d}_1"), ()) for n in range(4)]
    evidence = [0.1, 0.2, 0.15, 0.95]
    rows = []
    for when in ("before", "after"):
        for choice, seen in zip(choices, evidence, strict=True):
            rows += [painted(choice.facts.scan, seen, 0.0, when)] * 5
            rows += [painted(choice.facts.scan, 0.8 + 0.02 * n, 3.0, when) for n in range(5)]
    as_is = pd.DataFrame(
        {"scan": c.facts.scan, "side": "left", "evidence": e, "opacity_ml": 0.0}
        for c, e in zip(choices, evidence, strict=True)
    )
    scored = pd.DataFrame(rows)
    clear = scored[scored["opacity_ml"] == 0]
    return outcome_of(choices, scored, clear, as_is, DecisionRule(Calibration(), 0.2), 0.95)


def test_a_side_that_is_doubtful_afterwards_sets_no_threshold() -> None:
    """A diseased sinus taken for a clear one would raise it, and real disease be overlooked."""
    outcome = outcome_with_a_doubtful_side()
    assert [side.doubtful for side in outcome.sides] == [False, False, False, True]
    assert outcome.painted["after"]["found"]["volume"]["2 to 5 ml"]["fraction"] == 1.0
    assert outcome.sides[3].called_after and called(outcome.sides) == (0, 2)


def test_the_report_says_that_doubtful_sides_are_not_among_those_called_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are called anomalous, most of them: without a word the row would say that none is."""
    monkeypatch.setattr(pages, "draw_sheet", lambda outcome, jobs: b"")
    outcome = outcome_with_a_doubtful_side()
    report = pages.Report("site", 4, 4, [], outcome, [], False, 0.2)
    words = "none: used sinuses as they were scanned, without the 1 to look at below, called clear"
    assert f"| {words} | 15 |" in pages.write_report(report, [], tmp_path / "with")
    assert words in (tmp_path / "with" / pages.PAGE).read_text()
    sure = replace(outcome, sides=outcome.sides[:3])
    text = pages.write_report(replace(report, outcome=sure), [], tmp_path / "without")
    assert "| none: used sinuses as they were scanned, called clear | 15 |" in text


@pytest.mark.parametrize("lowest", [0.3, 0.7])
def test_the_threshold_is_never_below_the_old_one_in_evidence(lowest: float) -> None:
    """The sides were chosen because little is seen in them: 95 % of them are not 95 % of all."""
    clear = pd.DataFrame([painted("a", evidence, 0.0, "after") for evidence in (0.1, 0.4, 0.5)])
    ill = pd.DataFrame([painted("a", evidence, 3.0, "after") for evidence in (0.6, 0.8, 0.9)])
    before = DecisionRule(Calibration(2.0, 1.0), Calibration(2.0, 1.0).probability(logit(lowest)))
    rule = fit_rule(pd.concat([clear, ill]), clear, before, 0.999)
    assert rule.threshold == pytest.approx(rule.probability(max(lowest, 0.5)), abs=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 3}, {"keep_old": 2.0}, {"diseased": 1.0}, {"seed": -3}, {"name": "Haus 3"},
        {"processes": 0},
    ],
)  # fmt: skip
def test_options_without_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadConfig):
        AdaptConfig(scans=[Path("x")], **wrong)  # type: ignore[arg-type]


def test_scans_are_named_on_the_line_or_in_a_list() -> None:
    with pytest.raises(BadConfig, match="SCANS must be given"):
        AdaptConfig()
    with pytest.raises(BadConfig, match="--scan-list says by itself"):
        AdaptConfig(scans=[Path("x")], scan_list=Path("y"))
