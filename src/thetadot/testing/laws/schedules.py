"""Schedules: every scheduler of torch, momentum cycled, resumed in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim import lr_scheduler as torchs

from thetadot.testing.compare import distance, expect_close, expect_same
from thetadot.testing.law import BrokenLaw, expect, law
from thetadot.testing.subject import duplicates, saved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from thetadot.testing.subject import Subject

STEPS = 6


def _cycles(optimizer: Any) -> bool:
    return not {"momentum", "betas"}.isdisjoint(optimizer.param_groups[0])


def _one_cycle(optimizer: Any, lr: float) -> Any:
    return torchs.OneCycleLR(optimizer, 2 * lr, 8, cycle_momentum=_cycles(optimizer), div_factor=4)


SCHEDULERS: dict[str, Callable[[Any, float], Any]] = {
    "LambdaLR": lambda o, _: torchs.LambdaLR(o, lambda n: 0.9**n),
    "MultiplicativeLR": lambda o, _: torchs.MultiplicativeLR(o, lambda _: 0.95),
    "StepLR": lambda o, _: torchs.StepLR(o, 2),
    "MultiStepLR": lambda o, _: torchs.MultiStepLR(o, [2, 4]),
    "ConstantLR": lambda o, _: torchs.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o, _: torchs.LinearLR(o, 0.1),
    "ExponentialLR": lambda o, _: torchs.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o, _: torchs.CosineAnnealingLR(o, 6),
    "CosineAnnealingWarmRestarts": lambda o, _: torchs.CosineAnnealingWarmRestarts(o, 3),
    "PolynomialLR": lambda o, _: torchs.PolynomialLR(o, 6),
    "ReduceLROnPlateau": lambda o, _: torchs.ReduceLROnPlateau(o, patience=0),
    "CyclicLR": lambda o, lr: torchs.CyclicLR(o, lr / 4, lr, 2, cycle_momentum=_cycles(o)),
    "OneCycleLR": _one_cycle,
    "SequentialLR": lambda o, _: torchs.SequentialLR(
        o, [torchs.LinearLR(o, 0.1, total_iters=2), torchs.CosineAnnealingLR(o, 4)], [2]
    ),
    "ChainedScheduler": lambda o, _: torchs.ChainedScheduler(
        [torchs.LinearLR(o, 0.1, total_iters=3), torchs.ExponentialLR(o, 0.9)]
    ),
}
"""Each of torch.optim.lr_scheduler, as a function of the optimizer and its lr."""

_SCHEDULED = ("lr", "momentum", "betas")


def _scheduled_settings(optimizer: Any) -> dict[str, Any]:
    group = optimizer.param_groups[0]
    return {word: group[word] for word in _SCHEDULED if word in group}


def _advance(scheduler: Any) -> None:
    if isinstance(scheduler, torchs.ReduceLROnPlateau):
        scheduler.step(1.0)
    else:
        scheduler.step()


def _scheduled(subject: Subject, optimizer: Any, scheduler: Any, params: Any, steps: int) -> list[dict[str, Any]]:
    """Run; the settings of every step."""
    seen = []
    for _ in range(steps):
        seen.append(_scheduled_settings(optimizer))
        subject.run(optimizer, params, 1)
        _advance(scheduler)
    return seen


def _expect_each(experiment: Callable[[str], None], names: Iterable[str]) -> None:
    failures = []
    for name in names:
        try:
            experiment(name)
        except Exception as error:  # noqa: BLE001 - one finding for all schedulers
            failures.append(f"{name}: {error}")
    if failures:
        raise BrokenLaw("; ".join(failures))


@law()
def every_scheduler_of_torch_moves_the_run(subject: Subject) -> None:
    """Under each scheduler of torch the run is the one in which the same settings are written in by hand."""
    still = subject.tensors()
    subject.run(subject.optimizer(still), still, STEPS)

    def experiment(name: str) -> None:
        params, others = subject.tensors(), subject.tensors()
        optimizer, manual = subject.optimizer(params), subject.optimizer(others)
        seen = _scheduled(subject, optimizer, SCHEDULERS[name](optimizer, subject.traits.lr), params, STEPS)
        expect(distance(params, still) > 1e-6, "the settings moved, and the run did not notice")
        expect(len({str(settings) for settings in seen}) > 1, f"nothing was scheduled: {seen[0]}")
        for settings in seen:
            manual.param_groups[0].update(settings)
            subject.run(manual, others, 1)
        expect(all(torch.isfinite(p).all() for p in params), "a parameter is not finite")
        expect_close(params, others, 1e-10 if subject.traits.solves else 1e-14, "by scheduler and by hand")

    few = (
        "StepLR",
        "OneCycleLR",
        "ReduceLROnPlateau",
    )  # solving takes its time
    _expect_each(experiment, few if subject.traits.solves else SCHEDULERS)


@law(applies=lambda traits: traits.momentum)
def momentum_is_cycled(subject: Subject) -> None:
    """OneCycleLR and CyclicLR with cycle_momentum move the momentum, and the run with it."""

    def experiment(name: str) -> None:
        params, others = subject.tensors(), subject.tensors()
        optimizer, still = subject.optimizer(params), subject.optimizer(others)
        seen = _scheduled(subject, optimizer, SCHEDULERS[name](optimizer, subject.traits.lr), params, STEPS)
        expect(len({settings["momentum"] for settings in seen}) > 1, "the momentum stood still")
        for settings in seen:
            still.param_groups[0]["lr"] = settings["lr"]
            subject.run(still, others, 1)
        expect(distance(params, others) > 1e-6, "the momentum moved, and the run did not notice")

    _expect_each(experiment, ("OneCycleLR", "CyclicLR"))


@law()
def a_run_resumes_in_the_middle_of_a_schedule(subject: Subject) -> None:
    """Optimizer and scheduler saved in mid-schedule and loaded into new ones continue bit for bit."""

    def experiment(name: str) -> None:
        params = subject.tensors()
        optimizer = subject.optimizer(params)
        scheduler = SCHEDULERS[name](optimizer, subject.traits.lr)
        _scheduled(subject, optimizer, scheduler, params, 3)
        file, place, others = saved(optimizer), scheduler.state_dict(), duplicates(params)
        resumed = subject.optimizer(others)
        continued = SCHEDULERS[name](resumed, subject.traits.lr)
        continued.load_state_dict(place)
        resumed.load_state_dict(file)
        for side in ((optimizer, scheduler, params), (resumed, continued, others)):
            _scheduled(subject, *side, 3)
        expect_same(params, others, "the run and its resumption")

    _expect_each(experiment, ("StepLR", "CosineAnnealingLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR"))


@law()
def an_lr_in_a_tensor_is_scheduled_in_place(subject: Subject) -> None:
    """A scheduler writes into a tensor lr, and the steps follow it."""
    params, others = subject.tensors(), subject.tensors()
    lr = torch.tensor(subject.traits.lr, dtype=torch.float64)
    optimizer, plain = subject.optimizer(params, lr=lr), subject.optimizer(others)
    for side in ((optimizer, params), (plain, others)):
        _scheduled(subject, side[0], torchs.ExponentialLR(side[0], 0.5), side[1], 4)
    expect(optimizer.param_groups[0]["lr"] is lr, "the lr is another object after the schedule")
    expect_close(params, others, 1e-10 if subject.traits.solves else 1e-12, "a tensor and a number, scheduled")
