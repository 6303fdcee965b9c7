"""Batches as a pure function of (seed, epoch, place): resumable anywhere, whatever the number of workers.

The batch size may change from step to step; a last batch of one sample is merged into the one before, so that batch
statistics exist. Random transforms of a dataset draw from generators keyed by (seed, epoch, place), and leave the
global ones alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from thetadot.core.rng import derive
from thetadot.errors import TaskError, ThetadotError
from thetadot.schedules.drawing import permutation, spans
from thetadot.state import keyed
from thetadot.tasks.loaded import Collated, loaded
from thetadot.training.spec import users_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class BatchRequest(NamedTuple):
    """Request for a batch: its samples, and the key of their transforms' randomness."""

    key: int
    indices: list[int]


class TrainingBatch(NamedTuple):
    """Inputs, targets and their number; of samples that are dicts both are the whole dict."""

    inputs: Any
    target: Any
    size: int


class _Failed(NamedTuple):
    """An error of the dataset in a worker, in words; raised where the batch is wanted."""

    message: str


def keyed_batch(dataset: Dataset[Any], request: BatchRequest) -> Any:
    """Samples drawn and collated, with the transforms' randomness from the request's key."""
    collate = dataset.collate if isinstance(dataset, Collated) else default_collate
    with keyed(request.key), users_code():  # here, before a generator makes another error of StopIteration
        if hasattr(dataset, "__getitems__"):
            return collate(dataset.__getitems__(request.indices))
        return collate([dataset[i] for i in request.indices])


class _Keyed(Dataset[Any]):
    """The user's dataset, asked for whole batches under a key."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitems__(self, request: BatchRequest) -> Any:
        """In a worker, where an exception would lose the user's file and line on its way."""
        try:
            return keyed_batch(self.dataset, request)
        except ThetadotError as error:
            return _Failed(str(error))

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]


def _as_it_is(batch: Any) -> Any:
    return batch


class Source:
    """Batches of one dataset on one device.

    Args:
        dataset: map-style; of a task, where no loader is any more.
        seed: key of order and transforms.
        device: where batches go.
        workers: processes that load them; 0 loads in this one.
    """

    def __init__(
        self, dataset: Dataset[Any] | DataLoader[Any], seed: int, device: torch.device, workers: int = 0
    ) -> None:
        self.dataset = loaded("data", dataset) if isinstance(dataset, DataLoader) else dataset
        self.seed = seed
        self.device = device
        self.workers = workers
        self.size = len(self.dataset)  # type: ignore[arg-type]
        # a TensorDataset has no transforms: it is indexed at once
        self._tensors = self.dataset.tensors if type(self.dataset) is TensorDataset else None

    @property
    def holds_tensors(self) -> bool:
        """Whether the samples are rows of tensors, all alike."""
        return self._tensors is not None

    @property
    def collates(self) -> bool:
        """Whether batches are made in a way of their own, which may take samples of different shapes."""
        return isinstance(self.dataset, Collated)

    def order(self, epoch: int, among: Sequence[int] | None = None) -> list[int]:
        """A permutation of all samples, or of ``among``, keyed by (seed, epoch)."""
        pool = list(range(self.size)) if among is None else list(among)
        return [pool[i] for i in permutation(self.seed, epoch, len(pool)).tolist()]

    def plan(
        self, epoch: int, batch_size: Callable[[int], int], among: Sequence[int] | None = None
    ) -> list[BatchRequest]:
        """Plan an epoch's batches; ``batch_size`` is a function of the samples already taken in the epoch."""
        order = self.order(epoch, among)
        return [
            BatchRequest(derive(self.seed, 2, epoch, place), order[place : place + take])
            for place, take in spans(len(order), batch_size)
        ]

    def load(self, requests: Sequence[BatchRequest]) -> Iterator[TrainingBatch]:
        """Batches on the device, in order."""
        if self._tensors is not None:
            for request in requests:
                index = torch.tensor(request.indices)
                yield self._batch(tuple(tensor[index] for tensor in self._tensors), len(request.indices))
        elif self.workers and len(requests) > 1:
            loader: DataLoader[Any] = DataLoader(
                _Keyed(self.dataset),
                batch_sampler=requests,  # type: ignore[arg-type]
                num_workers=self.workers,
                collate_fn=_as_it_is,
                # workers draw their base seed here, not from the global generator
                generator=torch.Generator().manual_seed(self.seed % 2**63),
            )
            for request, items in zip(requests, loader, strict=True):
                yield self._batch(items, len(request.indices))
        else:
            for request in requests:
                yield self._batch(keyed_batch(self.dataset, request), len(request.indices))

    def whole(self, batch_size: int, indices: Sequence[int] | None = None) -> list[BatchRequest]:
        """Iterate over all samples in their own order, in batches, for evaluation."""
        pool = list(range(self.size)) if indices is None else list(indices)
        return [
            BatchRequest(derive(self.seed, 3, i), pool[i : i + batch_size]) for i in range(0, len(pool), batch_size)
        ]

    def not_finite(self, indices: Sequence[int] | None = None) -> str | None:
        """The first of these samples with NaN or infinite values, in words; None if all are finite."""
        requests = self.whole(1, indices)
        for request, batch in zip(requests, self.load(requests), strict=True):
            for name, value in (("input", batch.inputs), ("target", batch.target)):
                if not all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(value)):
                    return f"the {name} of sample {request.indices[0]} has NaN or infinite values"
        return None

    def fault(self, loss: float, indices: Sequence[int] | None = None) -> str | None:
        """Describe the fault in the training data behind a loss that is not finite; None if there is none."""
        found = self.not_finite(indices)
        return None if found is None else f"{found} in the training data, and the loss is {loss}. Clean the data."

    def _batch(self, items: Any, size: int) -> TrainingBatch:
        if isinstance(items, _Failed):
            raise TaskError(items.message)
        if isinstance(items, Mapping):
            whole = to_device(items, self.device)
            return TrainingBatch(whole, whole, size)
        if not isinstance(items, list | tuple) or len(items) != 2:
            raise TaskError(
                f"a sample is {_described(items)}. Make dataset[i] return (input, target), or a dict; "
                "inputs may be a tensor, a tuple or a dict."
            )
        return TrainingBatch(to_device(items[0], self.device), to_device(items[1], self.device), size)


def to_device(value: Any, device: torch.device) -> Any:
    """Tensors in nested tuples, lists and dicts, moved."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: to_device(part, device) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return tuple(to_device(part, device) for part in value)
    return value


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _described(items: Any) -> str:
    return f"a {type(items).__name__}" + (f" of {len(items)} parts" if isinstance(items, list | tuple) else "")
