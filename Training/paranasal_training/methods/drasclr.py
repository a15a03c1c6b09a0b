"""DrasCLR (Yu et al. 2024): recognise a patch, and its surroundings, among others from the same place.

The encoder knows where in the box a patch lies (`LocatedEncoder`); negatives are patches of other
crops at that very location, never of the crop itself. Keys are normalised by parts of a shuffled batch,
so that batch norm does not tell which key belongs to a patch.

Deviations from Yu: patches of 32 mm on a regular grid of the box stand in for the lung's atlas (8
locations for 581); the encoder is the comparison's ResNet18 with their convolutions; a batch has one
location drawn at random, where they go through everybody at one location; the queue fits the cohort
(they: 4096 of some 9000 persons); views are the comparison's, always with noise and contrast (they: in
a quarter); shuffled parts on one device stand in for their four GPUs; 500 epochs, not 20.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from paranasal_training.methods import Method, Sample
from paranasal_training.methods.parts.heads import check_between, follow, frozen_copy, mlp
from paranasal_training.runs.config import OptimizerConfig, Recipe
from paranasal_training.runs.processes import gathered
from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig, check_positive
from ParanasalSSLLib.model.encoders import LocatedEncoder, cut_patch, patch_locations

MOST_KEYS = 4096  # at a location (Yu 2024)


@dataclass(frozen=True)
class Options:
    """The paper's values but for `grid`, `queue` and `key_parts`."""

    experts: int = 8
    """Kernels that every convolution mixes, 1 or more."""
    momentum: float = 0.999
    """Fraction of itself that the key network keeps at each step, between 0 and 1."""
    temperature: float = 0.2
    """Divisor of the similarities (-1..1), above 0."""
    queue: int | None = None
    """Keys kept at each location, 1 to the number of crops (unset: half of it, 4096 at most)."""
    key_parts: int = 4
    """Parts of a shuffled batch in which keys are normalised, 1 (not shuffled) or more; of two crops
    at least, so that small batches have fewer.
    """
    neighbours: int = 2
    """Nearest patches whose summed logits are those of the surroundings, 1 to below the number of
    locations.
    """
    beta: float = 1.0
    """Weight of the surroundings' loss, above 0."""
    grid: int = 2
    """Patch locations along each axis: 2 fill the crop, 3 overlap by half."""

    def __post_init__(self) -> None:
        for name in ("experts", "queue", "key_parts", "neighbours"):
            if (count := getattr(self, name)) is not None:
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
        owners: (L, queue), which crop each key is of; -1: of none.
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
        self._make_queues(options.queue or MOST_KEYS)

    def _make_queues(self, length: int) -> None:
        count, width = len(self.locations), self.config.widths[-1]
        self.queues = torch.nn.Buffer(F.normalize(torch.randn(count, length, width), dim=-1))
        self.owners = torch.nn.Buffer(torch.full((count, length), -1))
        self.places = torch.nn.Buffer(torch.zeros(count, dtype=torch.long))

    def fit_to(self, crops: int) -> None:
        """Give the queues their length. Raises `BadConfig`: they would hold crops several times."""
        if self.options.queue is None:
            self._make_queues(max(1, min(MOST_KEYS, crops // 2)))
        elif self.options.queue > crops:
            raise BadConfig(
                f"drasclr: a queue of {self.options.queue} keys is longer than the {crops} crops to "
                "learn from. Leave `queue` unset, or choose half of that."
            )

    def compile_parts(self) -> None:
        """The loss calls the encoders' `pooled_patch`; one graph serves all locations."""
        for part in (self.encoder, self.key_encoder):
            part.pooled_patch = torch.compile(part.pooled_patch)  # type: ignore[method-assign]
        self.projector.compile()
        self.key_projector.compile()

    def loss(self, sample: Sample) -> Tensor:
        """InfoNCE of a patch, and of its neighbours' summed logits against the same key."""
        here = int(torch.randint(len(self.locations), (1,), generator=sample.shared))
        view, other = sample.view(), sample.view()
        keys = self.embed_keys(other, here, sample.generator)
        patch = self.embed(view, here)
        around = torch.stack([self.embed(view, n) for n in self.neighbours[here].tolist()])
        negatives = self.queues[here].clone()  # the gradient needs them as they are now
        own = self.owners[here] == sample.numbers[:, None] if sample.training else None
        local = info_nce(patch, keys, negatives, self.options.temperature, own)
        wide = info_nce(around.sum(dim=0), keys, negatives, self.options.temperature, own)
        if sample.training:
            self.enqueue(gathered(keys), gathered(sample.numbers), here)
        return local + self.options.beta * wide

    def embed(self, crops: Tensor, index: int) -> Tensor:
        """Crops (B, 1, D, D, D) -> unit vectors (B, d) of their patches at a location."""
        location = self.locations[index]
        features = self.encoder.pooled_patch(cut_patch(crops, location), location)
        return F.normalize(self.projector(features).float())

    @torch.no_grad()
    def embed_keys(self, crops: Tensor, index: int, generator: torch.Generator) -> Tensor:
        """The same by the key network, without gradient, in parts of the shuffled batch."""
        parts = max(1, min(self.options.key_parts, len(crops) // 2)) if self.training else 1
        location = self.locations[index]
        patches = cut_patch(crops, location)
        if parts == 1:
            return self._keys(patches, location)
        order = torch.randperm(len(crops), generator=generator).to(crops.device)
        shuffled = patches.index_select(0, order).tensor_split(parts)
        keys = torch.cat([self._keys(part, location) for part in shuffled])
        return keys.index_select(0, order.argsort())

    def _keys(self, patches: Tensor, location: Tensor) -> Tensor:
        features = self.key_encoder.pooled_patch(patches, location)
        return F.normalize(self.key_projector(features).float())

    @torch.no_grad()
    def enqueue(self, keys: Tensor, numbers: Tensor, index: int) -> None:
        """Put keys (B, d) of crops (B,) in place of the oldest of a location."""
        size = self.queues.shape[1]
        start = int(self.places[index])
        slots = (start + torch.arange(len(keys), device=keys.device)) % size
        self.queues[index, slots[-size:]] = keys[-size:]
        self.owners[index, slots[-size:]] = numbers[-size:]
        self.places[index] = (start + len(keys)) % size

    def after_step(self, progress: float) -> None:
        """Let the key network follow by its moving average."""
        follow(self.key_encoder, self.encoder, self.options.momentum)
        follow(self.key_projector, self.projector, self.options.momentum)


def nearest(locations: Tensor, count: int) -> Tensor:
    """Numbers of the nearest other locations, (L, 3) -> (L, count); the first of equally near ones."""
    distances = (locations[:, None] - locations).square().sum(dim=2)
    return distances.fill_diagonal_(torch.inf).argsort(dim=1, stable=True)[:, :count]


def info_nce(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor,
    temperature: float,
    own: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of finding each query's key beside the negatives, mean over queries.

    Args:
        queries: float32 (B, d), keys: (B, d), one for each, negatives: (K, d), the same for all.
        temperature: divides the dot products.
        own: bool (B, K), negatives that are none for a query (old keys of the same crop).
    """
    # Autocast would turn the products into bf16, whose steps of 0.004 are 0.02 at this temperature.
    with torch.autocast(queries.device.type, enabled=False):
        wrong = queries @ negatives.T
        if own is not None:
            wrong = wrong.masked_fill(own, -torch.inf)
        logits = torch.cat([(queries * keys).sum(dim=1, keepdim=True), wrong], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(queries), dtype=torch.long, device=keys.device))
