"""State dicts that do not fit: refused or matched by name, never misassigned."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thetadot.testing.compare import expect_refused, expect_same, expect_same_state, snapshot
from thetadot.testing.law import expect, law
from thetadot.testing.subject import duplicates, saved

if TYPE_CHECKING:
    from thetadot.testing.subject import Subject

_NAMES = ("weight", "bias", "scale")


def _ran(subject: Subject) -> tuple[Any, list[Tensor]]:
    params = subject.tensors()
    optimizer = subject.optimizer(params)
    subject.run(optimizer, params)
    return optimizer, params


def _expect_refused(subject: Subject, spoil: Any, what: str) -> None:
    """The damaged state dict is refused, nothing has changed, and the run continues."""
    optimizer, params = _ran(subject)
    before = snapshot(optimizer)
    expect_refused(lambda: optimizer.load_state_dict(spoil(copy.deepcopy(before))), what)
    expect_same_state(before, snapshot(optimizer), f"{what}: state after the refusal")
    subject.run(optimizer, params, 1)


@law()
def named_parameters_move_as_nameless_ones(subject: Subject) -> None:
    """model.named_parameters() may be given for model.parameters(), and names are kept in the state dict."""
    params, others = subject.tensors(), subject.tensors()
    one, other = subject.optimizer(params), subject.optimizer(zip(_NAMES, others, strict=True))
    for side in ((one, params), (other, others)):
        subject.run(*side)
    expect_same(params, others, "nameless and named")
    found = other.state_dict()["param_groups"][0].get("param_names")
    expect(list(found or ()) == list(_NAMES), f"the state dict has the names {found}")


@law()
def reordered_parameters_find_their_state_by_name(subject: Subject) -> None:
    """With names on both sides, parameters given in another order get the state of their name."""
    params = subject.tensors(shapes=((3,), (3,), (3,)))
    optimizer = subject.optimizer(zip(_NAMES, params, strict=True))
    subject.run(optimizer, params)
    others = duplicates(params)
    turned = list(zip(_NAMES, others, strict=True))[::-1]
    resumed = subject.optimizer(turned)
    resumed.load_state_dict(saved(optimizer))
    for p, q in zip(params, others, strict=True):
        _same_variables(optimizer.state[p], resumed.state[q])


def _same_variables(one: dict[str, Any], other: dict[str, Any]) -> None:
    expect(one.keys() == other.keys(), f"state has {sorted(other)}, not {sorted(one)}")
    for word, value in one.items():
        same = torch.equal(torch.as_tensor(value), torch.as_tensor(other[word])) if value is not None else True
        expect(same, f"{word} of one parameter is {other[word]}, was {value}")


@law()
def other_names_are_refused(subject: Subject) -> None:
    """With names on both sides, a state dict of other names is refused."""
    params = subject.tensors()
    optimizer = subject.optimizer(zip(_NAMES, params, strict=True))
    subject.run(optimizer, params)
    other = subject.optimizer(zip(("weight", "bias", "gain"), duplicates(params), strict=True))
    expect_refused(lambda: other.load_state_dict(saved(optimizer)), "a state dict with 'scale' where 'gain' is")


def _tensors_of(state_dict: dict[str, Any]) -> list[tuple[Any, str]]:
    return [
        (index, word)
        for index, state in state_dict["state"].items()
        for word, value in state.items()
        if isinstance(value, Tensor) and value.dim() > 0
    ]


@law()
def state_of_another_shape_is_refused(subject: Subject) -> None:
    """State whose tensors have not the parameter's shape is refused, and nothing changes."""
    optimizer, _ = _ran(subject)
    if not _tensors_of(optimizer.state_dict()):
        return

    def spoil(state_dict: dict[str, Any]) -> dict[str, Any]:
        index, word = _tensors_of(state_dict)[0]
        state_dict["state"][index][word] = torch.zeros(7, dtype=torch.float64)
        return state_dict

    _expect_refused(subject, spoil, "state of shape (7,) for a parameter of shape (3, 2)")


@law()
def state_of_another_optimizer_is_refused(subject: Subject) -> None:
    """State with variables that the optimizer does not have is refused, and nothing changes."""

    def spoil(state_dict: dict[str, Any]) -> dict[str, Any]:
        state_dict["state"][0] = {"somebody_elses": torch.zeros(3, 2, dtype=torch.float64)}
        return state_dict

    _expect_refused(subject, spoil, "foreign variables")


@law()
def other_groups_are_refused(subject: Subject) -> None:
    """A state dict with another number of groups or parameters is refused, and nothing changes."""

    def fewer(state_dict: dict[str, Any]) -> dict[str, Any]:
        state_dict["param_groups"][0]["params"] = [0, 1]
        return state_dict

    _expect_refused(subject, lambda found: found | {"param_groups": found["param_groups"] * 2}, "two groups for one")
    _expect_refused(subject, fewer, "two parameters for three")


@law()
def what_is_no_state_dict_is_refused(subject: Subject) -> None:
    """Something that is not a state dict is refused, and nothing changes."""
    _expect_refused(subject, lambda _: {}, "an empty dict")
    _expect_refused(subject, lambda found: {"state": found["state"]}, "a state dict without groups")
    _expect_refused(subject, lambda found: {"param_groups": found["param_groups"]}, "a state dict without state")


@law()
def inadmissible_settings_in_a_state_dict_are_refused(subject: Subject) -> None:
    """A state dict with a negative lr is refused, and nothing changes."""

    def spoil(state_dict: dict[str, Any]) -> dict[str, Any]:
        state_dict["param_groups"][0]["lr"] = -1.0
        return state_dict

    _expect_refused(subject, spoil, "lr=-1 in a state dict")
