"""A DataLoader as the data of a task: its samples and how they are collated, without its batches and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset, IterableDataset, RandomSampler, SequentialSampler, default_collate

from thetadot.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.utils.data import DataLoader


class Collated(Dataset[Any]):
    """A dataset with a way of its own to make a batch of samples.

    Args:
        dataset: map-style.
        collate: makes a batch of a list of samples.
    """

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.dataset, self.collate = dataset, collate

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        if hasattr(self.dataset, "__getitems__"):
            return list(self.dataset.__getitems__(indices))
        return [self.dataset[i] for i in indices]


def loaded(name: str, loader: DataLoader[Any]) -> Dataset[Any]:
    """Return the data of a loader, with its way to collate them.

    Args:
        name: of the data, for errors.
        loader: draws every sample once an epoch, in any order.

    Raises:
        TaskError: it draws otherwise, or its dataset has no length or makes batches itself.
    """
    dataset = loader.dataset
    if loader.batch_sampler is None:
        raise TaskError(
            f"{name} is a DataLoader with batch_size=None, whose dataset makes the batches. Pass a dataset of samples: "
            "the run chooses how many make a batch."
        )
    if isinstance(dataset, IterableDataset):
        return dataset  # refused with all others
    sampler = getattr(loader.batch_sampler, "sampler", None)
    if not _draws_each_once(sampler):
        kind = type(sampler or loader.batch_sampler).__name__
        raise TaskError(
            f"{name} is a DataLoader that draws by a {kind}, which a run does not follow: it takes each sample once an "
            "epoch. Pass the dataset, with samples repeated where they are to weigh more."
        )
    return dataset if loader.collate_fn is default_collate else Collated(dataset, loader.collate_fn)


def _draws_each_once(sampler: Any) -> bool:
    if isinstance(sampler, RandomSampler):
        return not sampler.replacement and sampler.num_samples == len(sampler.data_source)
    return isinstance(sampler, SequentialSampler)
