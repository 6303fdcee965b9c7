"""Changes made by a forward and backward pass, found on a copy before they matter."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from thetadot.state.generators import keyed
from thetadot.state.kept import Kept, kept
from thetadot.state.walk import Walk, is_machinery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_KEY = 5655
_HOOKS = tuple(name for name in nn.Module().__dict__ if name.endswith("_hooks"))


@dataclass(frozen=True)
class StateChange:
    """A thing that a pass writes.

    Attributes:
        place: where it lies, "model.encoder.calls"; "" where only its effect was seen.
        kind: "parameter", "buffer", "generator", "attribute", "gradient", or "hidden".
        owner: class of the module that holds it.
        kept: :class:`~thetadot.state.kept.Kept` puts it back bit for bit.
    """

    place: str
    kind: str
    owner: str
    kept: bool

    def __str__(self) -> str:
        if not self.place:
            return "something outside the modules' attributes"
        return f"{self.place} ({self.kind} of {self.owner})"


def changes_of(run: Callable[[dict[str, Any]], torch.Tensor], roots: dict[str, Any]) -> list[StateChange]:
    """List what one forward and backward pass changes in the roots, and whether each can be restored.

    The pass is made on deep copies where modules can be copied, else on the roots themselves; their state is bit for
    bit as before afterwards, as far as it can be kept. It is made a second time from what was put back: if its loss is
    another one, something was changed that was not seen.

    Args:
        run: ``run(roots)`` returns the loss of a forward pass; it is given copies, and uses nothing else of the run.
        roots: the model, the loss (a module or a function) and whatever else takes part, by name.

    Returns:
        Changes by place; those with ``kept=False`` are what a measurement would leave behind.

    Example:
        >>> changes_of(lambda r: r["model"](torch.ones(4, 2)).sum(), {"model": nn.BatchNorm1d(2)})[0]
        StateChange(place='model.num_batches_tracked', kind='buffer', owner='BatchNorm1d', kept=True)
    """
    with kept(**roots) as own:
        copies = _copied(roots)
        trial = own if copies is None else Kept(copies)
        parameters = _parameters(trial)
        gradients = [p.grad for p in parameters]
        opaque = _Opaque(trial.roots)
        try:
            for p in parameters:
                p.grad = None
            value = _pass(run, trial.roots, parameters)
            found = _observed(trial, parameters)
            beside = [] if copies is None else _observed(own, ())
            hidden = opaque.changes()
            if found:
                trial.restore()
            if beside:
                own.restore()
            again = value if hidden else _pass(run, trial.roots, parameters)
        finally:
            for p, gradient in zip(parameters, gradients, strict=True):
                p.grad = gradient
        if not _equal(value, again):
            hidden.append(StateChange("", "hidden", "", kept=False))
    places = {change.place: change for change in (*found, *beside, *hidden)}
    return [places[place] for place in sorted(places)]


def hidden_in(roots: dict[str, Any]) -> list[StateChange]:
    """Find objects that are not looked into, which a pass may change and nothing puts back.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> net.draws = iter(range(3))
        >>> hidden_in({"model": net})
        [StateChange(place='model.draws', kind='attribute', owner='Linear', kept=False)]
    """
    held = _Opaque(roots).held
    return [
        StateChange(owner.place(name), "attribute", type(owner.held).__name__, kept=False)
        for owner, name, _, written in held
        if written is not None
    ]


def _pass(run: Callable[[dict[str, Any]], torch.Tensor], roots: dict[str, Any], parameters: Sequence[Any]) -> Any:
    """The loss; its gradient is taken, as a measurement would."""
    wanted = [p for p in parameters if p.requires_grad]
    devices = sorted({p.device.index or 0 for p in parameters if p.device.type == "cuda"})
    with keyed(_KEY, devices), torch.enable_grad():
        value = run(roots)
        if wanted and value.requires_grad:
            torch.autograd.grad(value, wanted, allow_unused=True)
    return value.detach()


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two losses of one state agree; an accelerator may sum in another order."""
    a, b = float(one), float(other)
    exact = one.device.type == "cpu"
    return a == b or (math.isnan(a) and math.isnan(b)) or (not exact and math.isclose(a, b, rel_tol=1e-3))


def _observed(state: Kept, parameters: Iterable[Any]) -> list[StateChange]:
    found = [StateChange(o.place(name), kind, type(o.held).__name__, kept=True) for o, name, kind in state.differing()]
    if any(p.grad is not None for p in parameters):
        found.append(StateChange("the gradients that backward() adds up", "gradient", "the loss", kept=False))
    return found


def _parameters(state: Kept) -> list[nn.Parameter]:
    return [leaf for _, _, leaf, _ in state.leaves if isinstance(leaf, nn.Parameter)]


def _copied(roots: dict[str, Any]) -> dict[str, Any] | None:
    """Deep copies; a user's hooks stay the same functions, ours are left out. None where something has no copy."""
    memo: dict[int, Any] = {}
    modules = [owner.held for owner in Walk.over(roots).owners if isinstance(owner.held, nn.Module)]
    for hooks in (module.__dict__.get(name) for module in modules for name in _HOOKS):
        if hooks:
            memo[id(hooks)] = OrderedDict((key, hook) for key, hook in hooks.items() if not _ours(hook))
    try:
        return copy.deepcopy(roots, memo)
    except Exception:  # noqa: BLE001 - whatever a user's object raises
        return None


def _ours(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("thetadot.")


class _Opaque:
    """Objects that are not looked into, compared by what pickle writes of them."""

    def __init__(self, roots: dict[str, Any]) -> None:
        walk = Walk.over(roots)
        told = [(owner, name, value) for owner, name, value in walk.opaque.values() if not is_machinery(value)]
        self.held = [(owner, name, value, _written(value)) for owner, name, value in told]

    def changes(self) -> list[StateChange]:
        """List the values that differ now."""
        return [
            StateChange(owner.place(name), "attribute", type(owner.held).__name__, kept=False)
            for owner, name, value, before in self.held
            if before is not None and _written(value) != before
        ]


def _written(value: Any) -> bytes | str | None:
    if isinstance(value, type):
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # iterators will not be pickled for ever
            return pickle.dumps(value)
    except Exception:  # noqa: BLE001 - whatever a user's object raises
        return None
