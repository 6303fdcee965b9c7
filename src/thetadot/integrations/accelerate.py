"""accelerate: what :func:`thetadot.watch` needs to know of what ``Accelerator.prepare`` made.

Steps that accumulate do nothing and are not counted; mixed precision, ranks and compiled models are looked through.
Trackers take the numbers by their own call::

    records.export(probe.record, lambda values, step: accelerator.log(values, step=step))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.monitor import watch as _watch

if TYPE_CHECKING:
    from thetadot.monitor import Watch

try:
    from accelerate.optimizer import AcceleratedOptimizer
    from accelerate.utils import send_to_device
except ImportError as error:
    raise ThetadotError("watch needs accelerate. Run: pip install 'thetadot[accelerate]'.") from error


def watch(accelerator: Any, model: Any, optimizer: Any, *, reference: Any = None, **options: Any) -> Watch:
    """:func:`thetadot.watch` on what ``accelerator.prepare`` returned; open it on every process.

    Args:
        accelerator: an ``accelerate.Accelerator``.
        model: prepared.
        optimizer: prepared.
        reference: sent to the accelerator's device.
        options: those of :func:`thetadot.watch`.

    Raises:
        InadmissibleValue: the optimizer was not prepared: preparing may replace the parameters that it holds.
    """
    if not isinstance(optimizer, AcceleratedOptimizer):
        raise InadmissibleValue(
            f"optimizer is of type {type(optimizer).__name__}, not prepared. "
            "Pass what accelerator.prepare(model, optimizer) returned."
        )
    if reference is not None and not callable(reference):
        reference = send_to_device(reference, accelerator.device)
    return _watch(model, optimizer, reference=reference, **options)
