r"""Schedules as a torch ``LRScheduler``, for torch's optimizers and for ours.

    lr(k) = lr₀ s(t),    t in the middle of step k

Each group keeps its own lr₀ and w₀; momentum (β₁ of Adam) is set where the schedule moves it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from thetadot.core.cayley import step_of
from thetadot.core.validation import said_of
from thetadot.errors import InadmissibleValue, require
from thetadot.schedules.clock import Clock
from thetadot.schedules.coupled import Coupled
from thetadot.schedules.curves import Curve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

MOVABLE = ("lr", "momentum", "weight_decay")
_CLOSE = 1e-6  # float32 keeps a learning rate to 6e-8 of itself


class ScheduleLR(LRScheduler):
    """A schedule of a torch optimizer, step by step.

    Call ``step()`` after each ``step()`` of the optimizer. The settings of a step are those in its middle, so that a
    schedule that begins or ends at 0 wastes no step; of physical time, which the settings themselves make, those at its
    beginning. In torch's ``SequentialLR`` time begins when its turn comes; in ``ChainedScheduler``, and beside anything
    else that changes lr on the way, the changes of others multiply it.

    Args:
        optimizer: any of torch's or ours; its groups keep their own lr and weight decay, which the schedule multiplies.
        schedule: a curve or function of time, in parts of the lr; a :class:`Coupled`; or a mapping of "lr",
            "momentum" (its value, β₁ of Adam) and "weight_decay" (in parts) to curves.
        clock: of the time, :class:`Clock`; a word stands for a clock of that unit, None for steps.

    Raises:
        InadmissibleValue: the optimizer lacks what the schedule moves or begins elsewhere than a :class:`Coupled`;
            physical time that begins at lr = 0, where it stands still. Groups are as before.

    Example:
        >>> import torch
        >>> from thetadot.schedules import Linear, warmup_stable_decay
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
        >>> schedule = ScheduleLR(optimizer, Linear(4))
        >>> rates = []
        >>> for _ in range(5):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.75, 1.25, 0.75, 0.25, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Callable[[float], float] | Coupled | Mapping[str, Callable[[float], float]],
        clock: Clock | str | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise InadmissibleValue(
                f"optimizer={said_of(optimizer)} is no torch.optim.Optimizer. Pass the one whose groups are scheduled."
            )
        self.clock = clock if isinstance(clock, Clock) else Clock(clock or "steps")  # type: ignore[arg-type]
        self.schedule = schedule if isinstance(schedule, Coupled) else _curves(schedule)
        for place, group in enumerate(optimizer.param_groups):
            self._require_fits(group, place)
        self.time = 0.0  # physical, before the present step
        self.others = [1.0] * len(optimizer.param_groups)  # by what others have multiplied lr
        self.left: list[float] = []  # lr as it was left
        self.base_decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]
        shares = self._shares(self._now(0))
        if self.clock.unit == "time" and not shares["lr"]:
            raise InadmissibleValue(
                "the schedule begins at lr=0, where physical time does not pass: it would stay there. "
                "Let it begin above 0, or count steps."
            )
        super().__init__(optimizer)

    def _require_fits(self, group: dict[str, Any], place: int) -> None:
        momentum = _momentum_of(group)
        moved = set(self.schedule) if isinstance(self.schedule, dict) else _moved_by(self.schedule)
        if "momentum" in moved and momentum is None:
            raise InadmissibleValue(
                f"group {place} of the optimizer has neither momentum nor betas, and the schedule moves the momentum. "
                "Take an optimizer with momentum, or a schedule of lr alone."
            )
        if "weight_decay" in moved and "weight_decay" not in group:
            raise InadmissibleValue(
                f"group {place} of the optimizer has no weight_decay, and the schedule moves it. "
                "Take an optimizer with weight decay, or a schedule of lr alone."
            )
        if isinstance(self.schedule, Coupled) and "momentum" in moved:
            first = self.schedule.momentum
            require(
                math.isclose(float(momentum or 0.0), first, rel_tol=_CLOSE),
                f"momentum={float(momentum or 0.0):g} of group {place}",
                f"is not the schedule's first, {first:g}",
                f"Build the optimizer with it, or the schedule with momentum={float(momentum or 0.0):g}.",
            )
            mean = "betas" in group or bool(group.get("dampening"))
            require(
                mean == (self.schedule.velocity == "mean"),
                f"velocity={self.schedule.velocity!r}",
                f"is not what group {place} has, whose velocity is a {'mean' if mean else 'sum'} of gradients",
                f"Pass velocity={'mean' if mean else 'sum'!r}.",
            )

    # The settings of a step.

    def _now(self, step: int) -> float:
        return self.time if self.clock.unit == "time" else self.clock.middle(step)

    def _shares(self, t: float) -> dict[str, float]:
        """What is set at time t: shares of lr and weight decay, the momentum itself."""
        if isinstance(self.schedule, Coupled):
            point, first = self.schedule(t), self.schedule
            found = {"lr": point.lr / first.lr}
            moved = _moved_by(first)
            if "momentum" in moved:
                found["momentum"] = point.momentum
            if "weight_decay" in moved:
                found["weight_decay"] = point.weight_decay / first.weight_decay if first.weight_decay else 1.0
            return found
        found = {name: float(curve(t)) for name, curve in self.schedule.items()}
        for name, value in found.items():
            below = 1.0 if name == "momentum" else math.inf
            require(
                0 <= value < below,
                f"{name}={value:g} at time {t:g}",
                f"is outside [0, {below:g})",
                "Pass a schedule that stays within.",
            )
        return {"lr": 1.0} | found

    def get_lr(self) -> list[float | Tensor]:
        """Return the groups' learning rates at the present step, and set what else moves."""
        groups = self.optimizer.param_groups
        now = [float(group["lr"]) for group in groups]
        if self._is_initial:
            self.time = 0.0
            self.others = [_ratio(lr, float(base)) for lr, base in zip(now, self.base_lrs, strict=True)]
        elif self.last_epoch == 0:  # its turn begins in a SequentialLR
            self.time, self.others = 0.0, [1.0] * len(groups)
        else:
            if self.clock.unit == "time":
                self.time += float(step_of(now[0], float(_momentum_of(groups[0]) or 0.0)))
            self.others = [
                other * _ratio(lr, left) for other, lr, left in zip(self.others, now, self.left, strict=True)
            ]
        shares = self._shares(self._now(self.last_epoch))
        for group, decay in zip(groups, self.base_decays, strict=True):
            if "momentum" in shares:
                _put_momentum(group, shares["momentum"])
            if "weight_decay" in shares:
                group["weight_decay"] = decay * shares["weight_decay"]
        rates = [base * other * shares["lr"] for base, other in zip(self.base_lrs, self.others, strict=True)]
        self.left = [float(rate) for rate in rates]
        return rates

    # What is saved.

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers and words, so that it loads with ``weights_only``.

        A schedule is a function and not state: it is given again, and compared by what it prints.
        """
        state = super().state_dict()
        return {name: value for name, value in state.items() if name not in ("schedule", "clock")} | {
            "says": self._says
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            InadmissibleValue: the state is another schedule's, or of other groups; nothing is changed.
        """
        state = dict(state_dict)
        says, groups = state.pop("says", None), state.get("base_lrs")
        alike = isinstance(groups, list) and len(groups) == len(self.base_lrs)
        if not alike or not state.keys() <= self.__dict__.keys() - {"optimizer", "schedule", "clock"}:
            raise InadmissibleValue("the state is not that of a schedule with as many groups. Pass its state_dict().")
        if says != self._says and None not in (says, self._says):
            raise InadmissibleValue(
                f"the state is of {said_of(says)}, and this schedule is {said_of(self._says)}. "
                "Build it with the schedule that was saved; set another one afterwards, as .schedule."
            )
        super().load_state_dict(state)

    @property
    def _says(self) -> str | None:
        """The schedule in words; None of functions, which print where they lie in memory."""
        curves = (self.schedule.along,) if isinstance(self.schedule, Coupled) else tuple(self.schedule.values())
        return repr(self.schedule) if all(isinstance(curve, Curve) for curve in curves) else None


def _curves(schedule: Any) -> dict[str, Callable[[float], float]]:
    found = dict(schedule) if isinstance(schedule, dict) else {"lr": schedule}
    for name, curve in found.items():
        if name not in MOVABLE:
            raise InadmissibleValue(f"schedule of {name!r} is unknown. Pass {', '.join(map(repr, MOVABLE))}.")
        if not isinstance(curve, Callable) or isinstance(curve, type):  # type: ignore[arg-type]
            raise InadmissibleValue(
                f"schedule={said_of(curve)} of {name} is no function of time. Pass one, such as Cosine(1000)."
            )
    require(bool(found), "schedule={}", "is empty", "Pass a schedule of lr.")
    return found


def _moved_by(coupled: Coupled) -> set[str]:
    """What may change of an optimizer's settings."""
    moved = {name for name in MOVABLE if name in ("lr", coupled.moves)}
    if {"friction", "clock"} & set(coupled.holds):
        moved.add("momentum")
    if "decay time" in coupled.holds:
        moved.add("weight_decay")
    return moved


def _momentum_of(group: dict[str, Any]) -> float | None:
    if "betas" in group:
        return float(group["betas"][0])
    return float(group["momentum"]) if "momentum" in group else None


def _put_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _ratio(now: float, left: float) -> float:
    """By how much another has changed it since; 1 to what float32 keeps, and where nothing can be told."""
    if not left or not math.isfinite(now / left) or math.isclose(now, left, rel_tol=_CLOSE):
        return 1.0
    return now / left
