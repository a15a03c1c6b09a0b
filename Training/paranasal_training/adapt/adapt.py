"""`paranasal adapt`: the scans of a site, without labels, -> a bundle for that site.

One page: look at the scans, choose what is taken as clear, paint disease into it, let each network
learn without one part of the persons, set threshold and calibration on those, write. What a step has
done lies in a folder beside the output until the end, so that a stopped call is resumed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from paranasal_training.adapt.choose import Choice, choose
from paranasal_training.adapt.config import AdaptConfig
from paranasal_training.adapt.learn import LearnJob, learn
from paranasal_training.adapt.look import (
    Looked,
    LookJob,
    keep_only,
    look_at,
    read_looked,
    reference_path,
)
from paranasal_training.adapt.outcome import DecisionRule, Outcome, outcome_of
from paranasal_training.adapt.parallel import run_jobs, usual_processes
from paranasal_training.adapt.persons import groups_of, members, require_persons
from paranasal_training.adapt.report import PAGE, Report, write_report
from paranasal_training.adapt.scans import SiteScan, find_site_scans, listed_site_scans
from paranasal_training.adapt.site_bundle import save_members, write_site_bundle
from paranasal_training.adapt.steps import Tell, bar_steps, line_steps
from paranasal_training.prepare.work import stamps
from paranasal_training.sinus.batches import SinusSamples
from paranasal_training.sinus.shards import join_tables, plan_shards, write_shard
from paranasal_training.sinus.training import RECORD
from ParanasalSSLLib.cli.events import CallFailed, Summary, to_json
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.stopping import stop_with_input
from ParanasalSSLLib.errors import BadBundle, BadConfig, BadStore, ParanasalError
from ParanasalSSLLib.files import (
    alone,
    refuse_filled,
    refuse_no_folder,
    write_whole,
    write_whole_folder,
)
from ParanasalSSLLib.model.bundle import shipped_bundle_path
from ParanasalSSLLib.model.bundle_folder import check_bundle
from ParanasalSSLLib.model.card import BundleCard, read_card
from ParanasalSSLLib.results.record import software_version

SAMPLE_BYTES = 5 * 64**3
CLEAR_TIMES = 4  # samples of each chosen side as it is
LOOK, PAINT, LEARN, WRITE = 0.0, 0.2, 0.32, 0.97  # when a step begins, of the whole
NOT_SETTINGS = (
    "scans", "scan_list", "key", "processes", "json_progress", "end_with_input", "name",
)  # fmt: skip


def adapt(config: AdaptConfig, output: Path) -> Path | int:
    """Write the site's bundle and its report; the bundle's folder, or an exit status.

    Raises:
        BadConfig: no scans, or too few persons with clear sinuses.
        BadBundle: damaged, or without sinus networks.
        UnsafeOutput: the output is there already, or is being made by another process.
    """
    if config.end_with_input:
        stop_with_input()
    if not config.json_progress:
        with bar_steps() as tell:
            return _alone(config, output, tell)[0]
    stream = sys.stdout
    with redirect_stdout(sys.stderr), line_steps(stream) as tell:
        try:
            folder, used, refused = _alone(config, output, tell)
        except (ParanasalError, OSError) as error:
            print(
                to_json(CallFailed(type(error).__name__, explain(error))), file=stream, flush=True
            )
            return 1
        print(to_json(Summary(used, refused, str(folder))), file=stream, flush=True)
    return 0


def _alone(config: AdaptConfig, output: Path, tell: Tell) -> tuple[Path, int, int]:
    output = Path(output).absolute()
    with alone(output, wait=False, purpose="adapt."):
        refuse_filled(output)
        refuse_no_folder(report_folder(output))
        return _Adaptation.of(config, output, tell).run()


def report_folder(output: Path) -> Path:
    """Beside the bundle: it shows crops of the site's scans, the bundle does not."""
    return output.with_name(f"{output.name}.report")


@dataclass(frozen=True)
class _Adaptation:
    """An adaptation under way. work: folder of what is done so far, named by all settings."""

    config: AdaptConfig
    scans: Sequence[SiteScan]
    bundle: Path
    card: BundleCard
    output: Path
    work: Path
    tell: Tell

    @classmethod
    def of(cls, config: AdaptConfig, output: Path, tell: Tell) -> _Adaptation:
        """Check what was given; remove what a call with other settings has left."""
        bundle = config.bundle or shipped_bundle_path()
        check_bundle(bundle)
        card = read_card(bundle)
        if card.sinus is None:
            raise BadBundle(f"{bundle} has no sinus network, so that nothing can be adapted.")
        if config.donors:
            SinusSamples(config.donors)  # refuses what is no store
        scans = _site_scans(config)
        require_persons(len({scan.person for scan in scans}), members(card), "Scans")
        if config.key is not None:
            write_key(scans, config.key, output)
        place = output.with_name(f".{output.name}.adapt")
        work = place / _fingerprint(config, scans, card)
        for older in place.glob("*"):
            if older != work:
                shutil.rmtree(older, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        return cls(config, scans, bundle, card, output, work, tell)

    @property
    def processes(self) -> int:
        """How many work at once."""
        return self.config.processes or usual_processes()

    def run(self) -> tuple[Path, int, int]:
        """All steps; the bundle's folder, and the numbers of scans that were used and that were not."""
        looked = self.look()
        sides = [side for one in looked for side in one.sides]
        choices = choose(sides, self.card.decision_threshold, self.config.diseased)
        groups = groups_of(choices, members(self.card))
        self.paint(choices)
        jobs = self.learn_jobs(groups, [one.scan for one in looked if one.sides])
        self.learn(jobs)
        outcome = self.judge(choices, jobs)
        self.write(looked, outcome, jobs)
        shutil.rmtree(self.work.parent, ignore_errors=True)
        refused = sum(not one.sides for one in looked)
        return self.output, len(looked) - refused, refused

    @property
    def rule_before(self) -> DecisionRule:
        """How the bundle that is adapted decides."""
        assert self.card.sinus is not None
        return DecisionRule(self.card.sinus.calibration, self.card.decision_threshold)

    # ------------------------------------------------------------------------------------ steps

    def look(self) -> list[Looked]:
        """Every scan: boxes, what the bundle says, outlines."""
        folder = self.work / "looked"
        folder.mkdir(exist_ok=True)
        jobs = [LookJob(scan, self.bundle.absolute(), folder) for scan in self.scans]
        todo = [job for job in jobs if not job.record.exists()]
        done = len(jobs) - len(todo)

        def tick(more: int) -> None:
            words = f"Looking at the scans ({done + more} of {len(jobs)})"
            self.tell(words, LOOK + (PAINT - LOOK) * (done + more) / len(jobs))

        tick(0)
        run_jobs(look_at, todo, self.processes, tick)
        return [read_looked(job) for job in jobs]

    def paint(self, choices: Sequence[Choice]) -> None:
        """Samples of the chosen sides, with disease painted in."""
        references, store = self.work / "references", self.work / "store"
        if not references.exists():
            chosen = {choice.facts.key: choice.used for choice in choices}
            paths = [
                reference_path(self.work / "looked", choice.facts.scan, choice.facts.side)
                for choice in choices
            ]
            with write_whole_folder(references) as new:
                keep_only(paths, chosen, new)
        seed, clear = self.config.seed, self.work / "clear"
        of_each = CLEAR_TIMES * sum(choice.used for choice in choices)
        if not store.exists():
            _refuse_full_disk(self.work, self.config.samples + of_each)
        jobs = plan_shards(store, references, self.config.samples, seed=seed)
        jobs += plan_shards(clear, references, of_each, seed=seed, as_they_are=True)

        def tick(done: int) -> None:
            share = done / max(len(jobs), 1)
            self.tell("Painting disease into clear sinuses", PAINT + (LEARN - PAINT) * share)

        tick(0)
        run_jobs(write_shard, jobs, self.processes, tick)
        join_tables(store, self.config.samples)
        join_tables(clear, of_each)

    def learn_jobs(self, groups: Sequence[Sequence[str]], scans: Sequence[str]) -> list[LearnJob]:
        """One for each network of the new bundle."""
        config, reading = self.config, self.card.sinus
        assert reading is not None
        starts = save_members(self.bundle, self.work)
        person = {scan.name: scan.person for scan in self.scans}
        return [
            LearnJob(
                folder=self.work / f"network_{number}",
                start=starts[number % len(starts)],
                network=reading.network,
                site=self.work / "store",
                clear=self.work / "clear",
                donors=tuple(path.absolute() for path in config.donors),
                left_out=tuple(group),
                scans=tuple(scan for scan in scans if person[scan] in group),
                looked=self.work / "looked",
                steps=config.steps,
                batch_size=config.batch_size,
                learning_rate=config.learning_rate,
                keep_old=config.keep_old,
                judged=config.judged,
                seed=config.seed + number,
            )
            for number, group in enumerate(groups)
        ]

    def learn(self, jobs: Sequence[LearnJob]) -> None:
        """Fine-tune and judge every network."""

        def tick(done: int) -> None:
            share = sum(map(_share_done, jobs)) / len(jobs)
            self.tell("Learning from the site", LEARN + (WRITE - LEARN) * share)

        tick(0)
        run_jobs(learn, [job for job in jobs if not job.as_is.exists()], self.processes, tick)

    def judge(self, choices: Sequence[Choice], jobs: Sequence[LearnJob]) -> Outcome:
        """Threshold, calibration, figures: each network on the persons that it has not learnt from."""
        scored, clear, as_is = (
            pd.concat([pd.read_csv(getattr(job, name)) for job in jobs], ignore_index=True)
            for name in ("scored", "scored_clear", "as_is")
        )
        return outcome_of(choices, scored, clear, as_is, self.rule_before, self.config.specificity)

    def write(self, looked: Sequence[Looked], outcome: Outcome, jobs: Sequence[LearnJob]) -> None:
        """The report, then the bundle."""
        self.tell("Writing bundle and report", WRITE)
        report = Report(
            name=self.config.name,
            persons=len({scan.person for scan in self.scans}),
            scans=len(self.scans),
            refused=[one for one in looked if not one.sides],
            outcome=outcome,
            groups=[job.left_out for job in jobs],
            with_donors=bool(self.config.donors),
            threshold_before=self.card.decision_threshold,
        )
        text = write_report(report, jobs, report_folder(self.output))
        write_site_bundle(self.bundle, self.config.name, jobs, outcome, text, self.output)
        print(f"Before and after: open {report_folder(self.output) / PAGE} in a browser.")


def _site_scans(config: AdaptConfig) -> list[SiteScan]:
    if config.scan_list is not None:
        return listed_site_scans(config.scan_list)
    return find_site_scans(
        config.scans or [], lambda words: print(f"Note: {words}", file=sys.stderr)
    )


def write_key(scans: Sequence[SiteScan], path: Path, output: Path) -> None:
    """Write which path each scan of the report was; over no other file than an older key.

    Raises:
        BadConfig: `path` is another file, or lies in the new bundle or its report, which name nobody.
    """
    public = {output.resolve(), report_folder(output).resolve()}
    if public.intersection(path.resolve().parents):
        raise BadConfig(
            f"key {path} names the scans and must not lie in the new bundle or its report."
        )
    rows = [["scan", "path"], *([scan.name, str(scan.source)] for scan in scans)]
    if path.exists() and path.read_text(encoding="utf-8").splitlines()[:1] != [",".join(rows[0])]:
        raise BadConfig(f"key {path} is there already and is no key. Choose another name.")
    with write_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _fingerprint(config: AdaptConfig, scans: Sequence[SiteScan], card: BundleCard) -> str:
    """Of all that the result depends on."""
    settings = {k: str(v) for k, v in asdict(config).items() if k not in NOT_SETTINGS}
    files = [[scan.name, os.path.realpath(scan.source.path), _stamps(scan)] for scan in scans]
    stores = [stamps(Path(store) / "table.csv") for store in config.donors]
    content = [settings, files, stores, card.weights_sha256, software_version()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _stamps(scan: SiteScan) -> list[object]:
    """Of the scan's own files only: a folder may get more series."""
    return [[str(path), *stamps(path)] for path in scan.source.files or (scan.source.path,)]


def _refuse_full_disk(work: Path, samples: int) -> None:
    needed, free = samples * SAMPLE_BYTES, shutil.disk_usage(work).free
    if free < needed:
        raise BadStore(
            f"{work.parent} needs {needed / 1e9:.1f} GB while the adaptation runs, {free / 1e9:.1f} GB "
            "are free. Make room, choose another disk, or ask for fewer samples."
        )


def _share_done(job: LearnJob) -> float:
    """How far a network is, 0..1."""
    if job.weights.exists():
        return 0.8 + 0.1 * job.scored.exists() + 0.1 * job.as_is.exists()
    try:
        step = json.loads((job.folder / RECORD).read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError):
        return 0.0
    return 0.8 * min(step / job.steps, 1.0)
