"""Rows: the parameters of one stage of a step, each with its gradient, its state and the rule that moves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from thetadot.random import derive, normal, words
from thetadot.systems.base import POSITION
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from thetadot.optim.move import Move, Settings
    from thetadot.typing import State


@dataclass(frozen=True, slots=True)
class Sweep:
    """What the rows of one group and dtype share in one stage.

    Attributes:
        move: the rule in its frame.
        scales: the integrator's scalars.
        settings: the frame's.
        key: of the noise of this step.
        keep: store new tensors instead of writing into the old ones, for a step that is differentiated.
    """

    move: Move
    scales: Any
    settings: Settings
    key: int | Tensor
    keep: bool = False


@dataclass(slots=True)
class Row:
    """One parameter in one stage.

    Attributes:
        sweep: what it shares.
        number: place of the parameter among all of the optimizer's; the noise's stream.
        parameter: real view of this rank's part, (*).
        gradient: likewise.
        state: the live state, as the optimizer keeps it.
        index: of the first element in the whole parameter, or of every element.
        measured: numbers that the rule needs and does not keep.
    """

    sweep: Sweep
    number: int
    parameter: Tensor
    gradient: Tensor
    state: dict[str, Any]
    index: int | Tensor
    measured: dict[str, Any]

    def advance(self, at: Tensor | None = None) -> State:
        """The state after the stage; nothing is written."""
        sweep, like, drawn = self.sweep, self.parameter, 0

        def key(draw: int) -> int | Tensor:
            return derive(sweep.key, self.number, sweep.move.stage, draw)

        def draw() -> Tensor:
            nonlocal drawn
            drawn += 1
            return normal(like, key(drawn), sweep.move.wide, self.index)

        start = like.clone() if sweep.keep else like  # what is differentiated must not be written over
        state: State = {POSITION: start, **{name: local(value) for name, value in self.state.items()}, **self.measured}
        new = sweep.move(
            sweep.scales, sweep.settings, state, self.gradient, draw, lambda: words(like, key(0), self.index), at
        )
        return {name: value for name, value in new.items() if name not in self.measured}

    def origin(self) -> Tensor:
        """Where the rule starts from."""
        return self.sweep.move.origin(self.sweep.settings, {POSITION: self.parameter, **self.state})

    def store(self, state: State) -> None:
        """Write what :meth:`advance` gave."""
        self.parameter.copy_(tensor_of(state, POSITION))
        for name, value in state.items():
            if name == POSITION:
                continue
            old = self.state[name]
            if isinstance(old, Tensor) and not (self.sweep.keep or _write_is_lost(old)):
                local(old).copy_(value) if isinstance(value, Tensor) else local(old).fill_(value)
            elif isinstance(old, Tensor) and isinstance(value, Tensor):
                self.state[name] = value.to(old.dtype)
            else:
                self.state[name] = value


def step_plainly(rows: Iterable[Row]) -> None:
    """Run the rule on every row, in torch's own operations."""
    for row in rows:
        row.store(row.advance())


def _write_is_lost(old: Tensor) -> bool:
    """torch.compile drops what is written into a float64 tensor of shape () on the CPU: it takes it for a number."""
    return torch.compiler.is_compiling() and old.dim() == 0 and old.device.type == "cpu"


def is_sharded(x: Any) -> bool:
    """Whether this is a DTensor, told without importing torch.distributed."""
    return isinstance(x, Tensor) and type(x) is not Tensor and hasattr(x, "to_local")


def local(x: Any) -> Any:
    """This rank's part of a DTensor, sharing memory; everything else as it is."""
    return cast("Any", x).to_local() if is_sharded(x) else x


def whole(x: Tensor) -> Tensor:
    """The value on all ranks of a reduction over a DTensor; everything else as it is."""
    return cast("Any", x).full_tensor() if is_sharded(x) else x


def place(x: Tensor) -> int | Tensor:
    """Where this rank's part of ``x`` lies in the whole: the index of its first element, or of every element.

    A part of whole leading rows lies in one piece, which is what FSDP2 makes.
    """
    if not is_sharded(x):
        return 0
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset  # noqa: PLC0415

    sharded = cast("Any", x)
    shape, offset = compute_local_shape_and_global_offset(x.shape, sharded.device_mesh, sharded.placements)
    if all(size == of for size, of in zip(shape[1:], x.shape[1:], strict=True)):
        row = x.shape[1:].numel()
        return int(offset[0]) * row if len(offset) else 0
    index = torch.zeros((), dtype=torch.int64)
    for dimension, (size, start) in enumerate(zip(shape, offset, strict=True)):
        along = torch.arange(start, start + size)
        index = index.unsqueeze(-1) * x.shape[dimension] + along
    return index.to(sharded.to_local().device)
