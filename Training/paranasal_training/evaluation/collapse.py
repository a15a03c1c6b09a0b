"""Whether an encoder's features tell crops apart: two figures that fall when they collapse."""

from __future__ import annotations

import torch
from torch import Tensor


def feature_deviation(features: Tensor) -> float:
    """Standard deviation of the features' directions: 1 where they point everywhere, 0 to one side.

    As SimSiam has it (Chen and He 2021): rows scaled to length 1, deviation of each column, times the
    root of the number of columns.

    Args:
        features: float (n, d).
    """
    directions = torch.nn.functional.normalize(features.double(), dim=1)
    return float(directions.std(dim=0, correction=0).mean() * directions.shape[1] ** 0.5)


def effective_rank(features: Tensor) -> float:
    """RankMe (Garrido et al. 2023): the exponential of the singular values' entropy, 1 to min(n, d).

    Args:
        features: float (n, d); their mean is taken off, which RankMe leaves to the norm.
    """
    centred = features.double() - features.double().mean(dim=0)
    values = torch.linalg.svdvals(centred)
    if not float(values.sum()):
        return 1.0
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())
