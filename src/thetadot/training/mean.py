"""The running mean of the parameters: a second candidate for the state that is returned, at no further validation.

    m ← m + w (θ - m),   w = (γ + 1)/(γ + t) at step t,   γ = 4

so that step s counts as s^γ: about the last fifth of all steps so far, however many they are. It takes out the noise
that a constant rate leaves in the parameters, and costs a copy of them. In a run whose rate falls to 0 it ends close to
the last parameters; where a run still moves fast it lags behind. So an epoch is validated once, as ever: after an epoch
at which the parameters themselves came no lower, the next one's validation is the mean's, and the one after that theirs
again. The last epoch's is theirs. The guard compares the parameters' own losses alone.

Running statistics of batches (BatchNorm) are averaged alike; all else that a model holds is as it is at the time.

Source: O. Shamir, T. Zhang, Stochastic gradient descent for non-smooth optimization, ICML 2013 (polynomial-decay
averaging); P. Izmailov et al., Averaging weights leads to wider optima, UAI 2018.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from thetadot.training.learned import learned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from thetadot.tasks.task import Task

_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d
POWER = 4.0
"""γ: a fifth. Of means over a tenth, a fifth and three tenths none was better by more than the seeds' scatter."""


class RunningMean:
    """The mean of a task's parameters over the last fifth of the steps.

    Args:
        task: whose model, and loss where it is a module, are averaged.

    Example:
        >>> RunningMean.weight(1), RunningMean.weight(6)
        (1.0, 0.5)
    """

    def __init__(self, task: Task) -> None:
        parameters: list[Tensor] = list(learned(task))
        self.tensors = [*parameters, *_statistics(task)]
        self.taken = 0
        self.values: list[Tensor] = []

    @staticmethod
    def weight(step: int) -> float:
        """Weight of the newest parameters at this step, counted from 1."""
        return (POWER + 1.0) / (POWER + step)

    def take(self) -> None:
        """Count the present parameters in."""
        self.taken += 1
        if self.taken == 1:
            self.values = [_wide(t.detach()).clone() for t in self.tensors]
            return
        now = [_wide(t.detach()) for t in self.tensors]
        for values, others in _of_one_kind(self.values, now):
            torch._foreach_lerp_(values, others, self.weight(self.taken))

    def restart(self) -> None:
        """Begin anew: the parameters were put back."""
        self.taken, self.values = 0, []

    @contextmanager
    def put(self) -> Iterator[None]:
        """Put the mean in the parameters' place, and them back, bit for bit; nothing before the first step."""
        if not self.taken:
            yield
            return
        here = [t.detach().clone() for t in self.tensors]
        try:
            self._copy(self.values)
            yield
        finally:
            self._copy(here)

    def _copy(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for tensor, value in zip(self.tensors, values, strict=True):
                tensor.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the mean, as plain containers."""
        return {"taken": self.taken, "values": [v.clone() for v in self.values]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self.taken = int(state["taken"])
        wanted = self.tensors if self.taken else []
        self.values = [
            torch.empty_like(_wide(t.detach())).copy_(v) for t, v in zip(wanted, state["values"], strict=True)
        ]


def _wide(value: Tensor) -> Tensor:
    """At single precision at least: in half, what a late step adds is rounded away."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _statistics(task: Task) -> list[Tensor]:
    """Running means and variances of batches, each once."""
    owners = (part for part in (task.model, task.loss) if isinstance(part, nn.Module))
    norms = (m for owner in owners for m in owner.modules() if isinstance(m, _NORMS))
    found = {id(b): b for norm in norms for b in (norm.running_mean, norm.running_var) if isinstance(b, torch.Tensor)}
    return list(found.values())


def _of_one_kind(values: list[Tensor], others: list[Tensor]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Pairs of lists of one device and dtype each, which one kernel takes."""
    kinds: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for value, other in zip(values, others, strict=True):
        first, second = kinds.setdefault((value.device, value.dtype), ([], []))
        first.append(value)
        second.append(other)
    yield from kinds.values()
