"""Initial states of a simulation: given points, or another simulation's end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thetadot.core.rng import derive
from thetadot.core.tensors import tensor_of
from thetadot.core.validation import as_python, require_whole
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators.base import name_of
from thetadot.simulation.memory import require_room
from thetadot.simulation.motion import clocked, detached
from thetadot.simulation.noise import by_counter
from thetadot.simulation.run import BegunSimulation
from thetadot.simulation.trajectory import End, Trajectory
from thetadot.systems.base import POSITION, noisy
from thetadot.systems.custom import TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from thetadot.core.annotations import State
    from thetadot.simulation.motion import PosedMotion
    from thetadot.simulation.noise import Noise
    from thetadot.simulation.saving import Save

    Points = Tensor | np.ndarray | Sequence[Any]
    Initial = Points | Mapping[str, Points] | Trajectory

_OPENING = (1 << 63) - 1  # the "step" whose noise a word's opening takes


@dataclass(frozen=True)
class Start:
    """Initial state: another simulation's end if ``kept``, else variables as given, as views without memory."""

    end: End
    kept: bool

    @property
    def points(self) -> dict[str, Tensor]:
        """Variables that are tensors."""
        return {name: value for name, value in self.end.state.items() if isinstance(value, Tensor)}

    def require_room(self, motion: PosedMotion, saves: Mapping[str, Save], counts: Mapping[str, int]) -> None:
        """Raise TooLarge where the states that would be saved do not fit into memory.

        Args:
            motion: what moves.
            saves: schedules by name.
            counts: how often each saves.
        """
        position = tensor_of(self.end.state, POSITION)
        state = len(motion.tensors) * position.numel() * position.element_size()
        kept = sum(counts[name] for name, save in saves.items() if save.what is None)
        # saved, and stacked at the end; the state itself is there three times while it is marched
        require_room((2 * kept + 3) * state, f"saving {kept} times {len(position)} paths")

    def keyed(self, motion: PosedMotion, key: int | None) -> Start:
        """Return the start with a key from torch's default generator, if none was given and there is noise."""
        if key is not None or self.kept or not noisy(motion.system):
            return self
        return replace(self, end=replace(self.end, key=int(torch.randint(2**63 - 1, (), device="cpu"))))

    def require_known(self, motion: PosedMotion) -> None:
        """Raise InadmissibleValue where what is given is not what moves, or was kept by another rule."""
        known = set(motion.tensors) | set(motion.numbers)
        if self.kept and (missing := sorted(known - set(self.end.state))):
            raise InadmissibleValue(
                f"the trajectory to continue has no {missing[0]!r}, which {name_of(motion.system)} moves. "
                "Begin anew where it ended: pass its `final`."
            )
        if self.kept and self.end.rule != motion.rule:
            raise InadmissibleValue(
                f"the trajectory to continue was stepped by {self.end.rule or 'a rule that staggers nothing'}, and "
                f"is to be by {motion.rule or name_of(motion.integrator)}: their velocities belong to other times. "
                "Begin anew where it ended: pass its `final`, or a mapping with its last variables."
            )
        if strange := sorted(set(self.end.state) - known):
            raise InadmissibleValue(
                f"initial has {strange[0]!r}, which {name_of(motion.system)} does not. "
                f"Its variables are {', '.join(sorted(known))}."
            )


def started(initial: Initial, paths: int | None, key: int | None) -> Start:
    """Check what came, and give every variable the shape (paths, dim).

    Raises:
        InadmissibleValue: a shape, dtype or number out of range.
    """
    key = as_python(key)
    if key is not None and not isinstance(key, int):
        raise InadmissibleValue(f"key={key!r} is no whole number. Pass one, such as key=0.")
    if isinstance(initial, Trajectory):
        require(paths is None, f"paths={paths}", "is given with a trajectory that has its own", "Leave it out.")
        return Start(initial.end if key is None else replace(initial.end, key=key), kept=True)
    if paths is not None:
        require_whole(paths=paths)
        require(paths >= 1, f"paths={paths}", "is below 1", "Pass how many copies of the initial point.")
    given = dict(initial) if isinstance(initial, Mapping) else {POSITION: initial}
    if POSITION not in given:
        raise InadmissibleValue("initial has no tensor 'position'. Pass a tensor (paths, dim), or a mapping with one.")
    shaped: State = {str(name): _shaped(str(name), value, paths) for name, value in given.items()}
    position = tensor_of(shaped, POSITION)
    for name, value in shaped.items():
        admissible = (position.shape, (1, *position.shape[1:]))
        if isinstance(value, Tensor) and value.ndim == 2 and value.shape not in admissible:
            raise InadmissibleValue(
                f"initial[{name!r}] has shape {tuple(value.shape)}, and the position {tuple(position.shape)}. "
                "Give both the same."
            )
    return Start(End(shaped, 0.0, 0, (0 if key is None else key) & (2**64 - 1)), kept=False)


def _shaped(name: str, given: Any, paths: int | None) -> Tensor:
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InadmissibleValue(
            f"initial[{name!r}] is a {type(given).__name__}. Pass a tensor (paths, dim), a mapping of such, or a "
            "trajectory."
        ) from error
    if value.ndim == 0 and name != POSITION:
        return value
    require(
        value.ndim in (1, 2) and value.numel() > 0 and value.dtype in (torch.float32, torch.float64),
        f"initial[{name!r}] of shape {tuple(value.shape)} and {value.dtype}",
        "is neither (paths, dim) nor (dim,) of float32 or float64",
        "Pass such a tensor; 100 paths in one dimension are (100, 1). Narrower numbers would lose small steps.",
    )
    require(bool(value.isfinite().all()), f"initial[{name!r}]", "is not finite everywhere", "Pass finite numbers.")
    value = value.detach() if value.ndim == 2 else value.detach().unsqueeze(0)
    if paths is None:
        return value
    require(
        value.shape[0] in (1, paths),
        f"paths={paths} with initial[{name!r}] of shape {tuple(value.shape)}",
        "does not go together",
        "Pass one point of shape (dim,), or leave paths out.",
    )
    return value.expand(int(paths), -1)


def begin(motion: PosedMotion, start: Start, noise: Noise) -> BegunSimulation:
    """Into the rule's own variables; a word is run up to the place of its cycle that it is stepped from."""
    if start.kept:
        state = clocked(start.end.state)
        return BegunSimulation(state, state, start.end.steps, 0, start.end.key)
    given = {name: value.contiguous() for name, value in start.points.items()}
    state = motion.begin(given)
    draws = iter(range(1 << 30))

    def draw() -> Tensor:
        return by_counter(motion.noise_like(given[POSITION]), derive(start.end.key, _OPENING), 0, next(draws), 0, noise)

    opened, steps = motion.integrator.open(motion.system, motion.step, state, motion.force, draw)
    opened = detached(opened)
    return BegunSimulation(opened, state if steps else opened, 0, steps, start.end.key)


def begin_at(motion: PosedMotion, start: Start) -> tuple[State, Mapping[str, Tensor]]:
    """The state of a motion that is not staggered, and what an adaptive method remembers of its steps."""
    if start.kept:
        return clocked(start.end.state), start.end.memory
    return motion.begin({name: value.contiguous() for name, value in start.points.items()}), start.end.memory


def each_its_own_time(state: State) -> State:
    """Give every path its own time, (paths, 1), as an adaptive method evaluates a field."""
    if TIME not in state:
        return state
    return {**state, TIME: state[TIME] * torch.ones_like(tensor_of(state, POSITION)[:, :1])}
