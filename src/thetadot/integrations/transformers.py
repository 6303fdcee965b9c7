"""transformers: a callback that watches ``Trainer.train``.

    Trainer(model, arguments, train_dataset=data, callbacks=[WatchCallback("runs/a")])

The reference batch is the first that is trained on, unless one is given: nothing is drawn from the loader or from a
generator. Where the model is handed the number of targets in the whole step (``num_items_in_batch``), the losses of its
passes are summed as the Trainer sums them.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.output_loss import carried
from thetadot.errors import ThetadotError
from thetadot.monitor import Batch, watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from thetadot.monitor import Watch
    from thetadot.monitor.cadence import Level

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ThetadotError("WatchCallback needs transformers. Run: pip install 'thetadot[transformers]'.") from error


class WatchCallback(TrainerCallback):
    """Opens :func:`thetadot.watch` at the first pass and closes it when training ends.

    A training that raises leaves the record without its last line, as one that was cut off.

    Args:
        out: folder of the record; None keeps it in memory.
        loss: ``loss(model, batch)``, a mean over the batch; None where the model's output has ``.loss``. Give it where
            the Trainer computes the loss itself (``compute_loss_func``, label smoothing).
        reference: the fixed batch, a dict of keyword arguments of the model; with ``torch_compile`` it has to be given.
        level: "light", "default" or "full".
        name: of the run.
        dataset_size: N; that of the training data where it is None and they tell it.
        resume: continue the record in ``out``.

    Attributes:
        probe: the :class:`~thetadot.monitor.Watch`; None before the first pass.

    Raises:
        RunFolderError: when training starts, where ``out`` holds a record already.
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
        self.loss = loss
        self.reference = reference
        self.options: dict[str, Any] = {"out": out, "level": level, "name": name, "resume": resume}
        self.dataset_size = dataset_size
        self.probe: Watch | None = None
        self.optimizer: Any = None
        self.losses: list[Tensor] = []
        self.handles: list[Any] = []
        self.ranks = 1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Wait for the first pass."""
        model = kwargs["model"]
        self.probe, self.optimizer, self.losses, self.ranks = None, kwargs["optimizer"], [], args.world_size
        dataset: Any = getattr(kwargs.get("train_dataloader"), "dataset", None)
        size = len(dataset) if self.dataset_size is None and hasattr(dataset, "__len__") else self.dataset_size
        self.options["dataset_size"] = size
        self.handles = [
            model.register_forward_pre_hook(self._entered, with_kwargs=True),
            model.register_forward_hook(self._left, with_kwargs=True),
        ]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Tell the loss of a step whose passes share one count of targets."""
        if self.probe is None:  # no pass was seen: the model is compiled
            self._open(kwargs["model"], self.reference)
        if self.probe is None:
            return
        if self.losses:
            shares = args.world_size if args.average_tokens_across_devices else 1
            self.probe.loss(torch.stack(self.losses).sum() * shares)
            self.losses = []
        if self.ranks > 1 and self.probe.ranks == 1 and self.probe.hooks.listening:
            self.probe.samples_of(max(1, sum(self.probe.hooks.sizes)) * self.ranks)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Remove the hooks and close the record."""
        for handle in self.handles:
            handle.remove()
        if self.probe is not None:
            self.probe.close()

    def _entered(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._training(model) or self.probe is not None:
            return
        given = {name: copy.deepcopy(value) for name, value in kwargs.items() if name != "num_items_in_batch"}
        self._open(model, given if self.reference is None else dict(self.reference))
        assert self.probe is not None  # noqa: S101 - just opened
        self.probe.hooks.entered(model, args, kwargs)  # hooks that a pass finds set are those it calls

    def _left(self, model: Any, _args: object, kwargs: dict[str, Any], output: Any) -> None:
        if self._training(model) and kwargs.get("num_items_in_batch") is not None:
            loss = carried(output)
            if loss is not None:
                self.losses.append(loss.detach().reshape(()))

    def _training(self, model: Any) -> bool:
        """A pass of the training, not one of an evaluation or of a measurement."""
        if torch.compiler.is_compiling() or (self.probe is not None and self.probe.hooks.quiet):
            return False
        return bool(torch.is_grad_enabled() and model.training)

    def _open(self, model: Any, reference: Any) -> None:
        if reference is not None and self.loss is not None:
            reference = Batch(reference, self.loss)
        self.probe = watch(model, self.optimizer, reference=reference, **self.options).start()
