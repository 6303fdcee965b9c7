"""What a measured step did not show, in words, with the line that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

LINE = "Add one line to the loop, after the loss is computed: probe.loss(loss)"


def unseen(batch: int | None, loss: Tensor | None, evaluating: int = 0, loss_fn: object = None) -> dict[str, str]:
    """Say what a measured step did not show, and how to supply it."""
    if batch is None and evaluating:
        return {
            "samples": f"model is in eval(), and passes in it ({evaluating} in this step) are taken for validation. "
            "Call model.train(), and eval() only on the layers that are to keep their statistics or drop nothing; or "
            "call probe.passed(samples, loss) in the loop"
        }
    if batch is None:
        return {
            "samples": "no pass through model was seen. Pass the model that the loop calls (the compiled one, or "
            "torch.compile(model) in place of model.compile()), or call probe.passed(samples, loss) in the loop"
        }
    return {"training loss": _lossless(loss_fn)} if loss is None else {}


def _lossless(loss_fn: object) -> str:
    """Why no loss was seen, and the line that shows it."""
    if loss_fn is None:
        return f"the model's output carries none, and no loss_fn was given. {LINE}"
    if isinstance(loss_fn, nn.Module):
        name = type(loss_fn).__name__
        said = f"this {name} was not called in the step, so the loop uses another {name} or a "
        return f"{said}function. Pass the very module that the loop calls as loss_fn. Or: {LINE[0].lower()}{LINE[1:]}"
    name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
    return f"{name} is no module, and only calls of modules are seen. {LINE}"
