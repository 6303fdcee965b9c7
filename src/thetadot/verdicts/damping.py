r"""Over- or under-damped along the sharpest directions.

    ζ(h) = λ/(2√h),    critical momentum β = (1 - √(αh))²

Below ζ = 1 a direction oscillates, above it creeps. The second is exact for a heavy ball's steps (its two eigenvalues
meet), the first for the motion between them; a swing dies out in 1/(1-β) steps or so whatever the curvature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import between, plain, share
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.facts import Facts, number, positive
from thetadot.verdicts.noise import limited
from thetadot.verdicts.sureness import at_most, confidence
from thetadot.verdicts.thresholds import FORGETS, LIGHT, MEMORY, USUAL

if TYPE_CHECKING:
    from thetadot.records import Curvature


@dataclass(frozen=True)
class Ladder:
    """Curvatures, steepest first, and their damping ratios, at the settings of one step."""

    step: float
    curvatures: tuple[float, ...]
    ratios: tuple[float, ...]
    ends: tuple[tuple[float | None, float | None], ...]
    lr: float | None
    momentum: float | None


def ladder(facts: Facts) -> Ladder | None:
    """Read damping by curvature from the last measurement near the largest lr; None if it is not known."""
    for entry in sorted(facts.curvatures, key=lambda e: (_annealed(facts, e), -(number(e.step) or 0.0))):
        found = _rungs(facts, entry)
        if found is not None:
            return found
    return None


def _annealed(facts: Facts, entry: Curvature) -> float:
    """How far below the largest lr a reading is, in halvings: annealed, every direction is overdamped."""
    motion, peak = facts.at(number(entry.step) or 0.0), facts.peak
    lr = positive(motion.lr) if motion is not None else None
    most = positive(peak.lr) if peak is not None else None
    return math.floor(max(math.log2(most / lr), 0.0)) if lr is not None and most is not None else 0.0


def _rungs(facts: Facts, entry: Curvature) -> Ladder | None:
    step = number(entry.step) or 0.0
    motion = facts.at(step)
    spectrum = entry.spectrum or (entry.sharpness,)
    curved = tuple(h for h in map(positive, spectrum) if h is not None)
    ratios: tuple[float, ...] = tuple(z for z in map(positive, entry.damping) if z is not None)
    if not ratios and not entry.preconditioned and motion is not None:
        friction = positive(motion.friction)
        ratios = () if friction is None else tuple(friction / (2 * math.sqrt(h)) for h in curved)
    if not ratios or not curved:
        return None
    size = min(len(ratios), len(curved))
    lr = positive(motion.lr) if motion is not None and not entry.preconditioned else None
    beta = number(motion.momentum) if motion is not None else None
    return Ladder(
        step, curved[:size], ratios[:size], _ends(entry, size), lr, beta if beta is not None and 0 <= beta < 1 else None
    )


def _ends(entry: Curvature, size: int) -> tuple[tuple[float | None, float | None], ...]:
    """Of each ratio's interval; None where the record has none, or not one for each."""
    if min(len(entry.damping_low), len(entry.damping_high)) < size:
        return ((None, None),) * size
    return tuple(
        (number(low), number(high))
        for low, high in zip(entry.damping_low[:size], entry.damping_high[:size], strict=True)
    )


def critical(lr: float, curvature: float) -> float:
    """The momentum at which a heavy ball neither swings nor creeps; 0 where even without momentum it swings.

    Example:
        >>> round(critical(0.1, 0.1), 9), critical(0.1, 20.0)
        (0.81, 0.0)
    """
    return (1.0 - math.sqrt(lr * curvature)) ** 2 if lr * curvature < 1 else 0.0


def damped(facts: Facts) -> Verdict:
    """Judge the damping along the sharpest directions."""
    rungs = ladder(facts)
    if rungs is None:
        otherwise = facts.no_curvature
        if facts.curvatures:
            preconditioned = facts.curvatures[-1].preconditioned
            otherwise = "damping of the preconditioned motion" if preconditioned else "this optimizer's friction"
            otherwise += " was not recorded"
        why = facts.lacking("damping", "friction", "curvature", otherwise=otherwise)
        return Verdict(
            "damping", "unknown", "unknown", f"Not known whether the motion is over- or under-damped: {why}."
        )
    top, last = rungs.ratios[0], rungs.ratios[-1]
    evidence = _damping_evidence(facts, rungs)
    sure = _damping_sureness(facts, rungs)
    where = "in the sharpest direction" if len(rungs.ratios) == 1 else f"in the {len(rungs.ratios)} sharpest directions"
    ratio = f"ζ = {plain(top)}" if len(rungs.ratios) == 1 else f"ζ = {plain(top)} to {plain(last)}"
    moderate = rungs.momentum is not None and rungs.momentum <= USUAL and not _unforgetting(facts, rungs)
    if top < LIGHT and moderate:
        return _overdriven(f"{ratio} {where}", evidence, sure)
    if top < LIGHT:
        return _ringing(facts, rungs, f"{ratio} {where}", evidence, sure)
    if top < 1:
        said = f"Under-damped, as momentum usually is: {ratio} {where}. Swings die out within {_memory(rungs)}."
        return Verdict("damping", "under-damped", "good", said, evidence, sure)
    said = f"Over-damped: {ratio} {where}, and flatter ones creep more."
    best = _critical(rungs)
    if limited(facts).finding != "curvature-limited" or not best:
        said += " While noise limits the step, that costs little."
        return Verdict("damping", "over-damped", "good", said, evidence, sure)
    return Verdict(
        "damping", "over-damped", "attention", said, evidence, sure, f"More momentum would be faster: {best}."
    )


def _ringing(facts: Facts, rungs: Ladder, ratio: str, evidence: tuple[str, ...], sure: str) -> Verdict:
    said = f"Hardly damped: {ratio}. The motion overshoots and swings for {_memory(rungs)}."
    if not _unforgetting(facts, rungs):
        said += " The run is many swings long, and that costs little."
        return Verdict("damping", "ringing", "good", said, evidence, sure)
    said += f" The run has only {plain(facts.steps)}: it never forgets where it came from."
    best = _critical(rungs)
    advice = f"Lower the momentum to {forgetting(facts.steps):.3g} or below: the run is then many swings long."
    if best:
        advice += f" For comparison, {best}."
    return Verdict("damping", "ringing", "bad", said, evidence, sure, advice)


def forgetting(steps: float) -> float:
    """The usual momentum, or that which remembers a tenth of the run, if it is lower.

    Example:
        >>> forgetting(1000.0), forgetting(50.0), forgetting(5.0)
        (0.9, 0.8, 0.0)
    """
    return min(USUAL, 1 - 1 / (MEMORY * steps)) if MEMORY * steps > 1 else 0.0


def _unforgetting(facts: Facts, rungs: Ladder) -> bool:
    """Whether the velocity remembers too much of the run."""
    return rungs.momentum is not None and remembers(facts, rungs.momentum)


def remembers(facts: Facts, momentum: float) -> bool:
    """Whether a momentum above the usual one remembers half of the run or more: that is arithmetic, whatever curves."""
    return facts.steps > 0 and momentum > USUAL and 1 / (1 - momentum) > FORGETS * facts.steps


def _overdriven(ratio: str, evidence: tuple[str, ...], sure: str) -> Verdict:
    """ζ is small for the size of lr·curvature, not for the momentum; whether that harms, the loss says."""
    said = f"Driven hard: {ratio}, at an ordinary momentum. The step is long for the curvature, and swings."
    return Verdict("damping", "overdriven", "good", said, evidence, sure)


def _memory(rungs: Ladder) -> str:
    if rungs.momentum is None:
        return "the velocity's memory"
    return f"{plain(1 / (1 - rungs.momentum))} steps or so"


def _critical(rungs: Ladder) -> str:
    if rungs.lr is None:
        return ""
    top = critical(rungs.lr, rungs.curvatures[0])
    said = (
        f"at lr {plain(rungs.lr)} a heavy ball is critically damped at momentum {plain(top)} in the sharpest direction"
    )
    if len(rungs.curvatures) > 1:
        low = critical(rungs.lr, rungs.curvatures[-1])
        said += f", {plain(low)} in the flattest of the {len(rungs.curvatures)} measured"
    return said


def _damping_evidence(facts: Facts, rungs: Ladder) -> tuple[str, ...]:
    lines = [
        f"ζ at curvature {plain(h)} loss/parameter²: {plain(z)}{between(*ends)}"
        for h, z, ends in zip(rungs.curvatures[:3], rungs.ratios[:3], rungs.ends[:3], strict=True)
    ]
    if rungs.momentum is not None:
        memory = 1 / (1 - rungs.momentum)
        part = f", {share(memory / facts.steps)} of the run" if facts.steps > 0 else ""
        lines.append(f"momentum {rungs.momentum:.6g}: memory 1/(1-β) = {plain(memory)} steps{part}")
    return (*lines, f"measured at step {plain(rungs.step)}")


def _damping_sureness(facts: Facts, rungs: Ladder) -> str:
    last = facts.curvatures[-1]
    away, sharpness = abs(number(last.residual) or 0.0), number(last.sharpness) or 0.0
    known = "" if len(rungs.ratios) > 1 else "only the sharpest direction was measured"
    if away > 0.3 * abs(sharpness):
        return confidence("low", "the curvature is not resolved", known)
    said = confidence("moderate" if known else "high", known or f"{len(rungs.ratios)} directions were measured")
    return at_most(facts.sampled, said)
