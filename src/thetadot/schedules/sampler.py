r"""Batches for a ``DataLoader`` whose size is scheduled: every sample once an epoch, resumable at any batch.

    order       a function of (seed, epoch)
    batch k     of the order from place n(k), B(n) samples, n = samples seen in the whole training
    rank r      every R-th sample of a batch, from the r-th
    passes      where a rank's part is more than fits into memory, it is taken in several, and gradients are summed

What all ranks and passes make together is the batch, whatever their number, so that a training may go on with more
ranks or less memory; but for an epoch's last batch, which has two samples a rank or is taken with the one before.
The gradient of the batch's mean loss is the sum of the passes' means times :attr:`Part.share`, averaged over ranks as
DistributedDataParallel does.
"""

from __future__ import annotations

from bisect import bisect_right
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import Dataset, Sampler

from thetadot.core.rng import derive
from thetadot.core.validation import as_python, require_count, said_of
from thetadot.errors import InadmissibleValue, require
from thetadot.schedules.drawing import FEWEST, permutation, spans
from thetadot.state import keyed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MOST = 2**48


class Draw(list[int]):
    """Indices of the samples of one pass, with the key of their epoch's random transforms."""

    key: int = 0


class Part(NamedTuple):
    """What one pass is of its batch.

    Attributes:
        epoch: counted from 0.
        step: of the training, counted from 0.
        samples: seen in the training before this batch.
        size: of the batch, all ranks and passes together.
        own: samples of this pass.
        share: by which to multiply the mean loss of the pass, so that the passes of a batch add up to its mean.
        last: whether the batch is whole now, and the optimizer steps.
    """

    epoch: int
    step: int
    samples: int
    size: int
    own: int
    share: float
    last: bool


class KeyedDataset(Dataset[Any]):
    """A dataset whose random transforms draw from generators keyed by (seed, epoch, sample).

    So a sample's transform does not depend on workers, ranks, passes or where a training was resumed. The global
    generators of Python, numpy and torch are as before afterwards. A dataset with ``__getitems__`` is asked for all
    samples of a pass at once, under the key of the first.

    Args:
        dataset: map-style; asked through a :class:`BatchSampler`.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, draw: list[int]) -> list[Any]:
        key = getattr(draw, "key", 0)
        if hasattr(self.dataset, "__getitems__"):
            with keyed(derive(key, draw[0])):
                return list(self.dataset.__getitems__(draw))
        found = []
        for index in draw:
            with keyed(derive(key, index)):
                found.append(self.dataset[index])
        return found


class BatchSampler(Sampler[list[int]]):
    """Batches of scheduled size, for ``DataLoader(data, batch_sampler=...)``.

    Args:
        size: samples of the data.
        batch_size: a number, or a function of the samples seen in the whole training: a :class:`BatchSchedule`, or
            ``batch_at`` of a :class:`Coupled` whose time is in samples. Of all ranks together.
        seed: key of the order.
        shuffle: False takes the samples in their own order.
        largest: samples of a pass that fit into a rank's memory; None: all do.
        rank: of this process; None: that of ``torch.distributed`` where it is initialised, else 0.
        ranks: how many there are; None likewise.

    Raises:
        InadmissibleValue: out of range; fewer samples, or, where it is met, a smaller batch, than ranks.

    Example:
        >>> from thetadot.schedules import BatchSchedule
        >>> sampler = BatchSampler(10, BatchSchedule((0, 4), (2, 6)), shuffle=False)
        >>> loader = torch.utils.data.DataLoader(range(10), batch_sampler=sampler)
        >>> [(batch.tolist(), part.step, part.last) for batch, part in sampler.over(loader)]
        [([0, 1], 0, True), ([2, 3], 1, True), ([4, 5, 6, 7, 8, 9], 2, True)]
        >>> sampler.epoch, sampler.samples
        (1, 10)
    """

    def __init__(
        self,
        size: int,
        batch_size: int | Callable[[int], int],
        *,
        seed: int = 0,
        shuffle: bool = True,
        largest: int | None = None,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        require_count(1, _MOST, size=size)
        require_count(0, 2**63, seed=seed)
        if largest is not None:
            require_count(1, _MOST, largest=largest)
        if not callable(batch_size):
            require_count(1, _MOST, batch_size=batch_size)
        world = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.ranks = ranks if ranks is not None else torch.distributed.get_world_size() if world else 1
        self.rank = rank if rank is not None else torch.distributed.get_rank() if world else 0
        require_count(1, _MOST, ranks=self.ranks)
        require_count(0, _MOST, rank=self.rank)
        require(self.rank < self.ranks, f"rank={self.rank}", f"is not below ranks={self.ranks}", "Count ranks from 0.")
        require(size >= self.ranks, f"size={size}", f"is below ranks={self.ranks}", "Pass fewer ranks or more data.")
        self.size, self.batch_size, self.seed, self.shuffle, self.largest = size, batch_size, seed, shuffle, largest
        self.epoch = self.step = self.place = 0  # of the next pass: step within the epoch, pass within the step
        self._before = [0]  # steps before each epoch
        self._spans: tuple[int, list[tuple[int, int]]] = (-1, [])
        self._exhausted = self._counted = False
        self._planned(0)

    # Where it is.

    @property
    def steps(self) -> int:
        """Steps of the training before the next pass."""
        return self._steps_before(self.epoch) + self.step

    @property
    def samples(self) -> int:
        """Samples of the training in the batches before the present one."""
        return self.epoch * self.size + self._planned(self.epoch)[self.step][0]

    @property
    def in_step(self) -> bool:
        """Whether a batch was begun and is not whole: gradients of its first passes wait."""
        return self.place > 0

    def samples_at(self, step: int) -> int:
        """Return the samples seen before a step of the training, of :class:`~thetadot.schedules.Clock`.

        Args:
            step: counted from 0.
        """
        require_count(0, _MOST, step=step)
        if not callable(self.batch_size):  # all epochs are alike
            epoch, place = divmod(step, len(self._planned(0)))
        else:
            while self._before[-1] <= step:
                self._steps_before(len(self._before))
            epoch = bisect_right(self._before, step) - 1
            place = step - self._before[epoch]
        return epoch * self.size + self._planned(epoch)[place][0]

    def _steps_before(self, epoch: int) -> int:
        if not callable(self.batch_size):
            return epoch * len(self._planned(epoch))
        while len(self._before) <= epoch:
            self._before.append(self._before[-1] + len(self._planned(len(self._before) - 1)))
        return self._before[epoch]

    def _planned(self, epoch: int) -> list[tuple[int, int]]:
        """Place and length of each batch of an epoch; the last one that was asked is remembered."""
        if self._spans[0] != epoch:
            before = epoch * self.size
            found = list(spans(self.size, lambda taken: self._asked(before + taken), FEWEST * self.ranks))
            self._spans = (epoch, found)
        return self._spans[1]

    def _asked(self, samples: int) -> int:
        asked = as_python(self.batch_size(samples)) if callable(self.batch_size) else self.batch_size
        number = isinstance(asked, int | float) and not isinstance(asked, bool) and isfinite(asked)
        if not number or asked != int(asked):
            raise InadmissibleValue(
                f"batch_size({samples})={said_of(asked)} is not a whole number. Let the schedule return one."
            )
        require(
            asked >= self.ranks,
            f"batch_size={int(asked)} after {samples} samples",
            f"is below ranks={self.ranks}: a rank would have no sample",
            "Begin with a larger batch, or on fewer ranks.",
        )
        return int(asked)

    # Draws.

    def __iter__(self) -> Iterator[list[int]]:
        """Draws from where the sampler is to the end of its epoch."""
        if self._exhausted and not self._counted:  # nobody counts: each pass over the loader is an epoch
            self._next_epoch()
        self._exhausted = self._counted = False
        return self._draws(self.epoch, self.step, self.place)

    def _draws(self, epoch: int, step: int, place: int) -> Iterator[list[int]]:
        order = permutation(self.seed, epoch, self.size) if self.shuffle else torch.arange(self.size)
        key = derive(self.seed, 2, epoch)
        for start, take in self._planned(epoch)[step:]:
            own = order[start : start + take][self.rank :: self.ranks]
            bounds = self._bounds(take)
            for one, other in zip(bounds[place:], bounds[place + 1 :], strict=False):
                draw = Draw(own[one:other].tolist())
                draw.key = key
                if start + take == self.size and other == bounds[-1]:
                    self._exhausted = True  # now: who knows how many there are asks for no more
                yield draw
            place = 0

    def _bounds(self, take: int) -> list[int]:
        """Where the passes of a rank's part of a batch begin, and the end."""
        own = len(range(self.rank, take, self.ranks))
        most = -(-take // self.ranks)
        passes = min(own, -(-most // self.largest) if self.largest else 1)
        return [own * k // passes for k in range(passes + 1)]

    def __len__(self) -> int:
        """Passes left in the epoch."""
        left = self._planned(self.epoch)[self.step :]
        return sum(len(self._bounds(take)) - 1 for _, take in left) - self.place

    # What has been taken.

    def over(self, loader: Iterable[Any]) -> Iterator[tuple[Any, Part]]:
        """Iterate over the rest of the epoch, counting: batches of the loader, each with what it is of its step.

        A batch counts as soon as it is handed out, so that a state that is saved at the end of a loop's body goes on
        with the next one, whatever a loader's workers have fetched ahead. The seed that a DataLoader draws for its
        workers is a function of the epoch here, and the global generator stays: else it would move on where an epoch is
        begun once more in its middle.

        Args:
            loader: a DataLoader with this ``batch_sampler``.
        """
        if getattr(loader, "batch_sampler", None) is not self:
            raise InadmissibleValue(
                f"loader={said_of(type(loader).__name__)} does not draw by this sampler. "
                "Pass DataLoader(data, batch_sampler=sampler), or call sampler.advance() after each batch."
            )
        with keyed(derive(self.seed, 6, self.epoch)):
            batches = iter(loader)
        for batch in batches:
            yield batch, self.advance()

    def advance(self) -> Part:
        """Count one pass as taken, and return what it is of its step; for loops without :meth:`over`."""
        start, take = self._planned(self.epoch)[self.step]
        bounds = self._bounds(take)
        own = bounds[self.place + 1] - bounds[self.place]
        last = self.place + 2 == len(bounds)
        before = self.epoch * self.size + start
        part = Part(self.epoch, self.steps, before, take, own, self.ranks * own / take, last)
        self._counted = True
        self.place = 0 if last else self.place + 1
        self.step += last
        if self.step == len(self._planned(self.epoch)):
            self._next_epoch()
        return part

    def _next_epoch(self) -> None:
        self.epoch, self.step, self.place = self.epoch + 1, 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch, as of a DistributedSampler; where it is there already nothing changes.

        Args:
            epoch: counted from 0.
        """
        require_count(0, _MOST, epoch=epoch)
        if epoch != self.epoch:
            self.epoch, self.step, self.place = epoch, 0, 0
        self._counted = True

    # What is saved.

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and what it depends on, as plain numbers."""
        names = ("size", "seed", "shuffle", "ranks", "largest", "epoch", "step", "place")
        return {name: getattr(self, name) for name in names} | {"samples": self.samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, with the next batch, in any part of an epoch.

        Raises:
            InadmissibleValue: the state is not a sampler's, or of other data, seed or batch schedule; or ranks or
                ``largest`` are others in the middle of a batch. Nothing is changed.
        """
        numbers = ("size", "seed", "ranks", "epoch", "step", "place", "samples")
        if not isinstance(state_dict, dict) or any(type(state_dict.get(name)) is not int for name in numbers):
            raise InadmissibleValue(f"state={said_of(state_dict)} is not a sampler's. Pass its state_dict().")
        for name in ("size", "seed", "shuffle"):
            now, before = getattr(self, name), state_dict.get(name)
            require(now == before, f"{name}={now}", f"is not that of the state, {before}", "Build the sampler with it.")
        epoch, step, place = (state_dict[name] for name in ("epoch", "step", "place"))
        require_count(0, _MOST, epoch=epoch, step=step, place=place)
        planned = self._planned(epoch)
        start = epoch * self.size + planned[step][0] if step < len(planned) else -1
        require(
            start == state_dict["samples"],
            f"step {step} of epoch {epoch}",
            f"is not after {state_dict['samples']} samples: the state is of another batch schedule",
            "Build the sampler with the one that was saved.",
        )
        same = (self.ranks, self.largest) == (state_dict["ranks"], state_dict.get("largest"))
        require(
            place == 0 or (same and place < len(self._bounds(planned[step][1])) - 1),
            "a state in the middle of a batch",
            "needs the same ranks and passes",
            f"Go on with ranks={state_dict['ranks']} and largest={state_dict.get('largest')}, or save between steps.",
        )
        self.epoch, self.step, self.place = epoch, step, place
        self._exhausted = self._counted = False
