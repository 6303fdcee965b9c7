r"""Counter-based random numbers: Threefry-2x32 [salmon2011].

Noise is a pure function of (key, step, stream, index): nothing is consumed, the global generators stay as they are,
and a tensor's noise does not depend on how tensors are batched, ordered or sharded. ``stream`` numbers the tensor and
``draw`` the draw within a step; ``index`` is the element's place in the tensor.

Source:
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; known-answer vectors of
    Random123.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

Word = TypeVar("Word", int, Tensor)

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_MASK = 0xFFFFFFFF
_BLOCK = 1 << 16  # pairs a pass: the ten-odd temporaries stay in cache


def threefry2x32(key: tuple[int, int], counter: tuple[Word, Word], rounds: int = 20) -> tuple[Word, Word]:
    """Encrypt a counter: 2 x 32 bits of key, 2 x 32 bits of counter, in integers or int64 tensors alike.

    Args:
        key: two integers in [0, 2³²).
        counter: two integers, or int64 tensors of one shape (*), values in [0, 2³²).
        rounds: 13 passes the statistical tests with a margin, 20 is the authors' default.

    Returns:
        Two words as the counter's, values in [0, 2³²).

    Example:
        >>> [hex(word) for word in threefry2x32((0, 0), (0, 0))]
        ['0x6b200159', '0x99ba4efe']
    """
    schedule = (key[0], key[1], _PARITY ^ key[0] ^ key[1])
    x, y = (counter[0] + schedule[0]) & _MASK, (counter[1] + schedule[1]) & _MASK
    for turn in range(rounds):
        rotation = _ROTATIONS[turn % 8]
        x = (x + y) & _MASK
        y = (((y << rotation) & _MASK) | (y >> (32 - rotation))) ^ x
        if turn % 4 == 3:
            injection = turn // 4 + 1
            x = (x + schedule[injection % 3]) & _MASK
            y = (y + schedule[(injection + 1) % 3] + injection) & _MASK
    return x, y


def derive(key: int, *path: int) -> int:
    """The 64-bit key of a branch: ``derive(key, step, stream)`` is a new key for every path.

    Example:
        >>> derive(1, 2) == derive(1, 2), derive(1, 2) == derive(2, 1)
        (True, False)
    """
    for branch in path:
        low, high = threefry2x32((key & _MASK, key >> 32 & _MASK), (branch & _MASK, branch >> 32 & _MASK))
        key = low | high << 32
    return key


def normal(like: Tensor, key: int, dtype: torch.dtype | None = None) -> Tensor:
    """Independent standard normal numbers of the shape and device of ``like``: element i is a function of (key, i).

    Two 32-bit words make two normals (Box-Muller), so tails reach √(2·33·ln 2) = 6.8 standard deviations.

    Example:
        >>> a, b = normal(torch.zeros(5), key=7), normal(torch.zeros(8), key=7)
        >>> torch.equal(a[:4], b[:4])
        True
    """
    count, device = like.numel(), like.device
    pairs = (count + 1) // 2
    words = (key & _MASK, key >> 32 & _MASK)
    blocks = []
    for start in range(0, pairs, _BLOCK):
        index = torch.arange(start, min(start + _BLOCK, pairs), device=device)
        x, y = threefry2x32(words, (index & _MASK, index >> 32))
        radius = (-2.0 * ((x.double() + 0.5) * 2.0**-32).log()).sqrt()
        angle = (2.0 * math.pi * 2.0**-32) * y.double()
        blocks.append(torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1).flatten())
    flat = torch.cat(blocks)[:count] if blocks else torch.zeros(0, dtype=torch.float64, device=device)
    return flat.reshape(like.shape).to(dtype or like.dtype)
