"""Closures that are called more than once a step see the same random numbers each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.validation import said_of
from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def replayable(closure: Callable[[], Any], devices: Iterable[torch.device]) -> Callable[[], Any]:
    """``closure`` with grad enabled; from the second call on, random numbers are those of the first.

    Dropout masks so stay one function of the parameters during a step. After each repetition the generators stand
    where the first call left them.
    """
    cuda = [device for device in devices if device.type == "cuda"]
    before: list[Any] = []

    def evaluate() -> Any:
        with torch.enable_grad():
            if not before:
                before.extend((torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in cuda]))
                return _call_closure(closure)
            with torch.random.fork_rng(devices=cuda):
                torch.set_rng_state(before[0])
                for device, state in zip(cuda, before[1], strict=True):
                    torch.cuda.set_rng_state(state, device)
                return _call_closure(closure)

    return evaluate


def _call_closure(closure: Callable[[], Any]) -> Any:
    try:
        return closure()
    except TypeError as error:
        trace = error.__traceback__
        if trace is not None and trace.tb_next is None:  # it was not entered
            raise InadmissibleValue(
                f"closure={said_of(closure)} cannot be called without arguments ({error}). Pass a function that "
                "recomputes the loss and its gradients."
            ) from error
        raise
