"""What ``thetadot suggest`` does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from torch import nn

from thetadot.training import suggest
from thetadot.training.setting import device_of, seed_all
from thetadot.training.spec import resolve

if TYPE_CHECKING:
    import argparse

_GIVEN = ("epochs", "budget", "seed", "optimizer", "lr", "momentum", "batch_size", "annealing")


def act(options: argparse.Namespace) -> int:
    """Suggest settings for a task, and print them."""
    given: dict[str, Any] = {name: getattr(options, name) for name in _GIVEN if getattr(options, name) is not None}
    make, device = resolve(options.task), device_of(options.device or "cpu")
    seed_all(given.get("seed", 0))
    task = make()
    for part in (task.model, task.loss):
        if isinstance(part, nn.Module):
            part.to(device)
    found = suggest(task.model, task.loss, task.train, **given)
    print(json.dumps(found.to_dict()) if options.json else repr(found))
    return 0
