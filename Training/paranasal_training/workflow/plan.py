"""What an experiment consists of, and the settings of each of its runs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from paranasal_training.data.store import read_record
from paranasal_training.workflow.own_crops import OwnCrops, count_folds
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import tupled, write_whole
from ParanasalSSLLib.model.config import FULL_WIDTHS

HERE = Path(__file__).parent
Settings = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """How large everything is. Settings are those of the commands of the same names."""

    simulate: Settings = field(default_factory=dict)
    """Settings of `paranasal simulate`."""
    split: Settings = field(default_factory=dict)
    """Settings of `paranasal split`."""
    train: Settings = field(default_factory=dict)
    """Settings of `paranasal train`."""
    residuals: Settings = field(default_factory=dict)
    """Settings of `paranasal residuals`."""
    pretrain: Settings = field(default_factory=dict)
    """Settings of `paranasal pretrain`."""
    pretrain_by_row: dict[str, Settings] = field(default_factory=dict)
    """Settings of `paranasal pretrain` that differ by row."""
    pretrain_seeds: int = 1
    """Runs of each row's pretraining, with other seeds; the folds start from them in turn."""
    finetune: Settings = field(default_factory=dict)
    """Settings of `paranasal finetune`."""
    finetune_by_share: dict[int, Settings] = field(default_factory=dict)
    """Settings of `paranasal finetune` that differ by percentage of labels."""
    percents: tuple[int, ...] = (10, 20, 100)
    """Percentages of labels, ascending."""
    threads: int = 1
    """CPU threads of one run."""
    gpus: int = 0
    """GPUs that one run needs."""
    processes: int = 16
    """Processes that simulate the cohort; on one machine no more than Snakemake's cores."""

    @property
    def folds(self) -> int:
        """How many folds its split has."""
        return int(self.split.get("folds", 5))


@dataclass(frozen=True)
class TableRow:
    """One row of a table: how its encoder is pretrained, or which row it is like, but for what."""

    title: str
    pretrain: Settings | None = None
    like: str | None = None
    finetune: Settings = field(default_factory=dict)
    evaluate: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One table. percents: of the labels, None: the preset's. maps: residuals to judge."""

    title: str
    rows: tuple[str, ...]
    percents: tuple[int, ...] | None = None
    ours: str = "residual"
    maps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The declared workflow at the size of one preset.

    name: of the preset.
    crops: a crop store that is there already (None: the simulated cohort).
    simulated: whether the crops are simulated ones. masks: whether their lesions are known.
    splits: file that divides them (None: the workflow makes one). divided: their own table does.
    folds: of the cross-validation. unlabelled: whether there are patients without labels.
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

    @classmethod
    def read(
        cls,
        preset: str,
        crops: str | Path | None = None,
        medicalnet: str | Path | None = None,
        splits: str | Path | None = None,
        folds: int | None = None,
    ) -> Plan:
        """The plan for a preset (a name of `preset_names()`, or a YAML file like those).

        Raises:
            BadConfig: no such preset, or a malformed one; folds that there are not.
            BadStore: `crops` is no crop store, `splits` no file of `paranasal split`.
        """
        declared = _read_yaml(HERE / "experiments.yaml")
        path = HERE / "presets" / f"{preset}.yaml"
        if not path.is_file():
            path = Path(preset)
        try:
            sizes = Preset(**tupled(_read_yaml(path)))
            rows = {name: TableRow(**row) for name, row in declared["rows"].items()}
            experiments = {
                name: Experiment(**tupled(one)) for name, one in declared["experiments"].items()
            }
        except TypeError as error:
            raise BadConfig(f"{path}: {error}. See the presets beside {HERE.name}.") from error
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
        whys = {"transfer": self._no_transfer(), "oracle": self._no_oracle()}
        rows = self.experiment(name).rows
        return {row: why for row, why in whys.items() if why and row in rows}

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

    def source(self, row: str) -> str:
        """The row whose pretraining a row starts from."""
        return self.rows[row].like or row

    def split_settings(self) -> Settings:
        """Settings of `paranasal split`."""
        usual = self.folds == self.preset.folds
        return self.preset.split if usual else merged(self.preset.split, {"folds": self.folds})

    def train_settings(self, autoencoder: str) -> Settings:
        """Settings of `paranasal train`."""
        return merged(self.preset.train, self.autoencoders[autoencoder])

    def residual_settings(self, residuals: str) -> Settings:
        """Settings of `paranasal residuals`; all rows, since a classifier may see them too."""
        own = {k: v for k, v in self.residuals[residuals].items() if k != "autoencoder"}
        return merged({"split": None}, merged(self.preset.residuals, own))

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
        method = (self.rows[self.source(row)].pretrain or {}).get("method")
        usual = self.preset.pretrain_seeds if self.unlabelled else self.folds
        runs = {"none": self.folds, "transfer": 1}.get(str(method), usual)
        return 1 + (fold - 1) % runs

    def residuals_of(self, row: str) -> str | None:
        """Name of the residuals that a row's pretraining learns from."""
        return (self.rows[row].pretrain or {}).get("residuals")

    def finetune_settings(self, row: str, share: int) -> Settings:
        """Settings of `paranasal finetune`."""
        own = {k: v for k, v in self.rows[row].finetune.items() if k != "residuals"}
        by_share = merged(self.preset.finetune, self.preset.finetune_by_share.get(share, {}))
        return merged(by_share, {"label_fraction": share / 100} | own)

    def map_settings(self, residuals: str) -> Settings:
        """Settings of `paranasal evaluate-maps`."""
        settings = self.residual_settings(residuals)
        return {"residual": settings["residual"]} if "residual" in settings else {}

    def compare_settings(self, name: str) -> Settings:
        """Settings of `paranasal compare`."""
        experiment = self.experiment(name)
        return {
            "runs": "finetune",
            "rows": list(experiment.rows),
            "percents": list(self.percents(name)),
            "title": experiment.title,
            "simulated": self.simulated,
            "ours": experiment.ours,
            "titles": {row: self.rows[row].title for row in experiment.rows},
            "open_reasons": self.open_rows(name),
            "experiment": {
                "Command": f"paranasal experiment {name} --preset {self.name}",
                "Machine": f"{processor()}, {os.cpu_count()} cores",
                "Versions": f"torch {version('torch')}, Python {platform.python_version()}",
            },
        }

    def write(self, path: Path, settings: Settings) -> Path:
        """Write settings as YAML unless the file holds just these; returns the path."""
        text = yaml.safe_dump(settings, sort_keys=False)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with write_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return path


def refuse_real_crops(folder: Path) -> None:
    """Raise `BadConfig` when a folder, where the simulated cohort goes, holds a store of scans."""
    if (folder / "store.json").is_file() and not read_record(folder)["info"].get("simulated"):
        raise BadConfig(
            f"{folder.resolve()} holds crops of scans, not the simulated cohort. Give them with "
            "--crops, or choose another working folder."
        )


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def preset_names() -> list[str]:
    """Presets that come with the package."""
    return sorted(path.stem for path in (HERE / "presets").glob("*.yaml"))


def merged(base: Settings, over: Settings) -> Settings:
    """`base` with the values of `over`, nested settings one by one."""
    result = dict(base)
    for key, value in over.items():
        inner = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if inner else value
    return result


def _read_yaml(path: Path) -> Settings:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        names = ", ".join(preset_names())
        raise BadConfig(
            f"{path} cannot be read as YAML. Presets that there are: {names}."
        ) from error
    return dict(found or {})
