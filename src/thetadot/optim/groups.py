"""Parameter groups by name, so that nobody builds them by hand."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from thetadot.core.validation import as_python, require_ranged, said_of
from thetadot.errors import InadmissibleValue, IncompatiblePair, NoParameters, require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from thetadot.core.annotations import Scalar
    from thetadot.core.reading import Reading

HYPERPARAMETERS = frozenset(
    (
        "amsgrad",
        "betas",
        "bound",
        "centered",
        "clock",
        "convention",
        "dampening",
        "decay",
        "eps",
        "floor",
        "friction",
        "half_life",
        "kind",
        "lookahead",
        "momentum",
        "nesterov",
        "norm",
        "q",
        "temperature",
    )
)
"""Words that mean something to one optimizer or another; where they mean nothing they are refused."""


PARAMETERS = frozenset(("params", "param_names"))
"""What a group holds beside hyperparameters."""


def refuse_unknown(owner: str, strange: Iterable[str], known: Iterable[str]) -> None:
    """Raise IncompatiblePair if there is anything strange.

    Example:
        >>> refuse_unknown("GradientDescent", ["momentum"], ["lr", "weight_decay"])
        Traceback (most recent call last):
        ...
        thetadot.errors.IncompatiblePair: GradientDescent has no momentum. It takes lr, weight_decay; leave the rest \
out, or use an optimizer that has it.
    """
    names = sorted(strange)
    if names:
        raise IncompatiblePair(
            f"{owner} has no {' and no '.join(names)}. It takes {', '.join(known)}; leave the rest out, "
            "or use an optimizer that has it."
        )


def split_decay(params: Any, no_decay: Sequence[str]) -> list[dict[str, Any]]:
    """Groups with and without weight decay, told apart by parts of the parameters' names.

    Args:
        params: ``model.named_parameters()``, or groups whose "params" are such pairs.
        no_decay: name parts, or one; a parameter whose name contains one is not decayed.

    Raises:
        InadmissibleValue: the parameters have no names.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> groups = split_decay(layer.named_parameters(), ["bias"])
        >>> [(len(group["params"]), group.get("weight_decay")) for group in groups]
        [(1, None), (1, 0.0)]
    """
    parts = name_parts(no_decay)
    try:
        entries = list(params)
        groups = entries if entries and isinstance(entries[0], dict) else [{"params": entries}]
        groups = [group | {"params": list(group["params"])} for group in groups]
    except (TypeError, KeyError) as error:
        raise InadmissibleValue(
            f"params of type {type(params).__name__} are no named parameters ({error}). Pass model.named_parameters()."
        ) from error
    split: list[dict[str, Any]] = []
    for group in groups:
        pairs = group["params"]
        if not all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            raise InadmissibleValue(
                "no_decay needs parameter names. Pass model.named_parameters() instead of model.parameters()."
            )
        spared = [pair for pair in pairs if any(part in pair[0] for part in parts)]
        decayed = [pair for pair in pairs if not any(part in pair[0] for part in parts)]
        if decayed:
            split.append(group | {"params": decayed})
        if spared:
            split.append(group | {"params": spared, "weight_decay": 0.0})
    return split


def name_parts(no_decay: Any) -> tuple[str, ...]:
    """Return parts of names as a tuple, given one or several.

    Example:
        >>> name_parts("bias"), name_parts(["bias", "norm"])
        (('bias',), ('bias', 'norm'))
        >>> name_parts(3)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: no_decay=3 is neither a part of parameter names nor several. Pass such as \
('bias', 'norm').
    """
    parts = (no_decay,) if isinstance(no_decay, str) else no_decay
    if not isinstance(parts, tuple | list | set | frozenset) or not all(isinstance(part, str) for part in parts):
        raise InadmissibleValue(
            f"no_decay={said_of(no_decay)} is neither a part of parameter names nor several. "
            "Pass such as ('bias', 'norm')."
        )
    return tuple(parts)


def own_settings(group: Mapping[str, Any], held: set[int]) -> dict[str, Any]:
    """A group's hyperparameters as its own: numpy's numbers as Python's, and no tensor that another group has.

    One tensor in two groups would be moved twice by what moves each of them. A tensor that is differentiated stays
    itself.

    Args:
        group: its words; parameters are left out.
        held: ids of the tensors that other groups have; this group's are added.

    Example:
        >>> import numpy as np, torch
        >>> lr, held = torch.tensor(0.1), set()
        >>> first, second = (own_settings({"lr": lr, "momentum": np.float32(0.5)}, held) for _ in range(2))
        >>> first["lr"] is lr, second["lr"] is lr, second
        (True, False, {'lr': tensor(0.1000), 'momentum': 0.5})
    """

    def own(value: Any) -> Any:
        if isinstance(value, Tensor):
            if id(value) in held and not value.requires_grad:
                value = value.clone()
            held.add(id(value))
            return value
        if type(value) in (tuple, list):
            return type(value)(map(own, value))
        return as_python(value)

    return {name: own(value) for name, value in group.items() if name not in PARAMETERS}


_Motion = TypeVar("_Motion", bound="Callable[..., Any]")


def of_settings(motion: _Motion) -> _Motion:
    """Mark a ``motion`` that reads nothing but the group's hyperparameters: it is asked again when one has changed.

    Others, such as a user's that reads the step count, are asked at every step.
    """
    motion.of_settings = True  # type: ignore[attr-defined]
    return motion


def require_between(name: str, value: Scalar, below: float = float("inf"), most: float = float("inf")) -> None:
    """Raise InadmissibleValue unless 0 <= value < below, or 0 <= value <= most.

    Example:
        >>> require_between("lr", -1.0)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: lr=-1 is negative or not finite. Pass lr >= 0.
    """
    if type(value) is float and 0 <= value < below and value <= most:
        return  # as at every step of a schedule: sentences take longer to write than a small step
    value = as_python(value)
    require_ranged(**{name: value})
    bound = f" and < {below:g}" if below < float("inf") else f" and <= {most:g}" if most < float("inf") else ""
    interval = f"[0, {below:g})" if below < float("inf") else f"[0, {most:g}]"
    require(
        bool(0 <= value < below) and bool(value <= most),
        f"{name}={float(value.detach() if isinstance(value, Tensor) else value):g}",
        f"is outside {interval}" if bound else "is negative or not finite",
        f"Pass {name} >= 0{bound}.",
    )


def require_params(params: Any) -> Any:
    """The parameters as torch.optim takes them; what it cannot take at all is refused.

    Torch says the rest: parameters that are no leaves, or given twice.

    Example:
        >>> require_params(3)
        Traceback (most recent call last):
        ...
        thetadot.errors.NoParameters: params=3 is no collection of tensors. Pass model.parameters(), a list of \
tensors, or parameter groups.
    """
    if isinstance(params, Tensor | str | bytes | dict) or not isinstance(params, Iterable):
        came = f"params of type {type(params).__name__}" if isinstance(params, Tensor) else f"params={said_of(params)}"
        raise NoParameters(
            f"{came} is no collection of tensors. Pass model.parameters(), a list of tensors, or parameter groups."
        )
    try:
        given = list(params)
    except TypeError as error:  # as of an array of shape ()
        raise NoParameters(f"params={said_of(params)} is no collection of tensors: {error}. Pass a list.") from error
    if not given:
        raise NoParameters("params is empty. Pass model.parameters() of a model that has some.")
    for index, entry in enumerate(given):
        tensor = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        if not isinstance(tensor, Tensor | dict):
            raise NoParameters(
                f"params[{index}] is of type {type(tensor).__name__}. Pass tensors, pairs (name, tensor), or dicts of "
                "parameter groups."
            )
    return given


def require_floats(params: Sequence[Tensor]) -> None:
    """Raise InadmissibleValue where a parameter cannot take a small step.

    Example:
        >>> require_floats([torch.ones(2, dtype=torch.int64)])
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: a parameter of shape (2,) has dtype torch.int64, in which a step is lost. \
Pass float64, float32, bfloat16, float16 or complex parameters.
    """
    for p in params:
        real = p.dtype.to_real() if p.is_complex() else p.dtype
        if real not in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            raise InadmissibleValue(
                f"a parameter of shape {tuple(p.shape)} has dtype {p.dtype}, in which a step is lost. "
                "Pass float64, float32, bfloat16, float16 or complex parameters."
            )


def flag(name: str, value: object) -> None:
    """Raise InadmissibleValue unless ``value`` is True or False.

    Example:
        >>> flag("maximize", "no")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: maximize='no' is neither True nor False. Pass one of them.
    """
    if not isinstance(as_python(value), bool):
        raise InadmissibleValue(f"{name}={said_of(value)} is neither True nor False. Pass one of them.")


def pair(name: str, value: object) -> tuple[Any, Any]:
    """The two numbers of a hyperparameter that is a pair.

    Example:
        >>> pair("betas", 0.9)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: betas=0.9 is not a pair. Pass two numbers, such as (0.9, 0.999).
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InadmissibleValue(f"{name}={said_of(value)} is not a pair. Pass two numbers, such as (0.9, 0.999).")
    return value[0], value[1]


def reads(reading: _Motion) -> _Motion:
    """A ``reading`` that is given one of the optimizer's groups, or one like them; all its settings are asked."""

    @functools.wraps(reading)
    def door(self: Any, group: Any) -> Reading:
        if not isinstance(group, dict):
            raise _no_group(said_of(group))
        try:
            self.check(self.defaults | group)
            return cast("Reading", reading(self, group))
        except KeyError as missing:  # what a reading needs; a group saved by another version may lack other settings
            raise _no_group(f"it has no {missing.args[0]}") from None

    return cast("_Motion", door)


def _no_group(came: str) -> InadmissibleValue:
    return InadmissibleValue(
        f"group is no parameter group of this optimizer: {came}. Pass one of optimizer.param_groups."
    )


def decayed(reading: Reading, group: Mapping[str, Any]) -> Reading:
    """A group's reading with its weight decay."""
    decoupled = group["weight_decay_mode"] == "decoupled"
    return reading.decayed(float(group["weight_decay"]), float(group["lr"]), decoupled=decoupled)
