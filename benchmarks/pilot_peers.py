"""What the peers of ``pilot.py`` ask for beyond an optimizer's step."""

from __future__ import annotations

from typing import Any

import torch
from dog import DoG


class AveragedDoG(DoG):
    """DoG with the polynomial decay averaging (γ = 8) that its authors call crucial: in eval mode parameters are means.

    x̄ <- (1 - 9/(t+8)) x̄ + 9/(t+8) x, as dog.PolynomialDecayAverager does for a whole model.
    """

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.places = [p for group in self.param_groups for p in group["params"]]
        self.others = [p.detach().clone() for p in self.places]  # means in train mode, parameters in eval mode
        self.steps, self.training = 0, True

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        self.steps += 1
        for mean, p in zip(self.others, self.places, strict=True):
            mean.lerp_(p, 9 / (self.steps + 8))
        return loss

    def train(self) -> None:
        self._turn(training=True)

    def eval(self) -> None:
        self._turn(training=False)

    @torch.no_grad()
    def _turn(self, *, training: bool) -> None:
        if training == self.training:
            return
        self.training = training
        for other, p in zip(self.others, self.places, strict=True):
            kept = p.clone()
            p.copy_(other)
            other.copy_(kept)
