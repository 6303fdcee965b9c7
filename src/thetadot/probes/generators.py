"""Random numbers of one's own: global generators begin at a key inside, and are bit for bit as before afterwards."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def keyed(key: int, devices: Sequence[int] = ()) -> Iterator[None]:
    """Python's, numpy's and torch's generators seeded by ``key`` inside.

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
