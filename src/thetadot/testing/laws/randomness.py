"""Random numbers: whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.testing.compare import expect_same
from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from thetadot.testing.subject import Subject


@law()
def steps_leave_the_global_generator_alone(subject: Subject) -> None:
    """Steps consume nothing of torch's global generator, in float32 and in bfloat16."""
    for dtype in (torch.float32, torch.bfloat16):
        params = subject.tensors(dtype)
        optimizer = subject.optimizer(params)
        before = torch.get_rng_state()
        if not subject.traits.solves or dtype is torch.float32:
            subject.run(optimizer, params, 2)
        expect(torch.equal(torch.get_rng_state(), before), f"{dtype}: steps have consumed random numbers")


@law(applies=lambda traits: not traits.noisy)
def building_consumes_nothing(subject: Subject) -> None:
    """Building an optimizer without noise consumes nothing of the global generator."""
    before = torch.get_rng_state()
    subject.build(subject.tensors(), lr=subject.traits.lr)
    expect(torch.equal(torch.get_rng_state(), before), "building has consumed random numbers")


@law()
def the_same_seed_gives_the_same_run(subject: Subject) -> None:
    """Two runs from the same seed are the same, whatever the global generator does meanwhile."""
    params, others = subject.tensors(torch.float32), subject.tensors(torch.float32)
    one, other = subject.optimizer(params), subject.optimizer(others)
    for _ in range(3):
        subject.run(one, params, 1)
    with torch.random.fork_rng(devices=[]):
        for _ in range(3):
            torch.rand(5)
            subject.run(other, others, 1)
    expect_same(params, others, "two runs")


@law(applies=lambda traits: traits.noisy)
def another_seed_gives_another_run(subject: Subject) -> None:
    """Another seed gives other noise, where noise acts."""
    params, others = subject.tensors(), subject.tensors()
    one = subject.optimizer(params)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        other = subject.build(others, lr=subject.traits.lr)
    for side in ((one, params), (other, others)):
        subject.run(*side)
    expect(not torch.equal(params[0], others[0]), "another seed, the same run")
