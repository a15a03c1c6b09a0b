"""What an experiment needs: the settings of its steps, and which run is made from which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from paranasal_training.workflow.declared import Settings
from paranasal_training.workflow.plan import Plan

Made = tuple[str, dict[str, Any]]  # folder of a run, and what its config.json has to say


@dataclass(frozen=True)
class Needed:
    """The steps of one experiment of a plan. Folders are relative to the working folder."""

    plan: Plan
    experiment: str

    @cached_property
    def rows(self) -> list[str]:
        """Rows that are run."""
        return self.plan.closed_rows(self.experiment)

    @cached_property
    def tuned(self) -> list[str]:
        """Rows whose classifiers are trained: also for one that scores them again."""
        plan = self.plan
        names = [plan.rows[row].like if plan.rows[row].evaluate else row for row in self.rows]
        return list(dict.fromkeys(str(row) for row in names if plan.source(str(row))))

    @cached_property
    def pretrainings(self) -> dict[str, list[int]]:
        """Seeds of the pretraining runs that the folds start from, by row."""
        sources = dict.fromkeys(str(self.plan.source(row)) for row in self.tuned)
        return {
            row: sorted({self.plan.seed_of(row, fold) for fold in self.folds}) for row in sources
        }

    @cached_property
    def residuals(self) -> list[str]:
        """Names of the residuals that are learnt from or seen."""
        learnt = [
            self.plan.residuals_of(row, seed)
            for row, seeds in self.pretrainings.items()
            for seed in seeds
        ]
        seen = [second_channel(self.plan, row) for row in self.tuned]
        return list(dict.fromkeys(name for name in [*learnt, *seen] if name))

    @cached_property
    def autoencoders(self) -> list[str]:
        """Names of the autoencoders."""
        plan = self.plan
        names = [one for name in self.residuals for one in plan.autoencoders_of(name)]
        names += [plan.score_autoencoder(row, fold) for row in self._scored for fold in self.folds]
        names += [plan.residuals[name]["autoencoder"] for name in self._maps]
        return list(dict.fromkeys(names))

    @property
    def folds(self) -> range:
        return range(1, self.plan.folds + 1)

    @property
    def _scored(self) -> list[str]:
        return [row for row in self.rows if self.plan.rows[row].score]

    @property
    def _again(self) -> list[str]:
        return [row for row in self.rows if self.plan.rows[row].evaluate]

    @property
    def _maps(self) -> tuple[str, ...]:
        return self.plan.evaluated_maps(self.experiment)

    @property
    def _probes(self) -> tuple[str, ...]:
        return self.plan.experiment(self.experiment).probes

    def settings(self) -> Iterator[tuple[str, str, Settings]]:
        """Command, name of the file of settings, and settings, of every step."""
        plan, name = self.plan, self.experiment
        if plan.crops is None:
            yield "simulate", "cohort", plan.simulate_settings()
        if not plan.splits and not plan.divided:
            yield "split", "folds", plan.split_settings()
        yield from (("train", one, plan.train_settings(one)) for one in self.autoencoders)
        yield from (("residuals", one, plan.residual_settings(one)) for one in self.residuals)
        yield from (("pretrain", row, plan.pretrain_settings(row)) for row in self.pretrainings)
        for row in self._again:
            yield "evaluate", row, plan.rows[row].evaluate
        for row in self._scored:
            yield "evaluate-residuals", row, plan.score_settings(row)
        for percent in plan.percents(name):
            for row in self.tuned:
                yield "finetune", f"{row}-{percent}", plan.finetune_settings(row, percent)
            for probe in self._probes:
                yield "evaluate-frozen", f"{probe}-{percent}", plan.probe_settings(probe, percent)
        yield from (("evaluate-maps", one, plan.map_settings(one)) for one in self._maps)
        yield "compare", name, plan.compare_settings(name)
        for probe in self._probes:
            yield "compare", f"{name}-{probe}", plan.compare_settings(name, probe)

    def write_settings(self, folder: Path) -> None:
        """Write the settings of every step to its file, unless that holds just these.

        Every step has its file as an input: a step whose settings were edited is done again.
        """
        for command, name, settings in self.settings():
            self.plan.write(folder / "settings" / command / f"{name}.yaml", settings)

    def runs(self) -> Iterator[Made]:
        """The folder of every run, and from what it is made."""
        plan = self.plan
        yield from ((f"autoencoder/{name}", {}) for name in self.autoencoders)
        for row, seeds in self.pretrainings.items():
            for seed in seeds:
                of = {"seed": seed, "residuals": _residuals(plan.residuals_of(row, seed))}
                own = {} if plan.unlabelled else {"fold": seed}
                yield f"pretrain/{row}/seed{seed}", of | own
        for name in self._maps:
            yield f"maps/{name}", {"cae": f"autoencoder/{plan.residuals[name]['autoencoder']}"}
        for percent in plan.percents(self.experiment):
            for fold in self.folds:
                yield from self._of_fold(percent, fold)

    def _of_fold(self, percent: int, fold: int) -> Iterator[Made]:
        plan, place = self.plan, f"{percent}/fold{fold}"
        for row in self.tuned:
            start, seen = pretrained(plan, row, fold), _residuals(second_channel(plan, row))
            of = {"pretrained": start, "residuals": seen, "fold": fold, "seed": fold}
            yield f"finetune/{row}/{place}", of
        for row in self._again:
            of = {"classifier": f"finetune/{plan.rows[row].like}/{place}", "fold": fold}
            yield f"finetune/{row}/{place}", of
        for row in self._scored:
            autoencoder = f"autoencoder/{plan.score_autoencoder(row, fold)}"
            yield f"finetune/{row}/{place}", {"cae": autoencoder, "fold": fold}
        for probe in self._probes:
            for row in plan.probed_rows(self.experiment):
                of = {"pretrained": pretrained(plan, row, fold), "fold": fold}
                yield f"{probe}/{row}/{place}", of


def pretrained(plan: Plan, row: str, fold: int) -> str:
    """Folder of the pretraining run that a fold of a row starts from."""
    return f"pretrain/{plan.source(row)}/seed{plan.seed_of(row, fold)}"


def second_channel(plan: Plan, row: str) -> str | None:
    """Name of the residuals that a row's classifier sees."""
    return plan.rows[row].finetune.get("residuals")


def _residuals(name: str | None) -> str | None:
    return f"residuals/{name}" if name else None
