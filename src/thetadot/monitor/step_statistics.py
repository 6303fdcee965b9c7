r"""Lengths and angles of a step: |g|², |θ|², |Δ|², ⟨g,Δ⟩, ⟨θ-θₐ,g+wθ⟩, ⟨θ-θₐ,Δ⟩, ΔᵀPΔ, |θ-θ₀|², ⟨θ-θ₀,Δ⟩, ⟨g₋,g⟩.

θ before the step, Δ the step, g the gradient it was made from, g₋ the one before, w coupled decay, P the
preconditioner, θ₀ the start, θₐ where the window of estimates begins. Every number stays on the device: nothing waits
for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from thetadot.monitor.layers import local_real

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.core.reading import Reading
    from thetadot.monitor.layers import Layout

COLUMNS = ("gradient", "weight", "update", "slope", "virial", "radial", "energy", "away", "outward", "pair")
SMALL = 2**16
"""Numbers of parameters that are read as one vector: of many small ones, else, each takes a dozen operations."""


class ParameterPiece:
    """Parameters that are read together, as one vector: small ones of a device, or a large one alone."""

    def __init__(self, places: list[int], parameters: list[Tensor]) -> None:
        self.places = places  # among all parameters
        self.parameters = parameters
        self.sizes = [local_real(p).numel() for p in parameters]

    def values(self) -> Tensor:
        """Parameters, (n,): a view where there is one."""
        return _joined([local_real(p) for p in self.parameters])

    def copy(self) -> Tensor:
        """Parameters, (n,), which no step changes."""
        values = self.values()
        return values.clone() if values.data_ptr() == local_real(self.parameters[0]).data_ptr() else values

    def gradients(self) -> Tensor:
        """Gradients, (n,), zero where there is none."""
        return _joined([
            torch.zeros_like(_wider(local_real(p))) if p.grad is None else local_real(p.grad) for p in self.parameters
        ])  # fmt: skip

    def weighed(self, moved: Tensor, preconditioner: dict[Tensor, Tensor]) -> Tensor:
        """PΔ, (n,); Δ where there is no P."""
        if not any(p in preconditioner for p in self.parameters):
            return moved
        parts = torch.split(moved, self.sizes)
        return torch.cat([
            part * _wider(local_real(preconditioner[p])).reshape(-1) if p in preconditioner else part
            for p, part in zip(self.parameters, parts, strict=True)
        ])  # fmt: skip

    def products(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Inner products by parameter, (pairs, parameters)."""
        if len(self.sizes) == 1:
            return torch.stack([torch.dot(*pair) for pair in pairs])[:, None]
        left, right = (torch.stack(side) for side in zip(*pairs, strict=True))
        parts = torch.split(left.mul_(right), self.sizes, dim=1)
        return torch.stack([part.sum(dim=1) for part in parts], dim=1)


def pieces_of(parameters: Sequence[Tensor]) -> list[ParameterPiece]:
    """Cut the parameters into pieces.

    Example:
        >>> [piece.places for piece in pieces_of([torch.zeros(3), torch.zeros(2**16), torch.zeros(2, 2)])]
        [[1], [0, 2]]
    """
    found: list[list[int]] = []
    filling: dict[Any, list[int]] = {}
    room: dict[Any, int] = {}
    for place, p in enumerate(parameters):
        size, device = local_real(p).numel(), p.device
        if size >= SMALL:
            found.append([place])
        elif device in filling and size <= room[device]:
            filling[device].append(place)
            room[device] -= size
        else:
            filling[device], room[device] = [place], SMALL - size
            found.append(filling[device])
    found.sort(key=len)
    return [ParameterPiece(places, [parameters[place] for place in places]) for places in found]


class StepStatistics:
    """Measures one step: :meth:`prelude` after the step before it, :meth:`before`, :meth:`after`."""

    def __init__(self, layout: Layout, *, away: bool, pairs: bool) -> None:
        self.layout = layout
        self.pairs = pairs
        self.pieces = pieces_of(layout.parameters)
        places = [place for piece in self.pieces for place in piece.places]
        self.order = sorted(range(len(places)), key=places.__getitem__)
        """Where each parameter comes among the pieces."""
        self.origin = self._copies() if away else None
        self.anchor = self.origin
        self._start: list[Tensor] | None = None
        self._previous: list[Tensor] | None = None

    def drop_anchor(self) -> None:
        """Begin the window of estimates."""
        if self.origin is not None:
            self.anchor = self._copies()

    def prelude(self) -> None:
        """Keep the gradient of the step that was just made."""
        if self.pairs:
            self._previous = [piece.gradients().clone() for piece in self.pieces]

    def before(self) -> None:
        """Copy the parameters before the step."""
        self._start = self._copies()

    def after(self, reading: Reading) -> Tensor | None:
        """Return the numbers of a step, (10, parameters), on the device; None if nothing was kept before."""
        if self._start is None:
            return None
        start, self._start = self._start, None
        previous, self._previous = self._previous, None
        measured = [
            self._piece(piece, reading, start[k], None if previous is None else previous[k], k)
            for k, piece in enumerate(self.pieces)
        ]
        device = measured[0].device
        dtype = torch.float64 if any(part.dtype == torch.float64 for part in measured) else torch.float32
        numbers = torch.cat([part.to(device, dtype) for part in measured], dim=1)
        numbers = numbers[:, self.order]
        if self.layout.sharded:
            distributed.all_reduce(numbers)
        return numbers

    def _piece(self, piece: ParameterPiece, reading: Reading, start: Tensor, previous: Tensor | None, k: int) -> Tensor:
        """The numbers of a piece, (10, parameters in it)."""
        gradient = piece.gradients()
        moved = piece.values() - start
        pairs = {
            "gradient": (gradient, gradient),
            "weight": (start, start),
            "update": (moved, moved),
            "slope": (gradient, moved),
            "energy": (moved, piece.weighed(moved, reading.preconditioner or {})),
        }
        if self.origin is not None and self.anchor is not None:
            along = start - self.anchor[k]
            away = along if self.anchor is self.origin else start - self.origin[k]
            force = gradient + reading.decay * start if reading.decay and not reading.decoupled else gradient
            pairs |= {
                "virial": (along, force),
                "radial": (along, moved),
                "away": (away, away),
                "outward": (away, moved),
            }
        if previous is not None:
            pairs["pair"] = (previous, gradient)
        found = piece.products(list(pairs.values()))
        if len(pairs) == len(COLUMNS):
            return found[[list(pairs).index(name) for name in COLUMNS]]
        numbers = torch.zeros(len(COLUMNS), len(piece.sizes), dtype=found.dtype, device=found.device)
        numbers[[COLUMNS.index(name) for name in pairs]] = found
        return numbers

    def state_dict(self) -> dict[str, Any]:
        """Return where the run and the window began, and the gradient before."""
        anchored = self.anchor is not self.origin
        return {"origin": self.origin, "anchor": self.anchor if anchored else None, "previous": self._previous}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the places of a checkpoint."""
        self.origin, self._previous = self._placed(state["origin"]), self._placed(state["previous"])
        self.anchor = self.origin if state["anchor"] is None else self._placed(state["anchor"])

    def _copies(self) -> list[Tensor]:
        return [piece.copy() for piece in self.pieces]

    def _placed(self, tensors: list[Tensor] | None) -> list[Tensor] | None:
        """Tensors of a checkpoint where the parameters are, each as long as its piece."""
        if tensors is None:
            return None
        return [
            t.to(piece.parameters[0].device).reshape(sum(piece.sizes))
            for t, piece in zip(tensors, self.pieces, strict=True)
        ]


def _wider(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _joined(parts: list[Tensor]) -> Tensor:
    flat = [_wider(part).reshape(-1) for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)
