"""Own weights: an encoder that a site has already, from a safetensors file.

Weights are found by the encoder's own names (`conv1.weight`, `layer1.0.conv1.weight`, ...: those of
MONAI's and MedicalNet's 3D ResNet18), whatever stands before them in the file. What fits is taken, what
does not is told, and stays as it was drawn.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from paranasal_training.methods import Method
from ParanasalSSLLib.errors import BadCheckpoint
from ParanasalSSLLib.model.config import EncoderConfig

logger = logging.getLogger(__name__)

_NAMED = 5  # names in a message
_COUNTERS = "num_batches_tracked"  # of batch norms; many files lack them


@dataclass(frozen=True)
class Options:
    """What the loader needs."""

    file: str = ""
    """Path of the weights, a safetensors file."""

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not self.file:
            raise ValueError(f"file is the path of a safetensors file, not {self.file!r}")


class Task(Method):
    """An encoder with the file's weights; nothing is learnt.

    Raises:
        BadCheckpoint: the file is missing or damaged, or no convolution of the encoder is in it.
    """

    learns = False

    def __init__(self, config: EncoderConfig, options: Options) -> None:
        super().__init__(config, options)
        wanted = self.encoder.state_dict()
        match = Match.of(read_weights(Path(options.file)), wanted)
        if not any(value.ndim == 5 for value in match.taken.values()):
            raise BadCheckpoint(f"{options.file}: nothing fits. {match.report}")
        logger.warning("%s: %s", options.file, match.report)
        self.facts = {"weights": match.report}
        self.encoder.load_state_dict({**wanted, **match.taken})


@dataclass(frozen=True)
class Match:
    """What of a file goes where.

    taken: by the encoder's names. report: what was taken, what was not, and why, in words.
    """

    taken: dict[str, Tensor]
    report: str

    @classmethod
    def of(cls, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Match:
        """Match a file's weights with the encoder's by name and shape."""
        prefix = best_prefix(found, wanted)
        named = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
        taken = {k: v for k, v in named.items() if k in wanted and v.shape == wanted[k].shape}
        needed = [name for name in wanted if not name.endswith(_COUNTERS)]
        shapes = [
            f"{k} is {tuple(named[k].shape)}, not {tuple(wanted[k].shape)}"
            for k in needed
            if k in named and k not in taken
        ]
        parts = {
            "of another shape": shapes,
            "missing there": [k for k in needed if k not in named],
            "not used": [k for k in found if k.removeprefix(prefix) not in wanted],
        }
        told = [f"{what}: {_some(names)}" for what, names in parts.items() if names]
        below = f" (below {prefix!r})" if prefix else ""
        count = sum(name in taken for name in needed)
        told.insert(0, f"{count} of the encoder's {len(needed)} weights are taken from it{below}")
        return cls(taken, "; ".join(told) + ".")


def best_prefix(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What stands before the encoder's names in a file: that which lets most weights fit."""
    prefixes = {name[: len(name) - len(own)] for name in found for own in wanted
                if name.endswith(own) and name[: len(name) - len(own)][-1:] in ("", ".")}  # fmt: skip

    def fitting(prefix: str) -> int:
        return sum(
            prefix + name in found and found[prefix + name].shape == value.shape
            for name, value in wanted.items()
        )

    return max(sorted(prefixes), key=fitting, default="")


def read_weights(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises `BadCheckpoint`: missing or damaged."""
    if not file.is_file():
        raise BadCheckpoint(f"{file}: there is no such file.")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(
            f"{file} is no safetensors file, or is damaged ({error}). Weights in another format can "
            "be written as one by safetensors.torch.save_file."
        ) from error


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
