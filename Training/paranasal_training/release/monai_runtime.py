"""What a MONAI Bundle of ours needs at run time (`paranasal export-monai` writes such a bundle).

MONAI's own evaluators need pytorch-ignite; `Evaluator` does the same loop without it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.files import write_whole
from ParanasalSSLLib.model.calibration import Calibration
from ParanasalSSLLib.model.resolution import CROP_VOXELS

SHAPE = (1, CROP_VOXELS, CROP_VOXELS, CROP_VOXELS)


def checked_crop(crop: Tensor) -> Tensor:
    """The crop, (1, 64, 64, 64), as it is. Raises `UnreadableScan` for other shapes and values."""
    if tuple(crop.shape) != SHAPE:
        raise UnreadableScan(f"A crop is {SHAPE}, not {tuple(crop.shape)}. See docs/README.md.")
    low, high = float(crop.min()), float(crop.max())
    if not -0.01 <= low <= high <= 1.01:
        raise UnreadableScan(
            f"A crop's values lie in 0..1, not in {low:.3g}..{high:.3g}. See docs/README.md."
        )
    return crop


class CalibratedProbability:
    """Logits (2,) of one crop -> calibrated probability (1,) of an anomaly."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def __call__(self, logits: Tensor) -> Tensor:
        return torch.tensor([self.calibration.probability(float(logits[1] - logits[0]))])


class Evaluator:
    """Scores crops and writes a CSV: `crop` (name of the file), `probability`, `anomalous` (0 or 1).

    Args:
        dataloader: batches with `image` (N, 1, 64, 64, 64) and `crop`, the files' names.
        network: crops -> logits (N, 2), in evaluation mode.
        inferer: MONAI's; calls the network.
        postprocessing: of one item's `pred`: logits (2,) -> probability (1,).
        device: on which the network lies.
        threshold: probability from which a sinus is called anomalous.
        output: the CSV.
    """

    def __init__(
        self,
        dataloader: Iterable[Mapping[str, Any]],
        network: nn.Module,
        inferer: Callable[[Tensor, nn.Module], Tensor],
        postprocessing: Callable[[dict[str, Any]], dict[str, Any]],
        device: torch.device,
        threshold: float,
        output: str | Path,
    ) -> None:
        self.dataloader = dataloader
        self.network = network
        self.inferer = inferer
        self.postprocessing = postprocessing
        self.device = device
        self.threshold = threshold
        self.output = Path(output)

    def run(self) -> list[dict[str, Any]]:
        """Score all crops; returns the lines of the CSV. Raises `UnreadableScan` without any crop."""
        lines = [line for batch in self.dataloader for line in self._score(batch)]
        if not lines:
            raise UnreadableScan("There are no crops (*.nii.gz) in the folder dataset_dir.")
        with write_whole(self.output) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        return lines

    def _score(self, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
        with torch.inference_mode():
            logits = self.inferer(batch["image"].to(self.device), self.network)
        found = [float(self.postprocessing({"pred": one})["pred"]) for one in logits]
        return [
            {"crop": name, "probability": round(p, 6), "anomalous": int(p >= self.threshold)}
            for name, p in zip(batch["crop"], found, strict=True)
        ]
