"""Progress of a run as numbers, which a checkpoint holds unchanged."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        place: batches done in the present epoch.
        samples: samples seen.
        loss_sum, loss_count: of the present epoch, for its mean.
    """

    epoch: int = 0
    place: int = 0
    step: int = 0
    samples: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_valid: float = math.inf
    best_epoch: int = 0
