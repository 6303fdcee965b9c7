"""What a run would begin with, for a training loop of one's own: settings, an optimizer, a schedule."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler

from thetadot.core import signatures
from thetadot.core.formatting import between, count, plain, share
from thetadot.errors import require
from thetadot.training.plan import TrainingPlan

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import Tensor

    from thetadot.optim import Flow
    from thetadot.records import Choice, Constant, Curvature, Noise, Remark


class PlanLR(LRScheduler):
    """The schedule of a run's plan, step by step: lr constant, then in a straight line to 0.

        lr(k) = lr(0) · f((k + 1/2)/steps)

    Each group keeps its own lr(0), so that it may be any optimizer's. Where momentum rises as lr falls ("coupled"), it
    is set too.

    Args:
        optimizer: whose groups are scheduled.
        plan: f, as shares of its lr.
        steps: of the whole training; afterwards the last value stays.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = PlanLR(optimizer, TrainingPlan("adam", 0.1, 0.9, 16, 16, warmup=0.0), steps=10)
        >>> rates = []
        >>> for _ in range(10):
        ...     rates.append(round(schedule.get_last_lr()[0], 3))
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates  # constant, then to 0 in the last 40%
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.875, 0.625, 0.375, 0.125]
    """

    def __init__(self, optimizer: torch.optim.Optimizer, plan: TrainingPlan, steps: int) -> None:
        require(steps >= 1, f"steps={steps}", "is below 1", "Pass the steps of the whole training.")
        self.plan, self.steps = plan, steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The groups' learning rates at the present step."""
        now = self.plan.at((self.last_epoch + 0.5) / self.steps)
        if self.plan.annealing == "coupled":
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (now.momentum, *group["betas"][1:])
                elif "momentum" in group:
                    group["momentum"] = now.momentum
        return [base * (now.lr / self.plan.lr) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers and words, so that it loads with ``weights_only``."""
        return {**super().state_dict(), "plan": asdict(self.plan)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict({**state_dict, "plan": TrainingPlan(**state_dict["plan"])})


@dataclass(frozen=True, repr=False)
class Suggestion:
    """Settings for a loop of one's own, each with its reason.

    Attributes:
        plan: the settings as a function of the training's elapsed share.
        settings: each with its value, its reason, and the ends of its 95% interval where it follows from a measurement.
        remarks: what is badly scaled or in doubt, with the remedy.
        loss: at the first parameters, and its standard error.
        constant: what the best constant output comes to; None where there is none.
        noise: of the gradient; None where it was not measured.
        curvature: the largest; None where it was not measured.
        price: gradient evaluations of one sample that this took.
        samples: of the data.
        epochs: of the training.
    """

    plan: TrainingPlan
    settings: tuple[Choice, ...]
    remarks: tuple[Remark, ...]
    loss: tuple[float, float]
    constant: Constant | None
    noise: Noise | None
    curvature: Curvature | None
    price: float
    samples: int
    epochs: int

    @property
    def optimizer(self) -> str:
        """The kind of optimizer: "adam" or "heavy-ball"."""
        return self.plan.optimizer

    @property
    def lr(self) -> float:
        """Learning rate until it falls."""
        return self.plan.lr

    @property
    def momentum(self) -> float:
        """Momentum, β₁ of Adam."""
        return self.plan.momentum

    @property
    def batch_size(self) -> int:
        """Samples of a step."""
        return self.plan.batch_size

    @property
    def steps(self) -> int:
        """Steps of the training, of a loader that keeps the last batch."""
        return self.epochs * -(-self.samples // self.plan.batch_size)

    def build(self, params: Iterable[Tensor]) -> Flow:
        """Build the optimizer, a ``torch.optim.Optimizer``.

        Args:
            params: the model's parameters.
        """
        return self.plan.build(params)

    @signatures.checked
    def schedule(self, optimizer: torch.optim.Optimizer, steps: int | None = None) -> PlanLR:
        """Schedule an optimizer as a run would, step by step.

        Call ``step()`` of what is returned after each ``step()`` of the optimizer.

        Args:
            optimizer: of :meth:`build`, or another one, whose groups keep their own first lr.
            steps: of the whole training; None: ``epochs`` of loaders with ``batch_size``.
        """
        return PlanLR(optimizer, self.plan, self.steps if steps is None else steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the suggestion as plain numbers and words."""
        readings: dict[str, Any] = {"loss": self.loss[0], "loss_error": self.loss[1]}
        if self.constant is not None:
            readings |= {"constant_loss": self.constant.train_loss}
        if self.noise is not None:
            noise = self.noise
            scale = noise.noise_scale if math.isfinite(noise.noise_scale) else None
            readings |= {"noise_scale": scale, "noise_low": noise.low, "noise_resolved": noise.resolved}
            readings |= {"noise_high": noise.high if math.isfinite(noise.high) else None}
        if self.curvature is not None:
            found = self.curvature
            readings |= {"curvature": found.sharpness, "curvature_low": found.low, "curvature_high": found.high}
        return {
            **{name: getattr(self, name) for name in ("optimizer", "lr", "momentum", "batch_size", "steps", "epochs")},
            "annealing": self.plan.annealing,
            "warmup": self.plan.warmup,
            "price": self.price,
            "settings": [
                {name: getattr(choice, name) for name in ("setting", "value", "low", "high", "because", "source")}
                for choice in self.settings
            ],
            "remarks": [{"about": remark.about, "says": remark.says} for remark in self.remarks],
            "readings": readings,
        }

    def __repr__(self) -> str:
        return "\n".join(
            f"{name:<12} {value + interval:<10} {why}".rstrip() for name, value, interval, why in self._lines()
        )

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        head = "".join(f"<th {left}>{name}</th>" for name in ("", "", "why"))
        rows = "".join(
            f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(value + interval)}</td>"
            f"<td {left}>{html.escape(why)}</td></tr>"
            for name, value, interval, why in self._lines()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _lines(self) -> list[tuple[str, str, str, str]]:
        """Name, value, interval and reason of everything that is said."""
        found = [("careful", remark.about, "", remark.says) for remark in self.remarks]
        found += [
            (c.setting.replace("_", " "), plain(c.value) if not isinstance(c.value, str) else c.value,
             between(c.low, c.high), c.because)
            for c in self.settings
        ]  # fmt: skip
        found.append(
            ("steps", plain(self.steps), "", f"{count(self.epochs, 'epoch')} of {count(self.samples, 'sample')}")
        )
        found += self._readings()
        whole = self.epochs * self.samples
        price = f"gradient evaluations of one sample, {share(self.price / whole)} of the training's"
        return [*found, ("price", plain(round(self.price)), "", price)]

    def _readings(self) -> list[tuple[str, str, str, str]]:
        loss, error = self.loss
        found = [("loss", plain(loss), f" ± {plain(error, 2)}", "at the first parameters, with its standard error")]
        if self.constant is not None:
            why = f"the loss of {self.constant.says} alone: training has to end below it"
            found.append(("constant", plain(self.constant.train_loss), "", why))
        if self.noise is not None:
            noise, least = self.noise, "" if self.noise.resolved else "at least "
            interval = between(noise.low, noise.high) if noise.resolved else ""
            why = "samples in whose mean gradient noise and signal are equal, at the first parameters"
            found.append(("noise scale", least + plain(noise.noise_scale), interval, why))
        if self.curvature is not None:
            sharpest = self.curvature
            most = f"; gradient steps without momentum grow above lr {plain(2.0 / sharpest.sharpness)}"
            why = f"the largest of the loss, at the first parameters{most if sharpest.sharpness > 0 else ''}"
            found.append(("curvature", plain(sharpest.sharpness), between(sharpest.low, sharpest.high), why))
        return found
