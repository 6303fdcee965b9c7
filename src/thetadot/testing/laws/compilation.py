"""A compiled step: one trace for all settings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from thetadot.testing.compare import expect_close, expect_moved
from thetadot.testing.law import law

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from thetadot.testing.subject import Subject

SHAPES = ((3, 2), (4,), (1,))  # torch.compile loses writes to float64 tensors of shape () on the CPU
_LRS, _MOMENTA = (1.0, 0.5, 0.25, 0.8), (0.9, 0.8, 0.7, 0.95)


def _stepper(optimizer: Any) -> Callable[[], Any]:
    def step() -> None:
        optimizer.step()

    return step


def compiled_and_eager(
    subject: Subject, backend: str, shapes: Sequence[tuple[int, ...]] = SHAPES
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Parameters after the same schedule with a compiled step and with a plain one.

    Settings are tensors that are written to. A second trace is an error.
    """
    sides = []
    for compiled in (True, False):
        params = subject.tensors(shapes=shapes)
        tensors = {"lr": torch.tensor(subject.traits.lr, dtype=torch.float64)}
        if subject.traits.momentum:
            tensors["momentum"] = torch.tensor(0.9, dtype=torch.float64)
        optimizer = subject.optimizer(params, capturable=True, **tensors)
        if hasattr(optimizer, "init_state"):
            optimizer.init_state()
        step: Any = (
            torch.compile(_stepper(optimizer), backend=backend, fullgraph=True) if compiled else (optimizer.step)
        )
        for n, (lr, momentum) in enumerate(zip(_LRS, _MOMENTA, strict=True)):
            tensors["lr"].fill_(subject.traits.lr * lr)
            if "momentum" in tensors:
                tensors["momentum"].fill_(momentum)
            optimizer.zero_grad(set_to_none=False)
            subject.loss(params).backward()  # type: ignore[no-untyped-call]
            with torch._dynamo.config.patch(error_on_recompile=n > 0):  # noqa: SLF001 - torch has no other name for it
                step()
        sides.append(params)
    torch._dynamo.reset()  # noqa: SLF001
    return sides[0], sides[1]


@law(applies=lambda traits: traits.capturable and not traits.closure, slow=True)
def a_compiled_step_is_traced_once(subject: Subject) -> None:
    """With settings in tensors a step is one graph, traced once for a whole schedule, and moves as the plain one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # dynamo's own, of torch.jit
        compiled, plain = compiled_and_eager(subject, "aot_eager")
    expect_moved(plain, subject.tensors(shapes=SHAPES), "the schedule")
    expect_close(compiled, plain, 1e-7 if subject.traits.noisy else 1e-12, "compiled and plain")
