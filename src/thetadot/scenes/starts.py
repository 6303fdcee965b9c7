"""Starts that show much."""

from __future__ import annotations

import math

import torch


def round_about(paths: int, dim: int, near: float, far: float) -> dict[str, torch.Tensor]:
    """Position and critic at angles and distances between two that no two paths share.

    Args:
        paths: how many.
        dim: of each.
        near: least distance.
        far: greatest.

    Example:
        >>> state = round_about(3, 1, 1.0, 2.0)
        >>> (state["position"] ** 2 + state["critic"] ** 2).sqrt().flatten().tolist()
        [1.0, 1.5, 2.0]
    """
    at = torch.arange(paths, dtype=torch.float64)
    distance = near + (far - near) * at / max(paths - 1, 1)
    angle = at * math.pi * (3.0 - math.sqrt(5.0))  # of the sunflower, in which nothing repeats
    turn = angle * math.sqrt(2.0)
    if dim == 1:
        return {"position": (distance * angle.cos())[:, None], "critic": (distance * angle.sin())[:, None]}
    position = torch.stack((angle.cos(), angle.sin()), -1) * (distance / math.sqrt(2.0))[:, None]
    critic = torch.stack((turn.sin(), turn.cos()), -1) * (distance / math.sqrt(2.0))[:, None]
    return {"position": position, "critic": critic}
