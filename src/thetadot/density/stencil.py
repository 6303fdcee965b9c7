"""A generator as in-place operations on flat memory: a·L + b for vectors of cells, on any device.

Neighbours along an axis are a fixed stride apart, so each direction is one multiply-add of shifted views; the rates
through walls are 0, which keeps the strides from joining the end of a row to the next row's beginning.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.density.rates import Rates


class Stencil:
    """The linear operator a·L + b as a stencil on the grid.

    Args:
        rates: L.
        scale: a.
        shift: b.
        like: gives dtype and device.
    """

    def __init__(self, rates: Rates, scale: float, shift: float, like: Tensor) -> None:
        self.shape = rates.grid.shape
        self.diagonal = (shift - scale * rates.exits()).to(like).flatten()
        self.strides: list[tuple[int, Tensor, Tensor]] = []
        self.wraps: list[tuple[int, Tensor, Tensor]] = []
        for axis, (ahead, back) in enumerate(zip(rates.forward, rates.backward, strict=True)):
            ahead, back = (scale * ahead).to(like), (scale * back).to(like)  # noqa: PLW2901
            if rates.grid.wraps[axis]:
                self.wraps.append((axis, ahead.select(axis, -1).clone(), back.select(axis, -1).clone()))
                ahead.select(axis, -1).zero_()
                back.select(axis, -1).zero_()
            stride = math.prod(self.shape[axis + 1 :])
            self.strides.append((stride, ahead.flatten()[:-stride].clone(), back.flatten()[:-stride].clone()))

    @torch.no_grad()
    def add_to(self, out: Tensor, vector: Tensor, sign: float = 1.0) -> Tensor:
        """Out += sign·(a·L + b) vector, in place; both flat, of the cells' number."""
        out.addcmul_(self.diagonal, vector, value=sign)
        for stride, ahead, back in self.strides:
            out[stride:].addcmul_(ahead, vector[:-stride], value=sign)
            out[:-stride].addcmul_(back, vector[stride:], value=sign)
        if self.wraps:
            into, source = out.view(self.shape), vector.view(self.shape)
            for axis, ahead, back in self.wraps:
                into.select(axis, 0).addcmul_(ahead, source.select(axis, -1), value=sign)
                into.select(axis, -1).addcmul_(back, source.select(axis, 0), value=sign)
        return out
