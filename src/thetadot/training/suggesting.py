"""Settings for a loop of one's own: what :func:`thetadot.run` would begin with, by the same rules and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from thetadot.core import signatures
from thetadot.errors import InadmissibleValue, TaskError, require
from thetadot.records import Choice, Constant, Curvature, Noise, Remark
from thetadot.state import kept
from thetadot.tasks.loaded import loaded
from thetadot.tasks.task import Task, require_data
from thetadot.training.arguments import EPOCHS, Arguments
from thetadot.training.beginning import RunBeginning
from thetadot.training.cost import Cost
from thetadot.training.data import Source
from thetadot.training.setting import reference_size
from thetadot.training.spec import users_code
from thetadot.training.suggestion import Suggestion
from thetadot.training.trying import tried

if TYPE_CHECKING:
    from torch import nn

    from thetadot.records import Entry
    from thetadot.tasks.task import Loss
    from thetadot.training.plan import Annealing, Family, TrainingPlan

LEAST = 22
"""Gradient evaluations that a suggestion takes at least: a gradient of 16 samples and a loss of 18."""
NOISE = 64, 0.004
"""Samples that the noise is read from: so many, or such a share of the training's."""


@signatures.checked
def suggest(
    model: nn.Module,
    loss: Loss | None = None,
    data: Any = None,
    *,
    epochs: int = EPOCHS,
    budget: float | None = None,
    seed: int = 0,
    optimizer: Family | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    batch_size: int | None = None,
    annealing: Annealing | None = None,
) -> Suggestion:
    """Suggest the settings that :func:`thetadot.run` would begin with, for a training loop of one's own.

    Nothing is trained: model, loss and random generators are bit for bit as before. What a run decides on the way, its
    forks and its guard, is not in it.

    Args:
        model: at its first parameters, on the device where it is to be trained.
        loss: ``loss(output, target)``, a mean over the batch; None where the model's output carries it.
        data: training samples as :class:`thetadot.Task` takes them: a dataset, a DataLoader of one, or a pair of
            tensors (inputs, targets).
        epochs: passes over the data that are meant.
        budget: gradient evaluations of one sample that this may take, at least 22; None: a few percent of the
            training's. What it does not pay for is not measured.
        seed: of the samples that are looked at; a run of the same seed looks at the same.
        optimizer: "heavy-ball" or "adam", instead of a rule.
        lr: instead of a rule.
        momentum: instead of a rule.
        batch_size: instead of a rule.
        annealing: "linear", "cosine" or "coupled", instead of a rule.

    Returns:
        Settings with their reasons, ``build(params)`` and ``schedule(optimizer)``.

    Raises:
        TaskError: model, loss and data do not fit one another, or nothing would move.
        InadmissibleValue: an argument is out of its range.

    Example:
        >>> from torch import nn
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 0.02)
        >>> x = torch.eye(2).repeat(32, 1)
        >>> found = suggest(model, nn.functional.mse_loss, (x, x.sum(1, keepdim=True)), epochs=10)
        >>> found.optimizer, round(found.lr, 6), found.batch_size  # half the parameters' size of 0.02
        ('adam', 0.01, 16)
        >>> optimizer = found.build(model.parameters())
        >>> schedule = found.schedule(optimizer)
        >>> found.steps
        40
    """
    asked = Arguments(
        "suggest", epochs, None, seed, optimizer, lr, momentum, batch_size, annealing=annealing, cure=False
    )
    most = float("inf") if budget is None else float(budget)
    require(most >= LEAST, f"budget={budget}", f"is below {LEAST}", "Pass more gradient evaluations, or None.")
    task = task_of(model, loss, data)
    source = Source(task.train, seed, next(p.device for p in model.parameters() if p.requires_grad))
    told: list[Entry] = []
    cost = Cost()
    with users_code(), kept(model=task.model, loss=task.loss):
        found = tried(task, source, source, batch_size)
        told += [Remark(0, "state", f"{change} is written by a pass and cannot be put back") for change in found.lost]
        beginning = RunBeginning(
            task, source, None, asked, least=found.least, cost=cost, write=told.append, steered=False, most=most
        )
        plan, begun = beginning.settle()
        _require_curvature(plan, lr, budget, told)
        _read_on(beginning, epochs * source.size, told)
    return Suggestion(
        plan=plan,
        settings=tuple(entry for entry in told if isinstance(entry, Choice)),
        remarks=tuple(entry for entry in told if isinstance(entry, Remark)),
        loss=begun.loss,
        constant=_first(told, Constant),
        noise=_first(told, Noise),
        curvature=_first(told, Curvature),
        price=cost.samples,
        samples=source.size,
        epochs=epochs,
    )


def task_of(model: nn.Module, loss: Loss | None, data: Any) -> Task:
    """Return what is to be trained, as a run has it."""
    if isinstance(data, list | tuple) and len(data) == 2 and all(isinstance(part, torch.Tensor) for part in data):
        sizes = [len(part) if part.dim() else 0 for part in data]
        if sizes[0] != sizes[1]:
            raise TaskError(f"data has {sizes[0]} inputs and {sizes[1]} targets. Pass as many of each.")
        data = TensorDataset(*data)
    if isinstance(data, DataLoader):
        data = loaded("data", data)
    require_data("data", data)
    return Task(model, loss, data, data)  # type: ignore[arg-type]  # no loss: the model's own


def _read_on(beginning: RunBeginning, samples: int, told: list[Entry]) -> None:
    """Read noise and curvature where no rule has asked for them, for what they say of the settings."""
    before, size = beginning.before, beginning.source.size
    most, part = NOISE
    if _first(told, Noise) is None and (noise := before.noise(min(most, int(samples * part)))) is not None:
        told.append(noise)
    count = reference_size(samples, size)
    if count and _first(told, Curvature) is None and (curvature := before.curvature(count)) is not None:
        told.append(curvature)


def _require_curvature(plan: TrainingPlan, lr: float | None, budget: float | None, told: list[Entry]) -> None:
    """A run without a curvature is caught by its guard; a loop of one's own has none."""
    if plan.optimizer == "heavy-ball" and lr is None and budget is not None and _first(told, Curvature) is None:
        raise InadmissibleValue(
            f"budget={budget:g} does not pay for the curvature that heavy ball's lr follows from. "
            "Pass some hundreds, or lr=, or leave optimizer out."
        )


def _first(told: list[Entry], kind: type[Any]) -> Any:
    return next((entry for entry in told if isinstance(entry, kind)), None)
