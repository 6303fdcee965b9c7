"""The loss that a model's output carries, as models of the transformers library return it."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def carried(output: Any) -> Tensor | None:
    """The loss that a model's output carries: ``.loss``, its key "loss", or the only number in a tuple.

    Example:
        >>> import torch
        >>> carried((torch.zeros(4, 2), torch.tensor(0.5)))
        tensor(0.5000)
    """
    if isinstance(output, tuple | list) and not hasattr(output, "loss"):
        numbers = [part for part in output if isinstance(part, Tensor) and part.dim() == 0 and part.is_floating_point()]
        return numbers[0] if len(numbers) == 1 else None
    value: Any = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    return value if isinstance(value, Tensor) and value.numel() == 1 else None
