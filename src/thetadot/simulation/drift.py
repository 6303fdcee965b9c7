"""Recordings of drifts where every path has its own time: the keys of cached kernels."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from thetadot.core.tensors import tensor_of
from thetadot.fusion.recording import Recorder
from thetadot.integrators.runge_kutta import moving, slopes
from thetadot.simulation.asked import PATHS, Asked, code_of
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from thetadot.core.annotations import State
    from thetadot.simulation.motion import PosedMotion


def asked_slopes(motion: PosedMotion, state: State) -> Asked:
    """Ask the slopes of all variables, of some of the paths.

    Args:
        motion: what moves.
        state: at the start, whole; clocks are numbers, or one a path.
    """
    like = tensor_of(state, POSITION)
    paths = next(number for number in PATHS if number != like.shape[-1])
    rows = torch.arange(paths, device=like.device) % len(like)
    some: State = {}
    for name in moving(motion.system):
        value = torch.as_tensor(state[name]).detach()
        if name in motion.system.scalars:
            some[name] = value.double().to(like.device) * torch.ones_like(like[:1, :1]).double().expand(paths, 1)
        else:
            some[name] = value[rows].contiguous()
    said = ""
    for silent in (True, False):
        try:
            return _recorded_step(motion, some, silent=silent)
        except Exception as error:  # noqa: BLE001 - a user's function may throw anything
            said = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
    return Asked(None, 0, 0, 0.0, 0.0, silent=False, hindrance=f"it cannot be asked of {paths} paths ({said}).")


def _recorded_step(motion: PosedMotion, some: State, *, silent: bool) -> Asked:
    position = tensor_of(some, POSITION)
    known = {name: tensor_of(some, name) for name in some}
    with Recorder(known) as recorder, torch.no_grad() if silent else nullcontext():
        found = slopes(motion.system, some, motion.force(position), 1.0)
        ends = tuple((name, recorder.place_of(value)) for name, value in found.items())
        recording = recorder.recording
    paths, dim = position.shape
    key = (
        "slopes",
        *(code_of(part) for part in (motion.system, motion.potential, getattr(motion.system, "f", None))),
        (str(position.dtype), str(position.device), dim, torch.get_default_dtype(), silent),
        tuple(recording.lines),
        ends,
    )
    hindrance = recording.hindrance and f"{recording.hindrance}."
    per_path = (recording.elements / paths, recording.products / paths)
    return Asked(key, 0, recording.calls, *per_path, silent, hindrance)
