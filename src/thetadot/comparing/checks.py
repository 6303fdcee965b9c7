"""Before anything is trained: the task is whole, every point can be built, and the first of each run can step."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from thetadot.comparing.factory import build, require_own
from thetadot.comparing.job import untested
from thetadot.comparing.making import made
from thetadot.comparing.stepper import Stepper
from thetadot.comparing.store import Shared
from thetadot.errors import InadmissibleValue, TaskError
from thetadot.state import generators_kept, kept
from thetadot.training.constant import constant
from thetadot.training.data import Source
from thetadot.training.fingerprint import fingerprint
from thetadot.training.fit import require_fit
from thetadot.training.forward import judge, loss_of
from thetadot.training.learned import learned, require_all_learned
from thetadot.training.spec import users_code
from thetadot.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.comparing.job import ComparisonJob, Measure
    from thetadot.comparing.spec import Spec
    from thetadot.tasks.task import Task


class BegunComparison(NamedTuple):
    """What is known before the first run.

    Attributes:
        base: what all jobs share, with the budget of epochs × samples.
        shared: what the folder holds of it.
        constant: validation loss of the best constant output; None where there is none.
    """

    base: ComparisonJob
    shared: Shared
    constant: float | None


def tried_out(asked: ComparisonJob, specs: Sequence[Spec], by: Measure) -> BegunComparison:
    """Take a step with each run, so that what cannot work is told at once."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(asked.threads)
        with generators_kept():
            task = made(asked)
            return _checked(asked, specs, task, by)
    finally:
        torch.set_num_threads(threads)


def _checked(asked: ComparisonJob, specs: Sequence[Spec], task: Task, by: Measure) -> BegunComparison:
    device = next(task.model.parameters()).device
    train, valid = Source(task.train, asked.seed, device), Source(task.valid, asked.seed, device)
    if untested(by) != by and task.test is None:
        raise InadmissibleValue(f"by={by!r} needs test data, and the task has none. Give it some, or leave by out.")
    for point in (point for spec in specs for point in spec.points):
        size = asked.batch_size if point.batch_size is None else point.batch_size
        if size > train.size and not (point.own and point.batch_size is None):
            raise InadmissibleValue(
                f"batch_size={size} is larger than the training data ({train.size} samples). Pass a smaller one."
            )
    parts: dict[str, Any] = {"model": task.model, "loss": task.loss}
    with users_code():
        with kept(**parts), warnings.catch_warnings():
            # (B, 1) against (B,): torch broadcasts with a warning, and no run would learn anything
            warnings.filterwarnings("error", message="Using a target size")
            require_fit(task, train, valid, asked.batch_size)
            batch = next(iter(train.load(train.whole(min(2, train.size)))))
            require_all_learned(task, loss_of(task.model, task.loss, batch))
            loss, _ = judge(task, valid.load(valid.whole(512)), None)
        if not math.isfinite(loss):
            why = valid.not_finite() or "look at the loss"
            raise TaskError(f"before the first step the validation loss is {loss}: {why} in the validation data.")
        data, flat = fingerprint(task, asked.seed), constant(task, train, valid)
    for spec in specs:
        with kept(**parts):
            _require_steps(spec, task, train, asked)
    shared = Shared(
        asked.task,
        asked.epochs,
        asked.batch_size,
        str(device),
        asked.threads,
        data,
        _digest_of_parameters(task),
        {"thetadot": __version__, "torch": str(torch.__version__)},
    )
    return BegunComparison(
        replace(asked, budget=asked.epochs * train.size), shared, None if flat is None else flat.valid_loss
    )


def _require_steps(spec: Spec, task: Task, train: Source, asked: ComparisonJob) -> None:
    """Every point of a run can be built, and the first of them can step."""
    if spec.own:
        for point in spec.points:
            require_own(point)
        return
    for point in spec.points:
        build(point, learned(task))
    size = spec.points[0].batch_size or asked.batch_size
    batch = next(iter(train.load(train.whole(size, list(range(size))))))
    task.model.train()
    try:
        with users_code():
            Stepper(task, spec.points[0]).step(batch, 0.0)
    except TaskError as error:
        raise InadmissibleValue(
            f"run {spec.points[0].label!r} cannot take a step: {error}. Correct its settings, or leave it out."
        ) from error


def _digest_of_parameters(task: Task) -> str:
    """Names, shapes and values of the first parameters."""
    found = hashlib.sha256()
    for name, value in task.model.state_dict().items():
        found.update(name.encode())
        if isinstance(value, torch.Tensor):
            whole = value.detach().cpu().contiguous()
            found.update(f"{whole.dtype} {tuple(whole.shape)}".encode())
            found.update(whole.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
