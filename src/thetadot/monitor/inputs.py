"""Remark on inputs of a size that layers are not made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thetadot.probes.columns import badly_scaled

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEDY = "Standardize the inputs over the training data: x = (x - x.mean(0)) / x.std(0)"
NORMS = ("BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm")


def ill(model: nn.Module, held: Any) -> str | None:
    """Return what is wrong with the reference's first input, and the remedy; None where nothing is.

    A model that begins with a normalization takes inputs of any size.
    """
    first = next((m for m in _leaves(model)), None)
    if first is not None and normalizes(first):
        return None
    given = next((leaf for leaf in tree_leaves(held) if isinstance(leaf, Tensor)), None)
    said = None if given is None else badly_scaled(given)
    return None if said is None else f"{said}. {REMEDY}"


def normalizes(module: nn.Module) -> bool:
    """Whether a module brings its input to size 1."""
    return type(module).__name__.startswith(NORMS)


def _leaves(model: nn.Module) -> Iterable[nn.Module]:
    """Modules that hold parameters, or are norms, and no other module, in order."""
    for module in model.modules():
        if not list(module.children()) and (normalizes(module) or next(module.parameters(), None) is not None):
            yield module
