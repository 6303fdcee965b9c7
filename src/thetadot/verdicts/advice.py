"""Advice on what to change, with the matching values of the other settings and the rule behind them.

Advice rests on the other verdicts: what loses the loss comes first, then what slows it, then what wastes. Where the
batch size changes, every rule's numbers stand side by side; those above the measured stability limit are vetoed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from thetadot.formatting import plain
from thetadot.verdicts.base import Change, State, Verdict
from thetadot.verdicts.edge import Point, began_above, latest, points, stability
from thetadot.verdicts.facts import Facts, confidence, positive
from thetadot.verdicts.noise import fit
from thetadot.verdicts.pace import pace
from thetadot.verdicts.rescue import rescue
from thetadot.verdicts.scaling import LI, LINEAR, MALLADI, MCCANDLISH, ROOT, SMITH, Row, Settings, table
from thetadot.verdicts.thresholds import COOLING, MEMORY, OVER, SAFE, THREEFOLD
from thetadot.verdicts.warmth import broken

if TYPE_CHECKING:
    from collections.abc import Mapping


def advise(facts: Facts, verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict, given the others by name."""
    makers = [_lower_lr, _momentum, _raise_lr, _batch, _cool]
    if verdicts["damping"].state == "bad":  # it is what throws the motion about
        makers[:2] = [_momentum, _lower_lr]
    changes = [change for make in makers if (change := make(facts, verdicts)) is not None]
    if changes:
        states = [verdict.state for verdict in verdicts.values()]
        state: State = "bad" if "bad" in states else "attention"
        first, *rest = changes
        later = "".join(f" Then: {change.says}" for change in rest)
        return Verdict(
            "advice",
            first.finding,
            state,
            first.says,
            tuple(line for change in changes for line in change.evidence),
            _sureness(verdicts, first),
            f"{first.says}{later}",
        )
    known = [v for name in ("noise", "edge", "stationarity") if (v := verdicts.get(name)) and v.state != "unknown"]
    if not known:
        said = "No advice: neither noise nor curvature nor balance is known."
        return Verdict("advice", "unknown", "unknown", said)
    said = "No measurement suggests changing lr, momentum or batch size."
    return Verdict("advice", "leave", "good", said, (), confidence("moderate", f"{len(known)} of 3 readings are known"))


def save(before: Facts, verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict on a run whose loss is lost, given what was known before."""
    change = rescue(before, verdicts)
    said = f"The loss is lost. {change.says}"
    known = "measured before the loss was lost" if change.evidence else "nothing measured says how much"
    sure = confidence("moderate" if change.evidence else "low", known)
    return Verdict("advice", change.finding, "bad", said, change.evidence, sure, change.says)


def basis(finding: str, verdicts: Mapping[str, Verdict]) -> Verdict | None:
    """The verdict that an advice rests on."""
    lower = "edge" if verdicts["edge"].state == "bad" else "pace"
    source = {
        "lower lr": lower,
        "raise momentum": "damping",
        "lower momentum": "damping",
        "raise lr": "pace",
        "cool": "stationarity",
    }
    return verdicts.get(source.get(finding, "batch"))


def _sureness(verdicts: Mapping[str, Verdict], first: Change) -> str:
    found = basis(first.finding, verdicts)
    return confidence("moderate", "a rule of thumb") if found is None or not found.confidence else found.confidence


def _lower_lr(facts: Facts, verdicts: Mapping[str, Verdict]) -> Change | None:
    if verdicts["edge"].state != "bad" and verdicts["pace"].finding != "too long":
        return None
    point = _worst(facts) if verdicts["edge"].state == "bad" else None
    motion = facts.at(point.step) if point is not None else facts.peak
    lr = positive(motion.lr) if motion is not None else None
    found = pace(facts)
    if lr is not None and point is not None and point.high > SAFE:
        new, why = lr * SAFE / point.high, "half the limit at the measured sharpness"
        over = f"{plain(point.high)}, upper end of sharpness over limit at step {plain(point.step)}"
        line = f"lr {plain(new)} = {SAFE} · {plain(lr)} / {over}"
    elif lr is not None and found is not None and found.start < 1:
        new, why = lr * found.start, "what noise and curvature asked for at the start"
        line = f"lr {plain(new)} = {plain(lr)} · {plain(found.start)}, the bound over the step at the first measurement"
    else:
        tried = "" if lr is None else f" below {plain(lr)}"
        return Change("lower lr", f"Lower the lr{tried}, or warm it up; measure curvature at the start to see how far.")
    said = f"Lower lr from {plain(lr)} to {plain(new)}, {why}; momentum as it is.{_same_temperature(facts, new / lr)}"
    return Change("lower lr", said, (line,))


def _worst(facts: Facts) -> Point | None:
    found = points(facts)
    if not found:
        return None
    return found[0] if began_above(facts, found) else max(latest(facts, found), key=lambda p: p.high)


def _same_temperature(facts: Facts, ratio: float) -> str:
    """The batch size that keeps the temperature at ``ratio`` times the lr, by the family's rule."""
    if facts.batch is None or facts.family is None:
        return ""
    batch, rule, lost = _kept_by(facts, facts.batch, ratio)
    if batch < 1:
        return f" No batch is small enough to keep the temperature ({rule} rule): the run gets cooler."
    if lost:
        return f" The {rule} rule's batch of {plain(batch)} would not keep the temperature: {lost}."
    return f" A batch of {plain(batch)} would keep the temperature ({rule} rule); {plain(facts.batch)} is cooler."


def _kept_by(facts: Facts, present: float, ratio: float) -> tuple[float, str, str]:
    """The batch that a family's rule keeps the temperature by, the rule, and why under epochs it does not."""
    rule, power = (LINEAR, 1.0) if facts.family == "sgd" else (ROOT, 2.0)
    batch = present * ratio**power
    if facts.point is None:
        return batch, rule.name, ""
    before = replace(facts.point.settings, batch=present)
    after = replace(before, lr=before.lr * ratio, batch=batch)
    return batch, rule.name, broken(before, after, facts.epoch_size, facts.family)


def _momentum(_: Facts, verdicts: Mapping[str, Verdict]) -> Change | None:
    damping = verdicts["damping"]
    if not damping.advice:
        return None
    finding = {"ringing": "lower momentum", "overdriven": "lower lr"}.get(damping.finding, "raise momentum")
    return Change(finding, damping.advice)


def _raise_lr(facts: Facts, verdicts: Mapping[str, Verdict]) -> Change | None:
    if verdicts["pace"].finding != "too slow" or verdicts["edge"].state == "bad" or facts.peak is None:
        return None
    lr = positive(facts.peak.lr)
    if lr is None:
        return None
    found = pace(facts)
    factor = max(found.factor, THREEFOLD) if found is not None else 1.0
    highest = max((p.high for p in points(facts)), default=0.0)
    if highest > 0:
        factor = min(factor, SAFE / highest)
    if factor <= 1:
        return None
    said = f"Raise lr from {plain(lr)} to {plain(lr * factor)}; momentum as it is.{_warmer(facts, factor)}"
    line = f"lr {plain(lr * factor)}: the bound by noise and curvature, {plain(THREEFOLD)} times the lr at least, "
    line += f"and at most {SAFE} of the stability limit"
    return Change("raise lr", said, (line,))


def _warmer(facts: Facts, factor: float) -> str:
    if facts.batch is None or facts.family is None:
        return ""
    kept, rule, lost = _kept_by(facts, facts.batch, factor)
    warmer = f" At a batch of {plain(facts.batch)} it gets warmer"
    if lost:
        return f"{warmer}; the {rule} rule's {plain(kept)} would not keep the temperature: {lost}."
    return f"{warmer}; {plain(kept)} would keep the temperature ({rule} rule)."


def _batch(facts: Facts, verdicts: Mapping[str, Verdict]) -> Change | None:
    point, family, found = facts.point, facts.family, fit(facts)
    present = point.settings if point is not None else None
    if verdicts["batch"].finding not in {"batch wasted", "batch small"}:
        return None
    if present is None or family is None or found is None or found.bound:
        return None  # a bound of the noise scale names no batch: it moves with the luck of the reading
    target = _power_of_two(found.scale, facts)
    if target == present.batch:
        return None
    sharpness, limit = stability(facts, present)
    rows = table(
        present, target, found.scale, family=family, sharpness=sharpness, limit=limit, dataset_size=facts.epoch_size
    )
    verb = "Lower" if target < present.batch else "Raise"
    said = f"{verb} the batch from {plain(present.batch)} to {plain(target)} samples, near the noise scale"
    said += f"{_by_rule(facts, present, rows)}{_hot(facts)}"
    vetoed = [row.rule.name for row in rows if row.standing == "vetoed"]
    if vetoed:
        said += f" Vetoed as unstable: {', '.join(vetoed)}."
    return Change(f"{verb.lower()} batch", said, tuple(_line(present, row) for row in rows))


def _by_rule(facts: Facts, present: Settings, rows: tuple[Row, ...]) -> str:
    """The rule to go by, and how far others are from it."""
    usable = {row.rule.name: row.settings for row in rows if row.standing == "usable" and row.settings is not None}
    order = (MCCANDLISH, LINEAR, SMITH, ROOT) if facts.family == "sgd" else (LI, MALLADI, ROOT)
    fitting = [rule.name for rule in order if rule.name in usable and not _swinging(facts, usable[rule.name])]
    said = ", by smaller changes: no rule gives settings for all of it that are stable and forget."
    if fitting:
        said = f". By {fitting[0]}: {_numbers(present, usable[fitting[0]])}."
    lrs = [new.lr for new in usable.values()]
    if lrs and max(lrs) > 1.5 * min(lrs):
        said += f" Rules disagree: lr {plain(min(lrs))} to {plain(max(lrs))}."
    return said


def _hot(facts: Facts) -> str:
    now = pace(facts)
    if now is None or now.start >= OVER or facts.family != "sgd":
        return ""
    over = f"{plain(1 / now.start)} times what a bound asks for at this batch size"
    return f" Rules take the present lr for the best, but it is {over}: keep it at first."


def _swinging(facts: Facts, new: Settings) -> bool:
    """Whether the velocity would remember too much of a run of as many samples."""
    steps = facts.steps * (facts.batch or new.batch) / new.batch
    return new.momentum is not None and steps > 0 and (1 - new.momentum) * MEMORY * steps < 1


def _power_of_two(size: float, facts: Facts) -> float:
    most = positive(facts.record.header.train_samples) or math.inf
    rounded = 2.0 ** round(math.log2(min(max(size, 1.0), 2.0**60)))
    return rounded if rounded <= most else max(2.0 ** math.floor(math.log2(max(most, 1.0))), 1.0)


def _numbers(present: Settings, new: Settings) -> str:
    parts = [f"lr {plain(present.lr)} to {plain(new.lr)}"]
    if present.momentum is not None and new.momentum is not None:
        same = math.isclose(present.momentum, new.momentum, rel_tol=1e-9)
        parts.append(f"momentum {new.momentum:.4g}{' as it is' if same else ''}")
    if present.beta2 is not None and new.beta2 is not None and new.beta2 != present.beta2:
        parts.append(f"beta2 {new.beta2:.6g}")
    if present.eps is not None and new.eps is not None and new.eps != present.eps:
        parts.append(f"eps {new.eps:.3g}")
    return ", ".join(parts)


def _line(present: Settings, row: Row) -> str:
    numbers = "no number" if row.settings is None else _numbers(present, row.settings)
    reason = f" ({row.standing}: {row.reason})" if row.reason else ""
    remark = f" (temperature not kept: {row.remark})" if row.remark else ""
    return f"{row.rule.name}, {row.rule.source}: {numbers}{reason}{remark}"


def _cool(facts: Facts, verdicts: Mapping[str, Verdict]) -> Change | None:
    if verdicts["stationarity"].finding not in {"stationary", "too hot"}:
        return None
    lr = positive(facts.motions[-1].lr) if facts.motions else None
    if lr is None:
        return Change("cool", "Anneal: lower the lr, or raise the batch size.")
    said = f"Cool: lr from {plain(lr)} to {plain(lr / COOLING)} at this momentum"
    epochs = facts.epoch_size
    if facts.batch is not None:
        larger = facts.batch * COOLING
        lost = _smith_loses(facts, lr, larger)
        same = "the same temperature, by Smith" if facts.family == "sgd" else "cooler as well"
        said += f", or a batch of {plain(larger)} at this lr ({lost or same})"
    line = f"temperature ∝ lr/((1-β)B): {plain(COOLING)} times lower"
    if epochs is not None:
        line += f"; under shuffled epochs along steep directions, along flat ones {plain(COOLING**2)} times"
    return Change("cool", f"{said}.", (line,))


def _smith_loses(facts: Facts, lr: float, batch: float) -> str:
    if facts.point is None or facts.batch is None or facts.family != "sgd":
        return ""
    cooled = replace(facts.point.settings, lr=lr / COOLING, batch=facts.batch)
    return broken(cooled, replace(cooled, lr=lr, batch=batch), facts.epoch_size, facts.family)
