r"""Two species that live on the same food.

    ẋᵢ = xᵢ [rᵢ (1 - xᵢ/Nᵢ) - aᵢ xⱼ]                                             Lotka and Volterra   [su2015]

Fixed points: nothing, each species alone at Nᵢ, and where the two lines rᵢ(1-xᵢ/Nᵢ) = aᵢxⱼ cross. Eigenvalues:

    (0, 0)       r₁, r₂                       (0, N₂)      r₁ - a₁N₂, -r₂
    (N₁, 0)      -r₁, r₂ - a₂N₁               both         of -[[r₁x₁/N₁, a₁x₁], [a₂x₂, r₂x₂/N₂]]

Both live on from every start iff each can grow where the other is alone: N₁a₂ < r₂ and N₂a₁ < r₁. With both reversed
the crossing is a saddle, and its separatrix divides the starts by who wins.

Source:
    [su2015] Su Jianlin, https://kexue.fm/archives/3120 (2015). The criterion: derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.errors import InadmissibleValue, require
from thetadot.systems.base import POSITION
from thetadot.systems.custom import Driven

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import State

Pair = tuple[float, float]


@explained
@checked
@dataclass(frozen=True)
class Competition(Driven):
    """Position: (x₁, x₂), (paths, 2).

    Args:
        growth: r > 0 of each, in 1/time.
        capacity: N > 0 of each, where it lives alone.
        harm: a >= 0, what one of the other costs each, in 1/time.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> species = Competition()
        >>> species.drift("position", {"position": torch.tensor([[100.0, 150.0]])})
        tensor([[ 6.5000, 21.7500]])
        >>> [round(x, 9) for x in species.coexistence], species.coexist
        ([375.0, 250.0], True)
    """

    growth: Pair = (0.1, 0.3)
    capacity: Pair = (500.0, 1000.0 / 3.0)
    harm: Pair = (1e-4, 2e-4)

    def __post_init__(self) -> None:
        for name in ("growth", "capacity", "harm"):
            values = getattr(self, name)
            if len(values) != 2:
                raise InadmissibleValue(f"{name} has {len(values)} numbers. Pass one for each of the two species.")
            for value in values:
                fits = 0 < value < math.inf or (name == "harm" and value == 0)
                require(fits, f"{name}={value:g}", "is not positive and finite", f"Pass {name} > 0.")

    def drift(self, name: str, state: State) -> Tensor:  # noqa: ARG002 - there is one variable
        """Growth and harm: xᵢ [rᵢ (1 - xᵢ/Nᵢ) - aᵢ xⱼ]."""
        x = tensor_of(state, POSITION)
        if x.shape[-1:] != (2,):
            raise InadmissibleValue(f"position of shape {tuple(x.shape)} is not of two species. Pass (paths, 2).")
        growth, capacity, harm = (x.new_tensor(pair) for pair in (self.growth, self.capacity, self.harm))
        return x * (growth * (1.0 - x / capacity) - harm * x.flip(-1))

    @property
    def coexist(self) -> bool:
        """Whether both live on from every start at which there are some of both."""
        (r1, r2), (n1, n2), (a1, a2) = self.growth, self.capacity, self.harm
        return n1 * a2 < r2 and n2 * a1 < r1

    @property
    def bistable(self) -> bool:
        """Whether one of them dies out, and the start decides which."""
        (r1, r2), (n1, n2), (a1, a2) = self.growth, self.capacity, self.harm
        return n1 * a2 > r2 and n2 * a1 > r1

    @property
    def coexistence(self) -> Pair | None:
        """Equilibrium of both species; None where the two lines do not cross at positive numbers."""
        (r1, r2), (n1, n2), (a1, a2) = self.growth, self.capacity, self.harm
        if not (self.coexist or self.bistable):
            return None
        determinant = r1 * r2 - n1 * n2 * a1 * a2
        return n1 * r2 * (r1 - n2 * a1) / determinant, n2 * r1 * (r2 - n1 * a2) / determinant

    @property
    def fixed_points(self) -> Tensor:
        """(3, 2) or (4, 2), float64: nothing, the first alone, the second alone, both."""
        points = [(0.0, 0.0), (self.capacity[0], 0.0), (0.0, self.capacity[1])]
        both = self.coexistence
        return torch.tensor(points if both is None else [*points, both], dtype=torch.float64)

    @property
    def eigenvalues(self) -> Tensor:
        """(3, 2) or (4, 2), float64, of the Jacobian at each, ascending. They are real."""
        (r1, r2), (n1, n2), (a1, a2) = self.growth, self.capacity, self.harm
        pairs = [(r1, r2), (-r1, r2 - a2 * n1), (r1 - a1 * n2, -r2)]
        if self.coexistence is not None:
            x, y = self.coexistence
            mean, half = -(r1 * x / n1 + r2 * y / n2) / 2.0, (r1 * x / n1 - r2 * y / n2) / 2.0
            spread = math.sqrt(half * half + a1 * a2 * x * y)
            pairs.append((mean - spread, mean + spread))
        return torch.tensor([sorted(pair) for pair in pairs], dtype=torch.float64)
