"""Noise of :mod:`thetadot.core.rng` for many tensors at once in numpy, bit for bit that of the kernels."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch

from thetadot.core.rng import box_muller, element_words, halves, threefry2x32
from thetadot.fusion.program import trace
from thetadot.fusion.vectors import Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from thetadot.fusion.program import Program

_BLOCK = 1 << 14
_WORD = 0xFFFFFFFF


class Keys(NamedTuple):
    """Keys of many tensors, 64 bits each, as two halves of 32: uint32, (tensors,)."""

    low: NDArray[np.uint32]
    high: NDArray[np.uint32]

    def of(self, part: slice) -> Keys:
        """Return the keys of a slice of the tensors."""
        return Keys(self.low[part], self.high[part])


def derived(key: int, branches: NDArray[np.int64], *path: int) -> Keys:
    """``derive(key, branch, *path)`` of :mod:`thetadot.core.rng` for many branches at once.

    Example:
        >>> from thetadot.core.rng import derive
        >>> keys = derived(7, np.array([3, 4]), 0, 1)
        >>> [int(low) | int(high) << 32 for low, high in zip(*keys)] == [derive(7, 3, 0, 1), derive(7, 4, 0, 1)]
        True
    """
    count = len(branches)
    vectors = _vectors(_encryption(), _next_power_of_two(count))
    k0, k1, c0, c1 = (vectors.inputs[name][:count] for name in ("k0", "k1", "c0", "c1"))
    k0[:], k1[:] = halves(key)
    c0[:], c1[:] = halves(cast("Any", branches))
    for branch in path:
        vectors()
        k0[:], k1[:] = (vectors.outputs[half][:count] for half in ("first", "second"))
        c0[:], c1[:] = halves(branch)
    vectors()
    return Keys(*(vectors.outputs[half][:count].copy() for half in ("first", "second")))


class Places:
    """Elements of several tensors whose noise is drawn together.

    Args:
        begins: for each tensor, the index of its first element in the whole.
        counts: of their elements.

    Attributes:
        total: numbers that are drawn: whole pairs.
    """

    def __init__(self, begins: Sequence[int], counts: Sequence[int]) -> None:
        begin, count = np.array(begins, dtype=np.int64), np.array(counts, dtype=np.int64)
        first = begin // 2
        self._counts = np.where(count > 0, (begin + count + 1) // 2 - first, 0)
        ends = np.cumsum(self._counts)
        self._pairs = int(ends[-1]) if len(ends) else 0
        self.total = 2 * self._pairs
        counter = np.arange(self._pairs) + np.repeat(first - (ends - self._counts), self._counts)
        self._counter = [(counter & _WORD).astype(np.uint32), (counter >> 32 & _WORD).astype(np.uint32)]
        starts = 2 * (ends - self._counts) + (begin & 1)
        self._cuts = [slice(start, start + size) for start, size in zip(starts.tolist(), counts, strict=True)]

    def of(self, drawn: Tensor) -> list[Tensor]:
        """Each tensor's numbers, a vector, where ``drawn`` holds all that are drawn."""
        return [drawn[cut] for cut in self._cuts]

    def normals(self, keys: Keys, out: Tensor) -> None:
        """Draw standard normals, one after the other.

        Args:
            keys: of the tensors.
            out: float32, (total,); written.
        """
        self._draw(_normals(), keys, out)

    def words(self, keys: Keys, out: Tensor) -> None:
        """Draw 32 random bits each.

        Args:
            keys: of the tensors.
            out: int32, (total,); written.
        """
        self._draw(_words_program(), keys, out)

    def _draw(self, program: Program, keys: Keys, out: Tensor) -> None:
        drawn = out.numpy().reshape(-1, 2)
        size = min(_next_power_of_two(self._pairs), _BLOCK)
        if not self._pairs:
            return
        vectors = _vectors(program, size)
        several = len(self._counts) > 1
        low, high = (np.repeat(half, self._counts) if several else half for half in keys)
        for start in range(0, self._pairs, size):
            part = slice(start, min(start + size, self._pairs))
            count = part.stop - part.start
            for name, values in (("c0", self._counter[0]), ("c1", self._counter[1])):
                vectors.inputs[name][:count] = values[part]
            for name, half in (("k0", low), ("k1", high)):
                vectors.inputs[name][:count] = half[part] if several else half
            vectors()
            for place, name in enumerate(("first", "second")):
                drawn[part, place] = vectors.outputs[name][:count].view(drawn.dtype)


def fast_normal(like: Tensor, key: int, dtype: torch.dtype, index: int) -> Tensor:
    """:func:`thetadot.core.rng.normal` of one tensor on the CPU: the same bits in a fifth of the time."""
    places = Places([index], [like.numel()])
    drawn = torch.empty(places.total)
    places.normals(_keys_of(key), drawn)
    return places.of(drawn)[0].view(like.shape).to(dtype)


def fast_words(like: Tensor, key: int, index: int) -> Tensor:
    """:func:`thetadot.core.rng.words` of one tensor on the CPU."""
    places = Places([index], [like.numel()])
    drawn = torch.empty(places.total, dtype=torch.int32)
    places.words(_keys_of(key), drawn)
    return places.of(drawn)[0].view(like.shape).to(torch.int64) & _WORD


def _keys_of(key: int) -> Keys:
    return Keys(*(np.array([half], dtype=np.uint32) for half in halves(key)))


def _next_power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()


class _Made(threading.local):
    """Cache of vectors per thread, since a vector is written while it runs."""

    def __init__(self) -> None:
        self.vectors: dict[tuple[int, int], Vectors] = {}


_made = _Made()


def _vectors(program: Program, size: int) -> Vectors:
    if (id(program), size) not in _made.vectors:  # programs are kept for good, sizes are powers of two
        _made.vectors[id(program), size] = Vectors(program, size)
    return _made.vectors[id(program), size]


@cache
def _normals() -> Program:
    return trace(lambda given: _named_pair(box_muller(*_word_pair(given))), _KEYED)


@cache
def _encryption() -> Program:
    return trace(
        lambda given: _named_pair(threefry2x32((given["k0"], given["k1"]), (given["c0"], given["c1"]))), _KEYED
    )


@cache
def _words_program() -> Program:
    return trace(lambda given: _named_pair(_word_pair(given)), _KEYED)


_KEYED = dict.fromkeys(("k0", "k1", "c0", "c1"), torch.int64)


def _word_pair(given: Mapping[str, Any]) -> tuple[Any, Any]:
    return element_words((given["k0"], given["k1"]), (given["c0"], given["c1"]))


def _named_pair(pair: tuple[Any, Any]) -> dict[str, Any]:
    return {"first": pair[0], "second": pair[1]}
