"""Rows: the parameters of one stage of a step, each with its gradient, its state and its rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thetadot.core.rng import derive, normal, words
from thetadot.core.tensors import tensor_of
from thetadot.fusion import draws
from thetadot.optim.engine.shards import local
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from thetadot.core.annotations import Draw, State
    from thetadot.optim.engine.move import FrameNumbers, Move


@dataclass(frozen=True, slots=True)
class Sweep:
    """FrameNumbers shared by the rows of one group and dtype in one stage.

    Attributes:
        move: the rule in its frame.
        scales: the integrator's scalars.
        settings: the frame's.
        key: of the noise of this step; 0 where there is none.
        numbers: names of the state's variables that are numbers.
        keep: store new tensors instead of writing into the old ones, for a step that is differentiated.
    """

    move: Move
    scales: Any
    settings: FrameNumbers
    key: int | Tensor
    numbers: frozenset[str] = frozenset()
    keep: bool = False

    @property
    def draws(self) -> bool:
        """Whether an element's random numbers are those of its place."""
        return isinstance(self.key, Tensor) or self.key != 0 or self.move.rounds


@dataclass(slots=True)
class ParamRow:
    """A parameter in one stage of a step.

    Attributes:
        sweep: what it shares.
        number: place of the parameter among all of the optimizer's; the noise's stream.
        parameter: real view of this rank's part, (*).
        gradient: likewise.
        state: the live state, as the optimizer keeps it.
        index: of the first element in the whole parameter, or of every element.
        measured: numbers that the rule needs and does not keep.
        fresh: names of the system's own numbers where all are 0 still, which its rule may treat as a case of its own.
    """

    sweep: Sweep
    number: int
    parameter: Tensor
    gradient: Tensor
    state: dict[str, Any]
    index: int | Tensor
    measured: dict[str, Any]
    fresh: tuple[str, ...] = ()

    def advance(self, at: Tensor | None = None) -> State:
        """The state after the stage; nothing is written."""
        sweep, like = self.sweep, self.parameter
        start = like.clone() if sweep.keep else like  # what is differentiated must not be written over
        state: State = {POSITION: start, **{name: local(value) for name, value in self.state.items()}, **self.measured}
        new = sweep.move.advance(
            sweep.scales,
            sweep.settings,
            state,
            self.gradient,
            self.draw(),
            lambda: self._drawn(draws.fast_words, words, self._key(0)),
            at,
        )
        return {name: value for name, value in new.items() if name not in self.measured}

    def draw(self) -> Draw:
        """The stage's standard normal numbers, from the first."""
        drawn = 0

        def draw() -> Tensor:
            nonlocal drawn
            drawn += 1
            return self._drawn(draws.fast_normal, normal, self._key(drawn), self.sweep.move.wide)

        return draw

    def _key(self, draw: int) -> int | Tensor:
        return derive(self.sweep.key, self.number, self.sweep.move.stage, draw)

    def _drawn(self, by_numpy: Callable[..., Tensor], by_torch: Callable[..., Tensor], key: Any, *kind: Any) -> Tensor:
        """The same bits either way; torch's where an operation is recorded, or memory lies elsewhere or in pieces."""
        recorded = torch.compiler.is_compiling() or isinstance(key, Tensor) or self.sweep.keep
        if recorded or self.parameter.device.type != "cpu" or isinstance(self.index, Tensor):
            return by_torch(self.parameter, key, *kind, index=self.index)
        return by_numpy(self.parameter, key, *kind, self.index)

    def origin(self) -> Tensor:
        """Return the starting point of the rule."""
        state = {name: local(value) for name, value in self.state.items()}
        return self.sweep.move.origin(self.sweep.settings, {POSITION: self.parameter, **state})

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


def step_plainly(rows: Iterable[ParamRow]) -> None:
    """Run the rule on every row, in torch's own operations."""
    for row in rows:
        row.store(row.advance())


def _write_is_lost(old: Tensor) -> bool:
    """torch.compile drops what is written into a float64 tensor of shape () on the CPU: it takes it for a number."""
    return torch.compiler.is_compiling() and old.dim() == 0 and old.device.type == "cpu"
