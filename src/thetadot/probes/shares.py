r"""A sample's share of a layer's gradient: its squared norm, and the sum over samples.

    gᵢ = Σₜ δᵢₜ aᵢₜᵀ:    |gᵢ|² = Σₜₜ' (aᵢₜ·aᵢₜ')(δᵢₜ·δᵢₜ'),  or multiplied out where that takes fewer numbers

Layers: linear, embedding, convolution in one or two dimensions (grouped too), layer and RMS norm. Calls of one layer
are laid along t, so that a layer that is used several times is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

COVERED = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.LayerNorm, nn.RMSNorm)
_DIMENSIONS: dict[type[nn.Module], int] = {nn.Embedding: 1, nn.Conv1d: 3, nn.Conv2d: 4}


@dataclass(frozen=True)
class Share:
    """|gᵢ|², (B,), and Σᵢgᵢ in the parameter's shape."""

    squares: Tensor
    total: Tensor


def shares(module: nn.Module, given: list[Tensor], slopes: list[Tensor]) -> list[tuple[nn.Parameter, Share]]:
    """Each parameter's shares; none for settings of a layer that are not covered.

    Args:
        module: one of :data:`COVERED`.
        given: what went in at each call, (B, *).
        slopes: the gradient by what came out, (B, *), as many.
    """
    found: list[tuple[nn.Parameter, Share]] = []
    if any(a.ndim < _DIMENSIONS.get(type(module), 2) for a in given):  # one sample without its own dimension
        return found
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return _norm(module, given, slopes)
    if isinstance(module, nn.Embedding):
        return _embedding_shares(module, given, slopes)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        if module.padding_mode != "zeros":
            return found
        pairs = [_patches(module, a, d) for a, d in zip(given, slopes, strict=True)]
    else:
        pairs = [
            (a.reshape(len(a), 1, -1, a.shape[-1]).to(d.dtype), d.reshape(len(d), 1, -1, d.shape[-1]))
            for a, d in zip(given, slopes, strict=True)
        ]
    a, d = torch.cat([pair[0] for pair in pairs], dim=2), torch.cat([pair[1] for pair in pairs], dim=2)
    weight, bias = module._parameters.get("weight"), module._parameters.get("bias")  # noqa: SLF001 - not a computed one
    if weight is not None:
        total = torch.einsum("bgti,bgto->goi", a, d).reshape(weight.shape)
        found.append((weight, Share(_outer(a, d), total)))
    if bias is not None:
        found.append((bias, _summed(d.sum(dim=2).flatten(1), bias.shape)))
    return found


def _outer(a: Tensor, d: Tensor) -> Tensor:
    """|Σₜ δₜaₜᵀ|² by sample, (B, G, T, in) and (B, G, T, out) -> (B,)."""
    _, groups, length, wide = a.shape
    if length == 1:
        return (a.square().sum(-1) * d.square().sum(-1)).sum((1, 2))
    if 2 * length * length <= wide * d.shape[-1]:
        return ((a @ a.mT) * (d @ d.mT)).sum((1, 2, 3))
    at_once = max(1, (1 << 22) // (groups * wide * d.shape[-1]))  # numbers held at a time
    return torch.cat(
        [
            (y.mT @ x).square().sum((1, 2, 3))
            for x, y in zip(torch.split(a, at_once), torch.split(d, at_once), strict=True)
        ]
    )


def _summed(each: Tensor, shape: torch.Size) -> Share:
    """Build the share of per-sample gradients (B, p)."""
    return Share(each.square().sum(1), each.sum(0).reshape(shape))


def _patches(module: nn.Conv1d | nn.Conv2d, a: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution's input and slope as a linear layer's: (B, G, L, in) and (B, G, L, out)."""
    sizes = list(zip(module.kernel_size, module.dilation, strict=True))
    if module.padding == "same":
        spans = [dilation * (size - 1) for size, dilation in sizes]
        ends = [(span // 2, span - span // 2) for span in spans]
    elif isinstance(module.padding, str):
        ends = [(0, 0) for _ in sizes]
    else:
        ends = [(width, width) for width in module.padding]
    a = functional.pad(a.to(d.dtype), [width for pair in reversed(ends) for width in pair])
    kernel, dilation, stride = tuple(module.kernel_size), tuple(module.dilation), tuple(module.stride)
    if a.ndim == 3:
        a, kernel, dilation, stride = a.unsqueeze(2), (1, *kernel), (1, *dilation), (1, *stride)
    columns = functional.unfold(a, kernel, dilation=dilation, stride=stride)
    return _by_group(columns, module.groups), _by_group(d.flatten(2), module.groups)


def _by_group(x: Tensor, groups: int) -> Tensor:
    """(B, G·c, L) -> (B, G, L, c)."""
    return x.reshape(len(x), groups, -1, x.shape[-1]).mT


def _embedding_shares(
    module: nn.Embedding, given: list[Tensor], slopes: list[Tensor]
) -> list[tuple[nn.Parameter, Share]]:
    weight = module._parameters.get("weight")  # noqa: SLF001
    if weight is None or module.scale_grad_by_freq or module.max_norm is not None:
        return []
    rows = torch.cat([index.reshape(len(index), -1) for index in given], dim=1)  # (B, T)
    d = torch.cat([slope.reshape(len(slope), -1, slope.shape[-1]) for slope in slopes], dim=1)
    if module.padding_idx is not None:
        d = d * (rows != module.padding_idx).unsqueeze(-1)
    order = rows.argsort(dim=1)
    rows, d = rows.gather(1, order), d.gather(1, order.unsqueeze(-1).expand_as(d))
    fresh = torch.ones_like(rows, dtype=torch.bool)
    fresh[:, 1:] = rows[:, 1:] != rows[:, :-1]
    place = (fresh.flatten().cumsum(0) - 1).unsqueeze(-1).expand(-1, d.shape[-1])  # one a sample and row
    summed = torch.zeros_like(d.flatten(0, 1)).scatter_add_(0, place, d.flatten(0, 1))
    squares = summed.square().sum(1)[place[:, 0]].reshape(rows.shape) * fresh
    total = torch.zeros(weight.shape, dtype=d.dtype, device=d.device).index_add_(0, rows.flatten(), d.flatten(0, 1))
    return [(weight, Share(squares.sum(1), total))]


def _norm(
    module: nn.LayerNorm | nn.RMSNorm, given: list[Tensor], slopes: list[Tensor]
) -> list[tuple[nn.Parameter, Share]]:
    shape = list(module.normalized_shape)
    width = 1
    for size in shape:
        width *= size
    weights, biases = [], []
    for a, d in zip(given, slopes, strict=True):
        wide = a.to(d.dtype)
        if isinstance(module, nn.LayerNorm):
            unit = functional.layer_norm(wide, shape, eps=module.eps)
        else:
            unit = functional.rms_norm(wide, shape, eps=module.eps)
        weights.append((unit * d).reshape(len(d), -1, width).sum(1))
        biases.append(d.reshape(len(d), -1, width).sum(1))
    found: list[tuple[nn.Parameter, Share]] = []
    for name, parts in (("weight", weights), ("bias", biases)):
        parameter = module._parameters.get(name)  # noqa: SLF001
        if parameter is not None:
            found.append((parameter, _summed(torch.stack(parts).sum(0), parameter.shape)))
    return found
