"""Mixed precision: loss scaling and autocast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from thetadot.testing.compare import expect_close, expect_same, expect_same_state, snapshot, values
from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from thetadot.testing.subject import Subject
    from thetadot.testing.traits import Traits


def _steps_without_closure(traits: Traits) -> bool:
    """Torch's GradScaler calls step() without closure."""
    return not traits.closure


def _scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)


@law(applies=_steps_without_closure)
def a_scaled_run_is_the_run(subject: Subject) -> None:
    """Through a GradScaler whose scale is a power of 2 the run is the unscaled one."""
    params, others = subject.tensors(torch.float32), subject.tensors(torch.float32)
    one, other = subject.optimizer(params), subject.optimizer(others)
    scaler: Any = _scaler()
    for _ in range(4):
        subject.run(one, params, 1)
        other.zero_grad()
        scaler.scale(subject.loss(others)).backward()
        scaler.step(other)
        scaler.update()
    expect_close(params, others, 1e-6, "unscaled and scaled")


@law(applies=_steps_without_closure)
def a_step_with_an_infinite_gradient_is_skipped(subject: Subject) -> None:
    """A GradScaler that finds inf skips the step: parameters, state and counters stay, and the run continues."""
    params, others = subject.tensors(torch.float32), subject.tensors(torch.float32)
    one, other = subject.optimizer(params), subject.optimizer(others)
    scaler: Any = _scaler()

    def scaled(*, spoil: bool) -> None:
        one.zero_grad()
        scaler.scale(subject.loss(params)).backward()
        if spoil and params[0].grad is not None:
            params[0].grad.view(-1)[0] = float("inf")
        scaler.step(one)
        scaler.update()

    scaled(spoil=False)
    before, state = values(params), snapshot(one)
    scaled(spoil=True)
    expect_same(before, params, "parameters before and after the skipped step")
    expect_same_state(state, snapshot(one), "state before and after the skipped step")
    expect(scaler.get_scale() == 512.0, f"the scale is {scaler.get_scale()}, not halved")
    scaled(spoil=False)
    subject.run(other, others, 2)
    expect_close(params, others, 1e-6, "with a skipped step between and without")


@law(applies=lambda traits: not traits.solves)
def training_under_autocast_learns(subject: Subject) -> None:
    """A float32 model trained under bfloat16 autocast learns, and stays float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        inputs = torch.randn(64, 4)
    targets = 3.0 + inputs.sum(1, keepdim=True)
    optimizer = subject.optimizer(model.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss: torch.Tensor = (model(inputs).float() - targets).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    losses = [float(optimizer.step(closure).detach()) for _ in range(30)]
    expect(losses[-1] < 0.9 * losses[0], f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}")
    expect(all(p.dtype is torch.float32 for p in model.parameters()), "a parameter is no longer float32")
