"""Runs that change hands with torch.optim in mid-run: parameters, settings and memories, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from thetadot.core.tensors import real_view
from thetadot.errors import InadmissibleValue
from thetadot.integrators.base import name_of
from thetadot.optim.engine.states import first_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thetadot.optim.flow import Flow

    Group = Mapping[str, Any]
    Told = Callable[[Group], dict[str, Any]]
    Remembered = Callable[[Mapping[str, Any], Group], dict[str, Any]]

Ours = TypeVar("Ours", bound="Flow")
Theirs = TypeVar("Theirs", bound=torch.optim.Optimizer)

SHARED = ("params", "lr", "weight_decay", "maximize")


def adopt(
    build: Callable[..., Ours],
    theirs: torch.optim.Optimizer,
    kind: type[torch.optim.Optimizer] | tuple[type[torch.optim.Optimizer], ...],
    settings: Told,
    memories: Remembered,
    **options: Any,
) -> Ours:
    """Our optimizer that continues theirs.

    Args:
        build: our class.
        theirs: the optimizer taken over.
        kind: what it must be.
        settings: their group -> what ours has besides lr, weight_decay and maximize.
        memories: their state of a parameter and its group -> our variables.
        options: of :class:`Flow`.
    """
    if not isinstance(theirs, kind):
        wanted = kind[0] if isinstance(kind, tuple) else kind
        raise InadmissibleValue(f"{name_of(theirs)} is another method. Pass a torch.optim.{wanted.__name__}.")
    groups = [{name: group[name] for name in SHARED} | settings(group) for group in theirs.param_groups]
    flow = build(groups, lr=groups[0]["lr"], **options)
    for group, source in zip(flow.param_groups, theirs.param_groups, strict=True):
        for p in group["params"]:
            if state := theirs.state.get(p):
                mine = flow.state[p] = first_state(flow, p, group)
                for name, value in memories(state, source).items():
                    mine[name] = _like(mine[name], value)
    return flow


def release(flow: Flow, build: Callable[..., Theirs], settings: Told, memories: Remembered) -> Theirs:
    """Build torch's optimizer that continues a flow, the inverse of adopting one."""
    groups = [{name: group[name] for name in SHARED} | settings(group) for group in flow.param_groups]
    theirs = build(groups, lr=groups[0]["lr"])
    for group in flow.param_groups:
        for p in group["params"]:
            if p in flow.state:
                theirs.state[p] = {
                    name: _in_their_form(p, value) if isinstance(value, Tensor) else torch.tensor(float(value))
                    for name, value in memories(flow.state[p], group).items()
                }
    return theirs


def require_mode(group: Group, mode: str, theirs: str) -> None:
    """Raise InadmissibleValue where weight decay acts in another way than theirs does."""
    if group["weight_decay"] != 0 and group["weight_decay_mode"] != mode:
        raise InadmissibleValue(
            f"weight_decay_mode={group['weight_decay_mode']!r} is not that of {theirs}. "
            f"Build with weight_decay_mode={mode!r}."
        )


def _like(mine: Any, value: Any) -> Any:
    if not isinstance(mine, Tensor):
        return float(value)
    if isinstance(value, Tensor):
        return real_view(value.detach()).to(mine.dtype, copy=True)
    return torch.full_like(mine, value)


def _in_their_form(p: Tensor, value: Tensor) -> Tensor:
    return (torch.view_as_complex(value) if p.is_complex() else value).to(p.dtype, copy=True)
