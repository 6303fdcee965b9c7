r"""Lengths and angles of a step: |g|², |θ|², |Δ|², ⟨g,Δ⟩, ⟨θ-θₐ,g+wθ⟩, ⟨θ-θₐ,Δ⟩, ΔᵀPΔ, |θ-θ₀|², ⟨θ-θ₀,Δ⟩, ⟨g₋,g⟩.

θ before the step, Δ the step, g the gradient it was made from, g₋ the one before, w coupled decay, P the
preconditioner, θ₀ the start, θₐ where the window of estimates begins. Every number stays on the device: nothing waits
for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from thetadot.monitor.layers import local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.monitor.layers import Layout
    from thetadot.reading import Reading

COLUMNS = ("gradient", "weight", "update", "slope", "virial", "radial", "energy", "away", "outward", "pair")


class StepStatistics:
    """Measures one step: :meth:`prelude` after the step before it, :meth:`before`, :meth:`after`."""

    def __init__(self, layout: Layout, *, away: bool, pairs: bool) -> None:
        self.layout = layout
        self.pairs = pairs
        self.origin = [_wide(local(p)).clone() for p in layout.parameters] if away else None
        self.anchor = self.origin
        self._start: list[Tensor] | None = None
        self._previous: list[Tensor] | None = None

    def drop_anchor(self) -> None:
        """Begin the window of estimates."""
        if self.origin is not None:
            self.anchor = [_wide(local(p)).clone() for p in self.layout.parameters]

    def prelude(self) -> None:
        """Keep the gradient of the step that was just made."""
        if self.pairs:
            self._previous = [g.clone() for g in self._gradients()]

    def before(self) -> None:
        """Copy the parameters before the step."""
        self._start = [local(p).clone() for p in self.layout.parameters]

    def after(self, reading: Reading) -> Tensor | None:
        """Return the numbers of a step, (10, parameters), on the device; None if nothing was kept before."""
        if self._start is None:
            return None
        start, self._start = [_wide(s) for s in self._start], None
        previous, self._previous = self._previous, None
        gradients = self._gradients()
        moved = _minus([_wide(local(p)) for p in self.layout.parameters], start)
        none = torch.zeros(len(start), dtype=gradients[0].dtype, device=gradients[0].device)
        rows = [_squares(gradients), _squares(start), _squares(moved), _dots(gradients, moved)]
        if self.origin is None or self.anchor is None:
            rows += [none, none]
        else:
            along = _minus(start, self.anchor)
            virial = _dots(along, gradients)
            if reading.decay and not reading.decoupled:
                virial = virial + reading.decay * _dots(along, start)
            rows += [virial, _dots(along, moved)]
        rows.append(self._energy(moved, reading.preconditioner) if reading.preconditioner else rows[2])
        if self.origin is None:
            rows += [none, none]
        else:
            away = along if self.anchor is self.origin else _minus(start, self.origin)
            rows += [_squares(away), _dots(away, moved)]
        rows.append(none if previous is None else _dots(previous, gradients))
        measured = torch.stack([row.to(rows[0].dtype) for row in rows])
        if self.layout.sharded:
            distributed.all_reduce(measured)
        return measured

    def state_dict(self) -> dict[str, Any]:
        """Return where the run and the window began, and the gradient before."""
        anchored = self.anchor is not self.origin
        return {"origin": self.origin, "anchor": self.anchor if anchored else None, "previous": self._previous}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the places of a checkpoint."""
        self.origin, self._previous = self._placed(state["origin"]), self._placed(state["previous"])
        self.anchor = self.origin if state["anchor"] is None else self._placed(state["anchor"])

    def _placed(self, tensors: list[Tensor] | None) -> list[Tensor] | None:
        """Tensors of a checkpoint where the parameters are, each of its parameter's shape."""
        if tensors is None:
            return None
        return [t.to(p.device).reshape(local(p).shape) for t, p in zip(tensors, self.layout.parameters, strict=True)]

    def _energy(self, moved: Sequence[Tensor], preconditioner: dict[Tensor, Tensor]) -> Tensor:
        weighed = [
            m * _wide(local(preconditioner[p])).reshape(m.shape) if p in preconditioner else m
            for p, m in zip(self.layout.parameters, moved, strict=True)
        ]
        return _dots(weighed, moved)

    def _gradients(self) -> list[Tensor]:
        """Gradients, zero where there is none."""
        return [
            _wide(local(p.grad)) if p.grad is not None else torch.zeros_like(_wide(local(p)))
            for p in self.layout.parameters
        ]


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _minus(one: Any, other: Any) -> list[Tensor]:
    return list(torch._foreach_sub(one, other))  # noqa: SLF001 - what torch's own optimizers call


def _squares(tensors: Any) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors)).square()  # noqa: SLF001


def _dots(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return torch.stack([
        torch.dot(a.reshape(-1), b.reshape(-1)) for a, b in zip(one, other, strict=True)
    ])  # fmt: skip
