r"""Noise-limited or curvature-limited; how much of the batch is wasted.

    E/E_min = 1 + B/B_n,    S/S_min = 1 + B_n/B,    B_n = trΣ/|G|²              samples and steps to the same loss

At B = B_n both are 2. Exact for plain descent on a quadratic whose curvature sees noise and gradient alike, and the
best step at every moment; a guide elsewhere.

Source:
    McCandlish et al., arXiv:1812.06162, whose B_crit is here the noise scale as measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import between, count, plain, share, times
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.course import course, unlowered
from thetadot.verdicts.facts import Facts, number, positive
from thetadot.verdicts.progress import weighted_middle, weights
from thetadot.verdicts.sureness import confidence
from thetadot.verdicts.thresholds import (
    CURVE,
    FEW,
    GAINED,
    HALF_LIFE,
    LARGE,
    NEAR,
    QUICK,
    ROSE,
    SMALL,
    SPENDTHRIFT,
    WASTEFUL,
)

if TYPE_CHECKING:
    from thetadot.records import Noise


@dataclass(frozen=True)
class Scale:
    """The noise scale of a run as it is now.

    Attributes:
        value: B_n, in samples; a lower bound where not resolved.
        low, high: 95% interval, None where there is none.
        resolved: whether the gradient was significantly different from zero.
        count: measurements it is of.
    """

    value: float
    low: float | None
    high: float | None
    resolved: bool
    count: int


def scale(facts: Facts) -> Scale | None:
    """Return the noise scale as a ratio of averages over all measurements, later ones with more weight.

    Measurements may share samples, so that their number does not narrow the interval.
    """
    entries = facts.noises
    if not entries:
        return None
    weights = _weights(entries)
    total = sum(weights)
    known = sum(w for w, e in zip(weights, entries, strict=True) if e.resolved)
    if known < 0.5 * total:
        logs = [w * math.log(e.noise_scale) for w, e in zip(weights, entries, strict=True) if not e.resolved]
        return Scale(math.exp(sum(logs) / (total - known)), None, None, resolved=False, count=len(entries))
    value = _mean_noise_scale(entries, weights)
    widths = [
        (w, math.log(high / low) / 2)
        for w, e in zip(weights, entries, strict=True)
        if e.resolved and (low := positive(e.low)) and (high := positive(e.high)) and low <= high
    ]
    if not widths:
        return Scale(value, None, None, resolved=True, count=len(entries))
    half = math.exp(min(sum(w * width for w, width in widths) / sum(w for w, _ in widths), 200.0))
    return Scale(value, value / half, value * half, resolved=True, count=len(entries))


def nearest_noise(facts: Facts, step: float) -> float | None:
    """The noise scale that was measured nearest to a step; a lower bound where it was not resolved."""
    found = min(facts.noises, key=lambda e: abs((number(e.step) or 0.0) - step), default=None)
    return found.noise_scale if found is not None else None


def _weights(entries: list[Noise]) -> list[float]:
    steps = [number(e.step) or 0.0 for e in entries]
    span = max(steps) - min(steps)
    if not span > 0:
        return [1.0] * len(steps)
    last = max(steps)
    return [0.5 ** ((last - step) / (HALF_LIFE * span)) for step in steps]


def _mean_noise_scale(entries: list[Noise], weights: list[float]) -> float:
    """Averages' ratio; where these are no numbers to divide, the mean of what was measured."""
    pairs = [
        (w * v, w * g)
        for w, e in zip(weights, entries, strict=True)
        if (v := number(e.gradient_variance)) is not None and (g := number(e.gradient_square)) is not None
    ]
    variance, square = sum(v for v, _ in pairs), sum(g for _, g in pairs)
    if variance > 0 and square > 0 and 1e-90 < variance / square < 1e90:
        return variance / square
    good = [(w, math.log(e.noise_scale)) for w, e in zip(weights, entries, strict=True) if e.resolved]
    return math.exp(sum(w * x for w, x in good) / sum(w for w, _ in good))


def limited(facts: Facts) -> Verdict:
    """Whether noise or curvature limits the step, now."""
    found = scale(facts)
    if found is None:
        why = facts.lacking("noise", "noise_scale", otherwise="no gradient noise was measured")
        return Verdict("noise", "unknown", "unknown", f"Not known whether noise or curvature limits the step: {why}.")
    evidence = _noise_evidence(facts, found)
    least = "" if found.resolved else "at least "
    if facts.batch is None:
        said = f"Noise and signal are equal in a batch of {least}{plain(found.value)} samples"
        said += "; the batch size is not known."
        return Verdict("noise", "unknown", "unknown", said, evidence)
    ratio = facts.batch / found.value
    said = f"The noise scale is {least}{plain(found.value)} samples{between(found.low, found.high)}"
    said += f", the batch is {facts.batch_said}"
    if ratio < 1 / NEAR and not _open(facts.batch, found):
        finding = "noise-limited"
        said += ": each step is limited by noise, and a larger batch would allow a larger step."
    elif not found.resolved or _open(facts.batch, found):
        says = f"{said}: too little was measured to tell the gradient from its noise."
        return Verdict(
            "noise", "unresolved", "unknown", says, evidence, confidence("low", "the gradient is not resolved")
        )
    elif ratio > NEAR:
        finding = "curvature-limited"
        said += ": each step is limited by curvature, and a larger batch would hardly help."
    else:
        finding = "balanced"
        said += ": noise and curvature limit the step alike."
    return Verdict("noise", finding, "good", said, evidence, _noise_sureness(found, facts.batch))


def _noise_evidence(facts: Facts, found: Scale) -> tuple[str, ...]:
    first, last = facts.noises[0], facts.noises[-1]
    value = f"{'' if found.resolved else '>= '}{plain(found.value)} samples{between(found.low, found.high)}"
    lines = [f"noise scale trΣ/|G|²: {value}, {count(found.count, 'measurement')}"]
    if last is not first:
        ends = [
            f"{'' if e.resolved else '>= '}{plain(e.noise_scale)} samples at step {plain(number(e.step) or 0.0)}"
            for e in (first, last)
        ]
        lines.append(", ".join(ends))
    if facts.batch is not None:
        lines.append(f"batch size: {facts.batch_said} samples")
    weighed = positive(last.curvature_scale)
    if weighed is not None:
        lines.append(f"tr(HΣ)/GᵀHG, as curvature weighs it: {plain(weighed)} samples")
    return tuple(lines)


def _noise_sureness(found: Scale, batch: float) -> str:
    if not found.resolved:
        return confidence("moderate", "only a lower bound of the noise scale is known, and the batch is below it")
    if found.low is None or found.high is None:
        return confidence("low", "the noise scale has no interval")
    sides = {_side(batch / found.low), _side(batch / found.value), _side(batch / found.high)}
    if len(sides) > 1:
        return confidence("low", "the interval holds other findings too")
    if found.count < FEW:
        return confidence("moderate", count(found.count, "measurement"))
    return confidence("high", count(found.count, "measurement"), "the whole interval says so")


def _open(batch: float, found: Scale) -> bool:
    """Whether the interval reaches from noise-limited to curvature-limited, so that nothing is known."""
    return found.low is not None and found.high is not None and _side(batch / found.high) < 1 < _side(batch / found.low)


def _side(ratio: float) -> int:
    return (ratio >= 1 / NEAR) + (ratio > NEAR)


@dataclass(frozen=True)
class Fit:
    """Batch over noise scale while the loss was lowered.

    Attributes:
        ratio: B/B_n, weighted median; an upper bound where ``bound``.
        scale: the noise scale that goes with it, at the present batch size.
        bound: whether most of the weight is on measurements that only bound the noise scale.
        ratios: all of them.
        changed: whether a quarter of the weight or more says otherwise.
    """

    ratio: float
    scale: float
    bound: bool
    ratios: tuple[float, ...]
    changed: bool


def fit(facts: Facts) -> Fit | None:
    """Compare the batch with its noise scale while the loss was falling; None where either is unknown."""
    entries = sorted(facts.noises, key=lambda e: number(e.step) or 0.0)
    steps = [number(e.step) or 0.0 for e in entries]
    if not entries or facts.batch is None:
        return None
    heavy = weights(facts, steps)
    ratios = [(facts.batch_at(step) or facts.batch) / e.noise_scale for step, e in zip(steps, entries, strict=True)]
    ratio = weighted_middle(ratios, heavy)
    bounded = sum(w for w, e in zip(heavy, entries, strict=True) if not e.resolved)
    other = sum(w for w, r in zip(heavy, ratios, strict=True) if _fits(r) != _fits(ratio))
    total = sum(heavy)
    return Fit(ratio, facts.batch / ratio, bounded > 0.5 * total, tuple(ratios), other >= 0.25 * total)


def wasted(facts: Facts) -> Verdict:
    """Judge how much of the batch was spent beyond need while the loss was falling."""
    found = fit(facts)
    if found is None:
        reason = "no gradient noise was measured" if not facts.noises else "the batch size is not known"
        why = facts.lacking("noise", "noise_scale", otherwise=reason)
        return Verdict("batch", "unknown", "unknown", f"Not known how much of the batch is needed: {why}.")
    ratio, most, least = found.ratio, "at most " if found.bound else "", "at least " if found.bound else ""
    samples, steps = 1 + ratio, 1 + 1 / ratio
    evidence = (
        (
            f"batch over noise scale while the loss fell: {most}{plain(ratio)}, "
            f"of {count(len(found.ratios), 'measurement')}"
        ),
        f"samples E/E_min = 1+B/B_n: {most}{plain(samples)}",
        f"steps S/S_min = 1+B_n/B: {least}{plain(steps)}",
    )
    sure = _batch_sureness(facts, found)
    open_ = _unresolved(facts, found)
    if open_:
        said = f"Not resolved how much of the batch is needed: {open_}."
        return Verdict("batch", "unresolved", "unknown", said, evidence, sure)
    spent = f"{share(1 - 1 / samples)} of the samples are beyond what the noise asks for: {times(samples)} the samples "
    spent += f"that small batches need to come as far, for {times(steps)} the fewest steps"
    if ratio > WASTEFUL and short(facts):
        said = f"{spent}. The run has only {plain(facts.steps)} steps."
        return Verdict("batch", "batch wasted", "bad" if ratio > SPENDTHRIFT else "attention", said, evidence, sure)
    if ratio > WASTEFUL:
        said = f"Large for its noise: {spent}. Nothing shows that more steps would gain."
        return Verdict("batch", "batch large", "good", said, evidence, sure)
    if ratio < 1 / SMALL:
        said = (
            f"The batch is small for its noise: {least}{times(steps)} the steps that large batches need to come as "
            "far. Samples are hardly wasted; time is, where larger batches run no slower."
        )
        return Verdict("batch", "batch small", "good", said, evidence, sure)
    said = f"The batch fits its noise: {times(samples)} the fewest samples and {times(steps)} the fewest steps"
    return Verdict("batch", "batch fits", "good", f"{said} to come as far.", evidence, sure)


def _unresolved(facts: Facts, found: Fit) -> str:
    """Why the noise scale does not tell whether the batch fits; "" where it does."""
    if found.bound and found.ratio > 1 / SMALL:
        return "only a lower bound of the noise scale is known"
    known = scale(facts)
    if known is None or known.low is None or known.high is None:
        return ""
    factor = math.sqrt(known.high / known.low)
    wide = _fits(found.ratio / factor) < 1 < _fits(found.ratio * factor)
    return f"the noise scale is known to a factor of {plain(factor)} only" if wide else ""


def short(facts: Facts) -> bool:
    """Whether the run has few steps, of a large batch, and its loss still falls as if steps were what it lacks."""
    found = course(facts)
    few = 0 < facts.steps <= QUICK and facts.batch is not None and facts.batch >= LARGE
    if found is None and few:  # too few losses to tell, of a run of so few steps
        return 0 < len(facts.losses[1]) < CURVE and facts.steps <= QUICK / 2
    return few and found is not None and found.rose <= ROSE and (found.gaining > GAINED or unlowered(facts))


def _batch_sureness(facts: Facts, found: Fit) -> str:
    theory = "" if facts.family == "sgd" else "the hyperbola is derived for plain descent"
    times_measured = count(len(found.ratios), "measurement")
    if found.bound:
        return confidence("low", "the noise scale is only bounded", theory)
    if len(found.ratios) < FEW:
        return confidence("low", times_measured, theory)
    changed = "it changed while the loss fell" if found.changed else ""
    return confidence("moderate" if changed or theory else "high", times_measured, changed, theory)


def _fits(ratio: float) -> int:
    return (ratio >= 1 / SMALL) + (ratio > WASTEFUL)
