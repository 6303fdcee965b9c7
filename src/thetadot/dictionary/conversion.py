"""Some settings changed: what the others become, by every rule, and which of them holds where that is known.

A row is a rule's answer. What is asked for is fixed; a rule that would move it says what it asks instead. Of rows about
lr, the weight decay is moved so that the decay time in samples stays, unless it is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thetadot.core.cayley import friction_of, step_of
from thetadot.core.formatting import plain
from thetadot.dictionary.batch_rules import EVERY, MALLADI, MAREK
from thetadot.dictionary.change import LAWS, Change, ChangeLaw, decay_ratio, with_decay_time
from thetadot.dictionary.optimizers import Optimizer, optimizer_named, require_settings, settings_of
from thetadot.dictionary.regime import WHY, NoiseScale, advice, preferred
from thetadot.dictionary.row import Row
from thetadot.dictionary.twins import Twins, twins_of, warmth
from thetadot.dictionary.veto import Ceiling
from thetadot.dictionary.warmth import broken
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from thetadot.dictionary.rule import Rule
    from thetadot.dictionary.settings import Settings

SAME = 1e-6
"""Two learning rates or batch sizes nearer than this share are one."""


@dataclass(frozen=True)
class Conversion:
    """Answers to a change of settings.

    Attributes:
        optimizer: its name.
        present: the settings now.
        twins: what they are in mechanics.
        rows: one a rule.
        advice: which regime holds, or what to measure.
    """

    optimizer: str
    present: Row
    twins: Twins
    rows: tuple[Row, ...]
    advice: str

    @property
    def recommended(self) -> tuple[Row, ...]:
        """Rows that hold by what is known of the noise: of lr, and beside it of β₂ and of decay."""
        return tuple(row for row in self.rows if row.recommended)


def convert(
    optimizer: str = "sgd",
    *,
    lr: float,
    batch_size: float,
    momentum: float | None = None,
    beta2: float | None = None,
    eps: float | None = None,
    weight_decay: float = 0.0,
    decoupled: bool | None = None,
    epochs: float | None = None,
    dataset_size: float | None = None,
    to_lr: float | None = None,
    to_batch_size: float | None = None,
    to_epochs: float | None = None,
    to_weight_decay: float | None = None,
    noise_scale: float | None = None,
    noise_resolved: bool = True,
    sharpness: float | None = None,
) -> Conversion:
    """Say what settings become when some of them change, by every rule for the optimizer.

    A rule is recommended only where ``noise_scale`` tells which of noise and curvature limits the step.

    Args:
        optimizer: sgd, heavy-ball, nesterov, adam, adamw, rmsprop, sign, amos or muon.
        lr: α > 0.
        batch_size: B > 0.
        momentum: 0 <= β < 1; the optimizer's default where it is left out.
        beta2: 0 < β₂ < 1.
        eps: ε >= 0.
        weight_decay: w >= 0.
        decoupled: whether decay acts beside the gradient; the optimizer's default where it is left out.
        epochs: passes over the data.
        dataset_size: N, of shuffled epochs: rows that then do not keep the temperature say so.
        to_lr: α'; of the four at least one.
        to_batch_size: B'.
        to_epochs: E'.
        to_weight_decay: w'.
        noise_scale: B_n in samples, or the critical batch where it was measured (training.critical_batch).
        noise_resolved: whether this is a value, and not a lower bound.
        sharpness: largest curvature, of P⁻¹H behind a preconditioner; rows above the stability limit are vetoed.

    Raises:
        InadmissibleValue: an unknown optimizer, a setting it has not, one out of range, or no change.

    Example:
        >>> found = convert("adamw", lr=1e-3, batch_size=64, to_batch_size=256, weight_decay=0.1, noise_scale=1e4)
        >>> row = found.recommended[0]
        >>> row.rule, round(row.lr, 9), round(row.beta2, 9), round(row.weight_decay, 9), row.decay_factor
        ('Malladi', 0.002, 0.996, 0.2, 1.0)
        >>> convert("adamw", lr=1e-3, batch_size=64, to_batch_size=256).recommended
        ()
    """
    kind = optimizer_named(optimizer)
    present = settings_of(
        kind, lr=lr, batch_size=batch_size, momentum=momentum, beta2=beta2, eps=eps, weight_decay=weight_decay,
        decoupled=decoupled, epochs=epochs, dataset_size=dataset_size,
    )  # fmt: skip
    change = Change(*map(_plain, (to_lr, to_batch_size, to_epochs, to_weight_decay)))
    _require_change(present, change, kind)
    require_settings(noise_scale=noise_scale, sharpness=sharpness)
    ceiling, noise = Ceiling.of(kind, _plain(sharpness)), NoiseScale(_plain(noise_scale), noise_resolved)
    rows = [_ruled(rule, present, change, kind, noise) for rule in EVERY if _concerns(rule, change, kind)]
    rows += [_solved(law, present, change, kind) for law in LAWS if law.asked(present, change, kind)]
    judged = [ceiling.judged(row, present) for row in rows if row is not None]
    now = _row(present, present, kind, keeps="present")
    found, said = _recommended(judged, now, kind, change, noise)
    return Conversion(kind.name, ceiling.judged(now, present), twins_of(present, kind), tuple(found), said)


def _require_change(present: Settings, change: Change, kind: Optimizer) -> None:
    targets = {
        "to_lr": (change.lr, present.lr),
        "to_batch_size": (change.batch, present.batch),
        "to_epochs": (change.epochs, present.epochs),
        "to_weight_decay": (change.decay, present.decay),
    }
    if all(value is None for value, _ in targets.values()):
        raise InadmissibleValue(
            "nothing is to change: one of --to-lr, --to-batch-size, --to-epochs or --to-weight-decay is required "
            "(to_lr=, to_batch_size=, ...). Pass what is to change."
        )
    require_settings(**{name: value for name, (value, _) in targets.items()})
    require(
        change.decay is None or kind.decoupled is not None,
        f"to_weight_decay={change.decay}",
        f"is beside the decay that {kind.name} makes of its lr",
        "Leave it out.",
    )
    require(
        change.epochs is None or present.epochs is not None,
        f"to_epochs={change.epochs}",
        "has no epochs to begin with",
        "Pass epochs too, those that lr and weight decay were chosen for.",
    )
    for name, (value, old) in targets.items():
        if value and old:
            ratio = value / old
            require(
                1e-9 <= ratio <= 1e9, f"{name} at a ratio of {ratio:g}", "is outside [1e-9, 1e9]",
                "Change the setting by less.",
            )  # fmt: skip


def _concerns(rule: Rule, change: Change, kind: Optimizer) -> bool:
    if kind.family not in rule.families or (change.batch is None and (change.lr is None or rule.batch_at is None)):
        return False
    return not (rule is MALLADI and kind.eps is None) and not (rule is MAREK and kind.beta2 is None)


def _ruled(rule: Rule, present: Settings, change: Change, kind: Optimizer, noise: NoiseScale) -> Row | None:
    """A rule of batch sizes, at the batch that is asked for, or at that of the lr that is asked for."""
    kick = rule is MALLADI and kind.motion == "kick"  # derived without a momentum that adds up
    given = replace(present, momentum=None) if kick else present
    batch = change.batch if change.batch is not None else rule.batch_for(given, change.lr or 0.0, noise.known)
    about = "beta2" if rule is MAREK else "lr"
    named = {"rule": rule.name, "source": rule.source, "holds": rule.condition, "about": about, "keeps": rule.keeps}
    if batch is None:
        why = rule.outside(given, present.batch, noise.known) or "no batch size goes with this lr"
        return _row(None, present, kind, **named, standing="outside", verdict=f"outside: {why}")
    new, why = rule.unbounded(given, batch, noise.known), rule.outside(given, batch, noise.known)
    if new is None:
        why = why or "so large a change gives no admissible setting"
        return _row(None, present, kind, **named, standing="outside", verdict=f"outside: {why}")
    new = replace(new, momentum=present.momentum) if kick else new
    new = _completed(present, new, change, kind, alone=about == "beta2")
    if about == "lr" and change.lr is not None and abs(new.lr / change.lr - 1.0) > SAME:
        verdict = f"contradicts: at this batch it asks for lr {plain(new.lr)}"
        return _row(new, present, kind, **named, standing="contradicts", verdict=verdict)
    if about == "beta2" and change.lr is not None:
        new = replace(new, lr=change.lr)
    if why:
        return _row(new, present, kind, **named, standing="outside", verdict=f"outside: {why}")
    lost = broken(present, new, present.data, kind.family) if rule.heat else ""
    caution = f"does not keep the temperature: {lost}" if lost else rule.caution(new.batch, noise.known)
    return _row(new, present, kind, **named, verdict=caution)


def _solved(law: ChangeLaw, present: Settings, change: Change, kind: Optimizer) -> Row | None:
    """A rule of several settings."""
    named = {"rule": law.name, "source": law.source, "holds": law.condition, "about": law.group, "keeps": law.keeps}
    try:
        new = law.solve(present, change, kind)
        alone = law.group == "decay" or law.name == "nothing else"
        new = _completed(present, new, change, kind, alone=alone)
    except (ArithmeticError, ValueError):
        return _row(None, present, kind, **named, standing="outside", verdict="outside: it gives no admissible setting")
    lost = broken(present, new, present.data, kind.family) if law.heat and 0 <= (new.momentum or 0) < 1 else ""
    return _row(new, present, kind, **named, verdict=f"does not keep the temperature: {lost}" if lost else "")


def _completed(before: Settings, new: Settings, change: Change, kind: Optimizer, *, alone: bool) -> Settings:
    """With what is asked for of decay and epochs; else, but of a rule that is to be seen alone, the decay time kept."""
    new = new if change.epochs is None else replace(new, epochs=change.epochs)
    if change.decay is not None:
        return replace(new, decay=change.decay)
    return new if alone or not before.decay else with_decay_time(before, new, kind)


def _row(new: Settings | None, present: Settings, kind: Optimizer, **named: str) -> Row:
    if new is None:
        return Row(lr=None, momentum=None, batch_size=None, step=None, friction=None, temperature_factor=None, **named)  # type: ignore[arg-type]
    beta = new.momentum or 0.0
    pull = new.lr * (1.0 - beta) if kind.motion in ("mean", "spectral") else new.lr
    moves = -1 < beta < 1 and pull > 0
    slows = bool(present.decay and new.decay and moves and beta >= 0)
    return Row(
        lr=new.lr,
        momentum=new.momentum,
        batch_size=new.batch,
        step=_float(step_of(pull, beta)) if moves else None,
        friction=_float(friction_of(pull, beta)) if moves else None,
        temperature_factor=_one_if_near(warmth(new, kind) / warmth(present, kind)) if moves else None,
        beta2=new.beta2,
        eps=new.eps,
        weight_decay=new.decay,
        epochs=new.epochs,
        decay_factor=_one_if_near(decay_ratio(present, new, kind)) if slows else None,
        **named,  # type: ignore[arg-type]
    )


def _one_if_near(factor: float) -> float:
    """A factor of one as one, where only rounding is between them."""
    return 1.0 if math.isclose(factor, 1.0, rel_tol=1e-12) else factor


def _plain(value: float | None) -> float | None:
    """A tensor of one number as Python's."""
    return value if value is None or not hasattr(value, "item") else float(value)


def _float(x: object) -> float:
    return float(x)  # type: ignore[arg-type]  # floats in, floats out


def _recommended(
    rows: list[Row], now: Row, kind: Optimizer, change: Change, noise: NoiseScale
) -> tuple[list[Row], str]:
    """The first of the rules made for what limits the step at both batches; beside it those of β₂ and of decay."""
    here = now.batch_size or 0.0
    order = preferred(kind.family, change)
    chosen: Row | None = None
    for limit in ("noise", "else"):
        for name in order.get(limit, ()):
            row = next((row for row in rows if row.rule == name and row.standing == "usable"), None)
            if row is None or chosen is not None or row.verdict.startswith("does not") or row.batch_size is None:
                continue
            found = noise.limit(here, row.batch_size)
            if found != "unknown" and (found == "noise") == (limit == "noise"):
                chosen = row
    target = chosen.batch_size if chosen is not None and chosen.batch_size else change.batch or here
    limit_now = noise.limit(here, target)
    marked = [_marked(row, row is chosen, WHY.get(row.rule, "")) for row in rows]
    if limit_now != "unknown":
        kept = chosen is None or chosen.rule != MALLADI.name
        alone = chosen is None and change.decay is None
        beside = {
            MAREK.name: (kept and limit_now == "noise", "beside it: the mean of squares remembers as many samples"),
            "constant decay time": (alone, "an update counts for as many samples"),
        }
        marked = [
            _marked(row, row.standing == "usable" and beside[row.rule][0], beside[row.rule][1])
            if row.rule in beside
            else row
            for row in marked
        ]
    asked = bool(order)
    return marked, advice(noise, limit_now, recommended=chosen is not None, asked=asked)


def _marked(row: Row, chosen: bool, why: str) -> Row:  # noqa: FBT001 - a row's own mark
    return replace(row, recommended=True, verdict=f"recommended: {why}") if chosen else row
