r"""A model trained in other units than its data's: the same functions, other coordinates of them.

    input:   f(x) = g(V (x - m)/s + c)     =  g(W x + b),      W = V/s,  b = c - W m
    output:  f(x) = σ (V h + c) + μ        =  W h + b,         W = σV,   b = σc + μ

Steps are made in V and c, for which columns of any size look alike; at the end both are folded into W and b, and the
model is as it was built. What it can represent is the same to rounding. Whether folding is exact for a model is tried
on it (:meth:`Coordinates.exact`), whatever its forward does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor, nn

from thetadot.probes.columns import Units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.utils.hooks import RemovableHandle

    from thetadot.tasks.task import Task
    from thetadot.training.snapshot import Snapshot

TOLERANCE = 1e-3
"""Of the outputs' size: what folding may change by rounding, which grows as mean over deviation."""
Side = Literal["input", "output"]


@dataclass(frozen=True)
class UnitChange:
    """Units of one layer's input or output.

    Attributes:
        layer: name of a Linear layer; of an output also of a convolution.
        side: what is measured in them.
        units: by column, or by channel.
    """

    layer: str
    side: Side
    units: Units


class Into:
    """A hook before a layer: its input in units."""

    def __init__(self, units: Units) -> None:
        self.units = units

    def __call__(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Convert the first argument."""
        (x, *rest) = args
        mean, scale = (part.to(x.device) for part in self.units)
        return (((x.double() - mean) / scale).to(x.dtype), *rest)


class Out:
    """A hook behind a layer: its output out of units."""

    def __init__(self, units: Units, axis: int) -> None:
        self.units, self.axis = units, axis

    def __call__(self, _: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Convert the output."""
        shape = [1] * output.dim()
        shape[self.axis] = -1
        mean, scale = (part.to(output).reshape(shape) for part in self.units)
        return output * scale + mean


@dataclass(eq=False)
class Coordinates:
    """Units in which layers of one model are trained; none is the model as it is.

    Args:
        model: whose layers they are.
        changes: inputs before outputs, where a layer has both.
    """

    model: nn.Module
    changes: tuple[UnitChange, ...] = ()
    handles: list[RemovableHandle] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        """A run that ends early leaves the model it has come to, as one of the model's own units."""
        if self.handles:
            self.leave()
            self.fold()

    def left(self, task: Task, *states: Snapshot) -> list[Snapshot]:
        """Leave these units: states in them as states in the model's own; the model is in the last one."""
        self.leave()
        return [state.after(self.fold, task.model, loss=task.loss) for state in states]

    def take(self) -> None:
        """Train in these units from here on; once is enough."""
        self.leave()
        for change in self.changes:
            layer: Any = self.model.get_submodule(change.layer)
            if change.side == "input":
                self.handles.append(layer.register_forward_pre_hook(Into(change.units)))
            else:
                axis = -1 if isinstance(layer, nn.Linear) else -layer.weight.dim() + 1
                self.handles.append(layer.register_forward_hook(Out(change.units, axis)))

    def leave(self) -> None:
        """Go back to the model's own units; its parameters stay, and mean something else."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def fold(self) -> None:
        """Make the parameters those of the same function in the model's own units."""
        with torch.no_grad():
            for change in self.changes:
                layer: Any = self.model.get_submodule(change.layer)
                (_folded_input if change.side == "input" else _folded_output)(layer, change.units)

    def exact(self, evaluate: Callable[[], Any]) -> bool:
        """Whether the folded model gives the same output; its parameters are to be kept by the caller.

        Args:
            evaluate: the model on some samples.
        """
        self.take()
        try:
            before = evaluate()
        finally:
            self.leave()
        self.fold()
        after = evaluate()
        if not isinstance(before, Tensor) or before.shape != after.shape:
            return False
        away, size = (before.double() - after.double()).abs().max(), before.double().abs().max()
        return bool(before.isfinite().all()) and bool(away <= TOLERANCE * size)

    def pack(self) -> list[dict[str, Any]]:
        """Return plain containers for a checkpoint."""
        return [{"layer": c.layer, "side": c.side, "mean": c.units.mean, "scale": c.units.scale} for c in self.changes]

    @classmethod
    def unpack(cls, model: nn.Module, packed: list[Mapping[str, Any]]) -> Coordinates:
        """Rebuild them from the output of :meth:`pack`."""
        return cls(model, tuple(UnitChange(p["layer"], p["side"], Units(p["mean"], p["scale"])) for p in packed))


def _folded_input(layer: Any, units: Units) -> None:
    mean, scale = (part.to(layer.weight.device) for part in units)
    wide = layer.weight.double() / scale
    if layer.bias is not None:
        layer.bias.copy_(layer.bias.double() - wide @ mean)
    layer.weight.copy_(wide)


def _folded_output(layer: Any, units: Units) -> None:
    mean, scale = (part.to(layer.weight.device) for part in units)
    layer.weight.copy_(layer.weight.double() * scale.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.copy_(layer.bias.double() * scale + mean)
