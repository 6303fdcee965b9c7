"""The contract can fail: each broken optimizer is caught by the law of its fault, and torch's own are told apart."""

import functools
import inspect
import subprocess
import sys

import pytest
import torch
from torch.optim import lr_scheduler

from thetadot.errors import InadmissibleValue
from thetadot.optim import Flow, HeavyBall
from thetadot.testing import BrokenContract, Finding, Law, Traits, check_optimizer, expect, law, laws
from thetadot.testing.laws.schedules import SCHEDULERS

TRAITS = Traits(momentum=True, differentiable=True)
QUICK = [each for each in laws() if each.about not in ("precision", "differentiation", "compilation")]


def broken(build, traits=TRAITS, among=QUICK):
    """Names of the laws that an optimizer breaks."""
    try:
        check_optimizer(build, traits=traits, among=among)
    except BrokenContract as error:
        return {finding.law.name for finding in error.findings if finding.verdict == "broken"}
    return set()


# Faults, one each, in an optimizer that has none.


# The step of the house without torch's hooks, which torch puts around the step of every class that it has built.
sound_step = inspect.unwrap(Flow.step)


class DecaysTheGradient(HeavyBall):
    """Writes weight decay into p.grad."""

    @torch.no_grad()
    def step(self, closure=None, **options):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and closure is None:
                    p.grad.add_(p, alpha=group["weight_decay"])
        return sound_step(self, closure, **options)


class ReplacesTheGradient(HeavyBall):
    """Leaves another tensor of the same values in p.grad."""

    def step(self, closure=None, **options):
        returned = sound_step(self, closure, **options)
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
        return sound_step(self, closure, **options)


class LoadsByPosition(HeavyBall):
    """Ignores names in a state dict."""

    def load_state_dict(self, state_dict):
        for group, own in zip(state_dict.get("param_groups", []), self.param_groups, strict=False):
            if "param_names" in own:
                group["param_names"] = own["param_names"]
        super().load_state_dict(state_dict)


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
        return sound_step(self, closure, **options)


class ReturnsNothing(HeavyBall):
    """Drops the closure's loss."""

    def step(self, closure=None, **options):
        sound_step(self, closure, **options)


class ConsumesRandomNumbers(HeavyBall):
    """Draws from the global generator."""

    def step(self, closure=None, **options):
        torch.rand(1)
        return sound_step(self, closure, **options)


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
        returned = sound_step(self, closure, **options)
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data.clone(memory_format=torch.contiguous_format)
        return returned


class BeginsBeforeItChecks(HeavyBall):
    """Moves the first parameter before it looks at the gradients of the others."""

    @torch.no_grad()
    def step(self, closure=None, **options):
        params = self.param_groups[0]["params"]
        if any(p.grad is not None and p.grad.is_sparse for p in params):
            params[0].add_(params[0].grad)
        return sound_step(self, closure, **options)


class LosesItsGroup(HeavyBall):
    """Steps every group by the settings of the first."""

    def motion(self, group):
        first = self.param_groups[0] if self.param_groups else group
        return super().motion(first)


class SharesItsState(HeavyBall):
    """Keeps the very tensors of a state dict."""

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        theirs = [state["velocity"] for state in state_dict["state"].values()]
        for state in self.state.values():
            state["velocity"] = next(value for value in theirs if torch.equal(value, state["velocity"]))


class TakesComplexForReal(HeavyBall):
    """Drops the imaginary part of a gradient."""

    def step(self, closure=None, **options):
        kept = [(p, p.grad) for group in self.param_groups for p in group["params"] if p.is_complex()]
        for p, grad in kept:
            p.grad = torch.complex(grad.real, torch.zeros_like(grad.real))
        returned = sound_step(self, closure, **options)
        for p, grad in kept:
            p.grad = grad
        return returned


RESUMES = {f"a_saved_run_resumes_bit_for_bit_in_{dtype}" for dtype in ("float64", "float32", "bfloat16")}
FAULTS = {
    DecaysTheGradient: {"a_gradient_is_never_changed"},
    ReplacesTheGradient: {"a_gradient_is_never_changed"},
    ForgetsMomentumWithoutClosure: {
        "a_closure_and_gradients_in_place_are_the_same_step",
        "momentum_moves_by_what_it_remembers",
        "a_scaled_run_is_the_run",  # a GradScaler steps without closure
        "a_step_with_an_infinite_gradient_is_skipped",
    },
    LoadsByPosition: {
        "reordered_parameters_find_their_state_by_name",
        "other_names_are_refused",
    },
    AcceptsNegativeLr: {"negative_hyperparameters_are_refused_by_value"},
    ResumesInexactly: RESUMES
    | {"a_run_resumes_in_the_middle_of_a_schedule", "reordered_parameters_find_their_state_by_name"},
    CallsTheClosureTwice: {"the_closure_runs_with_grad_enabled_and_its_loss_returns"},
    ReturnsNothing: {
        "the_closure_runs_with_grad_enabled_and_its_loss_returns",
        "training_under_autocast_learns",  # reads the loss
    },
    ConsumesRandomNumbers: {"steps_leave_the_global_generator_alone"},
    CachesItsLr: RESUMES
    | {
        "every_scheduler_of_torch_moves_the_run",
        "an_lr_in_a_tensor_is_scheduled_in_place",
        "a_run_saved_before_its_first_step_resumes",
        "groups_are_separate_optimizers",
        "a_group_added_in_mid_run_starts_from_there",
    },
    Contiguous: {"parameters_stay_where_they_are", "strides_do_not_matter", "channels_last_is_a_layout_only"},
    BeginsBeforeItChecks: {"a_sparse_gradient_is_one_clear_error"},
    LosesItsGroup: {"groups_are_separate_optimizers", "a_group_added_in_mid_run_starts_from_there"},
    SharesItsState: {"loaded_state_is_not_shared"},
    TakesComplexForReal: {"a_complex_parameter_is_two_real_ones"},
}
"""The laws that a fault breaks, the law of its name first."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_caught_by_the_law_of_its_name_and_by_no_stranger(fault):
    assert broken(fault) == FAULTS[fault]


PRECISE = [each for each in laws() if each.about == "precision"]


def test_to_stand_still_in_bfloat16_is_a_fault():
    nearest = functools.partial(HeavyBall, momentum=0.0, low_precision="none")
    assert broken(nearest, among=PRECISE) == {
        "bfloat16_parameters_take_small_steps",
        "float16_parameters_take_small_steps",
    }
    assert broken(functools.partial(HeavyBall, momentum=0.0, low_precision="kahan"), among=PRECISE) == set()


COMPILED = [each for each in laws() if each.about == "compilation"]


class BranchesOnItsLr(HeavyBall):
    """Asks for the value of a tensor, which no trace can know."""

    def motion(self, group):
        warm = group["lr"] > 0.03
        return super().motion(group | {"momentum": group["momentum"] if warm else group["momentum"] / 2})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "found"), [(HeavyBall, set()), (BranchesOnItsLr, {"a_compiled_step_is_traced_once"})]
)
def test_a_step_that_must_be_traced_again_is_a_fault(build, found):
    assert broken(build, Traits(momentum=True, capturable=True), COMPILED) == found


def test_every_scheduler_of_torch_is_among_the_laws():
    theirs = {
        name
        for name, value in vars(lr_scheduler).items()
        if isinstance(value, type) and issubclass(value, lr_scheduler.LRScheduler) and not name.startswith("_")
    }
    assert theirs - {"LRScheduler"} == set(SCHEDULERS)


def test_laws_are_sentences_with_names_of_their_own():
    found = laws()
    assert len({each.name for each in found}) == len(found)
    assert all(each.sentence.endswith(".") and "\n" not in each.sentence for each in found)
    assert found == laws()


# The report.


@law()
def nothing_holds(subject):
    """Nothing holds."""
    expect(None, "a counterexample")


def test_all_broken_laws_are_listed_with_what_was_seen():
    other = Law("nothing_else_holds", nothing_holds.experiment)
    with pytest.raises(
        BrokenContract, match=r"(?s)2 of 3 laws are broken\..*nothing_holds: Nothing holds\.\n    seen: a c"
    ):
        check_optimizer(HeavyBall, among=[nothing_holds, laws()[0], other])


def test_a_known_difference_is_a_finding_and_its_end_an_error():
    among = [each for each in laws() if each.about == "groups"]
    known = {"a_group_is_checked_before_it_is_added": "torch checks defaults only"}
    findings = check_optimizer(torch.optim.SGD, known=known, among=among)
    assert [finding.verdict for finding in findings] == ["holds", "holds", "known", "holds"]
    with pytest.raises(BrokenContract, match="it holds, but is said to be broken"):
        check_optimizer(HeavyBall, known=known, among=among)
    with pytest.raises(InadmissibleValue, match="known=flying names no law"):
        check_optimizer(HeavyBall, known={"flying": "it should"}, among=among)


def test_what_does_not_apply_is_said():
    among = [each for each in laws() if each.name == "momentum_is_cycled"]
    (finding,) = check_optimizer(HeavyBall, traits=Traits(momentum=False), among=among)
    assert finding == Finding(among[0], "does not apply")


@pytest.mark.slow
def test_using_thetadot_does_not_import_the_laws():
    code = "import sys, thetadot; thetadot.optim, thetadot.training; assert 'thetadot.testing' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
