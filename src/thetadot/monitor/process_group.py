"""The ranks that train one model together, and whether all of them watch.

Noise of ranks and readings of shards are collectives, which would wait forever for a rank that does not watch. So each
watch signs in when it starts, without waiting. After the first step, whose gradients all ranks have exchanged, every
rank that will ever sign in has done so, and all read the same count.
"""

from __future__ import annotations

from typing import Any

from torch import distributed, nn

_made: dict[str, int] = {}


class WatchingRanks:
    """Ranks of the default process group, where ``model`` is data-parallel or sharded; else this process alone."""

    def __init__(self, model: nn.Module, name: str, *, sharded: bool) -> None:
        together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if together else 0
        shared = together and (sharded or isinstance(model, nn.parallel.DistributedDataParallel))
        self.ranks = distributed.get_world_size() if shared else 1
        self._key = ""
        if self.ranks > 1:
            _made[name] = _made.get(name, 0) + 1
            self._key = f"thetadot/watch/{name}/{_made[name]}"

    def join(self) -> None:
        """Announce that this rank watches."""
        if self.ranks > 1:
            _store().add(self._key, 1)

    def leave(self) -> None:
        """Tell all ranks to take nothing together any more."""
        if self.ranks > 1:
            _store().add(f"{self._key}/left", 1)

    def left(self) -> bool:
        """Whether a rank has announced that it left; ask before collective operations."""
        return self.ranks > 1 and int(_store().add(f"{self._key}/left", 0)) > 0

    def whole(self) -> bool:
        """Whether every rank watches; ask after the first step."""
        return self.ranks == 1 or int(_store().add(self._key, 0)) == self.ranks


def _store() -> Any:
    return distributed.distributed_c10d._get_default_store()  # noqa: SLF001 - torch has no public name for it
