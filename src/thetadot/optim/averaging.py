"""Parameters that hold their running average for a while, with a model's statistics of that average."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from warnings import warn

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from thetadot.core.tensors import real_view
from thetadot.errors import InadmissibleValue
from thetadot.optim.engine.move import AVERAGE, AVERAGE_COUNT
from thetadot.optim.engine.shards import drop_gathered, is_sharded
from thetadot.state import generators_kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from torch import Tensor, nn

    from thetadot.optim.engine.host import Host


@contextmanager
def averages(host: Host, model: nn.Module | None, data: Iterable[Any] | None) -> Iterator[None]:
    """Inside, parameters hold their averages and ``model``'s buffers may change; afterwards all is as before.

    Args:
        host: keeps the averages.
        model: whose parameters these are.
        data: batches of inputs, or of tuples that begin with them, from which BatchNorm takes its statistics anew.

    Raises:
        InadmissibleValue: no average is kept, data without a model, or parameters are spread and no model is given.
    """
    moving = [(p, host.state.get(p, {})) for group in host.param_groups for p in group["params"]]
    _require_average(host, [p for p, _ in moving], model, data)
    kept = [
        (p, state[AVERAGE], p.detach().clone())
        for p, state in moving
        if AVERAGE in state and float(state[AVERAGE_COUNT]) > 0
    ]
    buffers = [] if model is None else [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        _gather_anew(model)
        with torch.no_grad():
            for p, average, _ in kept:
                real_view(p).copy_(average)
        if model is not None:
            _renew_statistics(model, data)
        yield
    finally:
        _gather_anew(model)
        with torch.no_grad():
            for tensor, before in (*((p, before) for p, _, before in kept), *buffers):
                tensor.copy_(before)


def _require_average(host: Host, params: list[Tensor], model: nn.Module | None, data: Iterable[Any] | None) -> None:
    if all(group["averaging"] is None for group in host.param_groups):
        raise InadmissibleValue("averaging=None: no average is kept. Build with averaging=0.999, say, or 1.0.")
    if model is None and data is not None:
        raise InadmissibleValue(
            "averaged() got data and no model whose statistics they give. Pass averaged(model, data)."
        )
    if model is None and any(is_sharded(p) for p in params):
        raise InadmissibleValue(
            "averaged() of parameters that are spread over ranks: FSDP2 may have gathered copies. Pass the model, "
            "averaged(model), so that it gathers them anew."
        )


def _gather_anew(model: nn.Module | None) -> None:
    if model is not None:
        drop_gathered(model)


def _renew_statistics(model: nn.Module, data: Iterable[Any] | None) -> None:
    """BatchNorm's running statistics at the averaged parameters, by torch's ``update_bn``; it draws nothing."""
    if not any(isinstance(module, _BatchNorm) and module.track_running_stats for module in model.modules()):
        return
    if data is None:
        warn(
            "averaged(model): the model has BatchNorm, whose running statistics are those of the last iterate, not of "
            "the average. Pass the training data too, averaged(model, loader): statistics are taken anew inside, and "
            "put back afterwards.",
            stacklevel=6,
        )
        return
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with generators_kept():
        update_bn(data, model, device)
