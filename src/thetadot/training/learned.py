"""The trained parameters: those of the model, and of the loss where it is a module.

A loss may learn too (class centres, temperatures, weights of several tasks). One list of parameters goes to the
optimizer and to measurements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from thetadot.errors import TaskError
from thetadot.monitor.layers import trained
from thetadot.state.walk import Walk

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.tasks.task import Task

_SHOWN = 3


def learned(task: Task) -> list[nn.Parameter]:
    """The trainable parameters of the task's model, then of its loss, each once."""
    return list(trained(task.model, task.loss).values())


def require_all_learned(task: Task, loss: Tensor) -> None:
    """Refuse a loss function with trainable parameters of its own, which nothing would train.

    Args:
        task: what is to be trained.
        loss: a value of its loss, with its graph.

    Raises:
        TaskError: the gradient reaches parameters that are neither the model's nor the loss module's.
    """
    known = {id(p) for p in learned(task)}
    others = [
        (owner.place(name), leaf)
        for owner, name, leaf in Walk.over({"loss": task.loss}).leaves.values()
        if isinstance(leaf, nn.Parameter) and leaf.requires_grad and id(leaf) not in known
    ]
    if not others or not loss.requires_grad:
        return
    slopes = torch.autograd.grad(loss, [p for _, p in others], allow_unused=True, retain_graph=True)
    reached = [place for (place, _), slope in zip(others, slopes, strict=True) if slope is not None]
    if reached:
        names = ", ".join(reached[:_SHOWN]) + (", …" if len(reached) > _SHOWN else "")
        raise TaskError(
            f"the loss function has trainable parameters that nothing would train ({names}). "
            "Make the loss a torch.nn.Module that holds them, or freeze them with requires_grad_(False)."
        )
