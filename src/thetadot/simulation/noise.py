"""Noise of an ensemble.

Two laws alike, two ways to get them:

    counters     element p of derive(key, step, draw, component): what kernels draw; slow in torch's own operations
    generators   one of torch's per fixed block of paths and stride of steps, as fast as torch gets normal numbers

Nothing depends on how many steps are marched at a time, or on threads. Counters are functions of (key, step, path)
alone; a generator's numbers also depend on how many paths share the block, so that other blocks make no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch

from thetadot.core.rng import derive, normal, words
from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from torch import Tensor

Noise = Literal["normal", "rademacher"]
"""Gaussian, or ±1 by fair coins, whose first three moments are the same: weak order 1."""

PATHS = 1 << 16
"""Paths that share a generator; ensembles are cut at multiples of it."""
_STRIDE = 64  # steps between two seedings, so that a march can begin anywhere
_BRANCH = 1 << 63  # of the key, apart from steps


def require_noise_kind(noise: object) -> None:
    """Raise InadmissibleValue where it is none of those there are."""
    if noise not in get_args(Noise):
        raise InadmissibleValue(f"noise={noise!r} is unknown. Pass {' or '.join(map(repr, get_args(Noise)))}.")


class BlockNoise:
    """The noise of one block of paths, in order.

    Args:
        key: of the ensemble.
        first: number of the block's first path, a multiple of :data:`PATHS`.
        draws: tensors drawn a step.
        like: of the shape (paths in the block, components) of one of them.
        noise: kind.
    """

    def __init__(self, key: int, first: int, draws: int, like: Tensor, noise: Noise) -> None:
        self._key = derive(key, _BRANCH | first // PATHS)
        self._draws, self._like, self._noise = draws, like, noise
        self._generator = torch.Generator(like.device)
        self._next: int | None = None
        self.paths = len(like)

    def empty(self, paths: int | None = None) -> Tensor:
        """Room for a draw of this block, or of so many paths."""
        return self._like.new_empty((paths or self.paths, self._like.shape[1]))

    def seek(self, step: int) -> None:
        """Be where ``step`` begins."""
        if step % _STRIDE == 0 or self._next != step:
            self._generator.manual_seed(derive(self._key, step // _STRIDE) >> 1)
            if step % _STRIDE and self._draws:
                waste = self.empty()
                for _ in range(step % _STRIDE * self._draws):
                    self.fill(waste)
        self._next = step + 1

    def fill(self, out: Tensor) -> Tensor:
        """The next draw, written to ``out``: contiguous, path by path."""
        if self._noise == "normal":
            return out.normal_(generator=self._generator)
        return out.random_(0, 2, generator=self._generator).mul_(2.0).sub_(1.0)


def by_counter(like: Tensor, key: int, step: int, draw: int, first: int, noise: Noise) -> Tensor:
    """Draw ``draw`` of a step in the shape of ``like``, equal to the kernels' draw."""
    columns = []
    for place in range(like.shape[-1]):
        own = derive(key, step, draw, place)
        column = like[:, place]
        if noise == "normal":
            columns.append(normal(column, own, index=first))
        else:
            columns.append(signs(column, own, first))
    return torch.stack(columns, dim=-1)


def signs(like: Tensor, key: int, first: int = 0) -> Tensor:
    """±1 by fair coins: path p is bit p mod 64 of the (p // 64)-th pair of words."""
    index = torch.arange(first, first + like.numel(), device=like.device)
    word = words(like, key, index >> 5)
    bit = (word >> (index & 31)) & 1
    return (2 * bit - 1).to(like.dtype)
