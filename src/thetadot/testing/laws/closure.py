"""The closure, and hooks around a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.testing.compare import expect_refused, expect_same, expect_same_state, snapshot, values
from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from typing import Any

    from torch import Tensor

    from thetadot.testing.subject import Subject


@law()
def the_closure_runs_with_grad_enabled_and_its_loss_returns(subject: Subject) -> None:
    """The closure is called once, by rules that solve more often, with grad enabled, and step returns its loss."""
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    inner, calls = subject.closure_of(optimizer, params), []

    def closure() -> Tensor:
        calls.append(torch.is_grad_enabled())
        return inner()

    with torch.no_grad():
        returned = optimizer.step(closure)
    expect(all(calls), "the closure ran with grad disabled")
    expect(len(calls) == 1 or (calls and subject.traits.solves), f"the closure was called {len(calls)} times")
    first = float(subject.loss(subject.tensors()).detach())
    expect(
        returned is not None and abs(float(returned.detach()) - first) <= 1e-12 * first,
        f"step returned {returned}, the closure's first loss is {first}",
    )


@law(applies=lambda traits: not traits.closure)
def without_closure_step_returns_none(subject: Subject) -> None:
    """step() without a closure returns None, and grad mode stays as it was."""
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params, 1)
    returned = optimizer.step()
    expect(returned is None, f"step() returned {returned!r}")
    expect(torch.is_grad_enabled(), "grad mode is off after the step")


@law(applies=lambda traits: not traits.closure)
def a_closure_and_gradients_in_place_are_the_same_step(subject: Subject) -> None:
    """step(closure) moves as backward() and then step()."""
    params, others = subject.tensors(), subject.tensors()
    one, other = subject.optimizer(params), subject.optimizer(others)
    closure = subject.closure_of(other, others)
    for _ in range(5):
        subject.run(one, params, 1)
        closure()
        other.step()
    expect_same(params, others, "with and without closure")


@law()
def a_closure_that_fails_changes_nothing(subject: Subject) -> None:
    """An exception in the closure passes through, and parameters and state are as before."""
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params, 2)
    before, state = values(params), snapshot(optimizer)

    def closure() -> Tensor:
        raise ZeroDivisionError("of the law")

    expect_refused(lambda: optimizer.step(closure), "a closure that fails", ZeroDivisionError)
    expect_same(before, params, "parameters")
    expect_same_state(state, snapshot(optimizer), "state")


@law()
def hooks_run_around_a_step(subject: Subject) -> None:
    """Hooks before and after a step run once each, in that order; those of a state dict when it is taken and loaded."""
    params, calls = subject.tensors(), list[str]()
    optimizer = subject.optimizer(params)

    def note(word: str) -> Any:
        return lambda *_: calls.append(word)

    optimizer.register_step_pre_hook(note("before step"))
    optimizer.register_step_post_hook(note("after step"))
    optimizer.register_state_dict_pre_hook(note("before saving"))
    optimizer.register_state_dict_post_hook(note("after saving"))
    optimizer.register_load_state_dict_pre_hook(note("before loading"))
    optimizer.register_load_state_dict_post_hook(note("after loading"))
    subject.run(optimizer, params, 1)
    optimizer.load_state_dict(optimizer.state_dict())
    wanted = ["before step", "after step", "before saving", "after saving", "before loading", "after loading"]
    expect([word for word in calls if word in wanted] == wanted, f"hooks ran as {calls}")


@law()
def a_hook_may_rewrite_a_state_dict(subject: Subject) -> None:
    """State dict hooks take effect: their result is what is saved, and what is loaded."""
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params, 1)

    def slower(_: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        groups = [group | {"lr": subject.traits.lr / 4} for group in state_dict["param_groups"]]
        return state_dict | {"param_groups": groups}

    handle = optimizer.register_state_dict_post_hook(slower)
    found = optimizer.state_dict()["param_groups"][0]["lr"]
    expect(found == subject.traits.lr / 4, f"lr={found} was saved, the hook wrote {subject.traits.lr / 4}")
    handle.remove()
    optimizer.register_load_state_dict_pre_hook(slower)
    optimizer.load_state_dict(optimizer.state_dict())
    found = optimizer.param_groups[0]["lr"]
    expect(found == subject.traits.lr / 4, f"lr={found} was loaded, the hook wrote {subject.traits.lr / 4}")
