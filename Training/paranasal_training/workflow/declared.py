"""What is declared in YAML: the presets' sizes, the rows and the tables."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ParanasalSSLLib.errors import BadConfig

HERE = Path(__file__).parent
Settings = dict[str, Any]
_KINDS = {dict: "settings by name", tuple: "a list", int: "a whole number", bool: "true or false"}


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
    runs_a_process: bool = False
    """Whether one process does all folds of a row, one after the other: it starts up once only. Not
    for fine-tuning on several `devices`, whose processes end with their run.
    """
    threads: int = 1
    """CPU threads of one run."""
    gpus: int = 0
    """GPUs that one run needs."""
    processes: int = 16
    """Processes that simulate the cohort; on one machine no more than Snakemake's cores."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value, kind = getattr(self, item.name), type(getattr(Preset, item.name, {}))
            if type(value) is not kind:
                raise BadConfig(f"{item.name} is {_KINDS[kind]}, not {value!r}")
        inner = [*self.pretrain_by_row.values(), *self.finetune_by_share.values()]
        if not all(isinstance(one, dict) for one in inner):
            raise BadConfig("pretrain_by_row and finetune_by_share have settings by name for each")
        wrong = [one for one in self.percents if type(one) is not int or not 0 < one <= 100]
        if wrong or not self.percents or list(self.percents) != sorted(set(self.percents)):
            raise BadConfig(f"percents are 1 to 100, ascending, not {list(self.percents)}")
        if type(self.folds) is not int or min(self.threads, self.pretrain_seeds) < 1:
            raise BadConfig("split.folds, threads and pretrain_seeds are whole numbers, 1 or more")

        tuned = [self.finetune, *self.finetune_by_share.values()]
        if self.runs_a_process and any(one.get("devices", 1) != 1 for one in tuned):
            raise BadConfig(
                "runs_a_process is for runs on one device; finetune has several devices"
            )

    @property
    def folds(self) -> int:
        """How many folds its split has."""
        return self.split.get("folds", 5)


@dataclass(frozen=True)
class TableRow:
    """One row of a table: how its encoder is pretrained, or which row it is like, but for what; or
    `score`: residuals whose mean is the score, without any classifier.
    """

    title: str
    pretrain: Settings | None = None
    like: str | None = None
    finetune: Settings = field(default_factory=dict)
    evaluate: Settings = field(default_factory=dict)
    score: str | None = None

    @property
    def method(self) -> str | None:
        """The method that pretrains it, None where it is like another row."""
        return str(self.pretrain["method"]) if self.pretrain else None

    @property
    def learns_from(self) -> str | None:
        """Name of the residuals that its pretraining learns from."""
        return (self.pretrain or {}).get("residuals")


@dataclass(frozen=True)
class Experiment:
    """One table. percents: of the labels, None: the preset's. maps: residuals to judge. probes: of the
    frozen encoders, `linear` and `knn`; each gives a table of its own.
    """

    title: str
    rows: tuple[str, ...]
    percents: tuple[int, ...] | None = None
    ours: str = "residual"
    maps: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()


def preset_names() -> list[str]:
    """Presets that come with the package."""
    return sorted(path.stem for path in (HERE / "presets").glob("*.yaml"))


def named(folder: str, name: str) -> Path:
    """The file of a preset or a cohort: one that comes with the package, or the user's own."""
    path = HERE / folder / f"{name}.yaml"
    return path if path.is_file() else Path(name)


def merged(base: Settings, over: Settings) -> Settings:
    """`base` with the values of `over`, nested settings one by one."""
    result = dict(base)
    for key, value in over.items():
        inner = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if inner else value
    return result


def _names(folder: str) -> str:
    return ", ".join(sorted(path.stem for path in (HERE / folder).glob("*.yaml")))


def read_yaml(path: Path) -> Settings:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(found or {}, dict):
            raise ValueError("no settings by name")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadConfig(
            f"{path} cannot be read as settings in YAML. Presets that there are: {_names('presets')}; "
            f"cohorts: {_names('cohorts')}."
        ) from error
    return dict(found or {})
