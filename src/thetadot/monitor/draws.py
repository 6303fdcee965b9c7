"""How the DataLoaders of a loop that is not ours draw their batches."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, RandomSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from thetadot.records import Draws

if TYPE_CHECKING:
    from collections.abc import Iterable

YOUNG = (0, 1)
"""Generations of the collector that a loop's iterator is in at its first step: it has just been made."""
OURS = ("thetadot", "torch")


def drawn() -> Draws | None:
    """How the DataLoaders that are being iterated draw, and from how many samples; None where that is not told.

    Their iterators are looked for among living objects and not touched, the youngest first. All objects are asked only
    where a module whose code is being executed names a loader: there are hundreds of thousands, and asking takes as
    long as a dozen steps of a small network. A loader without shuffling is passed over, as one that evaluates; what is
    left has to agree.
    """
    kinds: list[Any] = [_BaseDataLoaderIter]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    young = _draws(living for number in YOUNG for living in gc.get_objects(generation=number) if type(living) in kinds)
    found = young or (_draws(x for x in gc.get_referrers(*kinds) if type(x) in kinds) if _in_sight() else set())
    return found.pop() if len(found) == 1 else None


def _draws(iterators: Iterable[Any]) -> set[Draws | None]:
    """Every way in which they draw; None is one that has no name here."""
    found: set[Draws | None] = set()
    for living in iterators:
        batches = getattr(living, "_index_sampler", None)
        sampler = getattr(batches, "sampler", batches)
        drop_last = bool(getattr(batches, "drop_last", False))
        if isinstance(sampler, RandomSampler):
            size = len(sampler.data_source)
            partial = not sampler.replacement and sampler.num_samples != size
            kind = "replacement" if sampler.replacement else "epochs"
            found.add(None if partial else Draws(0, kind, size, drop_last))  # type: ignore[arg-type]
        elif type(sampler).__name__ == "DistributedSampler" and getattr(sampler, "shuffle", False):
            found.add(Draws(0, "epochs", len(sampler.dataset), drop_last))  # type: ignore[union-attr]
    return found


def _in_sight() -> bool:
    """Whether a module whose code is being executed names a loader or its class."""
    frame: Any = sys._getframe()  # noqa: SLF001 - what inspect.currentframe calls
    seen: set[int] = set()
    while frame is not None:
        names = frame.f_globals  # local names are not asked: Python would keep what they name alive
        if "DataLoader" in frame.f_code.co_names:
            return True
        if id(names) not in seen and str(names.get("__name__", "")).partition(".")[0] not in OURS:
            seen.add(id(names))
            if any(_loads(one) for one in list(names.values())):
                return True
        frame = frame.f_back
    return False


def _loads(one: Any) -> bool:
    return issubclass(one, DataLoader) if isinstance(one, type) else isinstance(one, DataLoader)
