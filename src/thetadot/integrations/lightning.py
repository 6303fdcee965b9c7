"""Lightning: a callback that watches ``Trainer.fit``.

    trainer = Trainer(callbacks=[WatchCallback("runs/a", loss=lambda module, batch: mse(module(batch[0]), batch[1]))])

Gradients are those of the step, clipped and accumulated; loss and samples are told by Lightning's own hooks, so that it
does not matter what ``training_step`` calls. ``training_step`` itself is never called by a measurement: it logs, and
it feeds metrics. So measurements on the reference batch need ``loss``.
"""

from __future__ import annotations

import copy
import importlib
import sys
from typing import TYPE_CHECKING, Any

import torch

from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.monitor import Batch, watch
from thetadot.monitor.reference import samples_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from thetadot.monitor import Watch
    from thetadot.monitor.cadence import Level


def _host() -> Any:
    """The package that is in use, else the one that is installed."""
    names = sorted(("lightning.pytorch", "pytorch_lightning"), key=lambda name: name not in sys.modules)
    for name in names:
        try:
            return importlib.import_module(name).Callback
        except ImportError as error:
            missing = error
    raise ThetadotError("WatchCallback needs Lightning. Run: pip install 'thetadot[lightning]'.") from missing


class WatchCallback(_host()):  # type: ignore[misc]
    """Opens :func:`thetadot.watch` at the first training batch and closes it when fitting ends.

    Args:
        out: folder of the record; None keeps it in memory.
        loss: ``loss(module, batch)``, a mean over the batch that logs nothing. Without it curvature is not measured,
            and noise only where gradients are accumulated.
        reference: the fixed batch that it is measured on, as the loader gives it; the first training batch where it is
            None. 16 samples are needed for noise, hundreds are better.
        level: "light", "default" or "full".
        name: of the run.
        dataset_size: N; that of the training data where it is None and they tell it.
        resume: continue the record in ``out``.

    Attributes:
        probe: the :class:`~thetadot.monitor.Watch`; None before the first batch.

    Raises:
        InadmissibleValue: when fitting starts with more than one optimizer.
        RunFolderError: then, where ``out`` holds a record already.
    """

    def __init__(
        self,
        out: str | Path | None = None,
        *,
        loss: Callable[[Any, Any], Tensor] | None = None,
        reference: Any = None,
        level: Level = "default",
        name: str | None = None,
        dataset_size: int | None = None,
        resume: bool = False,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.reference = reference
        self.options: dict[str, Any] = {"out": out, "level": level, "name": name, "resume": resume}
        self.dataset_size = dataset_size
        self.probe: Watch | None = None
        self.samples = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """A fit of its own."""
        self.probe = None
        if len(trainer.optimizers) != 1:
            raise InadmissibleValue(
                f"{type(pl_module).__name__} has {len(trainer.optimizers)} optimizers; WatchCallback reads one. "
                "Use thetadot.watch inside the module for each that you want to read."
            )

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, _number: int) -> None:
        """The first batch is the reference, unless one was given."""
        self.samples = max(1, samples_in(batch))
        if self.probe is None or self.probe.closed:
            self._open(trainer, pl_module, batch)

    def on_before_backward(self, trainer: Any, _module: Any, loss: Tensor) -> None:
        """Note one pass before Lightning divides and scales the loss."""
        if self.probe is None:
            return
        told = loss.detach() * trainer.accumulate_grad_batches
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            told = told / scaler.scale(torch.ones((), device=told.device))
        self.probe.passed(self.samples, told)

    def on_fit_end(self, _trainer: Any, _module: Any) -> None:
        """Close the record when the fit ends."""
        if self.probe is not None:
            self.probe.close()

    def on_exception(self, _trainer: Any, _module: Any, _exception: BaseException) -> None:
        """Close the record with the exception."""
        if self.probe is not None:
            self.probe.close("exception")

    def _open(self, trainer: Any, module: Any, batch: Any) -> None:
        data = self.reference if self.reference is not None else batch
        reference = None
        if self.loss is not None:
            reference = Batch(module.transfer_batch_to_device(copy.deepcopy(data), module.device, 0), self.loss)
        wrapped = trainer.strategy.model
        parallel = isinstance(wrapped, torch.nn.parallel.DistributedDataParallel)
        dataset: Any = getattr(trainer.train_dataloader, "dataset", None)
        size = len(dataset) if self.dataset_size is None and hasattr(dataset, "__len__") else self.dataset_size
        model = wrapped if parallel else module
        self.probe = watch(model, trainer.optimizers[0], reference=reference, dataset_size=size, **self.options).start()
