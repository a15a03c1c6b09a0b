"""From logits to probabilities that mean what they say (Platt scaling)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """probability = 1 / (1 + exp(-(slope * margin + intercept))), fitted on validation sinuses.

    The margin is logit 1 (anomalous) minus logit 0 (normal). The default changes nothing.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def probability(self, margin: float) -> float:
        """Calibrated probability of an anomaly, 0..1."""
        return 0.5 * (1.0 + math.tanh(0.5 * (self.slope * margin + self.intercept)))

    def margin(self, probability: float) -> float:
        """The margin that has this calibrated probability (between 0 and 1); slope is not 0."""
        return (2.0 * math.atanh(2.0 * probability - 1.0) - self.intercept) / self.slope
