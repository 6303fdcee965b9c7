"""The temperature that a run's gradient noise keeps up, as it draws its batches; and how a DataLoader draws them."""

from __future__ import annotations

import gc
from typing import Any, Literal

from torch.utils.data import RandomSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from thetadot.translation import temperature

Sampling = Literal["replacement", "epochs"]


def heat(
    rate: float,
    momentum: float,
    variance: float,
    batch_size: float,
    *,
    parameters: int,
    sampling: Sampling | None,
    dataset_size: int | None,
    sharpness: float | None,
) -> float | None:
    """T of trΣ/d; under epochs that of the sharpest direction, which no flatter one exceeds.

    Args:
        rate: α of the heavy-ball form.
        momentum: β of it.
        variance: trΣ of one sample, in the metric of the step.
        batch_size: B.
        parameters: d.
        sampling: how batches are drawn; None, unknown, is taken for independent draws, which are never colder.
        dataset_size: N.
        sharpness: the largest curvature in the metric of the step.

    Returns:
        T; None under epochs where N or a curvature at which the step is stable is not known.
    """
    given: dict[str, Any] = {}
    if sampling == "epochs":
        stable = sharpness is not None and 0 < rate * sharpness < 2.0 * (1.0 + momentum)
        if dataset_size is None or not stable or batch_size > dataset_size:
            return None
        given = {"sampling": "epochs", "dataset_size": dataset_size, "curvature": sharpness}
    return float(temperature(rate, momentum, max(variance, 0.0), batch_size, parameters=parameters, **given))


def drawn() -> tuple[Sampling, int] | None:
    """How the DataLoaders that are being iterated draw, and from how many samples; None where that is not told.

    They are looked for among living objects and not touched. A loader without shuffling is passed over, as one that
    evaluates; what is left has to agree.
    """
    found = set()
    for living in gc.get_objects():
        if not issubclass(type(living), _BaseDataLoaderIter):
            continue
        sampler = getattr(getattr(living, "_index_sampler", None), "sampler", getattr(living, "_index_sampler", None))
        if isinstance(sampler, RandomSampler):
            size = len(sampler.data_source)
            if not sampler.replacement and sampler.num_samples != size:
                return None
            found.add(("replacement" if sampler.replacement else "epochs", size))
        elif type(sampler).__name__ == "DistributedSampler" and getattr(sampler, "shuffle", False):
            found.add(("epochs", len(sampler.dataset)))  # type: ignore[union-attr]
    return found.pop() if len(found) == 1 else None  # type: ignore[return-value]
