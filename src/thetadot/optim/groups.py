"""Parameter groups by name, so that nobody builds them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from collections.abc import Sequence


def split_decay(params: Any, no_decay: Sequence[str]) -> list[dict[str, Any]]:
    """Groups with and without weight decay, told apart by parts of the parameters' names.

    Args:
        params: ``model.named_parameters()``, or groups whose "params" are such pairs.
        no_decay: name parts; a parameter whose name contains one is not decayed.

    Raises:
        InadmissibleValue: the parameters have no names.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> [(len(group["params"]), group.get("weight_decay")) for group in split_decay(layer.named_parameters(), ["bias"])]
        [(1, None), (1, 0.0)]
    """
    entries = list(params)
    groups = entries if entries and isinstance(entries[0], dict) else [{"params": entries}]
    split: list[dict[str, Any]] = []
    for group in groups:
        pairs = list(group["params"])
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise InadmissibleValue("no_decay needs parameter names. Pass model.named_parameters() instead of model.parameters().")
        spared = [pair for pair in pairs if any(part in pair[0] for part in no_decay)]
        decayed = [pair for pair in pairs if not any(part in pair[0] for part in no_decay)]
        if decayed:
            split.append(group | {"params": decayed})
        if spared:
            split.append(group | {"params": spared, "weight_decay": 0.0})
    return split
