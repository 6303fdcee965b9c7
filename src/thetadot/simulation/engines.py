"""Ways to march: the same step, carried out by torch's operations, in place, or compiled.

    plain       any function that torch can compute, all paths at once; they may see each other
    in place    block by block through the cache, in torch's combined operations: what needs no compiler
    compiled    one pass, a block from the first step to the last; noise by counters

An engine loads a state, marches it, and reads it back; a state that was loaded is not written to.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self, cast

import torch

from thetadot.core.tensors import tensor_of
from thetadot.fusion import compiler as machine
from thetadot.fusion.blocks import Blocks
from thetadot.fusion.components import Components, component, components
from thetadot.fusion.march import March
from thetadot.fusion.program import CannotCompile
from thetadot.simulation.asked import asked, kept_for_step
from thetadot.simulation.noise import PATHS, BlockNoise, Noise, by_counter
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from thetadot.core.annotations import Draw, State
    from thetadot.simulation.asked import Asked
    from thetadot.simulation.motion import PosedMotion

MARCH = 1 << 28
"""Components × steps between two looks at whether all is finite: a fraction of a second."""


@dataclass(frozen=True)
class Randomness:
    """Random numbers of a job: key, kind, number of the first path, whether torch must use counters."""

    key: int
    noise: Noise = "normal"
    first: int = 0
    counters: bool = False


class Engine(Protocol):
    """Interface of engines that march an ensemble.

    Attributes:
        name: what it is called.
        counters: whether its noise is that of counters.
        most: components × steps of one march.
    """

    name: str
    counters: bool
    most: int

    def march(self, state: State, before: int, steps: int) -> State:
        """The state ``steps`` later, ``before`` steps having been taken: a function of these alone."""


class _Numbered:
    """An engine of paths that have numbers."""

    counters = False
    most = MARCH
    _randomness: Randomness

    def beginning(self, first: int) -> Self:
        """The same for paths that are numbered from ``first``, a multiple of :data:`PATHS`."""
        other = copy(self)
        other._randomness = replace(self._randomness, first=first)  # noqa: SLF001
        return other


class Plain(_Numbered):
    """torch's operations, all paths at once.

    Args:
        motion: what moves.
        randomness: its noise.
        own: what a step asks for, if it is known.
    """

    name = "plain"

    def __init__(self, motion: PosedMotion, randomness: Randomness, own: Asked | None = None) -> None:
        self._motion, self._randomness, self._asked = motion, randomness, own
        self._sources: list[BlockNoise] = []

    def beginning(self, first: int) -> Self:
        """Return an engine for paths that are numbered from ``first``, with generators of its own."""
        other = super().beginning(first)
        other._sources = []  # noqa: SLF001
        return other

    def march(self, state: State, before: int, steps: int) -> State:
        """March step by step in torch's operations."""
        position = tensor_of(state, POSITION)
        own = self._asked = self._asked or asked(self._motion, position, state)
        if own.draws and not self._sources and not self._randomness.counters:
            self._sources = self._begun(position, own.draws)
        advance = self._motion.advance
        with own.quiet():
            for step in range(before, before + steps):
                state = advance(state, self._draw(position, step))
        return state

    def _begun(self, position: Tensor, draws: int) -> list[BlockNoise]:
        own, like = self._randomness, self._motion.noise_like(position)
        blocks = range(0, len(position), PATHS)
        return [BlockNoise(own.key, own.first + i, draws, like[i : i + PATHS], own.noise) for i in blocks]

    def _draw(self, position: Tensor, step: int) -> Draw:
        own = self._randomness
        if own.counters:
            like, place = self._motion.noise_like(position), iter(range(1 << 30))
            return lambda: by_counter(like, own.key, step, next(place), own.first, own.noise)
        for source in self._sources:
            source.seek(step)
        return self._drawn

    def _drawn(self) -> Tensor:
        if len(self._sources) == 1:
            (source,) = self._sources
            return source.fill(source.empty())
        paths = sum(source.paths for source in self._sources)
        whole = self._sources[0].empty(paths)
        for source, part in zip(self._sources, torch.split(whole, PATHS), strict=True):
            source.fill(part)
        return whole


@dataclass(frozen=True)
class _InBlocks:
    """A step as it is run in place."""

    constants: dict[str, float]
    names: list[str]
    blocks: Blocks
    draws: int

    @classmethod
    def of(cls, motion: PosedMotion, like: Tensor, draws: int) -> Self:
        """Trace a motion into an engine by blocks."""
        traced = traced_step(motion, like, like.dtype, draws)
        return cls(dict(traced.constants), _component_names(motion, like), Blocks(traced.program, changing=""), draws)


class InPlace(_Numbered):
    """Block by block, without a compiler.

    Raises:
        CannotCompile: the step is not made of elementary operations, path by path.
    """

    name = "in place"

    def __init__(self, motion: PosedMotion, randomness: Randomness, like: Tensor, own: Asked | None = None) -> None:
        self._motion, self._randomness = motion, randomness
        own = own or asked(motion, like, motion.begin({POSITION: like[:1]}))
        self._step = kept_for_step(own, (self.name, like.dtype), lambda: _InBlocks.of(motion, like, own.draws))

    def march(self, state: State, before: int, steps: int) -> State:
        """March all blocks, each through all steps, on as many threads as torch has."""
        tensors = _copies(self._motion, state)
        paths = len(tensors[0])
        numbers = {name: float(state[name]) for name in self._motion.numbers}
        starts = range(0, paths, PATHS)
        threads = min(torch.get_num_threads(), len(starts))

        def one(start: int) -> dict[str, float]:
            parts = [column[start : start + PATHS] for tensor in tensors for column in tensor.unbind(-1)]
            lying = [part.contiguous() for part in parts]  # the same where there is one component
            handed = self._block(lying, dict(numbers), before, steps, start)
            for part, column in zip(parts, lying, strict=True):
                if part.data_ptr() != column.data_ptr() or part.stride() != column.stride():
                    part.copy_(column)
            return handed

        if threads > 1:
            with _each_alone(), ThreadPoolExecutor(threads) as pool:
                handed = list(pool.map(one, starts))
        else:
            handed = [one(start) for start in starts]
        return {**dict(zip(self._motion.tensors, tensors, strict=True)), **handed[0]}

    def _block(
        self, parts: list[Tensor], numbers: dict[str, float], before: int, steps: int, start: int
    ) -> dict[str, float]:
        own, step = self._randomness, self._step
        blocks = step.blocks
        (pieces,) = blocks.pieces([parts], step.names)
        like = self._motion.noise_like(parts[0].unsqueeze(-1).expand(-1, len(parts) // len(self._motion.tensors)))
        source = BlockNoise(own.key, own.first + start, step.draws, like, own.noise)
        noise = [source.empty() for _ in range(step.draws)]
        columns = {component(f"draw{i}", j): x for i, own in enumerate(noise) for j, x in enumerate(own.unbind(-1))}
        fixed = not numbers
        outputs, inner = blocks.prepare(numbers | step.constants)
        for place in range(before, before + steps):
            if not fixed:
                outputs, inner = blocks.prepare(numbers | step.constants)
            if noise:
                source.seek(place)
                for tensor in noise:
                    source.fill(tensor)
                blocks.run(pieces, None, inner, lambda name, *_: columns[name])
            else:
                blocks.run(pieces, None, inner)
            numbers = {name: float(outputs[name]) for name in numbers}
        return numbers


class Compiled(_Numbered):
    """Engine that makes all steps in one pass over memory.

    Raises:
        CannotCompile: no compiler, or the step is not made of elementary operations, path by path.
    """

    name = "compiled"
    counters = True

    def __init__(self, motion: PosedMotion, randomness: Randomness, like: Tensor, own: Asked | None = None) -> None:
        if like.device.type != "cpu":
            raise CannotCompile(f"kernels of ensembles are for the CPU, and the paths lie on {like.device}.")
        if like.dtype not in (torch.float32, torch.float64):
            raise CannotCompile(f"kernels of ensembles are for float32 and float64, and the paths are {like.dtype}.")
        self._motion, self._randomness = motion, randomness
        own = own or asked(motion, like, motion.begin({POSITION: like[:1]}))
        kind = (self.name, like.dtype, randomness.noise, machine.compiler())
        self._run = kept_for_step(own, kind, self._made(like, own.draws))

    def _made(self, like: Tensor, draws: int) -> Callable[[], March]:
        motion, noise = self._motion, self._randomness.noise

        def make() -> March:
            traced = traced_step(motion, like, torch.float32, draws)
            arrays = dict.fromkeys(_component_names(motion, like), like.dtype)
            name = f"{type(motion.integrator).__name__} of {type(motion.system).__name__}"
            return March(traced, arrays, motion.numbers, noise, name)

        return make

    def march(self, state: State, before: int, steps: int) -> State:
        """March all steps in one kernel call."""
        tensors = _copies(self._motion, state)
        columns = [column for tensor in tensors for column in tensor.unbind(-1)]
        numbers = [float(state[name]) for name in self._motion.numbers]
        own = self._randomness
        handed = self._run(columns, numbers, steps=steps, before=before, key=own.key, first=own.first)
        return {
            **dict(zip(self._motion.tensors, tensors, strict=True)),
            **dict(zip(self._motion.numbers, handed, strict=True)),
        }


def traced_step(motion: PosedMotion, like: Tensor, noise: torch.dtype, draws: int) -> Components:
    """Trace one step as a program of components, which takes so many tensors of noise.

    Raises:
        CannotCompile: it cannot be traced path by path.
    """
    arrays = dict.fromkeys(motion.tensors, like.dtype) | {f"draw{i}": noise for i in range(draws)}

    def step(given: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        place = iter(range(draws))
        state = cast("State", {name: given[name] for name in (*motion.tensors, *motion.numbers)})
        after = motion.advance(state, lambda: given[f"draw{next(place)}"].to(like.dtype))
        return {name: after[name] for name in state}

    widths = {name: motion.noise_like(like).shape[-1] for name in arrays if name not in motion.tensors}
    found = components(step, arrays, like.shape[-1], motion.numbers, widths)
    missing = [name for name in motion.numbers if name not in found.program.outputs]
    if missing:
        raise CannotCompile(f"{missing[0]} is a number that differs from path to path.")
    return found


@contextmanager
def _each_alone() -> Iterator[None]:
    """Blocks have a thread each; torch must not cut their operations again, which costs more than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _component_names(motion: PosedMotion, like: Tensor) -> list[str]:
    return [component(name, i) for name in motion.tensors for i in range(like.shape[-1])]


def _copies(motion: PosedMotion, state: State) -> list[Tensor]:
    """Copy every tensor of a state, contiguous, so that the given state stays unchanged."""
    return [tensor_of(state, name).clone(memory_format=torch.contiguous_format) for name in motion.tensors]
