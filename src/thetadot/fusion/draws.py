"""The noise of :mod:`thetadot.random` for many tensors at once, by numpy: the same bits, where no kernel draws it."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thetadot.fusion.program import trace
from thetadot.fusion.vectors import Vectors
from thetadot.random import box_muller, element_words, halves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from thetadot.fusion.program import Program

_BLOCK = 1 << 14
_WORD = 0xFFFFFFFF


class Places:
    """Elements of several tensors whose noise is drawn together.

    Args:
        begins: for each tensor, the index of its first element in the whole.
        counts: of their elements.
    """

    def __init__(self, begins: Sequence[int], counts: Sequence[int]) -> None:
        begin, count = np.array(begins, dtype=np.int64), np.array(counts, dtype=np.int64)
        first = begin // 2
        self._pairs = np.where(count > 0, (begin + count + 1) // 2 - first, 0)
        ends = np.cumsum(self._pairs)
        self.total = int(ends[-1]) if len(ends) else 0
        counter = np.arange(self.total) + np.repeat(first - (ends - self._pairs), self._pairs)
        self._counter = [(counter & _WORD).astype(np.uint32), (counter >> 32 & _WORD).astype(np.uint32)]
        starts = 2 * (ends - self._pairs) + (begin & 1)
        self._cuts = [slice(start, start + size) for start, size in zip(starts.tolist(), counts, strict=True)]

    def normals(self, keys: Any) -> list[Tensor]:
        """Standard normal, float32, for each tensor a vector.

        Args:
            keys: of the tensors, 64 bits each: int64, or one integer.
        """
        return self._drawn(_normals(), keys)

    def words(self, keys: Any) -> list[Tensor]:
        """32 random bits an element, int64."""
        return [word.to(torch.int64) & _WORD for word in self._drawn(_words(), keys)]

    def _drawn(self, program: Program, keys: Any) -> list[Tensor]:
        kind = np.float32 if program.kinds[program.outputs["first"]] == torch.float32 else np.int32
        drawn: NDArray[Any] = np.empty((self.total, 2), dtype=kind)
        size = min(1 << (self.total - 1).bit_length(), _BLOCK) if self.total else 0
        if size:
            low, high = (np.repeat(np.asarray(half).astype(np.uint32), self._pairs) if np.ndim(half) else half
                         for half in halves(keys))  # fmt: skip
            vectors = _vectors(program, size)
            given = {"k0": low, "k1": high, "c0": self._counter[0], "c1": self._counter[1]}
            for start in range(0, self.total, size):
                part = min(size, self.total - start)
                for name, values in given.items():
                    vectors.inputs[name][:part] = values[start : start + part] if np.ndim(values) else values
                vectors()
                for place, half in enumerate(("first", "second")):
                    drawn[start : start + part, place] = vectors.outputs[half][:part].view(kind)
        flat = torch.from_numpy(drawn).view(-1)
        return [flat[cut] for cut in self._cuts]


class _Made(threading.local):
    """What one thread has made: another's vectors are being written."""

    def __init__(self) -> None:
        self.vectors: dict[tuple[int, int], Vectors] = {}


_made = _Made()


def _vectors(program: Program, size: int) -> Vectors:
    if (id(program), size) not in _made.vectors:  # the two programs are kept for good, sizes are powers of two
        _made.vectors[id(program), size] = Vectors(program, size)
    return _made.vectors[id(program), size]


@cache
def _normals() -> Program:
    return trace(lambda given: _named(box_muller(*_pair(given))), _KEYED)


@cache
def _words() -> Program:
    return trace(lambda given: _named(_pair(given)), _KEYED)


_KEYED = dict.fromkeys(("k0", "k1", "c0", "c1"), torch.int64)


def _pair(given: Mapping[str, Any]) -> tuple[Any, Any]:
    return element_words((given["k0"], given["k1"]), (given["c0"], given["c1"]))


def _named(pair: tuple[Any, Any]) -> dict[str, Any]:
    return {"first": pair[0], "second": pair[1]}
