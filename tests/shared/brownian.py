"""Brownian paths that are the same at every step: a fine one, and its sums."""

import math

import torch

from thetadot.core.rng import derive, normal
from thetadot.integrators import SRA1


class Brownian:
    """W on [0, time] in ``fine`` steps, and its mean over every step."""

    def __init__(self, like, time, fine, key):
        self.time, self.fine = time, fine
        step = time / fine
        noise = torch.stack([normal(like, derive(key, k)) for k in range(2 * fine)]).view(fine, 2, *like.shape)
        self.increments = math.sqrt(step) * noise[:, 0]
        self.areas = 0.5 * step**1.5 * (noise[:, 0] + noise[:, 1] / math.sqrt(3.0))

    @property
    def end(self):
        return self.increments.sum(0)

    def coarse(self, count):
        """Normals of ``count`` steps: those of the increments, and those that the means add to them."""
        size, step = self.fine // count, self.time / count
        increments = self.increments.view(count, size, *self.increments.shape[1:])
        before = increments.cumsum(1) - increments
        areas = self.areas.view(increments.shape) + self.time / self.fine * before
        first = increments.sum(1) / math.sqrt(step)
        return first, math.sqrt(3.0) * (2.0 * areas.sum(1) / step**1.5 - first)

    def walk(self, rule, system, state, count, gradient=None):
        """The state at the end of ``count`` steps on this path."""
        scales = rule.prepare(system, self.time / count)
        state = state | dict.fromkeys(rule.carried, 0.0)
        for pair in zip(*self.coarse(count), strict=True):
            drawn = iter(pair if isinstance(rule, SRA1) else pair[:1])
            for stage in range(rule.stages):
                position = state["position"]
                force = position if gradient is None else gradient(position)
                state = rule.advance(scales, state, force, lambda drawn=drawn: next(drawn), stage)
        return state | {"position": rule.position(scales, state)}


def slope(steps, errors):
    """The power of the step that errors go with: least squares in logarithms."""
    x = torch.tensor(steps, dtype=torch.float64).log()
    y = torch.tensor(errors, dtype=torch.float64).log()
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())
