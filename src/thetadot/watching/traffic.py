"""What passes through the model between two steps: samples, passes, and the loss where a module makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Traffic:
    """Counts training passes of ``model``; sees the loss where ``loss_fn`` is a module or the output has ``.loss``."""

    def __init__(self, model: nn.Module, loss_fn: object) -> None:
        self.model = model
        self.sizes: list[int] = []
        self.losses: list[Tensor] = []
        self.quiet = False  # while a probe calls the model
        self.carrying: RemovableHandle = model.register_forward_hook(self._left)
        self.handles: list[RemovableHandle] = [
            model.register_forward_pre_hook(self._entered, with_kwargs=True),
            self.carrying,
        ]
        if isinstance(loss_fn, nn.Module):
            self.handles.append(loss_fn.register_forward_hook(self._lost))

    def taken(self) -> tuple[list[int], Tensor | None]:
        """Sizes of the passes since the last call, and the mean of their losses."""
        sizes, losses = self.sizes, self.losses
        self.sizes, self.losses = [], []
        if not losses:
            return sizes, None
        return sizes, losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def loss(self, value: Tensor | float) -> None:
        """Told by the user."""
        self.losses.append(value.detach() if isinstance(value, Tensor) else torch.tensor(float(value)))

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self.handles:
            handle.remove()

    def _seen(self) -> bool:
        return not self.quiet and torch.is_grad_enabled() and self.model.training

    def _entered(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._seen():
            for value in (*args, *kwargs.values()):
                if isinstance(value, Tensor) and value.dim() > 0:
                    self.sizes.append(value.shape[0])
                    return
            self.sizes.append(0)

    def _left(self, _module: nn.Module, _args: object, output: Any) -> None:
        if self._seen():
            loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
            if isinstance(loss, Tensor) and loss.numel() == 1:
                self.losses.append(loss.detach().reshape(()))
            else:
                self.carrying.remove()  # a model whose output carries no loss need not be asked again

    def _lost(self, _module: nn.Module, _args: object, output: Any) -> None:
        if self._seen() and isinstance(output, Tensor) and output.numel() == 1:
            self.losses.append(output.detach().reshape(()))
