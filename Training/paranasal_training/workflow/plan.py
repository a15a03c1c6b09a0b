"""What an experiment consists of, and the settings of each of its runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from paranasal_training.data.splits import fold_count
from paranasal_training.workflow.declared import (
    HERE,
    Experiment,
    Preset,
    Settings,
    TableRow,
    merged,
    named,
    read_yaml,
)
from paranasal_training.workflow.own_crops import OwnCrops, count_folds
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import tupled, write_whole
from ParanasalSSLLib.model.config import FULL_WIDTHS

PROBES = {
    "linear": "linear probe of the frozen encoder",
    "knn": "nearest neighbours, frozen encoder",
}
DONORS = (
    "Part of the patients have the anatomy of the donors' heads, deformed anew for each. The same "
    "heads are in training, validation and test: the figures say little of heads never seen."
)
WORKFLOW_S_OWN = ("autoencoder", "crossed", "of_folds")  # of residuals, no settings of the command


@dataclass(frozen=True)
class Plan:
    """The declared workflow at the size of one preset.

    name: of the preset.
    crops: a crop store that is there already (None: the simulated cohort).
    simulated: whether the crops are simulated ones. masks: whether their lesions are known.
    splits: file that divides them (None: the workflow makes one). divided: their own table does.
    folds: of the cross-validation. unlabelled: whether there are patients without labels.
    cohort: name of the simulated one. made: how it differs from the preset's, with its donors.
    medicalnet: MedicalNet's file for the row `transfer` (None: the row stays open).
    """

    name: str
    preset: Preset
    autoencoders: dict[str, Settings]
    residuals: dict[str, Settings]
    rows: dict[str, TableRow]
    experiments: dict[str, Experiment]
    crops: Path | None = None
    medicalnet: Path | None = None
    simulated: bool = True
    masks: bool = True
    splits: Path | None = None
    divided: bool = False
    folds: int = 5
    unlabelled: bool = True
    cohort: str = "many"
    made: Settings = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        preset: str,
        crops: str | Path | None = None,
        medicalnet: str | Path | None = None,
        splits: str | Path | None = None,
        folds: int | None = None,
        cohort: str | None = None,
        donors: str | Path | None = None,
    ) -> Plan:
        """The plan for a preset (a name of `preset_names()`, or a YAML file like those).

        Raises:
            BadConfig: no such preset, or a malformed one; folds that there are not.
            BadStore: `crops` is no crop store, `splits` no file of `paranasal split`.
        """
        declared = read_yaml(HERE / "experiments.yaml")
        path = named("presets", preset)
        made = read_yaml(named("cohorts", cohort or "many"))
        made |= {"donors": str(Path(donors).resolve())} if donors else {}
        settings = read_yaml(path)
        try:
            sizes = Preset(**tupled(settings))
            rows = {name: TableRow(**row) for name, row in declared["rows"].items()}
            experiments = {
                name: Experiment(**tupled(one)) for name, one in declared["experiments"].items()
            }
        except (TypeError, BadConfig) as error:
            words = str(error).replace("Preset.__init__() got", "there is")
            raise BadConfig(f"{path}: {words}. See the presets beside {HERE.name}.") from error
        own = OwnCrops.read(Path(crops)) if crops else None
        divides = Path(splits).resolve() if splits else None
        return cls(
            path.stem,
            sizes,
            declared["autoencoders"],
            declared["residuals"],
            rows,
            experiments,
            own.folder if own else None,
            Path(medicalnet).resolve() if medicalnet else None,
            simulated=own is None or own.simulated,
            masks=own is None or own.masks,
            splits=divides,
            divided=own is not None and own.divided and divides is None,
            folds=count_folds(own, divides, folds, sizes.folds),
            unlabelled=own is None or own.unlabelled,
            cohort=Path(cohort).stem if cohort else "many",
            made=made,
        )

    def experiment(self, name: str) -> Experiment:
        """Raises `BadConfig` when there is none of this name."""
        if name not in self.experiments:
            raise BadConfig(f"No experiment {name!r}; choose {', '.join(self.experiments)}.")
        return self.experiments[name]

    def percents(self, name: str) -> tuple[int, ...]:
        """Label fractions of an experiment in percent: its own, as far as the preset has them."""
        wanted = self.experiment(name).percents
        if wanted is None:
            return self.preset.percents
        return tuple(s for s in wanted if s in self.preset.percents) or self.preset.percents[:1]

    def open_rows(self, name: str) -> dict[str, str]:
        """Rows of an experiment that cannot be filled, and why."""
        whys = {row: self._no_run(self.rows[row]) for row in self.experiment(name).rows}
        return {row: why for row, why in whys.items() if why}

    def _no_run(self, row: TableRow) -> str | None:
        second = row.finetune.get("residuals")
        if row.method == "transfer":
            return self._no_transfer()
        if row.learns_from and self.residuals[row.learns_from].get("kind") == "oracle":
            return self._no_oracle()
        if second and self.residuals[second].get("crossed") and self.divided:
            return "one division has no autoencoders that have not learnt from the training crops"
        return None

    def _no_transfer(self) -> str | None:
        if self.medicalnet is None:
            return "MedicalNet's file resnet_18_23dataset.pth was not given"
        network = self.preset.pretrain.get("network", {})
        if tuple(network.get("widths", FULL_WIDTHS)) != FULL_WIDTHS:
            return f"MedicalNet's weights need an encoder of widths {FULL_WIDTHS}"
        return None

    def _no_oracle(self) -> str | None:
        return None if self.masks else "the crops come without lesion masks"

    def closed_rows(self, name: str) -> list[str]:
        """Rows of an experiment that are run."""
        open_rows = self.open_rows(name)
        return [row for row in self.experiment(name).rows if row not in open_rows]

    def evaluated_maps(self, name: str) -> tuple[str, ...]:
        """Residuals of an experiment that are judged against masks: none where there are none."""
        return self.experiment(name).maps if self.masks else ()

    def source(self, row: str) -> str | None:
        """The row whose pretraining a row starts from; None: it has no classifier."""
        return None if self.rows[row].score else self.rows[row].like or row

    def simulate_settings(self) -> Settings:
        """Settings of `paranasal simulate`."""
        return merged(self.preset.simulate, self.made)

    def split_settings(self) -> Settings:
        """Settings of `paranasal split`."""
        usual = self.folds == self.preset.folds
        return self.preset.split if usual else merged(self.preset.split, {"folds": self.folds})

    def train_settings(self, autoencoder: str) -> Settings:
        """Settings of `paranasal train`; of an autoencoder by the name that `of_fold` gave."""
        name, fold = declared_name(autoencoder)
        own = self.autoencoders[name] | ({"fold": fold} if fold > 1 else {})
        return merged(self.preset.train, own)

    def residual_settings(self, residuals: str) -> Settings:
        """Settings of `paranasal residuals`; all rows, since a classifier may see them too."""
        declared = self.residuals[declared_name(residuals)[0]]
        own = {k: v for k, v in declared.items() if k not in WORKFLOW_S_OWN}
        return merged({"split": None}, merged(self.preset.residuals, own))

    def autoencoders_of(self, residuals: str) -> list[str]:
        """The autoencoders that give residuals: one, or one for every fold of the division."""
        name, fold = declared_name(residuals)
        folds = range(1, self._divided_folds + 1) if self._crossed(name) else [fold]
        return [of_fold(self.residuals[name]["autoencoder"], one) for one in folds]

    def _crossed(self, name: str) -> bool:
        """Whether labelled crops get residuals of autoencoders that have not learnt from them.

        So they do, too, where pretraining learns from labelled crops: what an autoencoder has learnt
        has small residuals, and it has learnt what is labelled healthy.
        """
        declared = self.residuals[name]
        if declared.get("crossed"):
            return True
        own = declared.get("of_folds") or declared.get("kind") == "oracle"
        return not (self.unlabelled or self.divided or own)

    @property
    def _divided_folds(self) -> int:
        """Folds of the division; `folds` of them are run. Each has patients that others learn from."""
        return fold_count(self.splits) if self.splits else self.folds

    def score_settings(self, row: str) -> Settings:
        """Settings of `paranasal evaluate-residuals` for a row without a classifier."""
        settings = self.residual_settings(str(self.rows[row].score))
        return {k: v for k, v in settings.items() if k in ("kind", "residual")}

    def score_autoencoder(self, row: str, fold: int) -> str:
        """The autoencoder whose residuals are the score, of the fold's own training crops."""
        return of_fold(self.residuals[str(self.rows[row].score)]["autoencoder"], fold)

    def pretrain_settings(self, row: str) -> Settings:
        """Settings of `paranasal pretrain`."""
        own = {k: v for k, v in (self.rows[row].pretrain or {}).items() if k != "residuals"}
        if own.get("method") == "transfer" and self.medicalnet:
            own["options"] = {"file": str(self.medicalnet)}
        return merged(merged(self.preset.pretrain, self.preset.pretrain_by_row.get(row, {})), own)

    def seed_of(self, row: str, fold: int) -> int:
        """Which of a row's pretraining runs a fold starts from.

        Random weights: one of its own. So is what was learnt from the fold's own training crops.
        """
        source = self.rows[str(self.source(row))]
        usual = self.preset.pretrain_seeds if self.unlabelled else self.folds
        usual = self.folds if self._of_folds(source.learns_from) else usual
        runs = {"none": self.folds, "transfer": 1}.get(str(source.method), usual)
        return 1 + (fold - 1) % runs

    def _of_folds(self, residuals: str | None) -> bool:
        """Whether every fold has residuals of an autoencoder of its own."""
        return bool(residuals and self.residuals[residuals].get("of_folds"))

    def residuals_of(self, row: str, seed: int) -> str | None:
        """Name of the residuals that one of a row's pretraining runs learns from."""
        residuals = self.rows[row].learns_from
        if residuals is None:
            return None
        return of_fold(residuals, seed) if self._of_folds(residuals) else residuals

    def finetune_settings(self, row: str, share: int) -> Settings:
        """Settings of `paranasal finetune`."""
        own = {k: v for k, v in self.rows[row].finetune.items() if k != "residuals"}
        by_share = merged(self.preset.finetune, self.preset.finetune_by_share.get(share, {}))
        return merged(by_share, {"label_fraction": share / 100} | own)

    def map_settings(self, residuals: str) -> Settings:
        """Settings of `paranasal evaluate-maps`."""
        settings = self.residual_settings(residuals)
        return {"residual": settings["residual"]} if "residual" in settings else {}

    def probed_rows(self, name: str) -> list[str]:
        """Rows of an experiment whose encoder can be looked at frozen: that have one of their own."""
        return [row for row in self.closed_rows(name) if self.rows[row].pretrain]

    def probe_settings(self, probe: str, percent: int) -> Settings:
        """Settings of `paranasal evaluate-frozen`."""
        return {"probe": probe, "label_fraction": percent / 100}

    def compare_settings(self, name: str, probe: str | None = None) -> Settings:
        """Settings of `paranasal compare`; `probe`: of frozen encoders in place of fine-tuned ones."""
        experiment = self.experiment(name)
        rows = [row for row in experiment.rows if not probe or self.rows[row].pretrain]
        return {
            "runs": probe or "finetune",
            "rows": rows,
            "percents": list(self.percents(name)),
            "folds": self.folds,
            "title": experiment.title + (f"; {PROBES[probe]}" if probe else ""),
            "simulated": self.simulated,
            "ours": experiment.ours,
            "titles": {row: self.rows[row].title for row in rows},
            "notes": [DONORS] if "donors" in self.made and not self.crops else [],
            "open_reasons": {r: why for r, why in self.open_rows(name).items() if r in rows},
            "experiment": {"Command": self._command(name)},
        }

    def _command(self, name: str) -> str:
        words = f"paranasal experiment {name} --preset {self.name}"
        words += " --crops CROPS" if self.crops else f" --cohort {self.cohort}"
        words += " --donors HEADS" if "donors" in self.made and not self.crops else ""
        words += " --splits SPLITS" if self.splits else ""
        return words + (f" --folds {self.folds}" if self.folds != self.preset.folds else "")

    def write(self, path: Path, settings: Settings) -> Path:
        """Write settings as YAML unless the file holds these, in any order; returns the path."""
        text = yaml.safe_dump(settings, sort_keys=False)
        if not _holds(path, text):
            with write_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return path


def _holds(path: Path, text: str) -> bool:
    """Whether a file of YAML says the same as a text."""
    try:
        return bool(yaml.safe_load(path.read_text(encoding="utf-8")) == yaml.safe_load(text))
    except (OSError, ValueError, yaml.YAMLError):
        return False


def of_fold(name: str, fold: int) -> str:
    """What the autoencoder or the residuals of a fold are called; those of the first by their name."""
    return name if fold == 1 else f"{name}.fold{fold}"


def declared_name(name: str) -> tuple[str, int]:
    """Name and fold that `of_fold` put together."""
    name, _, fold = name.partition(".fold")
    return name, int(fold or 1)
