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
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import torch

from thetadot.fusion.blocks import Blocks
from thetadot.fusion.components import Components, component, components
from thetadot.fusion.march import March
from thetadot.fusion.program import CannotCompile
from thetadot.simulation.noise import PATHS, BlockNoise, Noise, by_counter
from thetadot.systems.base import POSITION
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from thetadot.simulation.motion import Motion
    from thetadot.typing import State

MARCH = 1 << 28
"""Components × steps between two looks at whether all is finite: a fraction of a second."""


@dataclass(frozen=True)
class Randomness:
    """Whose noise: the key, the kind, the number of the first path, and whether counters are wanted of torch too."""

    key: int
    noise: Noise = "normal"
    first: int = 0
    counters: bool = False


class Engine(Protocol):
    """Something that marches.

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
    """torch's operations, all paths at once."""

    name = "plain"

    def __init__(self, motion: Motion, randomness: Randomness) -> None:
        self._motion, self._randomness = motion, randomness
        self._sources: list[BlockNoise] = []

    def beginning(self, first: int) -> Self:
        """The same for paths that are numbered from ``first``, with generators of its own."""
        other = super().beginning(first)
        other._sources = []  # noqa: SLF001
        return other

    def march(self, state: State, before: int, steps: int) -> State:
        """Step by step."""
        position = tensor_of(state, POSITION)
        for step in range(before, before + steps):
            state = self._motion.advance(state, self._draw(position, step))
        return state

    def _draw(self, position: Tensor, step: int) -> Any:
        own = self._randomness
        like = self._motion.noise_like(position)
        if own.counters:
            place = iter(range(1 << 30))
            return lambda: by_counter(like, own.key, step, next(place), own.first, own.noise)
        blocks = [like[i : i + PATHS] for i in range(0, len(like), PATHS)]
        begun = False

        def draw() -> Tensor:
            nonlocal begun
            if not begun:
                self._seek(position, blocks, step)
                begun = True
            # component by component, as the blocks in place are filled
            parts = []
            for source, block in zip(self._sources, blocks, strict=True):
                columns = [source.fill(block.new_empty(len(block))) for _ in range(block.shape[1])]
                parts.append(torch.stack(columns, dim=-1))
            return torch.cat(parts)

        return draw

    def _seek(self, position: Tensor, blocks: list[Tensor], step: int) -> None:
        own = self._randomness
        if not self._sources:
            count = _draws(self._motion, position) * blocks[0].shape[1]
            self._sources = [
                BlockNoise(own.key, own.first + i * PATHS, count, own.noise, position.device)
                for i in range(len(blocks))
            ]
        for source, block in zip(self._sources, blocks, strict=True):
            source.seek(step, block[:, 0])


class InPlace(_Numbered):
    """Block by block, without a compiler.

    Raises:
        CannotCompile: the step is not made of elementary operations, path by path.
    """

    name = "in place"

    def __init__(self, motion: Motion, randomness: Randomness, like: Tensor) -> None:
        self._motion, self._randomness = motion, randomness
        traced = traced_step(motion, like, like.dtype)
        self._constants = dict(traced.constants)
        self._names = _component_names(motion, like)
        self._blocks = Blocks(traced.program, changing="")
        self._draws = sum(name.startswith("draw") for name in traced.program.inputs)

    def march(self, state: State, before: int, steps: int) -> State:
        """All blocks, each through all steps, on as many threads as torch has."""
        columns = _columns(self._motion, state)
        paths = columns[0].numel()
        numbers = {name: float(state[name]) for name in self._motion.numbers}
        starts = range(0, paths, PATHS)
        threads = min(torch.get_num_threads(), len(starts))

        def one(start: int) -> dict[str, float]:
            parts = [column[start : start + PATHS] for column in columns]
            return self._block(parts, dict(numbers), before, steps, start)

        if threads > 1:
            with _each_alone(), ThreadPoolExecutor(threads) as pool:
                handed = list(pool.map(one, starts))
        else:
            handed = [one(start) for start in starts]
        return _state(self._motion, columns, handed[0])

    def _block(
        self, parts: list[Tensor], numbers: dict[str, float], before: int, steps: int, start: int
    ) -> dict[str, float]:
        own = self._randomness
        blocks = self._blocks
        (pieces,) = blocks.pieces([parts], self._names)
        source = BlockNoise(own.key, own.first + start, self._draws, own.noise, parts[0].device)
        buffers = {name: torch.empty_like(parts[0]) for _, name in blocks.draws}
        fixed = not numbers
        outputs, inner = blocks.prepare(numbers | self._constants)
        for step in range(before, before + steps):
            if not fixed:
                outputs, inner = blocks.prepare(numbers | self._constants)
            if buffers:
                source.seek(step, parts[0])
                for buffer in buffers.values():
                    source.fill(buffer)
                blocks.run(pieces, None, inner, lambda name, *_: buffers[name])
            else:
                blocks.run(pieces, None, inner)
            numbers = {name: float(outputs[name]) for name in numbers}
        return numbers


class Compiled(_Numbered):
    """One pass over memory for all steps.

    Raises:
        CannotCompile: no compiler, or the step is not made of elementary operations, path by path.
    """

    name = "compiled"
    counters = True

    def __init__(self, motion: Motion, randomness: Randomness, like: Tensor) -> None:
        if like.device.type != "cpu":
            raise CannotCompile(f"kernels of ensembles are for the CPU, and the paths lie on {like.device}.")
        if like.dtype not in (torch.float32, torch.float64):
            raise CannotCompile(f"kernels of ensembles are for float32 and float64, and the paths are {like.dtype}.")
        self._motion, self._randomness = motion, randomness
        traced = traced_step(motion, like, torch.float32)
        arrays = dict.fromkeys(_component_names(motion, like), like.dtype)
        name = f"{type(motion.integrator).__name__} of {type(motion.system).__name__}"
        self._run = March(traced, arrays, motion.numbers, randomness.noise, name)

    def march(self, state: State, before: int, steps: int) -> State:
        """All at once."""
        columns = _columns(self._motion, state)
        numbers = [float(state[name]) for name in self._motion.numbers]
        own = self._randomness
        handed = self._run(columns, numbers, steps=steps, before=before, key=own.key, first=own.first)
        return _state(self._motion, columns, dict(zip(self._motion.numbers, handed, strict=True)))


def traced_step(motion: Motion, like: Tensor, noise: torch.dtype) -> Components:
    """One step as a program of components.

    Raises:
        CannotCompile: it cannot be traced path by path.
    """
    count = _draws(motion, like)
    arrays = dict.fromkeys(motion.tensors, like.dtype) | {f"draw{i}": noise for i in range(count)}

    def step(given: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        draws = iter(range(count))
        state = cast("State", {name: given[name] for name in (*motion.tensors, *motion.numbers)})
        after = motion.advance(state, lambda: given[f"draw{next(draws)}"].to(like.dtype))
        return {name: after[name] for name in state}

    widths = {name: motion.noise_like(like).shape[-1] for name in arrays if name not in motion.tensors}
    found = components(step, arrays, like.shape[-1], motion.numbers, widths)
    missing = [name for name in motion.numbers if name not in found.program.outputs]
    if missing:
        raise CannotCompile(f"{missing[0]} is a number that differs from path to path.")
    return found


def _draws(motion: Motion, like: Tensor) -> int:
    """Normal tensors that a step takes."""
    count = 0
    one = like[:1].detach()

    def draw() -> Tensor:
        nonlocal count
        count += 1
        return torch.zeros_like(motion.noise_like(one))

    motion.advance(motion.begin({POSITION: one}), draw)
    return count


@contextmanager
def _each_alone() -> Iterator[None]:
    """Blocks have a thread each; torch must not cut their operations again, which costs more than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _component_names(motion: Motion, like: Tensor) -> list[str]:
    return [component(name, i) for name in motion.tensors for i in range(like.shape[-1])]


def _columns(motion: Motion, state: State) -> list[Tensor]:
    """Copies of every component, contiguous."""
    return [
        column.clone(memory_format=torch.contiguous_format)
        for name in motion.tensors
        for column in tensor_of(state, name).unbind(-1)
    ]


def _state(motion: Motion, columns: list[Tensor], numbers: Mapping[str, float]) -> State:
    dim = len(columns) // len(motion.tensors)
    state: State = dict(numbers)
    for i, name in enumerate(motion.tensors):
        own = columns[i * dim : (i + 1) * dim]
        state[name] = own[0].unsqueeze(-1) if dim == 1 else torch.stack(own, dim=-1)
    return state
