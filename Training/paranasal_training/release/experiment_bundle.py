"""From the folder of an experiment to a model bundle: everything is taken from the runs in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from paranasal_training.release.bundling import make_bundle
from paranasal_training.release.config import BundleConfig, ExperimentBundleConfig
from paranasal_training.runs.record import read_settings
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import tupled
from ParanasalSSLLib.model.config import ResidualConfig

USUAL = ["plain", "calibrated"]  # residuals of the autoencoder that rows without any get


def bundle_experiment(config: ExperimentBundleConfig) -> Path:
    """Bundle one run of an experiment; returns the bundle's folder.

    Raises:
        BadConfig: there is no such run; names those that there are.
        BadStore, BadCheckpoint, UnsafeOutput: see `make_bundle`.
    """
    return make_bundle(settings_of(config))


def settings_of(config: ExperimentBundleConfig) -> BundleConfig:
    """What `paranasal bundle` needs to know, from the runs. Raises `BadConfig`: no such run."""
    folder = config.experiment
    classifier = _finetuned(config)
    run = _settings(classifier)
    info = _read(_residuals_of(folder, run) / "residuals.json")
    bundle = BundleConfig(
        store=_inside(folder, run["store"]),
        cae=_autoencoder(folder, info["cae"]),
        classifier=classifier,
        output=config.output,
        splits=_inside(folder, run["splits"]) if run.get("splits") else None,
        residual=ResidualConfig(**tupled(info["residual"])),
    )
    return replace(bundle, name=config.name or classifier_name(config), version=config.version)


def classifier_name(config: ExperimentBundleConfig) -> str:
    """Which run it is, as the bundle's name."""
    return f"{config.row}-{_percent(config)}-fold{config.fold}"


def _percent(config: ExperimentBundleConfig) -> int:
    if config.percent is not None:
        return config.percent
    there = [path.name for path in (config.experiment / "finetune" / config.row).glob("*")]
    return max((int(name) for name in there if name.isdigit()), default=100)


def _finetuned(config: ExperimentBundleConfig) -> Path:
    tuned = config.experiment / "finetune"
    found = tuned / config.row / str(_percent(config)) / f"fold{config.fold}"
    if (found / "run.json").is_file():
        return found
    complete = sorted(path.parent.relative_to(tuned) for path in tuned.glob("*/*/*/run.json"))
    names = ", ".join(map(str, complete)) or "none"
    raise BadConfig(
        f"{found} holds no finished run. Finished are (row, per cent of labels, fold): {names}."
    )


def _residuals_of(folder: Path, run: dict[str, Any]) -> Path:
    """The residuals that the classifier sees, or that its encoder has learnt; those of the usual
    autoencoder where it has nothing to do with any. Raises `BadConfig`: there are none."""
    if run.get("residuals"):
        return folder / "residuals" / Path(run["residuals"]).name
    start = run.get("pretrained")
    learnt = _settings(_inside(folder, start)).get("residuals") if start else None
    names = [Path(learnt).name] if learnt else USUAL
    for name in names:
        if (folder / "residuals" / name).is_dir():
            return folder / "residuals" / name
    raise BadConfig(
        f"{folder} holds no residuals ({' or '.join(names)}), and a bundle needs an autoencoder for "
        "its masks. Run `paranasal experiment core` in that folder first, or give one to `paranasal "
        "bundle`."
    )


def _autoencoder(folder: Path, made_by: dict[str, Any]) -> Path:
    """The run whose residuals they are: settings and loss are those that the residuals name."""
    for record in sorted(folder.glob("autoencoder/*/run.json")):
        content = _read(record)
        if all(content.get(key) == made_by[key] for key in ("store", "config", "val_loss")):
            return record.parent
    raise BadConfig(f"{folder}/autoencoder holds no run of which the residuals are.")


def _inside(folder: Path, path: str) -> Path:
    """A path as a step of the experiment wrote it: relative ones are below the working folder."""
    return folder / path


def _settings(run: Path) -> dict[str, Any]:
    found = read_settings(run / "config.json")
    if found is None:
        raise BadConfig(f"{run / 'config.json'} is missing.")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path} is missing or damaged. Run the experiment again.") from error
