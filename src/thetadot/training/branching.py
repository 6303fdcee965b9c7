r"""The critical batch size, measured by branches from one checkpoint and not inferred from a noise scale.

    e_k = samples after which batch B came as far / samples that batch kB took,    1/e_k = (1 + kB/B_c)/(1 + B/B_c)

Copies of model and optimizer go on from where they are, with batch kB and lr α·k^p, over as many samples each; of the
powers p the one counts that came farthest, so that it is the batch that is measured and not a rule for its lr. How far
a branch came is read on the first branch's own loss curve. At B_c twice the samples of small batches are needed, which
is McCandlish's B_crit; nothing of this is derived from trΣ/|G|², which can be wrong by several times.

The present lr is taken to be about the best at its batch: where it is far below, larger batches may take larger steps
for nothing, and B_c comes out too large. Branches of fewer steps than a velocity remembers say little.

Source:
    Merrill et al., arXiv:2505.23971 (branches); McCandlish et al., arXiv:1812.06162 (the hyperbola).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import torch
from scipy.stats import t as student

from thetadot.core.rng import derive
from thetadot.core.signatures import checked
from thetadot.core.validation import require_count, require_numbers, require_whole
from thetadot.errors import InadmissibleValue, require
from thetadot.state import keyed
from thetadot.training.data import BatchRequest, Source
from thetadot.training.forward import loss_of
from thetadot.training.spec import users_code
from thetadot.training.suggesting import task_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from thetadot.tasks.task import Loss

LOOKS = 16
"""Times at which a branch of the present batch is looked at, for its loss curve."""
REFERENCE = 1024
"""Samples that the loss is looked at on, at most."""
LOST = 0.8
"""Efficiency below which a branch has lost something: above it everywhere, the critical batch is only bounded."""
LEAST = 1e-3
"""Efficiency of a branch that went nowhere."""


@dataclass(frozen=True)
class BatchBranch:
    """What became of one batch size.

    Attributes:
        batch: kB.
        lr: the largest learning rate of its groups, by the power that came farthest.
        loss: at its end, a mean over repeats; not finite where one diverged.
        efficiency: e_k, a mean over repeats, 1 where nothing is lost.
    """

    batch: int
    lr: float
    loss: float
    efficiency: float


@dataclass(frozen=True)
class CriticalBatch:
    """Critical batch size where the run is.

    Attributes:
        batch: B_c in samples; a lower bound where not ``resolved``.
        low: lower end of its 95% interval, over repeats.
        high: upper end of the interval; inf where not resolved.
        resolved: whether the largest batch lost something.
        branches: one a batch size.
    """

    batch: float
    low: float
    high: float
    resolved: bool
    branches: tuple[BatchBranch, ...]


@checked
def critical_batch(
    model: nn.Module,
    loss: Loss | None,
    data: Any,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int,
    samples: int | None = None,
    factors: Sequence[int] = (1, 2, 4, 8, 16),
    powers: Sequence[float] = (0.5, 1.0),
    repeats: int = 4,
    seed: int = 0,
) -> CriticalBatch:
    """Measure the critical batch size from where a model and its optimizer are; both stay as they are.

    Args:
        model: in the middle of its training, with its present lr about the best at this batch size.
        loss: ``loss(output, target)``, a mean over the batch; None where the model's output carries it.
        data: training samples, as :func:`thetadot.suggest` takes them; drawn independently.
        optimizer: of the model's parameters; its state is gone on from.
        batch_size: B, the smallest.
        samples: that every branch takes; None: 16 steps of the largest batch.
        factors: k, beginning with 1, rising.
        powers: p of lr α·k^p that are tried, each from 0 to 2: 1/2 is the square root, 1 the linear rule.
        repeats: times, at least 2, each with its own samples.
        seed: of samples and of random transforms.

    Raises:
        InadmissibleValue: an argument out of its range, or a branch at the present batch that does not lower the loss.

    Example:
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model, x = nn.Linear(4, 1), torch.randn(512, 4)
        >>> data = x, x.sum(1, keepdim=True) + torch.randn(512, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> found = critical_batch(model, nn.functional.mse_loss, data, optimizer, batch_size=2, factors=(1, 4))
        >>> [branch.batch for branch in found.branches], round(found.branches[1].lr, 2)
        ([2, 8], 0.04)

    Source:
        see the module.
    """
    factors = _factors(factors)
    require_count(1, 10**9, batch_size=batch_size)
    require_count(2, 1000, repeats=repeats)
    samples = 16 * batch_size * factors[-1] if samples is None else samples
    require(
        samples >= 4 * batch_size * factors[-1],
        f"samples={samples}",
        f"is below 4 steps of the largest batch, {batch_size * factors[-1]}",
        "Pass more samples, or smaller factors.",
    )
    tried = tuple(powers)
    require_numbers(**{f"powers[{i}]": each for i, each in enumerate(tried)})
    require(
        len(tried) > 0 and all(0 <= each <= 2 for each in tried),
        f"powers={tried}",
        "are none, or outside [0, 2]",
        "Pass such as (0.5, 1.0), of the square root and of the linear rule.",
    )
    trainer = _Trainer(task_of(model, loss, data), optimizer, samples, seed)
    firsts = [trainer.branch(batch_size, 1.0, r, LOOKS) for r in range(repeats)]
    _require_falling(firsts, batch_size)
    rows = [[(first, 1.0) for first in firsts]]
    for factor in factors[1:]:
        ways = [_branched(trainer, firsts, batch_size * factor, math.pow(factor, power)) for power in tried]
        rows.append(max(ways, key=lambda way: fmean(efficiency for _, efficiency in way)))
    return _concluded(rows, batch_size, factors)


def _factors(factors: Sequence[int]) -> tuple[int, ...]:
    found = tuple(factors)
    require_whole(**{f"factors[{i}]": each for i, each in enumerate(found)})
    rising = all(a < b for a, b in pairwise(found))
    if len(found) < 2 or found[0] != 1 or not rising or found[-1] > 10**6:
        raise InadmissibleValue(f"factors={found} do not begin with 1 and rise. Pass such as (1, 2, 4, 8).")
    return found


@dataclass(frozen=True)
class _Ran:
    """One branch of one repeat: losses at its looks, and the samples taken by then."""

    taken: list[int]
    losses: list[float]
    lr: float


class _Trainer:
    """Goes on with copies of a model and its optimizer."""

    def __init__(self, task: Any, optimizer: torch.optim.Optimizer, samples: int, seed: int) -> None:
        own = {id(p) for p in task.model.parameters()}
        foreign = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in own]
        if foreign:
            raise InadmissibleValue(
                f"the optimizer moves {len(foreign)} parameters that are not the model's. Pass the model's optimizer."
            )
        self.task, self.optimizer, self.samples, self.seed = task, optimizer, samples, seed
        self.source = Source(task.train, seed, next(iter(task.model.parameters())).device)
        draw = torch.Generator().manual_seed(derive(seed, 0) % 2**63)
        chosen = torch.randperm(self.source.size, generator=draw)[:REFERENCE].tolist()
        self.reference = self.source.whole(len(chosen), chosen)

    def branch(self, batch: int, raised: float, repeat: int, looks: int) -> _Ran:
        """Train a copy with a batch size and a factor of lr, over the samples of a repeat."""
        model, loss, optimizer = copy.deepcopy((self.task.model, self.task.loss, self.optimizer))
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * raised
        draw = torch.Generator().manual_seed(derive(self.seed, 1, repeat) % 2**63)
        steps = self.samples // batch
        order = torch.randint(self.source.size, (steps * batch,), generator=draw).view(steps, batch).tolist()
        requests = [BatchRequest(derive(self.seed, 2, repeat, i), row) for i, row in enumerate(order)]
        marks = {round(steps * (i + 1) / looks) for i in range(looks)}
        taken, losses = [0], [self.looked(model, loss)]
        with users_code(), keyed(derive(self.seed, 3, repeat)):
            for i, each in enumerate(self.source.load(requests), start=1):
                optimizer.zero_grad()
                loss_of(model, loss, each).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if i in marks:
                    taken.append(i * batch)
                    losses.append(self.looked(model, loss))
        return _Ran(taken, losses, max(float(group["lr"]) for group in optimizer.param_groups))

    def looked(self, model: nn.Module, loss: Loss) -> float:
        """The loss on the reference samples, without dropout."""
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        with torch.no_grad():
            (batch,) = self.source.load(self.reference)
            value = float(loss_of(model, loss, batch))
        for module, mode in modes:
            module.training = mode
        return value


def _branched(trainer: _Trainer, firsts: list[_Ran], batch: int, raised: float) -> list[tuple[_Ran, float]]:
    """Branches of one batch and lr, a repeat each, with their efficiency on the first ones' loss curves."""
    rans = [trainer.branch(batch, raised, repeat, 1) for repeat in range(len(firsts))]
    return [(ran, _reached(first, ran.losses[-1]) / ran.taken[-1]) for first, ran in zip(firsts, rans, strict=True)]


def _require_falling(firsts: list[_Ran], batch: int) -> None:
    fell = [first.losses[0] - first.losses[-1] for first in firsts]
    if not all(math.isfinite(each) for each in fell) or fmean(fell) <= 0:
        raise InadmissibleValue(
            f"the loss does not fall at batch_size={batch} and the present lr: nothing tells one batch from another. "
            "Pass an optimizer with a smaller lr, or more samples."
        )


def _reached(first: _Ran, loss: float) -> float:
    """Samples after which the first branch had come to a loss: its curve made to fall, in straight pieces."""
    if not math.isfinite(loss):
        return LEAST * first.taken[-1]
    lowest, before, at = first.losses[0], first.losses[0], 0
    for samples, value in zip(first.taken[1:], first.losses[1:], strict=True):
        lowest = min(lowest, value)
        if loss >= lowest:
            share = (before - loss) / (before - lowest) if before > lowest else 1.0
            return max(at + min(max(share, 0.0), 1.0) * (samples - at), LEAST * first.taken[-1])
        before, at = lowest, samples
    return float(first.taken[-1])


def _concluded(rows: list[list[tuple[_Ran, float]]], batch: int, factors: tuple[int, ...]) -> CriticalBatch:
    branches = tuple(
        BatchBranch(
            batch * factor, row[0][0].lr, fmean(ran.losses[-1] for ran, _ in row), fmean(min(e, 1.0) for _, e in row)
        )
        for factor, row in zip(factors, rows, strict=True)
    )
    logs = [math.log(_fitted([e for _, e in repeat], batch, factors)) for repeat in zip(*rows, strict=True)]
    middle = fmean(logs)
    half = float(student.ppf(0.975, len(logs) - 1)) * stdev(logs) / math.sqrt(len(logs))
    resolved = min(branch.efficiency for branch in branches) < LOST
    low, high = math.exp(middle - half), math.exp(min(middle + half, 700.0))
    return CriticalBatch(math.exp(middle), low, high if resolved else math.inf, resolved, branches)


def _fitted(efficiencies: list[float], batch: int, factors: tuple[int, ...]) -> float:
    """B_c of least squares in the logarithm, from a 64th of the smallest batch to 64 times the largest."""
    logs = [math.log(min(max(e, LEAST), 1.0)) for e in efficiencies]

    def miss(scale: float) -> float:
        expected = [math.log1p(batch / scale) - math.log1p(batch * k / scale) for k in factors]
        return sum((a - b) ** 2 for a, b in zip(logs, expected, strict=True))

    ends = math.log2(batch / 64), math.log2(batch * factors[-1] * 64)
    scales = [math.pow(2.0, ends[0] + (ends[1] - ends[0]) * i / 512) for i in range(513)]
    return min(scales, key=miss)
