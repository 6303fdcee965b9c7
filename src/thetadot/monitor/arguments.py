"""What a watch is given: refused where it is of another kind, before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from thetadot.core.validation import require_count, require_whole, require_word
from thetadot.errors import InadmissibleValue, require
from thetadot.monitor.cadence import PLANS, STEPS
from thetadot.monitor.measurements import MEASUREMENTS

MOST_STEPS = 2**53


def require_kinds_of(model: Any, optimizer: Any, loss_fn: Any, out: Any, level: Any, log: Any = None) -> None:
    """Refuse arguments of another kind."""
    require_word(tuple(PLANS), level=level)
    if not isinstance(model, nn.Module):
        raise InadmissibleValue(f"model is of type {type(model).__name__}. Pass a torch.nn.Module.")
    if isinstance(loss_fn, type):
        raise InadmissibleValue(f"loss_fn is the class {loss_fn.__name__}, not one that is made. Call it: add ().")
    if out is not None and not isinstance(out, str | Path):
        raise InadmissibleValue(f"out={out!r} is no folder. Pass its path.")
    if log is not None and not callable(log):
        raise InadmissibleValue(
            f"log is of type {type(log).__name__}. Pass a function of (values, step), as wandb.log."
        )
    if not hasattr(optimizer, "param_groups"):
        raise InadmissibleValue(f"optimizer is of type {type(optimizer).__name__}. Pass a torch.optim.Optimizer.")


def require_periods(every: Any) -> None:
    """Refuse steps between measurements that are no numbers of steps, and names that nothing has."""
    names = (STEPS, *MEASUREMENTS)
    periods = every if isinstance(every, Mapping) else {STEPS: every}
    for name, period in periods.items():
        known = name in names
        require(known, f"every={{{name!r}: ...}}", "is no measurement", f"Pass some of {', '.join(names)}.")
        require_count(1, MOST_STEPS, every=period)


def require_numbers_of(dataset_size: Any, batch_dim: Any, samples: Any) -> None:
    """Refuse numbers that count nothing."""
    if batch_dim is not None:
        require_whole(batch_dim=batch_dim)
    if samples is not None and not callable(samples):
        require_whole(samples=samples)
        require(samples >= 1, f"samples={samples}", "is below 1", "Pass the samples of a pass.")
    if dataset_size is not None:
        require_whole(dataset_size=dataset_size)
        require(dataset_size >= 1, f"dataset_size={dataset_size}", "is below 1", "Pass the number of samples.")
