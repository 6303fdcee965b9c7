"""Epochs as pure functions of (seed, epoch): the order of the samples, and where batches begin.

The one rule of a run and of :class:`~thetadot.schedules.BatchSampler`: every sample once an epoch, and of a last batch
that would be too small for batch statistics the one before is made larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.core.rng import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEWEST = 2  # samples of a last batch: of one there is no variance


def permutation(seed: int, epoch: int, size: int) -> torch.Tensor:
    """Return an order of all samples, keyed by (seed, epoch); int64, of shape (size,).

    Example:
        >>> permutation(0, 1, 5).sort().values.tolist()
        [0, 1, 2, 3, 4]
    """
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive(seed, 1, epoch) % 2**63))


def spans(size: int, batch_size: Callable[[int], int], fewest: int = FEWEST) -> Iterator[tuple[int, int]]:
    """Place and length of each batch of an epoch.

    Args:
        size: samples of the epoch.
        batch_size: of the samples already taken in the epoch.
        fewest: a last batch of fewer is taken with the one before.

    Example:
        >>> list(spans(10, lambda taken: 2 if taken < 4 else 5))
        [(0, 2), (2, 2), (4, 6)]
    """
    place = 0
    while place < size:
        take = min(max(1, batch_size(place)), size - place)
        left = size - place - take
        if 0 < left < fewest:
            take += left
        yield place, take
        place += take
