"""Recordings of a motion's step in torch operations, and the cache of traces keyed by them.

A trace is kept by the recording of the step that it was made of (:mod:`thetadot.fusion.recording`): whatever the step
hangs on is in there, so that a value that has changed is another step, and an equal one needs no trace.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from thetadot.errors import InadmissibleValue
from thetadot.fusion.program import CannotCompile
from thetadot.fusion.recording import Recorder
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.simulation.motion import PosedMotion

    Made = TypeVar("Made")

PATHS = (37, 41, 43)
"""Paths that are asked: a number that no function holds for another reason, and no dimension."""
_MOST = 64  # traces kept


@dataclass(frozen=True)
class Asked:
    """Cost and key of one step of a motion.

    Attributes:
        key: of its traces; None where none can be kept.
        draws: tensors of noise.
        calls: operations that compute.
        elements: that they compute, a path.
        products: multiplications in products of matrices, a path.
        silent: whether it runs without autograd.
        hindrance: why it cannot be traced, as far as is seen without trying; empty if nothing is.
    """

    key: Hashable | None
    draws: int
    calls: int
    elements: float
    products: float
    silent: bool
    hindrance: str = ""

    @cached_property
    def entry(self) -> _Entry:
        """Cache entry for this step; a fresh one if there is no key."""
        return _Entry() if self.key is None else _entry(self.key)

    def quiet(self) -> AbstractContextManager[Any]:
        """Return the context for the step: without gradient recording where no gradient is taken."""
        return torch.no_grad() if self.silent else nullcontext()


@dataclass
class _Entry:
    """Cache entry of one key: whether its shapes were checked, and what was built."""

    looked: bool = False
    made: dict[Hashable, Any] = field(default_factory=dict)


_entries: OrderedDict[Hashable, _Entry] = OrderedDict()
_lock = threading.Lock()


def asked(motion: PosedMotion, like: Tensor, state: State) -> Asked:
    """Ask one step on some of the paths, and look at the shapes of what its fields return.

    Args:
        motion: what moves.
        like: positions (paths, dim).
        state: at the start, whole.

    Raises:
        InadmissibleValue: a drift, a noise or a loss that would be broadcast to something else.
    """
    widths = {like.shape[-1], motion.noise_like(like[:1]).shape[-1]}
    paths = next(number for number in PATHS if number not in widths)
    some = like.detach()[torch.arange(paths, device=like.device) % len(like)]
    failed = ""
    for silent in (True, False):
        try:
            found, begun = _recorded(motion, some, silent=silent)
        except Exception as error:  # noqa: BLE001 - a user's function may throw anything; asked of all paths it may not
            failed = f"it cannot be asked of {paths} paths ({str(error).splitlines()[0][:100] if str(error) else ''})"
            continue
        return _looked_at(found, motion, begun, state)
    with Recorder():
        motion.require_shapes(state)
    found, _ = _recorded(motion, like, silent=False)
    return replace(found, key=None, hindrance=failed)


def _looked_at(found: Asked, motion: PosedMotion, begun: State, state: State) -> Asked:
    """Shapes follow from the recording: they are looked at once a key."""
    entry = found.entry
    if not entry.looked:
        try:
            with Recorder():
                motion.require_shapes(begun)
        except InadmissibleValue:
            with Recorder():
                motion.require_shapes(state)  # which says it of the paths that were given
            return replace(found, key=None, hindrance="what it returns depends on the number of paths.")
        entry.looked = True
    return found


def _recorded(motion: PosedMotion, position: Tensor, *, silent: bool) -> tuple[Asked, State]:
    """One step, and the state that it was taken from."""
    paths, dim = position.shape
    noise: list[Tensor] = []

    def draw() -> Tensor:
        noise.append(position.new_zeros(motion.noise_like(position).shape))
        recorder.know({f"draw{len(noise) - 1}": noise[-1]})
        return noise[-1]

    with Recorder({POSITION: position}) as recorder, torch.no_grad() if silent else nullcontext():
        begun = motion.begin({POSITION: position})
        recorder.recording.hindrance = ""  # what is read of a beginning is read once
        before = recorder.recording
        before.calls = before.elements = before.products = 0
        numbers = {name: torch.as_tensor(begun[name], dtype=torch.float64) for name in motion.numbers}
        given = {**begun, **{name: _own_number(value) for name, value in numbers.items()}}
        recorder.know({name: value for name, value in given.items() if isinstance(value, torch.Tensor)})
        after = motion.advance(given, draw)
        recording = recorder.recording
        ends = tuple((name, recorder.place_of(value)) for name, value in after.items())
    key = (
        *(code_of(part) for part in (motion.system, motion.integrator, motion.potential)),
        *(code_of(getattr(motion.system, name, None)) for name in ("f", "g")),
        (str(position.dtype), str(position.device), dim, len(noise), torch.get_default_dtype(), silent),
        tuple(recording.lines),
        ends,
    )
    made = Asked(
        key, len(noise), recording.calls, recording.elements / paths, recording.products / paths, silent,
        recording.hindrance and f"{recording.hindrance}.",
    )  # fmt: skip
    return made, begun


def _own_number(value: Tensor) -> Tensor:
    """A number of its own, so that no two are taken for each other."""
    return value.clone() if value.numel() == 1 else value


def code_of(function: Any) -> Any:
    """Return the code of a callable, equal however often it is defined."""
    return getattr(function, "__code__", None) or type(function)


def _entry(key: Hashable) -> _Entry:
    with _lock:
        found = _entries.setdefault(key, _Entry())
        _entries.move_to_end(key)
        while len(_entries) > _MOST:
            _entries.popitem(last=False)
    return found


def kept_for_step(own: Asked, kind: Hashable, make: Callable[[], Made]) -> Made:
    """Return what ``make`` builds for this step, built once per kind; refusals are cached too.

    Raises:
        CannotCompile: it cannot be made.
    """
    if own.key is None or own.hindrance:
        raise CannotCompile(own.hindrance or "it cannot be traced.")
    made = own.entry.made
    if kind not in made:
        try:
            made[kind] = make()
        except CannotCompile as error:
            made[kind] = (type(error), str(error))
    found = made[kind]
    if isinstance(found, tuple):
        refused, said = found
        raise refused(said)
    return found  # type: ignore[no-any-return]


def forget() -> None:
    """Drop all cached traces."""
    _entries.clear()
