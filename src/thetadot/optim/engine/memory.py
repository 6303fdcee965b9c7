"""Memory as kernels see it: which tensors they can walk through, and whether they lie where they lay."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_address, _numel, _contiguous, _negative = Tensor.data_ptr, Tensor.numel, Tensor.is_contiguous, Tensor.is_neg
_dtype, _bytes = operator.attrgetter("dtype"), operator.attrgetter("nbytes")


def walkable(*tensors: Tensor) -> bool:
    """Whether an element's place is the same in all of them: on the CPU, of one shape, without gaps in one order."""
    shape = tensors[0].shape
    return all(_kernel_takes(tensor) and tensor.shape == shape for tensor in tensors) and (
        all(map(_contiguous, tensors)) or _same_strides(tensors)
    )


def _kernel_takes(x: Tensor) -> bool:
    """Real memory on the CPU, of a dtype that kernels know."""
    known = type(x) in (Tensor, torch.nn.Parameter) and x.device.type == "cpu" and x.dtype in _FLOATS
    return known and not x.is_neg() and (x.data_ptr() != 0 or x.numel() == 0)  # a zero tensor may have no memory


def _same_strides(tensors: Sequence[Tensor]) -> bool:
    """Whether all lie in memory without gaps in the same order, as channels-last weights do."""
    strides = tensors[0].stride()
    dense = torch.ops.aten.is_non_overlapping_and_dense
    return all(tensor.stride() == strides for tensor in tensors) and dense(tensors[0])


class KeptMemory:
    """Tensors that an optimizer keeps from step to step, as they lay when they were gathered.

    A tensor may be another one under its name, and the same one may lie elsewhere: ``.data`` was pointed elsewhere, a
    module moved, storage resized, two tensors swapped. So all of it is looked at, in a few passes that run in C.

    Args:
        tensors: contiguous or not; those that are not are never found unchanged.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        self.addresses = list(map(_address, self.tensors))
        self.sizes = list(map(_bytes, self.tensors))

    def unchanged(self) -> bool:
        """Whether each lies as it lay: address, size in bytes, order.

        A dtype of another width is another size; one of the same width (bfloat16 read as float16) is its gradient's, of
        which it is asked.
        """
        tensors = self.tensors
        return (
            list(map(_address, tensors)) == self.addresses
            and list(map(_bytes, tensors)) == self.sizes
            and all(map(_contiguous, tensors))
        )


class Gradients:
    """Gradients, which are other tensors at every step, laid out alike.

    Args:
        tensors: as they were when rows were gathered.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.sizes = list(map(_numel, tensors))
        self.dtypes = set(map(_dtype, tensors))

    def addresses(self, tensors: Sequence[Any]) -> list[int] | None:
        """Return the addresses of plain gradients; None if the layout differs from the gathered one."""
        try:
            found = list(map(_address, tensors))
        except RuntimeError:  # sparse: it has none
            return None
        fits = (
            list(map(_numel, tensors)) == self.sizes
            and set(map(_dtype, tensors)) == self.dtypes
            and all(map(_contiguous, tensors))
            and not any(map(_negative, tensors))
            and (all(found) or all(address or not size for address, size in zip(found, self.sizes, strict=True)))
        )
        return found if fits else None
