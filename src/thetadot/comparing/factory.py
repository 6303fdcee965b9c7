"""From a point to its optimizer: found by name or by import path, its settings held against the constructor."""

from __future__ import annotations

import difflib
import importlib
import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import torch

from thetadot.comparing.spec import OWN, UNTUNED
from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.training.arguments import Arguments
from thetadot.training.spec import named_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch.optim import Optimizer

    from thetadot.comparing.spec import GridPoint

NAMED: dict[str, Callable[..., Optimizer]] = {
    name.lower(): each
    for name, each in vars(torch.optim).items()
    if isinstance(each, type) and issubclass(each, torch.optim.Optimizer) and each is not torch.optim.Optimizer
}
"""Optimizers of torch.optim, in lower case."""

_OF_ALL_RUNS = {"task", "epochs", "minutes", "seed", "device", "workers", "threads", "batch_size"}
OWN_SETTINGS = tuple(field.name for field in fields(Arguments) if field.name not in _OF_ALL_RUNS)
"""Settings of thetadot's own run that a point may give, beside batch_size."""


def build(point: GridPoint, params: Iterable[torch.Tensor]) -> Optimizer:
    """Return the optimizer of a point.

    Raises:
        InadmissibleValue: no such optimizer, or a setting that it has not, or does not admit.
    """
    make = maker(point.optimizer)
    _require_known(point, make)
    try:
        optimizer = make(list(params), **dict(point.settings))
    except ThetadotError as error:
        raise InadmissibleValue(f"run {point.label!r}: {error}") from error
    except Exception as error:  # whatever a constructor throws at its arguments
        raise InadmissibleValue(
            f"run {point.label!r}: {type(error).__name__}: {error}. Correct its settings: {_known_names(make)}."
        ) from error
    lacking = [name for name in ("param_groups", "step", "zero_grad") if not hasattr(optimizer, name)]
    if lacking:
        raise InadmissibleValue(
            f"run {point.label!r}: {point.optimizer} made a {type(optimizer).__name__} without {lacking[0]}. Name an "
            "optimizer in the way of torch.optim."
        )
    if point.schedule != "constant" and any("lr" not in group for group in optimizer.param_groups):
        raise InadmissibleValue(
            f"run {point.label!r}: schedule={point.schedule} moves lr, which {point.optimizer} does not have. "
            "Leave the schedule out."
        )
    return optimizer


def require_own(point: GridPoint) -> None:
    """Check the settings of a point that is thetadot's own run.

    Raises:
        InadmissibleValue: a setting that the run has not, or does not admit.
    """
    for name, _ in point.settings:
        if name not in OWN_SETTINGS:
            known = ", ".join((*OWN_SETTINGS, "batch_size"))
            raise InadmissibleValue(f"run {point.label!r}: {OWN} has no setting {name!r}. Its settings are: {known}.")
    try:
        Arguments("", batch_size=point.batch_size, **dict(point.settings))
    except InadmissibleValue as error:
        raise InadmissibleValue(f"run {point.label!r}: {error}") from error
    except TypeError as error:  # a word where a number belongs
        raise InadmissibleValue(f"run {point.label!r}: {error}. Pass values of the right kind.") from error


def maker(name: str) -> Callable[..., Optimizer]:
    """What makes the optimizer of a name.

    Raises:
        InadmissibleValue: nothing is found there.
    """
    where, _, attribute = name.rpartition(":")
    if not where:
        if name in NAMED:
            return NAMED[name]
        near = difflib.get_close_matches(name, [*NAMED, UNTUNED, OWN], n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise InadmissibleValue(
            f"optimizer {name!r} is unknown.{meant} Pass one of: {', '.join(sorted(NAMED))}; module:Name; {UNTUNED}."
        )
    if where.endswith(".py"):
        return cast("Callable[..., Optimizer]", named_in(name, what="optimizer")())
    if where.lower() in NAMED:
        raise InadmissibleValue(f"run {name!r}: setting {attribute!r} has no value. Write {attribute}=value.")
    try:
        module = importlib.import_module(where)
        made: Any = module
        for part in attribute.split("."):
            made = getattr(made, part)
    except AttributeError as error:
        raise InadmissibleValue(f"optimizer {name!r}: {where} has no {attribute}. Correct the name.") from error
    except Exception as error:  # whatever a module throws when it is imported
        raise InadmissibleValue(
            f"optimizer {name!r}: {where} cannot be imported ({type(error).__name__}: {error}). Install it, or correct "
            "the name."
        ) from error
    if not callable(made):
        raise InadmissibleValue(f"optimizer {name!r} is a {type(made).__name__}, which is not called. Name a class.")
    return made  # type: ignore[no-any-return]


def _known(make: Callable[..., Any]) -> list[str] | None:
    """Names of the settings; None where any is taken."""
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters[1:] if parameter.kind is not parameter.VAR_POSITIONAL]


def _known_names(make: Callable[..., Any]) -> str:
    return ", ".join(_known(make) or ["see its documentation"])


def _require_known(point: GridPoint, make: Callable[..., Any]) -> None:
    known = _known(make)
    for name, _ in point.settings:
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise InadmissibleValue(
                f"run {point.label!r}: {point.optimizer} has no setting {name!r}.{meant} Its settings are: "
                f"{', '.join(known)}, schedule, batch_size."
            )
