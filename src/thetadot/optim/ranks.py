"""Ranks that train together."""

from __future__ import annotations

from torch import distributed


def shared(key: int) -> int:
    """Rank 0's key on every rank of the default process group; the key itself where there is none.

    Replicas that drew different noise, or rounded differently, would drift apart silently.
    """
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return key
    given = [key]
    distributed.broadcast_object_list(given, src=0)
    return given[0]
