"""DrasCLR (Yu et al. 2024): recognise a patch, and its surroundings, among others from the same place.

The encoder knows where in the box a patch lies (`LocatedEncoder`); negatives are patches of other
crops at that very location. Patches of 32 mm on a regular grid stand in for the lung's atlas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.heads import check_between, follow, frozen_copy, mlp
from paranasal_training.runs.config import OptimizerConfig, Recipe
from ParanasalSSLLib.model.config import EncoderConfig, check_positive
from ParanasalSSLLib.model.encoders import LocatedEncoder, cut_patch, patch_locations


@dataclass(frozen=True)
class Options:
    """The paper's values but for `grid`."""

    experts: int = 8
    """Kernels that every convolution mixes, 1 or more."""
    momentum: float = 0.999
    """Fraction of itself that the key network keeps at each step, between 0 and 1."""
    temperature: float = 0.2
    """Divisor of the similarities (-1..1), above 0."""
    queue: int = 4096
    """Keys kept at each location, 1 or more; well below the number of crops, since a crop's own old
    keys count as negatives.
    """
    neighbours: int = 2
    """Patches whose mean stands for the surroundings, 1 to below the number of locations."""
    beta: float = 1.0
    """Weight of the surroundings' loss, above 0."""
    grid: int = 2
    """Patch locations along each axis: 2 fill the crop, 3 overlap by half."""

    def __post_init__(self) -> None:
        counts = {"experts": self.experts, "queue": self.queue, "neighbours": self.neighbours}
        for name, count in counts.items():
            check_positive(name, (count,))
        check_between("momentum", self.momentum, 0, 1)
        check_between("temperature", self.temperature, 0)
        check_between("beta", self.beta, 0)
        if self.grid not in (2, 3):
            raise ValueError(f"grid is 2 or 3, not {self.grid!r}")
        if self.neighbours >= self.grid**3:
            raise ValueError(f"neighbours is below {self.grid**3}, not {self.neighbours}")


class Task(Method):
    """Query network (encoder, projector), key network (its moving average), a queue per location.

    Attributes:
        locations: (L, 3), see `LocatedEncoder`.
        neighbours: (L, k), the nearest other locations of each.
        queues: (L, queue, d), unit vectors; random ones at first.
        places: (L,), where in its queue each location's next key goes.
    """

    recipe = Recipe(
        OptimizerConfig("sgd", 0.01, weight_decay=1e-4, schedule="cosine"),
        epochs=500,
        batch_size=128,
    )
    validates = False
    encoder: LocatedEncoder

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(replace(config, experts=options.experts), options)
        width = config.widths[-1]
        self.projector = mlp(width, width, width, norm=False)
        self.key_encoder = frozen_copy(self.encoder)
        self.key_projector = frozen_copy(self.projector)
        self.locations = patch_locations(options.grid)
        self.neighbours = nearest(self.locations, options.neighbours)
        count = len(self.locations)
        self.queues = torch.nn.Buffer(F.normalize(torch.randn(count, options.queue, width), dim=-1))
        self.places = torch.nn.Buffer(torch.zeros(count, dtype=torch.long))

    def loss(self, sample: Sample) -> Tensor:
        """InfoNCE of a patch, and of its neighbours' summed logits against the same key."""
        here = int(torch.randint(len(self.locations), (1,), generator=sample.generator))
        view, other = sample.view(), sample.view()
        keys = self.embed_key(other, here)
        patch = self.embed(view, here)
        around = torch.stack([self.embed(view, n) for n in self.neighbours[here].tolist()])
        negatives = self.queues[here].clone()  # the gradient needs them as they are now
        local = info_nce(patch, keys, negatives, self.options.temperature)
        wide = info_nce(around.sum(dim=0), keys, negatives, self.options.temperature)
        if sample.training:
            self.enqueue(keys, here)
        return local + self.options.beta * wide

    def embed(self, crops: Tensor, index: int) -> Tensor:
        """Crops (B, 1, D, D, D) -> unit vectors (B, d) of their patches at a location."""
        location = self.locations[index]
        features = self.encoder.pooled_patch(cut_patch(crops, location), location)
        return F.normalize(self.projector(features).float())

    @torch.no_grad()
    def embed_key(self, crops: Tensor, index: int) -> Tensor:
        """The same by the key network, without gradient."""
        location = self.locations[index]
        features = self.key_encoder.pooled_patch(cut_patch(crops, location), location)
        return F.normalize(self.key_projector(features).float())

    @torch.no_grad()
    def enqueue(self, keys: Tensor, index: int) -> None:
        """Put keys (B, d) in place of the oldest of a location."""
        size = self.options.queue
        start = int(self.places[index])
        slots = (start + torch.arange(len(keys), device=keys.device)) % size
        self.queues[index, slots[-size:]] = keys[-size:]
        self.places[index] = (start + len(keys)) % size

    def after_step(self, progress: float) -> None:
        """Let the key network follow by its moving average."""
        follow(self.key_encoder, self.encoder, self.options.momentum)
        follow(self.key_projector, self.projector, self.options.momentum)


def nearest(locations: Tensor, count: int) -> Tensor:
    """Numbers of the nearest other locations, (L, 3) -> (L, count); the first of equally near ones."""
    distances = (locations[:, None] - locations).square().sum(dim=2)
    return distances.fill_diagonal_(torch.inf).argsort(dim=1, stable=True)[:, :count]


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's key beside the negatives, mean over queries.

    Args:
        queries: float32 (B, d), keys: (B, d), one for each, negatives: (K, d), the same for all.
        temperature: divides the dot products.
    """
    # Autocast would turn the products into bf16, whose steps of 0.004 are 0.02 at this temperature.
    with torch.autocast(queries.device.type, enabled=False):
        own = (queries * keys).sum(dim=1, keepdim=True)
        logits = torch.cat([own, queries @ negatives.T], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(queries), dtype=torch.long, device=keys.device))
