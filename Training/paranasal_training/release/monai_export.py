"""A model bundle in the layout of a MONAI Bundle, for programs that run those.

Layout and metadata follow MONAI's bundle specification
(https://docs.monai.io/en/stable/mb_specification.html): `configs/metadata.json`,
`configs/inference.json`, `models/model.pt`, `docs/README.md`, `LICENSE`. The export holds what leads to
a probability; maps and masks come from `paranasal predict`.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

from paranasal_training.release.config import MonaiExportConfig
from paranasal_training.release.monai_runtime import (
    SHAPE,
    CalibratedProbability,
    Evaluator,
    checked_crop,
)
from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.files import write_whole_folder
from ParanasalSSLLib.model.anomaly import AnomalyNetwork
from ParanasalSSLLib.model.bundle_folder import MODEL_CARD
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.card import BundleCard, read_card
from ParanasalSSLLib.model.networks import CAE, Classifier
from ParanasalSSLLib.model.torch_networks import TorchNetworks, load_torch_networks

DISTRIBUTION = "paranasal-ssl"
SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
REFERENCE = (
    "Bhattacharya D. et al. Self-supervised learning for classifying paranasal anomalies in the "
    "maxillary sinus. International Journal of Computer Assisted Radiology and Surgery, 2024."
)
METRICS = ("auroc", "auprc", "f1", "sensitivity", "specificity", "brier", "ece")


def export_monai(config: MonaiExportConfig) -> Path:
    """Write a MONAI Bundle; returns its folder, which appears whole or not at all.

    Raises:
        BadBundle: the model bundle is missing or damaged, or MONAI's own checks of the export fail.
        UnsafeOutput: the output folder is not empty.
    """
    card, networks = read_card(config.bundle), load_torch_networks(config.bundle)
    with write_whole_folder(config.output) as folder:
        _write(card, networks, config.bundle, folder)
        _verify(folder)
    return config.output


def _write(card: BundleCard, networks: TorchNetworks, source: Path, folder: Path) -> None:
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True)
    for name, content in (
        ("metadata", bundle_metadata(card)),
        ("inference", inference_config(card)),
    ):
        ConfigParser.export_config_file(content, str(folder / f"configs/{name}.json"), indent=2)
    network = AnomalyNetwork(networks.classifier, networks.cae, card.residual)
    torch.save(network.state_dict(), folder / "models/model.pt")
    (folder / "docs/README.md").write_text(_readme(card, source), encoding="utf-8")
    (folder / "LICENSE").write_text(_licence(card), encoding="utf-8")


def _verify(folder: Path) -> None:
    """Let MONAI check the parts of an inference bundle, and the network's input and output.

    Raises:
        BadBundle: MONAI lacks something.
    """
    config, meta = (str(folder / f"configs/{name}.json") for name in ("inference", "metadata"))
    for name in ("scripts", "workflows"):
        logging.getLogger(f"monai.bundle.{name}").setLevel(logging.ERROR)
    with warnings.catch_warnings():  # of bundles that others made, of readers that are not needed
        warnings.filterwarnings("ignore", category=UserWarning)
        workflow = ConfigWorkflow(
            config, meta, logging_file=False, workflow_type="infer", bundle_root=str(folder)
        )
        workflow.initialize()
        lacking = workflow.check_properties()
        verify_net_in_out("network_def", device="cpu", config_file=config, meta_file=meta)
    if lacking:
        raise BadBundle(f"MONAI does not accept the export: it lacks {lacking}.")


# ---------------------------------------------------------------------------------- metadata


def bundle_metadata(card: BundleCard) -> dict[str, Any]:
    """The content of `metadata.json`."""
    return {
        "schema": SCHEMA,
        "version": card.version,
        "changelog": {card.version: "exported from a model bundle of ParanasalSSL"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {
            name: _version(name) for name in (DISTRIBUTION, "nibabel", "scipy")
        },
        "name": card.name,
        "task": "Classification of maxillary sinuses in head MRI as normal or anomalous",
        "description": (
            "A 3D ResNet18 encoder, pretrained by self-supervision, with a small head scores a crop "
            "of one maxillary sinus."
        ),
        "authors": "The ParanasalSSL developers",
        "copyright": "Copyright (c) The ParanasalSSL developers",
        "data_source": (
            "simulated crops of maxillary sinuses" if card.simulated else "crops of a site"
        ),
        "data_type": "nifti",
        "image_classes": "one maxillary sinus in head MRI, scaled to 0..1",
        "label_classes": "0: normal, 1: anomalous",
        "pred_classes": "logits of normal and anomalous; postprocessing gives the probability",
        "eval_metrics": _metrics(card),
        "intended_use": card.intended_use,
        "references": [REFERENCE],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": SHAPE[0],
                    "spatial_shape": list(SHAPE[1:]),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {"0": "crop of one sinus, right ones mirrored onto the left"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "tuples",
                    "format": "classes",
                    "num_channels": 2,
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {"0": "normal (logit)", "1": "anomalous (logit)"},
                }
            },
        },
    }


def _version(name: str) -> str:
    """Of an installed package, without a local part such as "+cpu"."""
    return metadata.version(name).partition("+")[0]


def _metrics(card: BundleCard) -> dict[str, float]:
    found = card.training.get("metrics", {})
    return {name: found[name] for name in METRICS if name in found}


# --------------------------------------------------------------------------------- inference


def inference_config(card: BundleCard) -> dict[str, Any]:
    """The content of `inference.json`, a configuration of MONAI's `ConfigWorkflow`."""
    return {
        "imports": [
            "$import glob",
            "$import os",
            "$import torch",
            f"$from {checked_crop.__module__} import {checked_crop.__name__}",
        ],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/crops'",
        "output": "$@bundle_root + '/eval/predictions.csv'",
        "checkpoint": "$@bundle_root + '/models/model.pt'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "decision_threshold": card.decision_threshold,
        "network_def": _network(card),
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "image_only": True},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "EnsureTyped", "keys": "image", "track_meta": False},
                {"_target_": "Lambdad", "keys": "image", "func": f"${checked_crop.__name__}"},
            ],
        },
        "crop_files": "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii.gz')))",
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': f, 'crop': os.path.basename(f)} for f in @crop_files]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 4,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {"_target_": "SimpleInferer"},
        "calibration": _target(Calibration, **asdict(card.calibration)),
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "Lambdad",
                    "keys": "pred",
                    "func": _target(CalibratedProbability, calibration="@calibration"),
                }
            ],
        },
        "evaluator": _target(
            Evaluator,
            dataloader="@dataloader",
            network="@network",
            inferer="@inferer",
            postprocessing="@postprocessing",
            device="@device",
            threshold="@decision_threshold",
            output="@output",
        ),
        "initialize": [
            "$@network.load_state_dict(torch.load(@checkpoint, map_location=@device, "
            "weights_only=True))",
            "$@network.eval()",
        ],
        "run": ["$@evaluator.run()"],
    }


def _network(card: BundleCard) -> dict[str, Any]:
    parts = {"classifier": _target(Classifier, config=_settings(card.classifier))}
    if card.classifier.channels == 2:
        parts["cae"] = _target(CAE, config=_settings(card.cae))
        parts["residual"] = _settings(card.residual)
    return _target(AnomalyNetwork, **parts)


def _settings(config: Any) -> dict[str, Any]:
    """A configuration dataclass; tuples as expressions, since JSON knows lists only."""
    values = asdict(config)
    tuples = {k: f"${v!r}" for k, v in values.items() if isinstance(v, tuple)}
    return _target(type(config), **values | tuples)


def _target(kind: type, **values: Any) -> dict[str, Any]:
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **values}


# --------------------------------------------------------------------------------- documents


def _readme(card: BundleCard, source: Path) -> str:
    parts = [
        f"# {card.name}, version {card.version}: MONAI Bundle",
        f"**{card.intended_use}**",
        "Gives the calibrated probability that a maxillary sinus is anomalous, from a crop of it. It "
        f"needs the Python package `{DISTRIBUTION}`, which holds the networks.",
        "## Run",
        "```sh\npython -m monai.bundle run --config_file configs/inference.json --bundle_root . \\\n"
        "    --dataset_dir crops --output predictions.csv\n```",
        "MONAI's command line needs the package `fire`; from Python, `monai.bundle.run(config_file="
        '"configs/inference.json", meta_file="configs/metadata.json", bundle_root=".")` does the same.',
        "`predictions.csv` has one line a crop: name of the file, probability, and 1 where the "
        f"probability is {card.decision_threshold} or more. As with every MONAI Bundle, running the "
        "configuration runs the code that it names: use bundles from sources that you trust.",
        "## Crops",
        "A crop is a NIfTI file of 64 x 64 x 64 voxels of 1 mm around one maxillary sinus, scaled so "
        "that its 1st and 99th percentile are 0 and 1, with values outside cut off. The first axis "
        "runs from lateral to medial on both sides (a right sinus is mirrored onto the left, which "
        "the file's affine says), the second from posterior to anterior, the third from inferior to "
        "superior. The array is used as it lies in the file: do not reorient it. This writes the "
        "crops of a scan as `paranasal predict` cuts them:",
        f"```python\n{CROP_EXAMPLE}```",
        "Residual maps and masks are not part of this bundle; `paranasal predict` gives them.",
    ]
    model_card = source / MODEL_CARD
    if model_card.is_file():
        parts.append(model_card.read_text(encoding="utf-8").strip())
    return "\n\n".join(parts) + "\n"


CROP_EXAMPLE = """\
from pathlib import Path

import nibabel

from ParanasalSSLLib.crop import cut_crop
from ParanasalSSLLib.predict import find_sinuses

found = find_sinuses("scan.nii.gz")
Path("crops").mkdir(exist_ok=True)
for side, box in found.placement.boxes.items():
    crop = cut_crop(found.volume, box)
    nibabel.save(nibabel.Nifti1Image(crop.data, crop.affine), f"crops/{side.value}.nii.gz")
"""


def _licence(card: BundleCard) -> str:
    text = metadata.distribution(DISTRIBUTION).read_text("licenses/LICENSE.txt")
    clone = Path(__file__).parents[3] / "LICENSE.txt"
    if not text and clone.is_file():  # installed in place: the licence is where the code is
        text = clone.read_text(encoding="utf-8")
    if card.licence == "Apache-2.0" and text:
        return text
    return f"SPDX-License-Identifier: {card.licence}\n"
