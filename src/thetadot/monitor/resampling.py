r"""The noise of one step's whole gradient, whatever its passes are: real and fake, one task each, two views of a pair.

    G = Σₚ Σᵢ gₚᵢ,     G_σ = Σₚ Σᵢ σᵢ gₚᵢ,     E_σ|G_σ|² = Σᵢ |gᵢ - ḡ|²·n/(n-1),   gᵢ = Σₚ gₚᵢ

gₚᵢ is what sample i of pass p adds to the gradient. The passes are made again at the same parameters, and what the
loop's backward pass brought to their outputs is sent back with signs σᵢ that sum to zero: half of them +1. If the n
samples are independent draws, the mean over σ is an unbiased estimate of the step's variance E|G - EG|², at one θ: the
motion of the parameters adds nothing, as it does to differences of successive gradients (their bias is the factor
(2 + αh)/(2 - αh) in a direction of curvature h under SGD at rate α). Passes of as many samples share their signs, so
that passes of the same samples (tasks, pairs) are correlated as they are; where their samples are independent, products
between passes have mean zero, and nothing is lost but a little precision. Passes of unequal numbers get signs of their
own.

What depends on the batch as a whole (batch statistics, in-batch negatives) is taken as it is: terms that a sample adds
to others' outputs count for those. What reaches parameters past the outputs is not seen in G_σ. So the unsigned sum is
compared with the gradient that the loop made. A rest is allowed if it is rounding, or if it stays constant from reading
to reading (a penalty on the parameters): then it has no noise. Otherwise nothing is told.

Sources:
    van der Vaart and Wellner, "Weak convergence and empirical processes", Springer 1996, chapter 2.9 (multipliers).
    Hutchinson, Commun. Statist. Simula. 18, 1059 (1989).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.core.rng import derive
from thetadot.errors import InadmissibleValue
from thetadot.monitor.calls import inner
from thetadot.monitor.layers import local_real
from thetadot.probes.reference import whole_state
from thetadot.state import changes_of, keyed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from thetadot.monitor.calls import Call
    from thetadot.monitor.layers import Layout

SIGNS = 8
"""Backward passes with signs in a reading; the forward pass and the check come once."""
EXACT = 1e-3
"""A rest of this share of the gradient is rounding."""
STILL = 1e-3
"""A rest whose change is this share of the variance has no noise: it adds 6% at most, were it in step with the rest."""
TRIES = 3
"""Readings in a row that do not tell, after which none is tried."""
KEY = 29


class StepResampling:
    """Reads the variance of a step's gradient before the step is made.

    Args:
        model: as the loop calls it.
        layout: the watched parameters.
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        self.model = inner(model)
        self.layout = layout
        self.failed = 0  # readings in a row that did not tell
        self._written: list[str] | None = None  # parameters that a pass writes; None until it was tried
        self._rest: list[Tensor] | None = None

    def read(
        self, calls: Sequence[Call], sizes: Sequence[int], axis: int, seen: Sequence[Tensor | None], step: int
    ) -> float | None:
        """Return E|G - EG|² in the units of the passes; None where this step does not determine the value.

        Args:
            calls: the passes of the step.
            sizes: samples of each.
            axis: along which samples lie, where an output has as many there.
            seen: the gradient that they made together, by parameter.
            step: of the signs.

        Raises:
            InadmissibleValue: a pass changes what cannot be put back, or signs have no axis to lie on.
        """
        if not calls or min(sizes) < 2 or not all(call.whole and call.pulled for call in calls):
            return None
        if self._written is None:
            changes = changes_of(_repeat(calls), {"model": self.model})
            left = [str(change) for change in changes if not change.kept]
            if left:
                raise InadmissibleValue(f"a pass changes {'; '.join(left[:3])}, which cannot be put back")
            self._written = [change.place for change in changes if change.kind == "parameter"]
        state = whole_state(self.model, self._written)
        index = [p.device.index or 0 for p in self.layout.parameters if p.device.type == "cuda"]
        try:
            with keyed(KEY, sorted(set(index))), torch.enable_grad():
                return self._compare(calls, sizes, axis, seen, step)
        finally:
            state.restore()

    def _compare(
        self, calls: Sequence[Call], sizes: Sequence[int], axis: int, seen: Sequence[Tensor | None], step: int
    ) -> float | None:
        pairs = [(n, *pair) for call, n in zip(calls, sizes, strict=True) for pair in call.again(self.model)]
        axes = [_axis(tuple(output.shape), n, axis) for n, output, _ in pairs]
        if not pairs or None in axes:
            raise InadmissibleValue("the samples of a pass lie along no axis of the model's output")
        plain = self._back(pairs, [pulled for _, _, pulled in pairs])
        squares = []
        for k in range(SIGNS):
            signs = {n: _signs(n, derive(KEY, step, k, n)) for n in set(sizes)}
            signed = [
                pulled * _broadcast_along(signs[n].to(pulled), where, pulled.dim())
                for (n, _, pulled), where in zip(pairs, axes, strict=True)
                if where is not None
            ]
            squares.append(_squared_lengths(self._back(pairs, signed)))
        variance = float(torch.stack(squares).mean())
        return variance if self._told(plain, seen, variance) else None

    def _back(self, pairs: Sequence[tuple[int, Tensor, Tensor]], pulled: Sequence[Tensor]) -> list[Tensor]:
        parameters = self.layout.parameters
        outputs = [output for _, output, _ in pairs]
        found = torch.autograd.grad(outputs, parameters, list(pulled), retain_graph=True, allow_unused=True)
        return [
            torch.zeros_like(local_real(p)) if g is None else local_real(g)
            for p, g in zip(parameters, found, strict=True)
        ]

    def _told(self, plain: list[Tensor], seen: Sequence[Tensor | None], variance: float) -> bool:
        """Whether what was made again is the gradient that was seen, but for a part that stays constant."""
        made = [torch.zeros_like(mine) if other is None else other for mine, other in zip(plain, seen, strict=True)]
        rest = [other.to(mine.dtype) - mine for mine, other in zip(plain, made, strict=True)]
        length, size = float(_squared_lengths(rest)), float(_squared_lengths(made))
        if not math.isfinite(length + size + variance):
            return False  # a step that a loss scaler skips, or a lost run
        if length <= EXACT**2 * size:
            self.failed, self._rest = 0, None
            return True
        before, self._rest = self._rest, rest
        moved = (
            None
            if before is None
            else float(_squared_lengths([a - b for a, b in zip(rest, before, strict=True)])) / 2.0
        )
        if moved is not None and moved <= STILL * variance:
            self.failed = 0
            return True
        self.failed += 1
        return False


def _repeat(calls: Sequence[Call]) -> Callable[[dict[str, nn.Module]], Tensor]:
    """One pass after another; a number that its gradient can be taken of."""

    def run(parts: dict[str, nn.Module]) -> Tensor:
        pairs = [pair for call in calls for pair in call.again(parts["model"])]
        return torch.stack([(output * pulled).real.sum().double() for output, pulled in pairs]).sum()

    return run


def _axis(shape: tuple[int, ...], count: int, likely: int) -> int | None:
    """Where ``count`` samples lie: along the likely axis, the first, or the only one that has as many.

    Example:
        >>> _axis((7, 3), 7, 0), _axis((5, 7), 7, 0), _axis((7, 7), 7, 1), _axis((14, 3), 7, 0)
        (0, 1, 1, None)
    """
    found = [k for k, size in enumerate(shape) if size == count]
    for wanted in (likely % max(1, len(shape)), 0):
        if wanted in found:
            return wanted
    return found[0] if len(found) == 1 else None


def _signs(count: int, key: int) -> Tensor:
    """Σσᵢ = 0, mean of σᵢσⱼ = -1/(n-1): half +1 and half -1, and where n is odd one 0 for the n/(n-1) of the rest.

    Example:
        >>> sorted(_signs(4, 0).tolist()), float(_signs(5, 0).square().sum())
        ([-1.0, -1.0, 1.0, 1.0], 5.0)
    """
    half = count // 2
    signs = torch.zeros(count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(key))
    signs[order[:half]], signs[order[half : 2 * half]] = 1.0, -1.0
    return signs * math.sqrt(count / (2 * half))


def _broadcast_along(signs: Tensor, axis: int, dim: int) -> Tensor:
    return signs.reshape([-1 if k == axis else 1 for k in range(dim)])


def _squared_lengths(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in tensors]).square().sum()
