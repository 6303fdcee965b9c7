r"""Counter-based random numbers: Threefry-2x32 [salmon2011].

Noise is a pure function of (key, step, stream, index): nothing is consumed, the global generators stay as they are,
and a tensor's noise does not depend on how tensors are batched, ordered or sharded. ``stream`` numbers the tensor and
``draw`` the draw within a step; ``index`` is the element's place in the whole tensor.

Everything down to the normal deviate is made of integer operations and of + - × ÷ √ in float32, each exact or rounded
once, so that the same key gives the same bits in torch's operations, in a compiled kernel and on any machine.

Source:
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; known-answer vectors of
    Random123.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar, overload

import torch
from torch import Tensor

from thetadot.core.tensors import sqrt

if TYPE_CHECKING:
    from collections.abc import Callable

    Key = int | Tensor
    Index = int | Tensor

Word = TypeVar("Word", int, Tensor, "int | Tensor")

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_MASK = 0xFFFFFFFF
_ROUNDS = 13  # for elements; keys are derived with 20
_BLOCK = 1 << 16  # pairs a pass: the ten-odd temporaries stay in cache

# Minimax polynomials, fitted for this file: relative error below 3e-8, half a unit in the last place of float32.
# log(1+x)/x on [√½ - 1, √2 - 1]; sin(√z)/√z and cos(√z) on [0, (π/4)²].
_LOG = (
    1.0,
    -0.4999997913837433,
    0.3333415985107422,
    -0.25002944469451904,
    0.19958415627479553,
    -0.1654374599456787,
    0.14917394518852234,
    -0.14482136070728302,
    0.08959803730249405,
)
_SIN = (1.0, -0.16666650772094727, 0.008332036435604095, -0.00019504022202454507)
_COS = (1.0, -0.4999985694885254, 0.041655026376247406, -0.0013585909036919475)
_SQRT_HALF_BITS = 0x3F3504F3  # √½ as a float32


def threefry2x32(key: tuple[Word, Word], counter: tuple[Word, Word], rounds: int = 20) -> tuple[Word, Word]:
    """Encrypt a counter: 2 x 32 bits of key, 2 x 32 bits of counter, in integers or int64 tensors alike.

    Args:
        key: two integers in [0, 2³²), or int64 tensors that broadcast with the counter.
        counter: two integers, or int64 tensors of one shape (*), values in [0, 2³²).
        rounds: 13 passes the statistical tests with a margin, 20 is the authors' default.

    Returns:
        Two words as the counter's, values in [0, 2³²).

    Example:
        >>> [hex(word) for word in threefry2x32((0, 0), (0, 0))]
        ['0x6b200159', '0x99ba4efe']
    """
    schedule = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
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


@overload
def derive(key: int, *path: int) -> int: ...
@overload
def derive(key: Key, *path: Key) -> Key: ...
def derive(key: Key, *path: Key) -> Key:
    """The 64-bit key of a branch: ``derive(key, step, stream)`` is a new key for every path.

    Key and branches are integers, or int64 tensors of shape () (a step count that a compiled step must not freeze).

    Example:
        >>> derive(1, 2) == derive(1, 2), derive(1, 2) == derive(2, 1)
        (True, False)
    """
    for branch in path:
        low, high = threefry2x32(halves(key), halves(branch))
        key = low | high << 32
    return key


def halves(number: Key) -> tuple[Key, Key]:
    """Low and high word of a 64-bit number."""
    return number & _MASK, number >> 32 & _MASK


def _horner(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    value: Tensor | float = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value  # type: ignore[return-value]


def element_words(key: tuple[Word, Word], counter: tuple[Word, Word]) -> tuple[Word, Word]:
    """The words of a pair of elements: 13 rounds, the fewest that pass BigCrush with a margin."""
    return threefry2x32(key, counter, _ROUNDS)


def box_muller(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normals, float32, from two words: a radius √(-2 ln u) and an angle.

    The radius ends at √(2·33·ln 2) = 6.76. The angle is a quarter turn around an axis that the two high bits of ``y``
    choose, so that sine and cosine are needed on [-π/4, π/4] only.
    """
    uniform = x.to(torch.float32) * 2.0**-32 + 2.0**-33
    bits = uniform.view(torch.int32)
    exponent = (bits - _SQRT_HALF_BITS) >> 23  # of u = m 2ᵉ, √½ <= m < √2
    excess = (bits - (exponent << 23)).view(torch.float32) - 1.0
    logarithm = exponent.to(torch.float32) * math.log(2.0) + _horner(_LOG, excess) * excess
    radius = sqrt(-2.0 * logarithm)
    angle = ((y & 0x3FFFFFFF).to(torch.int32) - 0x20000000).to(torch.float32) * (math.pi / 2.0 * 2.0**-30)
    square = angle * angle
    cosine, sine = _horner(_COS, square), _horner(_SIN, square) * angle
    swap = (y & 0x40000000) != 0
    radius = torch.where((y & 0x80000000) != 0, -radius, radius)
    return radius * torch.where(swap, sine, cosine), radius * torch.where(swap, cosine, sine)


def normal(like: Tensor, key: Key, dtype: torch.dtype | None = None, index: Index = 0) -> Tensor:
    """Independent standard normal numbers of the shape and device of ``like``: element i is a function of (key, i).

    Two 32-bit words make two normals (Box-Muller). They are computed in float32, whatever the dtype asked for, and
    reach 6.7 standard deviations.

    Args:
        like: gives shape, device and dtype.
        key: 64 bits.
        dtype: of the result; that of ``like`` if None.
        index: of the first element in the whole tensor, or, where ``like`` is a part that does not lie in one piece,
            of every element.

    Example:
        >>> a, b = normal(torch.zeros(5), key=7), normal(torch.zeros(8), key=7)
        >>> torch.equal(a[:4], b[:4]), torch.equal(normal(torch.zeros(3), key=7, index=2), a[2:])
        (True, True)
    """
    return _by_element(like, key, index, box_muller).to(dtype or like.dtype)


def words(like: Tensor, key: Key, index: Index = 0) -> Tensor:
    """A 32-bit word per element, as int64; arguments as for :func:`normal`.

    Example:
        >>> words(torch.zeros(2), key=0).tolist() == list(threefry2x32((0, 0), (0, 0), rounds=13))
        True
    """
    return _by_element(like, key, index, lambda x, y: (x, y))


def _by_element(like: Tensor, key: Key, index: Index, pair: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
    """Element i is half i mod 2 of the i//2-th pair."""
    device = like.device
    if isinstance(index, Tensor):
        first, second = pair(*element_words(halves(key), halves(index.to(device) >> 1)))
        return torch.where((index.to(device) & 1) != 0, second, first)
    begin, end = index // 2, (index + like.numel() + 1) // 2
    blocks = []
    block = max(end - begin, 1) if torch.compiler.is_compiling() else _BLOCK
    for start in range(begin, max(end, begin + 1), block):
        counter = torch.arange(start, min(start + block, end), device=device)
        blocks.append(torch.stack(pair(*element_words(halves(key), halves(counter))), dim=1).flatten())
    flat = torch.cat(blocks) if len(blocks) > 1 else blocks[0]
    return flat[index - 2 * begin :][: like.numel()].reshape(like.shape)
