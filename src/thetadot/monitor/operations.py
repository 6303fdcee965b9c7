"""What a pass costs: the multiplications and additions of its matrix products and convolutions."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations inside, by torch's own formulas; what has none counts nothing.

    Example:
        >>> import torch
        >>> with Counting() as counted:
        ...     _ = torch.zeros(2, 3) @ torch.zeros(3, 4)
        >>> counted.operations
        48.0
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0.0

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        formula = flop_registry.get(getattr(function, "_overloadpacket", None))
        if formula is not None:
            self.operations += float(formula(*args, **(kwargs or {}), out_val=found))
        return found
