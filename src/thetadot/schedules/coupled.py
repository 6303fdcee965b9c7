r"""Coupled schedules: one setting moves, or the temperature, and others follow, so that an invariant holds exactly.

    friction        λ = (1-β)√(2/(α(1+β)))        how fast a velocity is lost, in the motion's own time
    clock           α/(1-β)                       how far a slope is followed in one step
    temperature     α/((1-β) Bᵖ)                  noise that is kept up: p = 1, or 1/2 behind a preconditioner of noise
    decay time      B/(lr·w)                      samples after which weight decay has forgotten; l2: B(1-β)/(αw)

α is lr where the velocity sums gradients (heavy ball), and lr(1-β) where it is their mean (Adam's β₁, or dampening).
A batch is a whole number: what follows it makes up for the rounding, so that the invariant is exact to float64.

Temperature itself may move: then the batch grows first, up to the largest, and after that the step falls.

Source:
    Su Jianlin, https://kexue.fm/archives/5655 (2018): small batch and large step first, batch up, then step down.
    Smith, Kindermans, Ying, Le, "Don't decay the learning rate, increase the batch size", 1711.00489.
    Seesaw, 2510.14717: where a schedule halves lr, Adam takes lr/√2 and 2B; this is p = 1/2.
    Wang, Aitchison, 2405.13698: the decay time of AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence  # noqa: TC003 - asked at run time
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from thetadot.core.cayley import cayley, damping, friction_of, kept_friction, lr_of
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, require
from thetadot.schedules.coupling import with_friction

Moved = Literal["lr", "momentum", "batch_size", "weight_decay", "temperature"]
Invariant = Literal["friction", "clock", "temperature", "decay time"]
Velocity = Literal["sum", "mean"]
Decay = Literal["decoupled", "l2"]


class StepSettings(NamedTuple):
    """All settings of one step."""

    lr: float
    momentum: float
    batch_size: int
    weight_decay: float


@checked
@dataclass(frozen=True)
class Coupled:
    """A schedule of one setting, which others follow at fixed invariants.

    Args:
        along: of time: what moves, in parts of its first value; of the momentum, its value itself.
        moves: which setting, or the temperature.
        holds: the invariants, one or several.
        lr: first learning rate > 0.
        momentum: first 0 <= β < 1 (β₁ of Adam).
        batch_size: first B >= 1.
        weight_decay: first w >= 0.
        velocity: "sum" of gradients (SGD's and heavy ball's momentum) or their "mean" (Adam).
        decay: "decoupled", or "l2", which is in the gradient.
        largest_batch: no batch is larger; None: no limit.
        multiple: batches are multiples of this one, as of the number of ranks.
        power: p in (0, 1], by which the batch cools.

    Raises:
        InadmissibleValue: out of range, two invariants that leave nothing to move, or, when it is called, a setting
            that would have to leave its range: a momentum below 0, or lr = 0 at fixed friction, where β is 1.

    Example:
        >>> from thetadot.schedules import Linear
        >>> falling = Coupled(Linear(100, 1.0, 0.01), "lr", "friction", lr=0.1, momentum=0.9)
        >>> end = falling(100)
        >>> round(end.lr, 6), round(end.momentum, 6)
        (0.001, 0.989766)
        >>> round(falling.invariants(0)["friction"], 9) == round(falling.invariants(100)["friction"], 9)
        True
        >>> cooling = Coupled(Linear(100, 1.0, 0.1), "temperature", lr=0.1, batch_size=32, largest_batch=128)
        >>> [(cooling(t).batch_size, round(cooling(t).lr, 4)) for t in (0, 50, 100)]  # batch up, then step down
        [(32, 0.1), (58, 0.0997), (128, 0.04)]
    """

    along: Callable[[float], float]
    moves: Moved = "lr"
    holds: Sequence[Invariant] | Invariant = ()
    lr: float = 1.0
    momentum: float = 0.0
    batch_size: int = 1
    weight_decay: float = 0.0
    velocity: Velocity = "sum"
    decay: Decay = "decoupled"
    largest_batch: int | None = None
    multiple: int = 1
    power: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", (self.holds,) if isinstance(self.holds, str) else tuple(self.holds))
        self._require_ranges()
        for name, value, known in (("moves", self.moves, Moved), *(("holds", one, Invariant) for one in self.holds)):
            choices = get_args(known)
            require(
                value in choices, f"{name}={value!r}", "is unknown", f"Pass one of {', '.join(map(repr, choices))}."
            )
        self._require_freedom()

    def _require_ranges(self) -> None:
        require(0 < self.lr < math.inf, f"lr={self.lr:g}", "is not positive and finite", "Pass the first lr > 0.")
        require(0 <= self.momentum < 1, f"momentum={self.momentum:g}", "is outside [0, 1)", "Pass 0 <= momentum < 1.")
        require(
            0 <= self.weight_decay < math.inf,
            f"weight_decay={self.weight_decay:g}",
            "is negative or not finite",
            "Pass weight_decay >= 0.",
        )
        require(0 < self.power <= 1, f"power={self.power:g}", "is outside (0, 1]", "Pass 1, or 0.5 for Adam.")
        require(self.multiple >= 1, f"multiple={self.multiple}", "is below 1", "Pass multiple >= 1.")
        require(
            self.batch_size >= 1 and self.batch_size % self.multiple == 0,
            f"batch_size={self.batch_size}",
            f"is no multiple of {self.multiple} that is at least 1",
            f"Pass {max(1, round(self.batch_size / self.multiple)) * self.multiple}.",
        )
        largest = self.largest_batch
        require(
            largest is None or largest >= self.batch_size,
            f"largest_batch={largest}",
            f"is below batch_size={self.batch_size}",
            "Pass a largest batch at least as large.",
        )

    def _require_freedom(self) -> None:
        """Two invariants may fix all that could follow."""
        held = set(self.holds)
        fixed = {"friction", "clock"} <= held and self.moves not in ("batch_size", "weight_decay")
        if fixed or (self._decay_moves_lr and {"friction", "clock"} <= held):
            raise InadmissibleValue(
                f"holds={tuple(self.holds)} fixes both lr and momentum while {self.moves} moves. "
                "Hold friction or clock, not both."
            )
        cooled = self.moves == "temperature" or (self.moves == "batch_size" and "temperature" in held)
        if cooled and "clock" in held:
            raise InadmissibleValue(
                f"holds={tuple(self.holds)} while {self.moves} moves leaves no lr to make up for it: at a fixed clock "
                "temperature goes with the batch alone. Hold one of them."
            )
        if self.moves == "temperature" and "temperature" in held:
            raise InadmissibleValue(
                "moves='temperature' and holds 'temperature' are opposites. Hold others, such as 'friction', or none."
            )
        if self.velocity == "mean" and (self.moves == "lr" or self._decay_moves_lr) and "clock" in held:
            raise InadmissibleValue(
                "an lr that moves at a fixed clock cannot be where the velocity is a mean: the clock is lr itself. "
                "Move the momentum, or hold friction."
            )
        if self._decay_moves_lr and ("temperature" in held or ("clock" in held and self._pulls_by_clock)):
            other = "temperature" if "temperature" in held else "clock"
            raise InadmissibleValue(
                f"holds={tuple(self.holds)} while weight_decay moves leaves nothing that could follow. "
                f"Hold 'decay time' or {other!r}."
            )
        if "decay time" in held and not self.weight_decay:
            raise InadmissibleValue("holds 'decay time' with weight_decay=0, which is endless. Pass weight_decay > 0.")

    @property
    def _decay_moves_lr(self) -> bool:
        return self.moves == "weight_decay" and "decay time" in self.holds

    @property
    def _pulls_by_clock(self) -> bool:
        """Whether weight decay acts through the velocity, as the gradient does."""
        return self.decay == "l2" and self.velocity == "sum"

    def __call__(self, t: float) -> StepSettings:
        """All settings at time t."""
        value = float(self.along(t))
        require(math.isfinite(value), f"along({t:g})={value:g}", "is not finite", "Pass a schedule of finite values.")
        if self.moves == "momentum":
            require(0 <= value < 1, f"momentum={value:g} at time {t:g}", "is outside [0, 1)", "Let it move within.")
        else:
            self._require_share(value, t)
        lr, momentum, batch = self._moved(value)
        require(
            0 <= momentum < 1,
            f"momentum={momentum:g} at time {t:g}",
            f"would be needed to hold {' and '.join(self.holds)}, outside [0, 1)",
            f"Let {self.moves} move less far, or begin at another momentum.",
        )
        decay = self.weight_decay * (value if self.moves == "weight_decay" else 1.0)
        if "decay time" in self.holds:
            rate = self._pull(lr, momentum) / self._pull(self.lr, self.momentum)
            decay = self.weight_decay * (batch / self.batch_size) / rate
        return StepSettings(lr, momentum, batch, decay)

    def _require_share(self, share: float, t: float) -> None:
        require(share >= 0, f"along({t:g})={share:g}", "is negative", "Pass a schedule of shares >= 0.")
        held = [name for name in self.holds if name != "temperature"]
        needed = held or self.moves in ("batch_size", "weight_decay") or "temperature" in self.holds
        require(
            share > 0 or not needed,
            f"along({t:g})=0 of {self.moves}",
            "cannot be reached while others follow: they would leave their ranges (at lr = 0 friction needs β = 1)",
            "Let it end above 0, such as at 0.01.",
        )

    def _moved(self, value: float) -> tuple[float, float, int]:  # noqa: PLR0911 - a case each
        """Lr, momentum and batch."""
        share = 1.0 / value if self._decay_moves_lr else value
        if self.moves == "momentum":
            return self._at_momentum(value)
        if self.moves == "weight_decay" and not self._decay_moves_lr:
            return self.lr, self.momentum, self.batch_size
        if self._decay_moves_lr and self._pulls_by_clock:
            return *self._at_clock(share), self.batch_size
        if self.moves == "temperature":
            batch = self._whole(self.batch_size * share ** (-1.0 / self.power) if share else math.inf, math.floor)
            batch = max(batch, self.batch_size)
            return *self._at_clock(share * self._cooled(batch)), batch
        if self.moves == "batch_size":
            batch = self._whole(self.batch_size * share, round)
            if "temperature" in self.holds:
                return *self._at_clock(self._cooled(batch)), batch
            return self.lr, self.momentum, batch
        return self._at_lr(share)

    def _at_momentum(self, momentum: float) -> tuple[float, float, int]:
        kept = (1.0 - momentum) / (1.0 - self.momentum)  # of α, at a fixed clock
        if "friction" not in self.holds:
            follows = {"clock", "temperature"} & set(self.holds)
            return self.lr * (kept if follows and self.velocity == "sum" else 1.0), momentum, self.batch_size
        step = damping(momentum) / friction_of(self._alpha, self.momentum)
        alpha = float(lr_of(step, momentum))
        batch = self.batch_size
        if "temperature" in self.holds:
            clock = alpha / (1.0 - momentum) / self._clock
            batch = self._whole(batch * clock ** (1.0 / self.power), round)
            return *self._at_clock(self._cooled(batch)), batch
        return (alpha if self.velocity == "sum" else alpha / (1.0 - momentum)), momentum, batch

    def _at_lr(self, share: float) -> tuple[float, float, int]:
        lr, momentum = self.lr * share, self.momentum
        if "friction" in self.holds:
            if self.velocity == "sum":
                momentum = float(kept_friction(share, momentum))
            else:
                momentum = float(cayley(float(damping(momentum)) * share))
        elif "clock" in self.holds:
            momentum = 1.0 - (1.0 - momentum) * share
        if "temperature" not in self.holds or "clock" in self.holds:
            return lr, momentum, self.batch_size
        clock = (lr if self.velocity == "mean" else lr / (1.0 - momentum)) / self._clock
        batch = self._whole(self.batch_size * clock ** (1.0 / self.power), round)
        return *self._at_clock(self._cooled(batch)), batch

    def _at_clock(self, share: float) -> tuple[float, float]:
        """Lr and momentum at so many times the first clock α/(1-β), which at fixed friction goes with the step."""
        if "friction" not in self.holds:
            return self.lr * share, self.momentum
        found = with_friction(self._alpha, self.momentum, share)
        momentum = float(found.momentum)
        return (float(found.lr) if self.velocity == "sum" else self.lr * share), momentum

    def _cooled(self, batch: int) -> float:
        return float((batch / self.batch_size) ** self.power)

    def _whole(self, batch: float, rounded: Callable[[float], int]) -> int:
        """The batch as a multiple, within its limits."""
        most = math.inf if self.largest_batch is None else self.largest_batch // self.multiple
        wanted = batch / self.multiple * (1.0 + 1e-12)  # so that 31.999... is 32
        return int(self.multiple * max(1, min(most, rounded(wanted) if wanted < math.inf else most)))

    @property
    def _alpha(self) -> float:
        return self.lr if self.velocity == "sum" else self.lr * (1.0 - self.momentum)

    @property
    def _clock(self) -> float:
        return self._alpha / (1.0 - self.momentum)

    def _pull(self, lr: float, momentum: float) -> float:
        """What multiplies the weight decay in a step."""
        return lr / (1.0 - momentum) if self._pulls_by_clock else lr

    def batch_at(self, t: float) -> int:
        """Return the batch at time t, as a sampler asks for it; t in samples then.

        Args:
            t: time >= 0.
        """
        return self(t).batch_size

    def invariants(self, t: float) -> dict[str, float]:
        """Return all invariants at time t, held or not; temperature is without the variance of the gradient.

        Args:
            t: time >= 0.
        """
        lr, momentum, batch, decay = self(t)
        alpha = lr if self.velocity == "sum" else lr * (1.0 - momentum)
        pull = self._pull(lr, momentum) * decay
        return {
            "friction": friction_of(alpha, momentum) if alpha else math.inf,
            "clock": alpha / (1.0 - momentum),
            "temperature": alpha / ((1.0 - momentum) * batch**self.power),
            "decay time": batch / pull if pull else math.inf,
        }
