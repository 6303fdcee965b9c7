"""Advice on what to change: one change, of at most tenfold, with what it keeps and what it costs.

Advice rests on the other verdicts: what loses the loss comes first, then what keeps it from falling, then what slows
it. An lr is raised only where it is shown to be small; an amount is never a bound's alone. Where the batch size
changes, every rule's numbers stand side by side; those above the measured stability limit are vetoed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from thetadot.core.formatting import plain, share
from thetadot.verdicts.base import SettingChange, Verdict
from thetadot.verdicts.course import course, unlowered
from thetadot.verdicts.damping import forgetting, remembers
from thetadot.verdicts.dead import ZERO, dead
from thetadot.verdicts.edge import points, stability
from thetadot.verdicts.facts import Facts, number, positive
from thetadot.verdicts.learning import learned
from thetadot.verdicts.noise import fit, nearest_noise, short
from thetadot.verdicts.rescue import rescue
from thetadot.verdicts.rules_table import Row, table
from thetadot.verdicts.scaling import LINEAR, ROOT, Settings
from thetadot.verdicts.step_range import largest_lr, step_range
from thetadot.verdicts.sureness import confidence
from thetadot.verdicts.thresholds import COOLING, EIGHTFOLD, EVEN, LARGELY, SMALLEST_BATCH, TENFOLD
from thetadot.verdicts.warmth import broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thetadot.verdicts.base import State


def advise(facts: Facts, verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict, given the others by name."""
    makers = (
        _scale_inputs,
        _dead,
        _lower_momentum,
        _tiny_batch,
        _lower_lr,
        _smaller_batch,
        _raise_lr,
        _cool,
        _overfits,
    )
    change = next((found for make in makers if (found := make(facts, verdicts)) is not None), None)
    if change is not None:
        bad = "bad" in {verdict.state for verdict in verdicts.values()}
        state: State = "bad" if bad else "attention"
        sure = _advice_sureness(verdicts, change)
        return Verdict(
            "advice", change.finding, state, change.says, change.evidence, sure, change.says, change.settings
        )
    if not len(facts.losses[1]):
        why = facts.lacking("training loss", otherwise="no loss is recorded")
        return Verdict("advice", "unknown", "unknown", f"No advice: {why}.")
    if not learned(facts):
        said = "No advice: the loss did not come lower, and nothing that was measured shows why."
        return Verdict("advice", "unknown", "unknown", said)
    if verdicts["pace"].state == "unknown":
        why = verdicts["pace"].says.split(": ", 1)[-1]
        return Verdict("advice", "unknown", "unknown", f"No advice: {why}")
    known = [v for name in ("noise", "edge", "pace", "learning") if (v := verdicts.get(name)) and v.state != "unknown"]
    said = "Nothing that was measured suggests changing lr, momentum or batch size."
    return Verdict("advice", "leave", "good", said, (), confidence("moderate", f"{len(known)} of 4 readings are known"))


def rescue_advice(before: Facts, verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict on a run whose loss is lost, given what was known before."""
    change = _scale_inputs(before, verdicts) or rescue(before)
    said = f"The loss is lost. {change.says}"
    known = "measured before the loss was lost" if change.evidence else "nothing measured says how much"
    sure = confidence("moderate" if change.evidence else "low", known)
    return Verdict("advice", change.finding, "bad", said, change.evidence, sure, change.says, change.settings)


_SOURCE = {
    "scale inputs": "inputs",
    "new start": "learning",
    "raise momentum": "damping",
    "lower momentum": "damping",
    "lower lr": "pace",
    "raise lr": "pace",
    "cool": "stationarity",
    "stop earlier": "generalization",
}


def basis(finding: str, verdicts: Mapping[str, Verdict]) -> Verdict | None:
    """The verdict that an advice rests on."""
    if finding == "lower lr" and verdicts["learning"].finding == "dead":
        return verdicts["learning"]
    if finding == "lower lr" and verdicts["edge"].state == "bad":
        return verdicts["edge"]
    return verdicts.get(_SOURCE.get(finding, "batch"))


def _advice_sureness(verdicts: Mapping[str, Verdict], change: SettingChange) -> str:
    found = basis(change.finding, verdicts)
    return confidence("moderate", "a rule of thumb") if found is None or not found.confidence else found.confidence


def _scale_inputs(_: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    inputs = verdicts["inputs"]
    return SettingChange("scale inputs", inputs.advice, inputs.evidence) if inputs.finding == "badly scaled" else None


def _dead(facts: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    if verdicts["learning"].finding != "dead":
        return None
    lr, evidence, gone = largest_lr(facts), verdicts["learning"].evidence, dead(facts)
    if gone is None or gone.remedy or lr is None:
        return SettingChange("new start", ZERO if gone is None or not gone.remedy else gone.remedy, evidence)
    said = f"Start anew with lr {plain(lr / TENFOLD)} instead of {plain(lr)}: what is dead does not come back."
    return SettingChange("lower lr", said, evidence, (("lr", lr / TENFOLD),))


def _lower_momentum(facts: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    damping, motion = verdicts["damping"], facts.peak
    beta = number(motion.momentum) if motion is not None else None
    if beta is not None and 0 <= beta < 1 and remembers(facts, beta):
        new = forgetting(facts.steps)
        said = f"Lower momentum from {beta:.6g} to {new:.3g}, lr as it is: the velocity remembers "
        said += f"{plain(1 / (1 - beta))} steps, and the run has {plain(facts.steps)}."
        return SettingChange("lower momentum", said, (f"momentum {beta:.6g}",), (("momentum", new),))
    if damping.finding == "over-damped" and damping.advice:
        return SettingChange("raise momentum", damping.advice)
    return None


def _lower_lr(facts: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    where, lr = step_range(facts), largest_lr(facts)
    if lr is None or (where.side != "large" and verdicts["edge"].state != "bad"):
        return None
    factor = where.factor if where.side == "large" else _excess(facts)
    new = lr / factor
    why = where.why if where.side == "large" else verdicts["edge"].says.rstrip(".")
    said = f"Lower lr from {plain(lr)} to {plain(new)}: {why[:1].lower()}{why[1:]}. Momentum as it is."
    said += _same_temperature(facts, 1.0 / factor)
    return SettingChange("lower lr", said, where.evidence, (("lr", new),))


def _excess(facts: Facts) -> float:
    """By how much the limit was passed, twofold at least and tenfold at most, to half of it."""
    worst = max((p.high for p in points(facts)), default=1.0)
    return min(max(2.0 * worst, 2.0), TENFOLD)


def _raise_lr(facts: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    where, lr = step_range(facts), largest_lr(facts)
    if where.side != "small" or lr is None or verdicts["edge"].state == "bad":
        return None
    factor = where.factor
    said = f"Raise lr from {plain(lr)} to {plain(lr * factor)}: {where.why}. Momentum as it is."
    said += _warmer(facts, factor)
    return SettingChange("raise lr", said, where.evidence, (("lr", lr * factor),))


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


def _warmer(facts: Facts, factor: float) -> str:
    if facts.batch is None or facts.family is None:
        return ""
    kept, rule, lost = _kept_by(facts, facts.batch, factor)
    warmer = f" At a batch of {plain(facts.batch)} it gets warmer"
    if lost:
        return f"{warmer}; the {rule} rule's {plain(kept)} would not keep the temperature: {lost}."
    return f"{warmer}; {plain(kept)} would keep the temperature ({rule} rule)."


def _smaller_batch(facts: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    """A smaller batch, where steps are what the run lacks: never below 16, and eightfold at a time."""
    found, present, noise = course(facts), facts.batch, fit(facts)
    if present is None or not short(facts) or step_range(facts).side == "large" or (found and found.spent):
        return None
    wasted = verdicts["batch"].finding == "batch wasted"
    if not wasted and (found is None or (not unlowered(facts) and found.gaining < LARGELY / 2)):
        return None
    least = SMALLEST_BATCH if noise is None or noise.bound else max(SMALLEST_BATCH, noise.scale / EIGHTFOLD)
    target = _power_of_two(max(present / EIGHTFOLD, least), facts)
    if target > present / 2:
        return None
    said = f"Lower the batch from {plain(present)} to {plain(target)} samples, lr and momentum as they are: "
    late = "" if found is None or found.gain is None else f"{share(found.gain)} of the fall came late, and "
    said += f"{late}the run has only {plain(facts.steps)} steps."
    said += _price(facts, present / target)
    evidence = verdicts["batch"].evidence + _rules(facts, target)
    return SettingChange("lower batch", said, evidence, (("batch", target),))


def _tiny_batch(facts: Facts, _: Mapping[str, Verdict]) -> SettingChange | None:
    """A larger batch, where it is so small that it costs no time, and noise kept the loss from falling."""
    found, present = course(facts), facts.batch
    noise = nearest_noise(facts, 0.0)
    if found is None or present is None or noise is None or present >= SMALLEST_BATCH or noise < 2 * present:
        return None
    if found.spent:
        return None
    if learned(facts) and found.rose <= EVEN:
        return None
    if step_range(facts).side == "small":
        return None
    target = _power_of_two(present * EIGHTFOLD, facts)
    if target <= present:
        return None
    said = f"Raise the batch from {plain(present)} to {plain(target)} samples, lr and momentum as they are: the noise "
    said += (
        f"scale was {plain(noise)} samples, and the loss did not come to rest below where it began. It saves time too."
    )
    evidence = (f"noise scale at the start: {plain(noise)} samples", f"loss rose by {share(found.rose)} of its fall")
    return SettingChange("raise batch", said, evidence, (("batch", target),))


def _price(facts: Facts, times: float) -> str:
    """What a smaller batch costs in time: a step is not shorter than it is long by its calls."""
    said = f" At equal samples that is {plain(times)} times the steps"
    end = facts.end
    seconds = positive(end.seconds) if end is not None else None
    if seconds is None:
        return f"{said}, and up to as many times the seconds."
    return f"{said}, and {plain(seconds)} to {plain(seconds * times)} s for the {plain(seconds)} s of now."


def _rules(facts: Facts, target: float) -> tuple[str, ...]:
    """What rules would make of the lr at another batch, where the noise scale is known."""
    point, family, found = facts.point, facts.family, fit(facts)
    if point is None or family is None or found is None or found.bound:
        return ()
    sharpness, limit = stability(facts, point.settings)
    rows = table(
        point.settings, target, found.scale, family=family, sharpness=sharpness, limit=limit,
        dataset_size=facts.epoch_size,
    )  # fmt: skip
    return tuple(_line(point.settings, row) for row in rows)


def _power_of_two(size: float, facts: Facts) -> float:
    most = positive(facts.record.header.train_samples) or math.inf
    rounded = 2.0 ** round(math.log2(min(max(size, 1.0), 2.0**60)))
    return rounded if rounded <= most else max(2.0 ** math.floor(math.log2(max(most, 1.0))), 1.0)


def _changed_numbers(present: Settings, new: Settings) -> str:
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
    numbers = "no number" if row.settings is None else _changed_numbers(present, row.settings)
    reason = f" ({row.standing}: {row.reason})" if row.reason else ""
    remark = f" (temperature not kept: {row.remark})" if row.remark else ""
    return f"{row.rule.name}, {row.rule.source}: {numbers}{reason}{remark}"


def _cool(facts: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    if verdicts["stationarity"].finding not in {"stationary", "too hot"} or not learned(facts):
        return None
    lr = positive(facts.motions[-1].lr) if facts.motions else None
    if lr is None:
        return SettingChange("cool", "Anneal: lower the lr, or raise the batch size.")
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
    return SettingChange("cool", f"{said}.", (line,), (("lr", lr / COOLING),))


def _overfits(_: Facts, verdicts: Mapping[str, Verdict]) -> SettingChange | None:
    found = verdicts["generalization"]
    return SettingChange("stop earlier", found.advice, found.evidence) if found.finding == "overfitting" else None


def _smith_loses(facts: Facts, lr: float, batch: float) -> str:
    if facts.point is None or facts.batch is None or facts.family != "sgd":
        return ""
    cooled = replace(facts.point.settings, lr=lr / COOLING, batch=facts.batch)
    return broken(cooled, replace(cooled, lr=lr, batch=batch), facts.epoch_size, facts.family)
