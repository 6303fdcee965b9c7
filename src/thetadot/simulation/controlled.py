"""Compiled error-controlled steps: the motion of :class:`Controlling`, each path at its own pace.

A path goes from one time that is asked for to the next inside the kernel, which comes back often enough to be
interrupted, and whose whole memory is that of a motion in torch's operations: it can be cut anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from thetadot.core.tensors import tensor_of
from thetadot.errors import IncompatiblePair
from thetadot.fusion.components import components
from thetadot.fusion.controlled import ControlledMarch
from thetadot.fusion.controlled_parts import COLUMNS, Method
from thetadot.fusion.program import CannotCompile
from thetadot.integrators.base import name_of
from thetadot.integrators.controlling import Controlling, kernel_settings
from thetadot.integrators.runge_kutta import moving, slopes
from thetadot.simulation.asked import kept_for_step
from thetadot.simulation.drift import asked_slopes
from thetadot.simulation.initial import each_its_own_time
from thetadot.simulation.staged import Staged
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from thetadot.core.annotations import Scalar, State
    from thetadot.fusion.components import Components
    from thetadot.integrators.adaptive import Embedded
    from thetadot.simulation.choice import Compile
    from thetadot.simulation.motion import PosedMotion

    Entry = Callable[[Sequence[Tensor], Sequence[float]], tuple[int, int]]

_TRIES = 1 << 20  # steps of all paths together between two looks at the keyboard: a fraction of a second
_LEAST = 64  # of each
_POINTS = 5  # at which a trace is compared with the function; not 2, which is what is traced
_ROUNDED = 1e3  # roundings of a slope, far above what another order of operations does
_MOST_OPERATIONS = 4000  # of a drift: compilers take longer for more than the kernel saves


def controlling(
    motion: PosedMotion,
    integrator: Embedded,
    state: State,
    start: float,
    end: float,
    memory: Mapping[str, Tensor],
    compile: Compile,  # noqa: A002 - torch's word
) -> tuple[Controlling, str]:
    """The motion under way, compiled where it can be, and why it is not.

    Raises:
        IncompatiblePair: compile=True, and the drift cannot be compiled.
    """
    said = ""
    if compile is not False:
        try:
            kernel = compiled(motion, integrator, state)
            return Marched(kernel, integrator, motion, state, start, end, memory), ""
        except CannotCompile as error:
            said = str(error)
            if compile is True:
                raise IncompatiblePair(f"the drift cannot be compiled: {said} Or pass compile=False.") from error
    coupled = _coupled(motion, state)
    if compile is not False and not coupled:
        try:
            return Staged(motion, integrator, state, start, end, memory), said
        except CannotCompile:
            pass
    run = Controlling(integrator, motion.system, motion.gradient, state, start, 1.0, memory, end, together=coupled)
    return run, said


def _coupled(motion: PosedMotion, state: State) -> bool:
    """Whether the slopes of some paths change where others are moved."""
    paths = len(tensor_of(state, POSITION))
    begun = each_its_own_time(state)

    def found(moved: Tensor) -> list[Tensor]:
        there: State = {
            name: torch.where(moved, value * (1.0 + 1e-3) + 1e-3, value) if name in motion.tensors else value
            for name, value in begun.items()
        }
        rates = slopes(motion.system, there, motion.force(tensor_of(there, POSITION)), 1.0)
        whole = torch.zeros(paths, 1, dtype=torch.float64)
        return [rate.detach() + whole if isinstance(rate, torch.Tensor) else whole for rate in rates.values()]

    odd = (torch.arange(paths) % 2 == 1)[:, None].to(tensor_of(state, POSITION).device)
    still = found(torch.zeros_like(odd))
    return paths > 1 and any(
        not torch.equal(torch.nan_to_num(before[kept_for_step]), torch.nan_to_num(after[kept_for_step]))
        for moved in (odd, ~odd)
        for kept_for_step in (~moved[:, 0],)
        for before, after in zip(still, found(moved), strict=True)
    )


class Marched(Controlling):
    """An error-controlled motion that a kernel marches."""

    engine: ClassVar[str] = "compiled"
    patience: ClassVar[float] = 1e8

    def __init__(
        self,
        kernel: ControlledMarch,
        integrator: Embedded,
        motion: PosedMotion,
        state: State,
        start: float,
        end: float,
        memory: Mapping[str, Tensor],
    ) -> None:
        self._kernel = kernel
        super().__init__(integrator, motion.system, motion.gradient, state, start, 1.0, memory, end)

    def _begin(self, length: Tensor | None) -> None:
        rule = self.integrator
        known = rule.first_step if length is None else length
        self.length = torch.zeros_like(self.time) if known is None else known + torch.zeros_like(self.time)
        self.first = {name: torch.zeros_like(tensor_of(self.state, name)) for name in self.state}
        self.time = self.time.expand(len(self.one), 1)
        self._run(self._kernel.begin, self.time[0, 0].item(), 0)
        self.evaluations = 2

    def _try(self, left: Tensor, under_way: Tensor, end: float) -> None:  # noqa: ARG002 - the kernel knows
        """Advance every path by as many steps as fit in a fraction of a second."""
        tries = max(_LEAST, _TRIES // len(under_way))
        _, stuck = self._run(self._kernel.march, end, tries)
        if stuck:
            self._check_length((self.time != end) & self._stuck())
        self._check_pace(end)

    def _overdue(self, needed: Tensor) -> bool:
        """Whether one path alone, or many in sequence, would exceed the patience."""
        most = float(needed.max())
        return most > self.patience or (most > self.patience / 100 and float(needed.sum()) > 10 * self.patience)

    def _run(self, entry: Entry, end: float, tries: int) -> tuple[int, int]:
        """Call the kernel on copies, so that what it is interrupted in is never seen half."""
        names, columns = (*self.measured, *self.clocks), self.columns
        given = [tensor_of(self.state, name) for name in names] + [tensor_of(self.first, name) for name in names]
        arrays = [
            array.clone(memory_format=torch.contiguous_format) for array in (*given, *(columns[c] for c in COLUMNS))
        ]
        settings = kernel_settings(self.integrator, end, self.sign, tries)
        found = entry(arrays, settings)
        count = len(names)
        self.state = dict(zip(names, arrays, strict=False))
        self.first = dict(zip(names, arrays[count:], strict=False))
        done = dict(zip(COLUMNS, arrays[2 * count :], strict=True))
        self.time, self.length, self.held_back = done["time"], done["length"], done["held_back"]
        self.errors = (done["error_1"], done["error_2"], done["error_3"])
        self.shortest, self.longest = done["shortest"], done["longest"]
        self.accepted, self.rejected = done["accepted"], done["rejected"]
        return found


def compiled(motion: PosedMotion, integrator: Embedded, state: State) -> ControlledMarch:
    """The kernel of a motion.

    Raises:
        CannotCompile: no compiler, or a drift that is not made of elementary operations, path by path.
    """
    like = tensor_of(state, POSITION)
    if like.device.type != "cpu":
        raise CannotCompile(f"kernels of ensembles are for the CPU, and the paths lie on {like.device}.")
    method = Method(*integrator.tableau.floats, integrator.tableau.hands_over)

    def make() -> ControlledMarch:
        return _made(motion, integrator, state, method)

    return kept_for_step(asked_slopes(motion, state), ("controlled", method), make)


def _made(motion: PosedMotion, integrator: Embedded, state: State, method: Method) -> ControlledMarch:
    """Traced, compiled and tried."""
    like, names = tensor_of(state, POSITION), moving(motion.system)
    clocks = [name for name in names if name in motion.system.scalars]
    variables = {name: like.shape[-1] for name in names if name not in clocks}
    found = traced_slopes(motion, like)
    if len(found.program.nodes) > _MOST_OPERATIONS:
        raise CannotCompile(f"its drift has {len(found.program.nodes)} operations.")
    kernel = ControlledMarch(
        found, variables, clocks, like.dtype, method, f"{name_of(integrator)} of {name_of(motion.system)}"
    )
    _require_same_slopes(kernel, motion, integrator, state)
    return kernel


def _require_same_slopes(kernel: ControlledMarch, motion: PosedMotion, integrator: Embedded, state: State) -> None:
    """Raise CannotCompile where the kernel's slopes are not those of the function that is called."""
    paths = len(tensor_of(state, POSITION))
    some: State = {
        name: value[:_POINTS] if isinstance(value, torch.Tensor) and len(value.shape) == 2 else value
        for name, value in state.items()
    }
    beside: State = {  # where a choice hung on the last digit, it does so no more
        name: value * (1.0 + 1e-3) + 1e-3 if name not in motion.system.scalars else value
        for name, value in some.items()
    }
    for points in (some, beside):
        run = Marched(kernel, integrator, motion, points, 0.0, 1.0, {"length": torch.ones(min(paths, _POINTS), 1)})
        wanted = run._slopes(run.state)  # noqa: SLF001 - the same motion, in torch's operations
        if all(_near_wanted(tensor_of(run.first, name), tensor_of(wanted, name)) for name in run.state):
            return
    raise CannotCompile(
        "its kernel does not do what the function does when it is called: it may hold the number of paths, or "
        "something that changes between calls."
    )


def _near_wanted(found: Tensor, wanted: Tensor) -> bool:
    wanted = wanted.to(found.dtype).expand_as(found)
    finite = wanted.isfinite()
    if not torch.equal(finite, found.isfinite()):
        return False
    size = torch.where(finite, wanted.abs(), 0.0).amax(-1, keepdim=True)
    most = _ROUNDED * torch.finfo(found.dtype).eps * size + torch.finfo(found.dtype).tiny
    return bool(((found - wanted).abs() <= most)[finite].all())


def traced_slopes(motion: PosedMotion, like: Tensor) -> Components:
    """The drift of all variables as a program of components."""
    names = moving(motion.system)
    clocks = [name for name in names if name in motion.system.scalars]
    kinds = {name: torch.float64 if name in clocks else like.dtype for name in names}

    def drift(given: Mapping[str, Tensor]) -> dict[str, Tensor | Scalar]:
        state: State = dict(given)
        return slopes(motion.system, state, motion.force(tensor_of(state, POSITION)), 1.0)

    return components(drift, kinds, like.shape[-1], (), dict.fromkeys(clocks, 1))
