"""The training commands of `paranasal`: one line each; options follow from the typed configurations.

A command takes its options from the command line (`--epochs 20 --network.latent 256`) and from YAML
or JSON files (`--config cae.yaml`; what comes later on the line wins). Nothing heavy is imported
before a command runs.
"""

from __future__ import annotations

import argparse
import inspect
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ParanasalSSLLib.errors import BadConfig


@dataclass(frozen=True)
class Command:
    """name: on the command line. module: below this package. config, function: names in it.

    positional: the option whose value may also stand first, without its name.
    """

    name: str
    help: str
    module: str
    config: str
    function: str
    positional: str = ""


COMMANDS = (
    Command("prepare", "scans of a site (BIDS folder or table) -> crop store", "prepare.site", "PrepareConfig", "prepare", "scans"),
    Command("simulate", "simulated cohort -> crop store", "cohort.simulate", "SimulateConfig", "simulate"),
    Command("simulate-head", "one simulated whole head -> NIfTI", "cohort.heads", "HeadConfig", "simulate_head"),
    Command("sheet", "picture sheet of a crop store", "cohort.sheet", "SheetConfig", "draw_sheet"),
    Command("split", "patients -> test set and folds", "data.splits", "SplitConfig", "make_splits"),
    Command("train", "stage 1: autoencoder of healthy sinuses", "stages.cae", "TrainConfig", "train_cae"),
    Command("residuals", "stage 2: residuals of a crop store", "stages.residuals", "ResidualsConfig", "make_residuals"),
    Command("residual-files", "residuals of a store as images for 3D Slicer", "data.residual_files", "ResidualFilesConfig", "write_residual_files"),
    Command("pretrain", "stage 3: self-supervised pretraining, any method", "stages.pretrain", "PretrainConfig", "pretrain"),
    Command("finetune", "stage 4: classifier from labels", "stages.finetune", "FinetuneConfig", "finetune"),
    Command("evaluate", "metrics of a classifier on the test split", "evaluation.classifier", "EvaluateConfig", "evaluate"),
    Command("experiment", "a table or figure of the paper, from crops to page", "workflow.experiment", "ExperimentConfig", "run_experiment", "name"),
    Command("compare", "finished runs -> tables, figures and page", "evaluation.comparison.compare", "ComparisonConfig", "write_comparison"),
    Command("evaluate-maps", "residuals against simulated lesions", "evaluation.maps", "EvaluateMapsConfig", "evaluate_maps"),
    Command("bundle", "trained runs -> model bundle", "release.bundling", "BundleConfig", "make_bundle"),
    Command("export-monai", "model bundle -> MONAI Bundle", "release.monai_export", "MonaiExportConfig", "export_monai"),
    Command("model-card", "write a bundle's model card again", "release.model_card", "ModelCardConfig", "write_model_card"),
    Command("check-real", "a bundle against real scans with inserted lesions", "evaluation.real_scans", "RealCheckConfig", "check_real"),
)  # fmt: skip


def register(subparsers: Any) -> None:
    """Add the commands to `paranasal`."""
    for command in COMMANDS:
        # No prefix character: every word, options too, is passed on to the command's own parser.
        parser = subparsers.add_parser(
            command.name, help=command.help, add_help=False, prefix_chars="\0"
        )
        parser.add_argument("words", nargs="*")
        parser.set_defaults(run=_runner(command))


def _runner(command: Command) -> Any:
    def run(args: argparse.Namespace) -> int:
        return run_command(command, args.words)

    return run


def run_command(command: Command, words: list[str]) -> int:
    """Parse the words into the command's configuration and run it; returns the exit status.

    Raises:
        BadConfig: a value that makes no sense (unknown or malformed options end with status 2).
    """
    module = import_module(f"{__package__}.{command.module}")
    kind = getattr(module, command.config)
    takes = inspect.signature(getattr(module, command.function)).parameters
    needs_output = "output" in takes
    parser = _make_parser(command, kind, needs_output)
    if command.positional and words and not words[0].startswith("-"):
        words = [f"--{command.positional}", *words]
    parsed = parser.parse_args(words)
    try:
        values = vars(parser.instantiate_classes(parsed))
        extra = {"output": values.pop("output")} if needs_output else {}
        config = kind(**{k: v for k, v in values.items() if k != "config"})
    except ValueError as error:
        raise BadConfig(f"{command.name}: {error}") from error
    result = getattr(module, command.function)(config, **extra)
    if result is not None:
        print(f"Wrote {result}" if isinstance(result, Path) else json.dumps(result, indent=2))
    return 0


def _make_parser(command: Command, kind: type, needs_output: bool) -> Any:
    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog=f"paranasal {command.name}", description=kind.__doc__, allow_abbrev=False
    )
    if command.positional:
        parser.usage = f"paranasal {command.name} {command.positional.upper()} [options]"
    parser.add_argument("--config", action="config", help="YAML or JSON file of options")
    parser.add_class_arguments(kind)
    if needs_output:
        parser.add_argument(
            "-o", "--output", type=Path, required=True, help="where the result goes"
        )
    return parser
