"""Progress of a run as numbers, which a checkpoint holds unchanged."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class TrainingProgress:
    """Progress of a run.

    Attributes:
        place: batches done in the present epoch.
        samples: samples seen.
        loss_sum, loss_count: of the present epoch, for its mean.
        factor: what forks and rollbacks have made of the plan's rate.
        forks: places of forks that are passed.
        best_valid, best_epoch, best_step, best_metric: of the state that is returned, the best on the validation data.
        best_mean: whether that is the running mean of the parameters.
        lowest: validation loss of the parameters themselves.
        mean_next: whether the next epoch's validation is the mean's.
        growth: of the batch since the first one.
        looks: places of measurements that are passed.
        apart: successive epochs whose validation loss lay clearly above their training loss.
        decayed: whether it was said that the weights decay.
    """

    epoch: int = 0
    place: int = 0
    step: int = 0
    samples: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_valid: float = math.inf
    best_epoch: int = 0
    best_step: int = 0
    best_metric: float | None = None
    best_mean: bool = False
    lowest: float = math.inf
    mean_next: bool = False
    growth: int = 1
    looks: int = 0
    apart: int = 0
    decayed: bool = False
    factor: float = 1.0
    forks: int = 0


class Rewound(Exception):  # noqa: N818 - control flow, never seen outside
    """Raised where the run goes on at another place than the next batch."""
