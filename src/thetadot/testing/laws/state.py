"""State: copied, allocated ahead, saved, resumed."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import torch

from thetadot.testing.compare import expect_same, expect_same_state, snapshot, values
from thetadot.testing.law import expect, law
from thetadot.testing.subject import duplicates, saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.testing.subject import Subject


def _expect_copies(subject: Subject, duplicate: Callable[[Any], Any], what: str) -> None:
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params)
    others, other = duplicate((params, optimizer))
    expect(all(p is not q for p, q in zip(params, others, strict=True)), f"{what}: the parameters were not copied")
    for side in ((optimizer, params), (other, others)):
        subject.run(*side)
    expect_same(params, others, f"original and {what}")


@law()
def a_deep_copy_continues_identically(subject: Subject) -> None:
    """A deep copy of an optimizer with its parameters continues as the original does."""
    _expect_copies(subject, copy.deepcopy, "copy")


@law()
def a_pickle_continues_identically(subject: Subject) -> None:
    """An optimizer pickled with its parameters continues as the original does."""
    _expect_copies(subject, lambda pair: pickle.loads(pickle.dumps(pair)), "pickle")  # noqa: S301 - our own bytes


@law()
def state_allocated_ahead_is_the_state(subject: Subject) -> None:
    """init_state(), where there is one, allocates what the first step would, and changes no run."""
    params, others = subject.tensors(), subject.tensors()
    one, other = subject.optimizer(params), subject.optimizer(others)
    if not hasattr(other, "init_state"):
        return
    other.init_state()
    expect(all(other.state.get(p) is not None for p in others), "init_state() left a parameter out")
    names = [set(other.state[p]) for p in others]
    for side in ((one, params), (other, others)):
        subject.run(*side)
    expect(names == [set(one.state[p]) for p in params], f"init_state() allocated {names[0]}")
    expect_same(params, others, "with and without init_state()")


def _resumes(subject: Subject, dtype: torch.dtype) -> None:
    params = subject.tensors(dtype)
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params)
    file, others = saved(optimizer), duplicates(params)
    with torch.random.fork_rng(devices=[]):  # nothing but the file may tell how the run goes on
        torch.manual_seed(99)
        resumed = subject.build(others, lr=subject.traits.lr * 3)
    resumed.load_state_dict(file)
    found = resumed.param_groups[0]["lr"]
    expect(found == subject.traits.lr, f"lr={found} after loading, {subject.traits.lr} was saved")
    for side in ((optimizer, params), (resumed, others)):
        subject.run(*side)
    expect_same(params, others, f"{dtype}: the run and its resumption")
    expect_same_state(snapshot(optimizer), snapshot(resumed), f"{dtype}: state of the run and of its resumption")


@law()
def a_saved_run_resumes_bit_for_bit_in_float64(subject: Subject) -> None:
    """A float64 run saved, loaded with weights_only=True and resumed is the uninterrupted run."""
    _resumes(subject, torch.float64)


@law()
def a_saved_run_resumes_bit_for_bit_in_float32(subject: Subject) -> None:
    """A float32 run saved, loaded with weights_only=True and resumed is the uninterrupted run."""
    _resumes(subject, torch.float32)


@law()
def a_saved_run_resumes_bit_for_bit_in_bfloat16(subject: Subject) -> None:
    """A bfloat16 run saved, loaded with weights_only=True and resumed is the uninterrupted run."""
    _resumes(subject, torch.bfloat16)


@law()
def a_run_saved_before_its_first_step_resumes(subject: Subject) -> None:
    """A state dict taken before the first step starts the same run."""
    params, others = subject.tensors(), subject.tensors()
    optimizer = subject.optimizer(params)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        resumed = subject.build(others, lr=subject.traits.lr * 3)
    resumed.load_state_dict(saved(optimizer))
    for side in ((optimizer, params), (resumed, others)):
        subject.run(*side)
    expect_same(params, others, "the run and its resumption")


@law()
def loaded_state_is_not_shared(subject: Subject) -> None:
    """After loading, the loaded optimizer's steps leave the state dict as it was."""
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params)
    file = copy.deepcopy(optimizer.state_dict())
    kept = copy.deepcopy(file)
    others = duplicates(params)
    other = subject.optimizer(others)
    other.load_state_dict(file)
    subject.run(other, others)
    expect_same_state(kept, file, "the state dict, after steps of the optimizer that loaded it")


@law()
def taking_a_state_dict_changes_nothing(subject: Subject) -> None:
    """A run whose state dict is taken at every step is the run without."""
    params, others = subject.tensors(), subject.tensors()
    one, other = subject.optimizer(params), subject.optimizer(others)
    for _ in range(4):
        subject.run(one, params, 1)
        subject.run(other, others, 1)
        before = values(others)
        other.state_dict()
        expect_same(before, others, "parameters before and after state_dict()")
    expect_same(params, others, "without and with state dicts taken")
