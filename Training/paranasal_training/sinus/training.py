"""Training of the sinus network: a plain loop for as long as is given, which can be resumed."""

from __future__ import annotations

import csv
import json
import logging
import math
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from paranasal_training.sinus.batches import SinusSamples, augmented, endless_rows
from paranasal_training.sinus.config import TrainSinusConfig
from paranasal_training.sinus.losses import sinus_losses, total
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.files import tupled, write_json, write_whole
from ParanasalSSLLib.model.config import SinusNetworkConfig
from ParanasalSSLLib.model.networks import channels_last
from ParanasalSSLLib.model.sinus_network import SinusEnsemble, SinusNetwork
from ParanasalSSLLib.model.torch_networks import write_tensors

logger = logging.getLogger(__name__)

LAST, WEIGHTS, RECORD, LOG = "last.pt", "sinus.safetensors", "run.json", "log.csv"


def train_sinus(config: TrainSinusConfig) -> Path:
    """Train or resume; returns the weights' path. SIGTERM stops it after the batch, saved."""
    torch.set_num_threads(config.threads)
    config.output.mkdir(parents=True, exist_ok=True)
    samples = SinusSamples(config.store)
    run = SinusRun(config)
    rows = samples.rows(config.leave_out, inside=False)
    logger.info("%d samples of %d persons", len(rows), samples.table.loc[rows, "group"].nunique())
    rng = np.random.default_rng([config.seed, run.step])
    run.learn(samples, endless_rows(rows, config.batch_size, rng), rng)
    return config.output / WEIGHTS


class SinusRun:
    """State of a run: network, its moving average, optimiser, time spent."""

    def __init__(self, config: TrainSinusConfig) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.network = channels_last(SinusNetwork(config.network)).train()
        _take_weights(self.network, config)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step, self.seconds, self._saved = 0, 0.0, time.monotonic()
        self._recent: list[dict[str, float]] = []
        if (config.output / LAST).exists():
            self._resume()

    @property
    def share(self) -> float:
        """Of the run that is over, 0..1."""
        if self.config.steps is not None:
            return min(self.step / self.config.steps, 1.0)
        return min(self.seconds / (60 * self.config.minutes), 1.0)

    @property
    def over(self) -> bool:
        """Whether the time, or the steps, for training are used up."""
        return self.share >= 1

    @property
    def save_is_due(self) -> bool:
        """Whether the last checkpoint is older than `save_every_s`."""
        return time.monotonic() - self._saved > self.config.save_every_s

    def learn(
        self, samples: SinusSamples, batches: Iterable[np.ndarray], rng: np.random.Generator
    ) -> None:
        """Until the run is over, or SIGTERM comes; saved in either case."""
        with stop_request() as stopped:
            for rows in batches:
                if self.over or stopped():
                    break
                self.train_on(samples, rows, rng)
                if self.save_is_due:
                    self.save()
        self.save()

    def train_on(self, samples: SinusSamples, rows: np.ndarray, rng: np.random.Generator) -> None:
        """One step of the optimiser."""
        began = time.monotonic()
        batch = augmented(samples.batch(rows), self.config.augment, rng)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate(self.share, self.config.warm_up)
        images = batch.image.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(images)
        losses = sinus_losses(logits, batch)
        loss = total(losses)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.step += 1
        self.seconds += time.monotonic() - began
        self._recent.append({"loss": loss.item(), **{k: v.item() for k, v in losses.items()}})

    def save(self) -> None:
        """Checkpoint, weights of the moving average (float16), a line in the log."""
        self._log()
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        folder = self.config.output
        with write_whole(folder / LAST) as temporary:
            torch.save(state, temporary)
        write_tensors(half_weights(self.average.module.state_dict()), folder / WEIGHTS)
        write_json(folder / RECORD, _record(self.config, self.step, self.seconds))
        self._saved = time.monotonic()

    def _resume(self) -> None:
        state = torch.load(self.config.output / LAST, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        logger.info("resumed at step %d", self.step)

    def _log(self) -> None:
        if not self._recent:
            return
        means = {k: float(np.mean([r[k] for r in self._recent])) for k in self._recent[0]}
        line = {"step": self.step, "minutes": self.seconds / 60, **means}
        path = self.config.output / LOG
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(line), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({k: f"{v:.5g}" for k, v in line.items()})
        text = " ".join(f"{k} {v:.4g}" for k, v in line.items())
        logger.info("%3.0f %% %s", 100 * self.share, text)
        self._recent = []


def rate(share: float, warm_up: float) -> float:
    """Share of the highest learning rate: a linear warm-up, then a cosine to nearly nothing."""
    if share < warm_up:
        return (share + 1e-3) / (warm_up + 1e-3)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (share - warm_up) / (1 - warm_up)))


def half_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Float tensors as float16, contiguous, as bundles hold them."""
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}


def run_settings(weights: Path) -> dict[str, Any]:
    """Settings of the run that a `sinus.safetensors` lies in. Raises `BadConfig` without one."""
    record = weights.parent / RECORD
    try:
        return dict(json.loads(record.read_text(encoding="utf-8"))["config"])
    except (OSError, ValueError, KeyError) as error:
        raise BadConfig(
            f"{record} is missing or damaged: it says how {weights.name} was made."
        ) from error


def load_sinus_networks(weights: Sequence[Path]) -> SinusEnsemble:
    """The networks of runs as one, float32, in evaluation mode. Raises `BadConfig`."""
    members = []
    for path in weights:
        network = SinusNetwork(SinusNetworkConfig(**tupled(run_settings(path)["network"])))
        network.load_state_dict(load_file(path))
        members.append(channels_last(network))
    try:
        return SinusEnsemble(members).eval()
    except ValueError as error:
        raise BadConfig(f"These weights cannot be used together: {error}.") from error


def _take_weights(network: SinusNetwork, config: TrainSinusConfig) -> None:
    if config.start:
        network.load_state_dict(load_file(config.start))
    elif config.encoder:
        found = load_file(config.encoder)
        cut = {k.split("encoder.", 1)[-1]: v.float() for k, v in found.items()}
        network.load_encoder({k: v for k, v in cut.items() if k in network.encoder.state_dict()})


def _record(config: TrainSinusConfig, step: int, seconds: float) -> dict[str, Any]:
    settings = {k: _plain(v) for k, v in asdict(config).items()}
    return {"config": settings, "step": step, "minutes": round(seconds / 60, 2)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


@contextmanager
def stop_request() -> Iterator[Any]:
    """Yields a function that says whether SIGTERM has come."""
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)
