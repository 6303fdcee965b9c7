"""What is to change, and rules of what else changes with it: momentum, weight decay, length, and cuts of lr.

    temperature by momentum   1-β' = (1-β)(α'/α)/(B'/B)              α/((1-β)B) stays
    friction by momentum      β' = β(r), r = α'/α                    λ stays, exact                        [su2018]
    Seesaw                    α' = α√r, B' = B/r for a cut to rα     temperature and progress a sample     [seesaw]
                              (descent: α' = α, B' = B/r)            are those of the cut                  [smith]
    decay time                w' = w (α/α')(B'/B)                    1/(αw) in samples and epochs          [wang]
    share of the run          w' = w (α/α')(B'/B)(E/E')              1/(αw) over the length of the run     [wang]
    decay time by lr          α' = α (w/w')(B'/B)                    1/(αw) in samples and epochs          [kosson]
    convex rate               α' = α √(E/E')                         the best lr of T steps goes as 1/√T   [defazio]
    Bjorck                    α' = α (E/E')^0.3                      as measured on language models        [bjorck]

The last two, where the batch changes too, come after the linear rule of descent, or the square root.

Decay of another kind has another rate, and w' is that at which it stays: coupled decay of descent α w/(1-β), coupled
behind P = σ/√B α w √B. Then a rule that keeps the temperature leaves w as it is: the loss with its spring stays.
Seesaw's cut: progress a sample is α/√B of an adaptive method dominated by noise, as temperature is, and both are r
times what they were, for α√r/√(B/r) = rα/√B. Where lr is cut by half it is divided by √2 and the batch doubled.

Source:
    [su2018] https://kexue.fm/archives/5655; [seesaw] 2510.14717; [smith] 1711.00489; [wang] 2405.13698;
    [kosson] 2510.19093; [defazio] 2310.07831; [bjorck] 2409.19913.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from thetadot.core.cayley import kept_friction
from thetadot.dictionary.rule import ROUNDING

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.dictionary.optimizers import Optimizer
    from thetadot.dictionary.settings import Settings


@dataclass(frozen=True)
class Change:
    """Settings that are to have another value; None for what rules may move.

    Attributes:
        lr: α'.
        batch: B'.
        epochs: E'.
        decay: w'.
    """

    lr: float | None = None
    batch: float | None = None
    epochs: float | None = None
    decay: float | None = None

    def of(self, present: Settings) -> Settings:
        """The present settings with what is asked for, and nothing else, changed."""
        return replace(
            present,
            lr=present.lr if self.lr is None else self.lr,
            batch=present.batch if self.batch is None else self.batch,
            epochs=present.epochs if self.epochs is None else self.epochs,
            decay=present.decay if self.decay is None else self.decay,
        )


Group = Literal["lr", "beta2", "decay", "length"]


@dataclass(frozen=True)
class ChangeLaw:
    """A rule of what else changes where several settings may.

    Attributes:
        name: what it is called.
        source: where it is from.
        condition: when it is meant to hold, in words.
        keeps: what it leaves unchanged, in words.
        group: which setting it is about.
        asked: whether it has something to say of this optimizer and this change.
        solve: settings, change and optimizer to settings; unchecked.
        heat: whether what it keeps is the temperature of independent draws.
    """

    name: str
    source: str
    condition: str
    keeps: str
    group: Group
    asked: Callable[[Settings, Change, Optimizer], bool]
    solve: Callable[[Settings, Change, Optimizer], Settings]
    heat: bool = False


def decay_ratio(before: Settings, after: Settings, kind: Optimizer) -> float:
    """Decay time in samples after over that before; of a coupled decay behind P, with P = σ/√B.

    Example:
        >>> from thetadot.dictionary.optimizers import optimizer_named, settings_of
        >>> before = settings_of("adamw", lr=0.5, batch_size=8, weight_decay=0.25)
        >>> decay_ratio(before, replace(before, lr=0.25, batch=32), optimizer_named("adamw"))
        8.0
    """
    # ratio by ratio, so that no product of small numbers is 0
    return (after.batch / before.batch) / (_pull(after, kind) / _pull(before, kind)) / (after.decay / before.decay)


def _pull(settings: Settings, kind: Optimizer) -> float:
    """Share of a parameter that decay takes a step, over w and to a factor."""
    pull = settings.lr
    if not settings.decoupled:
        if kind.motion == "kick":
            pull /= 1.0 - (settings.momentum or 0.0)
        if kind.family != "sgd":
            pull *= math.sqrt(settings.batch)
    return pull


def with_decay_time(before: Settings, after: Settings, kind: Optimizer) -> Settings:
    """The weight decay at which the decay time in samples is that of before; as it is where there is none."""
    if not before.decay:
        return after
    return replace(after, decay=before.decay * decay_ratio(before, replace(after, decay=before.decay), kind))


def _kicked(_: Settings, change: Change, kind: Optimizer) -> bool:
    return kind.motion == "kick" and change.lr is not None


def _keep_temperature(s: Settings, change: Change, _: Optimizer) -> Settings:
    new = change.of(s)
    kept = 1.0 - (1.0 - (s.momentum or 0.0)) * (new.lr / s.lr) / (new.batch / s.batch)
    return replace(new, momentum=0.0 if -ROUNDING < kept < 0 else kept)


def _friction(s: Settings, change: Change, _: Optimizer) -> Settings:
    new = change.of(s)
    kept = kept_friction(new.lr / s.lr, s.momentum or 0.0)
    return replace(new, momentum=float(kept))  # floats in, floats out


def _below_present_batch(s: Settings, change: Change, _: Optimizer) -> bool:
    lower = change.lr is not None and change.lr < s.lr and change.batch is None
    return lower or (change.lr is None and change.batch is not None and change.batch > s.batch)


def _seesaw(s: Settings, change: Change, kind: Optimizer) -> Settings:
    new = change.of(s)
    ratio = new.lr / s.lr if change.lr is not None else s.batch / new.batch
    return replace(new, lr=s.lr if kind.family == "sgd" else s.lr * math.sqrt(ratio), batch=s.batch / ratio)


def _decays(s: Settings, change: Change, kind: Optimizer) -> bool:
    moved = change.lr is not None or change.batch is not None or change.epochs is not None
    return s.decay > 0 and change.decay is None and moved and kind.decoupled is not None


def _decay_time(s: Settings, change: Change, kind: Optimizer) -> Settings:
    return with_decay_time(s, change.of(s), kind)


def _lengthened(s: Settings, change: Change, _: Optimizer) -> bool:
    return change.epochs is not None and s.epochs is not None


def _with_decay_share(s: Settings, change: Change, kind: Optimizer) -> Settings:
    new = with_decay_time(s, change.of(s), kind)
    return replace(new, decay=new.decay * (s.epochs or 1.0) / (change.epochs or s.epochs or 1.0))


def _lr_decays(s: Settings, change: Change, kind: Optimizer) -> bool:
    return bool(s.decay and change.decay) and change.lr is None and kind.decoupled is not None


def _lr_for_decay(s: Settings, change: Change, kind: Optimizer) -> Settings:
    new = change.of(s)
    return replace(new, lr=s.lr * decay_ratio(s, new, kind))


def _longer(power: float) -> Callable[[Settings, Change, Optimizer], Settings]:
    def solve(s: Settings, change: Change, kind: Optimizer) -> Settings:
        new = change.of(s)
        first = s.lr * (new.batch / s.batch) ** (1.0 if kind.family == "sgd" else 0.5)
        return replace(new, lr=first * ((s.epochs or 1.0) / (change.epochs or 1.0)) ** power)

    return solve


HEAT = ChangeLaw(
    "temperature by momentum",
    "Smith et al. 2017, arXiv:1711.00489",
    "momentum descent at small steps",
    "clock lr/(1-momentum) a sample, and temperature",
    "lr",
    _kicked,
    _keep_temperature,
    heat=True,
)
FRICTION = ChangeLaw(
    "friction by momentum",
    "Su 2018, kexue.fm/archives/5655",
    "momentum descent; annealing, where lr falls",
    "friction, at this batch size (annealing)",
    "lr",
    _kicked,
    _friction,
)
SEESAW = ChangeLaw(
    "Seesaw",
    "arXiv:2510.14717; descent: Smith et al. 2017, arXiv:1711.00489",
    "in place of a cut of lr in a schedule, while noise limits the step",
    "what a cut of lr would do to progress a sample and its heat",
    "lr",
    _below_present_batch,
    _seesaw,
)
KEPT = ChangeLaw(
    "nothing else",
    "",
    "always; the factors say what it does",
    "all other settings (cooler or hotter)",
    "lr",
    lambda _, __, ___: True,
    lambda s, change, _: change.of(s),
)
DECAY_TIME = ChangeLaw(
    "constant decay time",
    "Wang and Aitchison 2024, arXiv:2405.13698",
    "settings beside it as they are; a decay time shorter than the run",
    "decay time in samples and epochs, by weight decay",
    "decay",
    _decays,
    _decay_time,
)
SHARE = ChangeLaw(
    "constant share of the run",
    "Wang and Aitchison 2024, arXiv:2405.13698",
    "runs that end at another length; a decay time shorter than the run",
    "decay time over the length of the run, by weight decay",
    "decay",
    lambda s, change, kind: _decays(s, change, kind) and _lengthened(s, change, kind),
    _with_decay_share,
)
LR_FOR_DECAY = ChangeLaw(
    "decay time by lr",
    "Kosson et al. 2025, arXiv:2510.19093",
    "decay and lr act by their product, late in a run",
    "decay time in samples and epochs, by lr",
    "lr",
    _lr_decays,
    _lr_for_decay,
)
CONVEX = ChangeLaw(
    "convex rate",
    "Defazio et al. 2023, arXiv:2310.07831",
    "convex losses whose best lr is limited by the length of the run",
    "the bound on the last loss, at its best",
    "length",
    lambda s, change, kind: _lengthened(s, change, kind) and change.lr is None,
    _longer(0.5),
)
BJORCK = ChangeLaw(
    "Bjorck",
    "Bjorck et al. 2024, arXiv:2409.19913",
    "language models; measured, not derived",
    "the best lr, as it was measured",
    "length",
    lambda s, change, kind: _lengthened(s, change, kind) and change.lr is None and kind.family != "sgd",
    _longer(0.3),
)

LAWS: tuple[ChangeLaw, ...] = (HEAT, FRICTION, SEESAW, LR_FOR_DECAY, KEPT, DECAY_TIME, SHARE, CONVEX, BJORCK)
