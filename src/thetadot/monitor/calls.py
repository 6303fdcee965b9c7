"""A training pass as it was called, so that it can be made again before the step: arguments, random numbers, autocast.

Beside them stands what the loop's own backward pass brought to the outputs, ∂L/∂output, with every weight, scale and
network that stands behind them.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

if TYPE_CHECKING:
    from collections.abc import Callable


class Call:
    """Arguments of one forward pass.

    Args:
        args: positional arguments.
        kwargs: named ones.
        device: of the parameters.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device) -> None:
        self.args, self.kwargs = tree_map_only(Tensor, Tensor.detach, (args, kwargs))
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self._given = [(leaf, _version(leaf)) for leaf in leaves]
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        kinds = {"cpu", device.type}
        self._autocast = [
            (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) for kind in sorted(kinds)
        ]
        self.pulled: dict[int, Tensor] = {}  # by number among the leaves of the output

    def pull(self, leaf: int, gradient: Tensor) -> None:
        """A backward pass has come to an output."""
        before = self.pulled.get(leaf)
        self.pulled[leaf] = gradient.detach().clone() if before is None else before + gradient.detach()

    @property
    def whole(self) -> bool:
        """Whether the arguments are still what they were."""
        return all(_version(leaf) == version for leaf, version in self._given)

    def again(self, model: Callable[..., Any]) -> list[tuple[Tensor, Tensor]]:
        """The outputs that a backward pass came to, each with what it brought; generators stay where the pass ends.

        Raises:
            RuntimeError: the output is built otherwise than it was.
        """
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
        with ExitStack() as stack:
            for kind, dtype, enabled in self._autocast:
                stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=enabled))
            leaves = tree_leaves(model(*self.args, **self.kwargs))
        pairs = [(leaves[i], gradient) for i, gradient in self.pulled.items() if i < len(leaves)]
        if len(pairs) < len(self.pulled) or any(one.shape != other.shape for one, other in pairs):
            raise RuntimeError("a pass that was made again has another output")
        return [(one, other) for one, other in pairs if one.requires_grad]


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else int(tensor._version)  # noqa: SLF001 - it has no other name


def inner(model: Any) -> nn.Module:
    """The module inside torch.compile's and DistributedDataParallel's wrappers."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod  # noqa: SLF001 - torch.compile has no public name for it
        elif isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        else:
            found: nn.Module = model
            return found


def bound_arguments(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by their names.

    Example:
        >>> bound_arguments(nn.Linear(1, 1), (3,), {})
        {'input': 3}
    """
    try:
        found = inspect.signature(inner(model).forward).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return {str(i): value for i, value in enumerate(args)} | kwargs
    return dict(found)
