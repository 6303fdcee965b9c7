"""Parameters that are narrow all through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from thetadot.testing.subject import Subject

_ELEMENTS, _STEPS = 1024, 200


def _mean_displacement(subject: Subject, dtype: torch.dtype) -> float:
    params = [torch.ones(_ELEMENTS, dtype=dtype, requires_grad=True)]
    optimizer = subject.optimizer(params, lr=1e-4)
    gradient = torch.ones(_ELEMENTS, dtype=dtype)
    for _ in range(_STEPS):
        subject.push(optimizer, params, [gradient])
    return float((params[0].detach().double() - 1.0).mean())


def _moves(subject: Subject, dtype: torch.dtype) -> None:
    wide, narrow = _mean_displacement(subject, torch.float64), _mean_displacement(subject, dtype)
    expect(wide != 0, "the float64 run does not move at a constant gradient")
    expect(
        abs(narrow - wide) < 0.05 * abs(wide) + torch.finfo(dtype).eps / 4,
        f"{_STEPS} steps at lr=1e-4 from 1: float64 goes {wide:.4f}, {dtype} {narrow:.4f}",
    )


@law(applies=lambda traits: not traits.solves)
def bfloat16_parameters_take_small_steps(subject: Subject) -> None:
    """Small steps of pure bfloat16 parameters add up, in the mean, to what they are in float64."""
    _moves(subject, torch.bfloat16)


@law(applies=lambda traits: not traits.solves)
def float16_parameters_take_small_steps(subject: Subject) -> None:
    """Small steps of pure float16 parameters add up, in the mean, to what they are in float64."""
    _moves(subject, torch.float16)


@law(applies=lambda traits: not traits.solves)
def infinite_gradients_do_not_hide(subject: Subject) -> None:
    """A gradient that is not finite leaves a trace: the parameter is not finite, or the step was refused."""
    for dtype in (torch.float32, torch.bfloat16):
        params = [torch.ones(4, dtype=dtype, requires_grad=True)]
        optimizer = subject.optimizer(params)
        try:
            subject.push(optimizer, params, [torch.full((4,), float("nan"), dtype=dtype)])
        except (ValueError, ArithmeticError, RuntimeError):
            continue
        expect(not torch.isfinite(params[0]).any(), f"{dtype}: a gradient of nan gave {params[0].detach().tolist()}")
