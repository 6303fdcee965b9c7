"""Laws about parameter groups."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from thetadot.testing.compare import expect_close, expect_moved, expect_refused
from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from thetadot.testing.subject import Subject
    from thetadot.testing.traits import Traits


def _tolerance(traits: Traits) -> float:
    return 1e-10 if traits.solves else 1e-12  # one equation for all groups, or one each


@law(applies=lambda traits: not traits.noisy)
def groups_are_separate_optimizers(subject: Subject) -> None:
    """Two groups with settings of their own move as two optimizers would."""
    together, first, second = subject.tensors(), subject.tensors(), subject.tensors()
    slow = {"lr": subject.traits.lr / 5, "weight_decay": 0.3}
    one = subject.optimizer([{"params": together[:1]}, {"params": together[1:], **slow}])
    subject.run(one, together)
    subject.run(subject.optimizer(first[:1]), first[:1])
    subject.run(subject.optimizer(second[1:], **slow), second[1:])
    expect_moved(together, subject.tensors(), "two groups")
    expect_close(together, first[:1] + second[1:], _tolerance(subject.traits), "two groups and two optimizers")


@law(applies=lambda traits: not traits.noisy)
def a_group_added_in_mid_run_starts_from_there(subject: Subject) -> None:
    """A group added after some steps moves as under a new optimizer, and the old one as if nothing had happened."""
    params, late = subject.tensors(), subject.tensors(shapes=((5,),))
    alone, undisturbed = subject.tensors(shapes=((5,),)), subject.tensors()
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params)
    optimizer.add_param_group({"params": late, "lr": subject.traits.lr / 2})
    subject.run(optimizer, params + late)
    subject.run(subject.optimizer(alone, lr=subject.traits.lr / 2), alone)
    subject.run(subject.optimizer(undisturbed), undisturbed, 10)
    expect_close(late, alone, _tolerance(subject.traits), "the late group and an optimizer of its own")
    expect_close(params, undisturbed, _tolerance(subject.traits), "the old group and a run without the late one")


@law()
def a_group_is_checked_before_it_is_added(subject: Subject) -> None:
    """A group with an inadmissible lr or weight decay is refused, and not added."""
    optimizer = subject.optimizer(subject.tensors())
    for bad in ({"lr": -1.0}, {"weight_decay": float("nan")}):
        late = subject.tensors(shapes=((2,),))
        expect_refused(partial(optimizer.add_param_group, {"params": late, **bad}), f"group {bad}")
        expect(len(optimizer.param_groups) == 1, f"group {bad}: refused, but added")


@law()
def a_parameter_belongs_to_one_group(subject: Subject) -> None:
    """A parameter that is in a group already is refused in another."""
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    expect_refused(lambda: optimizer.add_param_group({"params": params[:1]}), "a parameter twice")
