"""Steps that follow the error: torch's drift and compiled steps, for drifts that are learned or couple the paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from thetadot.core.tensors import tensor_of
from thetadot.fusion.controlled_parts import COLUMNS, Method
from thetadot.fusion.controlled_stages import ControlledStages
from thetadot.fusion.program import CannotCompile
from thetadot.integrators.controlling import Controlling, kernel_settings
from thetadot.integrators.pace import WINDOW
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.integrators.adaptive import Embedded
    from thetadot.simulation.motion import PosedMotion


class Staged(Controlling):
    """An error-controlled motion: torch evaluates the drift of all paths, one call makes of it the next place or step.

    Raises:
        CannotCompile: no compiler, or paths that do not lie on the CPU.
    """

    engine: ClassVar[str] = "staged"

    def __init__(
        self,
        motion: PosedMotion,
        integrator: Embedded,
        state: State,
        start: float,
        end: float,
        memory: Mapping[str, Tensor],
    ) -> None:
        like = tensor_of(state, POSITION)
        if like.device.type != "cpu":
            raise CannotCompile(f"kernels of ensembles are for the CPU, and the paths lie on {like.device}.")
        super().__init__(integrator, motion.system, motion.gradient, state, start, 1.0, memory, end)
        names = (*self.measured, *self.clocks)
        widths = dict.fromkeys(self.measured, like.shape[-1])
        method = Method(*integrator.tableau.floats, integrator.tableau.hands_over)
        self._stages = ControlledStages(widths, self.clocks, like.dtype, method)
        self.state = {name: _own(tensor_of(self.state, name)) for name in names}
        self.first = {name: _own(tensor_of(self.first, name)).expand_as(tensor_of(self.state, name)).contiguous()
                      for name in names}  # fmt: skip
        self.time, self.length = _own(self.time), _own(self.length)
        self.errors = (_own(self.errors[0]), _own(self.errors[1]), _own(self.errors[2]))
        self.shortest, self.longest, self.held_back = map(_own, (self.shortest, self.longest, self.held_back))
        self.accepted, self.rejected = _own(self.accepted), _own(self.rejected)
        blank = {name: torch.empty_like(tensor_of(self.state, name)) for name in names}
        self._along = [{name: blank[name].clone() for name in names} for _ in range(self._stages.evaluations)]
        self._place = {name: blank[name].clone() for name in names}
        columns = self.columns
        arrays = [tensor_of(own, name) for own in (self.state, self.first) for name in names]
        arrays += [columns[name] for name in COLUMNS]
        arrays += [own[name] for own in (*self._along, self._place) for name in names]
        self._arrays, self._addresses = arrays, self._stages.addresses(arrays)

    @property
    def memory(self) -> dict[str, Tensor]:
        """Copies: what is written to goes on."""
        return {name: value.clone() for name, value in super().memory.items()}

    def until(self, end: float) -> State:
        """Return every path's state at ``end``."""
        settings = self._stages.settings(kernel_settings(self.integrator, end, self.sign, 1))
        paths = len(self.one)
        under_way = bool((self.sign * (end - self.time) > 0).any())
        stuck = 1
        while under_way:
            if stuck:
                ahead = self.sign * (end - self.time) > 0
                self._check_bound(ahead)
                self._check_length(ahead & self._stuck())
            for stage, along in enumerate(self._along, start=1):
                self._stages.place(paths, self._addresses, settings, stage)
                found = self._slopes({name: value.clone() for name, value in self._place.items()})
                for name, value in along.items():
                    value.copy_(tensor_of(found, name))
            left, stuck = self._stages.settle(paths, self._addresses, settings)
            under_way = left > 0
            self._rounds += 1
            if self._rounds % WINDOW == 0:
                self._check_pace(end)
        return {name: tensor_of(self.state, name).clone() for name in self.state}


def _own(value: Tensor) -> Tensor:
    return value.clone(memory_format=torch.contiguous_format)
