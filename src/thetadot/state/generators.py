"""Global random generators of Python, numpy and torch."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def generators() -> dict[str, Any]:
    """States of torch's, numpy's and Python's generators, as tensors and numbers that weights_only loading takes."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global one is what users draw from
    words = np.asarray(keys, dtype=np.int64)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(words), int(position), int(has_gauss), float(cached)],
        "python": [version, list(internal), gauss],
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Restore generators to the state that :func:`generators` returned."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


@contextmanager
def generators_kept() -> Iterator[None]:
    """The global generators are bit for bit as before afterwards."""
    states = generators()
    try:
        yield
    finally:
        restore_generators(states)


@contextmanager
def keyed(key: int, devices: Sequence[int] = ()) -> Iterator[None]:
    """Python's, numpy's and torch's generators seeded by ``key`` inside, and as before afterwards.

    ``torch.manual_seed`` would reseed every accelerator as well: here only the CPU's generator and those of ``devices``
    (CUDA) are touched.

    Example:
        >>> before = torch.get_rng_state()
        >>> with keyed(7):
        ...     first = torch.rand(2)
        >>> with keyed(7):
        ...     second = torch.rand(2)
        >>> torch.equal(first, second), torch.equal(before, torch.get_rng_state())
        (True, True)
    """
    own = [torch.default_generator, *(torch.cuda.default_generators[device] for device in devices)]
    states = [generator.get_state() for generator in own]
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is what users draw from
    try:
        random.seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002
        for generator in own:
            generator.manual_seed(key % 2**63)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        for generator, state in zip(own, states, strict=True):
            generator.set_state(state)
