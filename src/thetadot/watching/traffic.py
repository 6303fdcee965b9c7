"""What passes through the model between two steps: samples, passes, and the loss where a module makes it.

It listens on measured steps only: between them a step costs nothing here, and is taken to have the same batch. What the
user tells goes before what hooks see. Passes whose gradients were dropped (a loss scaler skipped the step) are
forgotten. Inside a graph that torch.compile makes nothing is seen, and nothing is added to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thetadot.watching.reference import carried, samples_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.utils.hooks import RemovableHandle


class Traffic:
    """Counts training passes of ``model``; sees the loss where ``loss_fn`` is a module or None.

    Args:
        model: what the loop calls.
        loss_fn: whatever it is.
        parameters: the watched ones.
        dropped: called when passes are forgotten.
    """

    def __init__(self, model: nn.Module, loss_fn: object, parameters: list[Any], dropped: Callable[[], None]) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.parameters = parameters
        self.dropped = dropped
        self.quiet = False  # while a probe calls the model
        self.swept = False  # a backward pass has come since the last step
        self.carries = loss_fn is None
        self.handles: list[RemovableHandle] = []
        self._forget()

    @property
    def listening(self) -> bool:
        """Whether the present step is measured."""
        return bool(self.handles)

    def listen(self) -> None:
        """Until :meth:`rest`."""
        self._forget()
        if self.listening:
            return
        self.handles = [
            self.model.register_forward_pre_hook(self.entered, with_kwargs=True),
            self.parameters[-1].register_post_accumulate_grad_hook(self._swept),
        ]
        if self.carries:
            self.handles.append(self.model.register_forward_hook(self._left))
        elif isinstance(self.loss_fn, nn.Module):
            self.handles.append(self.loss_fn.register_forward_hook(self._lost))

    def rest(self) -> None:
        """Take the hooks away."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def taken(self) -> tuple[list[int], Tensor | None]:
        """Sizes of the passes since the last call, and the mean of their losses."""
        sizes, losses = self.told or self.sizes, self.said or self.losses
        self._forget()
        if not losses:
            return sizes, None
        return sizes, losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def loss(self, value: Tensor | float) -> None:
        """Told by the user."""
        if self.listening:
            self.said.append(value.detach().reshape(()) if isinstance(value, Tensor) else torch.tensor(float(value)))

    def passed(self, samples: int) -> None:
        """Told by the user, before the backward pass."""
        if self.listening:
            self._drop()
            self.told.append(samples)

    def entered(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A pass begins."""
        if self._seen():
            self._drop()
            self.sizes.append(samples_in((args, kwargs)))

    def _left(self, _module: nn.Module, _args: object, output: Any) -> None:
        if self._seen():
            loss = carried(output)
            if loss is not None:
                self.losses.append(loss.detach().reshape(()))

    def _lost(self, _module: nn.Module, _args: object, output: Any) -> None:
        if self._seen() and isinstance(output, Tensor) and output.numel() == 1:
            self.losses.append(output.detach().reshape(()))

    def _swept(self, _parameter: Tensor) -> None:
        self.swept = True

    def _seen(self) -> bool:
        if torch.compiler.is_compiling():
            return False
        return not self.quiet and torch.is_grad_enabled() and self.model.training

    def _drop(self) -> None:
        if self.swept and all(p.grad is None for p in self.parameters):
            self._forget()
            self.dropped()

    def _forget(self) -> None:
        self.swept = False
        self.sizes: list[int] = []  # by hooks
        self.losses: list[Tensor] = []
        self.told: list[int] = []  # by the user
        self.said: list[Tensor] = []


def unseen(batch: int | None, loss: Tensor | None) -> dict[str, str]:
    """What a measured step did not show, and what would."""
    if batch is None:
        return {
            "samples": "no pass through model was seen. Pass the model that the loop calls (the compiled one, or "
            "torch.compile(model) in place of model.compile()), or call probe.passed(samples, loss) in the loop"
        }
    if loss is None:
        return {
            "training loss": "the loss was not seen: hooks do not see a function. Call probe.loss(loss) in the loop, "
            "or call a module, such as torch.nn.NLLLoss(), there and pass it as loss_fn"
        }
    return {}
