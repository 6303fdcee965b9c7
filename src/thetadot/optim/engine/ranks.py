"""Ranks that train one model together: those of the default process group, if there is any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, distributed

if TYPE_CHECKING:
    from thetadot.core.annotations import Scalar


def together() -> int:
    """Return the number of ranks that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def shared(key: int) -> int:
    """Rank 0's key on every rank.

    Replicas that drew different noise, or rounded differently, would drift apart silently.
    """
    if together() == 1:
        return key
    given = [key]
    distributed.broadcast_object_list(given, src=0)
    return given[0]


def mean(loss: Scalar) -> Scalar:
    """The mean of the ranks' losses, each of its part of the batch, as gradients are averaged."""
    ranks = together()
    if ranks == 1:
        return loss
    if isinstance(loss, Tensor):
        total = loss.clone()
        distributed.all_reduce(total)
        return total / ranks
    losses: list[float] = [0.0] * ranks
    distributed.all_gather_object(losses, loss)
    return sum(losses) / ranks
