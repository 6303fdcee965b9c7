"""Environment of a run: its device, its generators' seeds, the size of its reference sample."""

from __future__ import annotations

import math
import random

import numpy as np
import torch

from thetadot.errors import InadmissibleValue

_FEWEST_REFERENCES = 8


def reference_size(samples: int, available: int) -> int:
    """Return the samples at which a curvature measurement costs about a hundredth of the run; 0 below 8."""
    size = min(256, available, int(samples * 0.01 / 17))
    if size < _FEWEST_REFERENCES <= min(available, samples * 0.025 / 17):
        return _FEWEST_REFERENCES
    return size if size >= _FEWEST_REFERENCES else 0


def power_of_two(value: float) -> int:
    """The largest power of two not above ``value``, at least 1."""
    return int(2 ** math.floor(math.log2(value))) if value >= 1 else 1


def device_of(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InadmissibleValue: torch does not know it, or cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InadmissibleValue(
            f"device={name!r} cannot be used here ({str(error).splitlines()[0]}). "
            "Pass cpu, or a device that torch sees."
        ) from error
    return device


def seed_all(seed: int) -> None:
    """Python's, numpy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the generator that users' transforms draw from
    torch.manual_seed(seed)
