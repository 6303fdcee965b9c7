"""Tiny programs, compiled and run on whole tensors; and processes that know of no compiler yet."""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from thetadot.fusion import Array, Kernel, compiler, trace
from thetadot.fusion.program import NUMBER
from thetadot.optim.engine import launch, programs

MEMORY = {torch.int64: torch.int32}  # words are 32 bits in a kernel's memory


def run(
    function: Callable[[Mapping], Mapping],
    arrays: Mapping[str, torch.Tensor],
    results: Mapping[str, torch.dtype],
    numbers: Mapping[str, float] | None = None,
    *,
    counts: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
    key: int = 0,
    index: int = 0,
    stream: int = 0,
    stage: int = 0,
) -> dict[str, torch.Tensor | float]:
    """What compiled ``function`` writes into ``results``, and the numbers ``counts`` that it gives.

    ``words`` are arrays of 32 bits, which come and go as int64.
    """
    numbers = dict(numbers or {})
    some = next(iter(arrays.values()))
    held = {name: x.to(torch.int32).contiguous() if name in words else x.contiguous() for name, x in arrays.items()}
    held |= {name: torch.empty(some.shape, dtype=MEMORY.get(dtype, dtype)) for name, dtype in results.items()}
    kinds = {name: torch.int64 if name in words else x.dtype for name, x in arrays.items()} | dict(results)
    program = trace(function, {**kinds, **dict.fromkeys(numbers, NUMBER), "words": torch.int64})
    kernel = Kernel(program, [Array(n, kind) for n, kind in kinds.items()], tuple(numbers), (), stage, "a test's")
    assert kernel.numbers == counts
    table = np.array([[some.numel(), index, stream, *(x.data_ptr() for x in held.values())]], dtype=np.int64)
    out = np.zeros((1, len(counts)))
    kernel.on(table, np.array([*numbers.values()], dtype=np.float64), np.zeros((1, 0)), out)(key)
    found = {n: held[n].to(torch.int64) & 0xFFFFFFFF if kinds[n] == torch.int64 else held[n] for n in results}
    return found | dict(zip(counts, out[0].tolist(), strict=True))


def same(x: torch.Tensor, y: torch.Tensor) -> bool:
    """To the bit, and the sign of zero; a nan is a nan."""
    nan = torch.isnan(x)
    return torch.equal(nan, torch.isnan(y)) and torch.equal(_bits(x)[~nan], _bits(y)[~nan])


def _bits(x: torch.Tensor) -> torch.Tensor:
    return x.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


@pytest.fixture
def element():
    return run


@pytest.fixture
def to_the_bit():
    return same


@pytest.fixture
def new_process(monkeypatch, tmp_path):
    """As in a process that has compiled nothing yet, with an empty cache: its folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("THETADOT_CACHE", str(folder))
    monkeypatch.setattr(programs, "_made", {})
    own = (compiler.compiler, compiler._cache_folder, compiler._private, compiler._say_elsewhere, compiler._machine)
    caches = (*own, launch._say_once)
    for cached in caches:
        cached.cache_clear()
    yield folder
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0e38, -1.0e-40, float("inf"), -float("inf"), float("nan"))


@pytest.fixture
def pairs():
    """Every pair of special values, float32."""
    x, y = zip(*itertools.product(SPECIAL, SPECIAL), strict=True)
    return torch.tensor(x), torch.tensor(y)
