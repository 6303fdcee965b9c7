"""Shards: the part on one rank of a parameter that is spread over ranks (DTensor).

A rule moves elements one by one, so each rank moves those it holds. What it must know of the whole is where its part
lies in it, for the noise, and sums over all parts, for the measures.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


def is_sharded(x: Any) -> bool:
    """Whether this is a DTensor, told without importing torch.distributed."""
    return isinstance(x, Tensor) and type(x) is not Tensor and hasattr(x, "to_local")


def local(x: Any) -> Any:
    """Return this rank's part of a DTensor, sharing memory; return anything else unchanged."""
    return cast("Any", x).to_local() if is_sharded(x) else x


def spread(part: Tensor, like: Tensor) -> Tensor:
    """The tensor of which ``part`` lies here, over the ranks as ``like`` does; what lies whole, as it is.

    Results are made of parts, because operations on DTensors of torch 2.9 forget in which order dimensions were split.
    """
    if not is_sharded(like):
        return part
    of = cast("Any", like)
    whole = type(of).from_local(
        part, of.device_mesh, of.placements, run_check=False, shape=of.shape, stride=of.stride()
    )
    return cast("Tensor", whole)


def wholes(parts: Sequence[Tensor]) -> list[Tensor]:
    """Combine reductions such as sums over all ranks, with one exchange per layout."""
    found = list(parts)
    layouts: dict[tuple[Any, ...], list[int]] = {}
    for index, part in enumerate(parts):
        if is_sharded(part):
            sharded = cast("Any", part)
            layouts.setdefault((sharded.device_mesh, sharded.placements, part.dtype), []).append(index)
    for members in layouts.values():
        together = cast("Any", torch.stack([parts[index] for index in members])).full_tensor()
        for index, value in zip(members, together.unbind(), strict=True):
            found[index] = value
    return found


def drop_gathered(model: nn.Module) -> None:
    """Make FSDP2 gather parameters anew: after a forward pass alone it would keep using whole copies."""
    for module in model.modules():
        reshard = getattr(module, "reshard", None)
        if callable(reshard):
            reshard()


def alike(x: Tensor, y: Tensor) -> bool:
    """Whether both lie whole on this rank, or both over the same ranks in the same way."""
    if not is_sharded(x) or not is_sharded(y):
        return is_sharded(x) == is_sharded(y)
    one, other = cast("Any", x), cast("Any", y)
    return bool(one.device_mesh == other.device_mesh and one.placements == other.placements)


def refuse_sparse(number: int, p: Tensor) -> None:
    """Raise InadmissibleValue where p.grad is sparse."""
    if p.grad is not None and p.grad.layout is not torch.strided:
        raise InadmissibleValue(
            f"parameter {number} of shape {tuple(p.shape)} has a sparse gradient: momentum and decay "
            "move every element. Build the embedding with sparse=False, or give it "
            "torch.optim.SparseAdam."
        )


def sharded_gradient(number: int, p: Tensor) -> Tensor:
    """``p.grad``, lying over the ranks as ``p`` does.

    Tensor parallelism leaves some gradients as sums that are still to be taken, ``Partial``; they are taken here.

    Raises:
        InadmissibleValue: the gradient is sparse, or only one of the two is spread over ranks.
    """
    refuse_sparse(number, p)
    grad = cast("Tensor", p.grad)
    if alike(p, grad):
        return grad
    ours, theirs = cast("Any", p), cast("Any", grad)
    if not is_sharded(p) or not is_sharded(grad) or ours.device_mesh != theirs.device_mesh:
        raise InadmissibleValue(
            f"parameter {number} of shape {tuple(p.shape)} and its gradient are not spread over the same ranks. "
            "Pass the gradient through distribute_tensor(grad, p.device_mesh, p.placements)."
        )
    return cast("Tensor", theirs.redistribute(placements=ours.placements))


def place(x: Tensor) -> int | Tensor:
    """Locate this rank's part of ``x`` in the whole: the index of its first element, or of every element.

    A part of whole leading rows lies in one piece, which is what FSDP2 makes.
    """
    if not is_sharded(x):
        return 0
    sharded = cast("Any", x)
    mesh = sharded.device_mesh
    splits = tuple(
        (placement.dim, getattr(placement, "split_factor", 1), parts, part)
        for placement, parts, part in zip(sharded.placements, mesh.shape, mesh.get_coordinate(), strict=True)
        if hasattr(placement, "dim")
    )
    along = _held_indices(tuple(x.shape), splits)
    first, *others = along or (range(1),)
    if isinstance(first, range) and all(held == range(size) for held, size in zip(others, x.shape[1:], strict=True)):
        return first.start * x.shape[1:].numel()
    index = torch.zeros((), dtype=torch.int64)
    for size, held in zip(x.shape, along, strict=True):
        index = index.unsqueeze(-1) * size + torch.as_tensor(held, dtype=torch.int64)
    return index.to(sharded.to_local().device)


@cache
def _held_indices(shape: tuple[int, ...], splits: tuple[tuple[int, int, int, int], ...]) -> tuple[Sequence[int], ...]:
    """The indices held along each dimension.

    Args:
        shape: of the whole.
        splits: in the mesh's order: the dimension that is split, how many pieces are split each by itself (1 but where
            the mesh's order is not the order of splitting), into how many parts, and which part is held.

    Example:
        >>> _held_indices((5, 3), ((0, 1, 2, 1),))  # the second of two: cut as torch.chunk cuts
        (range(3, 5), range(0, 3))
        >>> _held_indices((8,), ((0, 2, 2, 0), (0, 1, 2, 1)))  # split by the second mesh dimension, then by the first
        (range(4, 6),)
    """
    along: list[Sequence[int]] = [range(size) for size in shape]
    for dimension, pieces, parts, part in splits:
        held = [_chunk(piece, parts, part) for piece in (_chunk(along[dimension], pieces, k) for k in range(pieces))]
        along[dimension] = held[0] if pieces == 1 else [index for piece in held for index in piece]
    return tuple(_as_range(held) for held in along)


def _chunk(indices: Sequence[int], parts: int, part: int) -> Sequence[int]:
    size = -(-len(indices) // parts)
    return indices[part * size : (part + 1) * size]


def _as_range(indices: Sequence[int]) -> Sequence[int]:
    """Convert consecutive indices to a range."""
    if isinstance(indices, range) or not indices:
        return indices
    joined = range(indices[0], indices[0] + len(indices))
    return joined if list(joined) == list(indices) else indices
