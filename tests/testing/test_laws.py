"""The contract can fail: each broken optimizer is caught by the law of its fault, and torch's own are told apart."""

import functools
import subprocess
import sys

import pytest
import torch
from torch.optim import lr_scheduler

from thetadot.errors import InadmissibleValue
from thetadot.optim import HeavyBall
from thetadot.testing import BrokenContract, Finding, Law, Traits, check_optimizer, expect, law, laws
from thetadot.testing.laws.schedules import SCHEDULERS

TRAITS = Traits(momentum=True, differentiable=True)
QUICK = [each for each in laws() if not each.slow]


def broken(build, traits=TRAITS, among=QUICK):
    """Names of the laws that an optimizer breaks."""
    try:
        check_optimizer(build, traits=traits, among=among)
    except BrokenContract as error:
        return {line.split(":")[0].strip() for line in str(error).splitlines()[1:] if not line.startswith("    ")}
    return set()


# Faults, one each, in an optimizer that has none.


class DecaysTheGradient(HeavyBall):
    """Writes weight decay into p.grad."""

    @torch.no_grad()
    def step(self, closure=None, **options):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and closure is None:
                    p.grad.mul_(1.0)
                    p.grad.add_(p, alpha=group["weight_decay"])
        return super().step(closure, **options)


class ReplacesTheGradient(HeavyBall):
    """Leaves another tensor of the same values in p.grad."""

    def step(self, closure=None, **options):
        returned = super().step(closure, **options)
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if p.grad is None else p.grad.clone()
        return returned


class ForgetsMomentumWithoutClosure(HeavyBall):
    """Loses its momentum on the path without a closure."""

    def step(self, closure=None, **options):
        if closure is None:
            for state in self.state.values():
                state["velocity"].zero_()
        return super().step(closure, **options)


class LoadsByPosition(HeavyBall):
    """Ignores names in a state dict."""

    def load_state_dict(self, state_dict):
        groups = [
            group | ({"param_names": own["param_names"]} if "param_names" in own else {})
            for group, own in zip(state_dict.get("param_groups", []), self.param_groups, strict=False)
        ]
        super().load_state_dict(state_dict | {"param_groups": groups} if groups else state_dict)


class AcceptsNegativeLr(HeavyBall):
    """Takes lr=-1 for 0."""

    def __init__(self, params, lr, **options):
        super().__init__(params, max(lr, 0.0) if isinstance(lr, float) and lr < 0 else lr, **options)


class ResumesInexactly(HeavyBall):
    """Saves its velocity in half the bits."""

    def state_dict(self):
        found = super().state_dict()
        state = {
            index: {word: value.to(torch.bfloat16).to(value.dtype) for word, value in values.items()}
            for index, values in found["state"].items()
        }
        return found | {"state": state}


class CallsTheClosureTwice(HeavyBall):
    """Evaluates the closure a second time."""

    def step(self, closure=None, **options):
        if closure is not None:
            with torch.enable_grad():
                closure()
        return super().step(closure, **options)


class ReturnsNothing(HeavyBall):
    """Drops the closure's loss."""

    def step(self, closure=None, **options):
        super().step(closure, **options)


class ConsumesRandomNumbers(HeavyBall):
    """Draws from the global generator."""

    def step(self, closure=None, **options):
        torch.rand(1)
        return super().step(closure, **options)


class CachesItsLr(HeavyBall):
    """Reads lr once."""

    def __init__(self, params, lr, **options):
        super().__init__(params, lr, **options)
        self.once = lr

    def motion(self, group):
        return super().motion(group | {"lr": getattr(self, "once", group["lr"])})

    def __getstate__(self):
        return super().__getstate__() | {"once": self.once}


class Contiguous(HeavyBall):
    """Moves parameters to new memory."""

    def step(self, closure=None, **options):
        returned = super().step(closure, **options)
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data.clone(memory_format=torch.contiguous_format)
        return returned


FAULTS = {
    DecaysTheGradient: {"a_gradient_is_never_changed"},
    ReplacesTheGradient: {"a_gradient_is_never_changed"},
    ForgetsMomentumWithoutClosure: {"a_closure_and_gradients_in_place_are_the_same_step"},
    LoadsByPosition: {"reordered_parameters_find_their_state_by_name"},
    AcceptsNegativeLr: {"negative_hyperparameters_are_refused_by_value"},
    ResumesInexactly: {"a_saved_run_resumes_bit_for_bit_in_float64"},
    CallsTheClosureTwice: {"the_closure_runs_with_grad_enabled_and_its_loss_returns"},
    ReturnsNothing: {"the_closure_runs_with_grad_enabled_and_its_loss_returns"},
    ConsumesRandomNumbers: {"steps_leave_the_global_generator_alone"},
    CachesItsLr: {"every_scheduler_of_torch_moves_the_run"},
    Contiguous: {"parameters_stay_where_they_are"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_caught_by_the_law_of_its_name(fault):
    print(fault.__name__, broken(fault))
    assert broken(fault) >= FAULTS[fault]


def test_without_a_fault_nothing_is_caught():
    assert broken(HeavyBall) == set()
