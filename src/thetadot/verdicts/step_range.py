r"""Whether the lr is in its range: small, fitting or large, before anything is made of it.

    descent:     q = λmax/limit · (1 + B_n/B), by the upper end of λmax
    adaptive:    |Δθ|/|θ| of the first step, median over layers: lr over the weights' root mean square

Small is said where these are a tenth of what good runs have, and the loss is still falling as if steps were what it
lacks, or has not begun to. Large is said where the loss shows harm, and the length of the step or the curvature why. A
reading of curvature on fewer samples than the batch, or on fewer than 64, is above that of the data: it may show room,
never harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thetadot.core.formatting import plain, ratio, share, times
from thetadot.verdicts.course import course, ends, unlowered
from thetadot.verdicts.edge import accusing, points
from thetadot.verdicts.facts import number, positive
from thetadot.verdicts.noise import nearest_noise
from thetadot.verdicts.stride import layer_stride, thrown
from thetadot.verdicts.thresholds import (
    FLUNG,
    GAINED,
    LARGELY,
    LONG,
    MOSTLY,
    NEARER,
    ROOM,
    ROOM_UNSEEN,
    ROSE,
    SCATTERED,
    SHORT,
    SHORT_REACH,
    TENFOLD,
    THREEFOLD,
    THROWN,
    USUAL_STRIDE,
)

if TYPE_CHECKING:
    from thetadot.verdicts.course import Course
    from thetadot.verdicts.facts import Facts

Side = Literal["small", "fits", "large", "unknown"]


@dataclass(frozen=True)
class StepRange:
    """Where the learning rate lies in its range.

    Attributes:
        side: small, fits, large; unknown where nothing tells.
        factor: by how much to change it at a time, 1 where not at all.
        why: what shows it, in words.
        evidence: what was measured.
    """

    side: Side
    factor: float = 1.0
    why: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reach:
    """The step over what bears it."""

    ratio: float  # 1 and more: too long
    room: float  # below it there is room for ten times
    said: str
    accuses: bool  # whether it is high, and reliably so
    late: float = GAINED  # share of the fall that has to have come late before it is called small


def step_range(facts: Facts) -> StepRange:
    """Return where the lr lies, as far as the record tells."""
    found, reach = course(facts), _step_reach(facts)
    if found is None:
        return StepRange("unknown", why="too few losses are known")
    evidence = _evidence(facts, found, reach)
    harm = _harm(facts, found)
    if reach is None:
        return StepRange("unknown", why="neither curvature nor the length of steps is known", evidence=evidence)
    if found.spent:
        return StepRange(
            "fits",
            why=f"the loss came to {share(max(found.end / found.start, 0.0))} of where it began, "
            "so that no other lr would gain much",
            evidence=evidence,
        )
    if reach.accuses and harm:
        factor = min(max(reach.ratio, THREEFOLD), TENFOLD)
        return StepRange("large", factor, f"{harm}, and {reach.said}", evidence)
    still = unlowered(facts)
    near = NEARER * reach.ratio / reach.room if reach.room else 0.0
    if reach.ratio <= reach.room and (still or found.gaining > max(reach.late, near)):
        far = TENFOLD * reach.ratio <= reach.room and (still or found.gaining > LARGELY)
        gained = "the loss has hardly begun to fall" if still else f"{share(found.gain or 0.0)} of its fall came late"
        return StepRange("small", TENFOLD if far else THREEFOLD, f"{gained}, and {reach.said}", evidence)
    return StepRange("fits", why=reach.said, evidence=evidence)


def _step_reach(facts: Facts) -> _Reach | None:
    """How long a step is; by its length against the weights, or by curvature and noise."""
    if facts.family == "adaptive":
        stride = layer_stride(facts)
        if stride is None:
            return None
        stride *= _to_peak(facts, number(facts.motions[0].step) if facts.motions else None)
        said = f"a first step was {ratio(stride)} a layer's length"
        return _Reach(stride / USUAL_STRIDE, SHORT / USUAL_STRIDE, said, stride > LONG)
    far = thrown(facts)
    flung = unlowered(facts) and far is not None and far > THROWN
    limits = points(facts)
    if not limits:
        return _by_length(facts, flung=flung, far=far)
    most = max(limits, key=lambda p: p.high * _to_peak(facts, p.step))
    high = most.high * _to_peak(facts, most.step)
    above = any(p.low > 1 and accusing(facts, p.entry) for p in limits)
    noise, batch = nearest_noise(facts, most.step), facts.batch_at(most.step)
    said = f"sharpness was at most {plain(high)} of the limit at the largest lr"
    if flung and far is not None and not above:
        return _Reach(_flung(far), 0.0, f"the weights were thrown {times(far)} their length", accuses=True)
    if noise is None or batch is None:
        return _Reach(high, ROOM_UNSEEN, said, accuses=above)
    excess = 1.0 + noise / batch
    said += f", {plain(high * excess)} with its noise"
    return _Reach(high if above else high * excess, ROOM, said, accuses=above)


def _to_peak(facts: Facts, step: float | None) -> float:
    """The largest lr over that of a step: what is read in warm-up is of a step that is no measure of the run's."""
    motion = facts.at(step) if step is not None else None
    lr, peak = positive(motion.lr) if motion is not None else None, largest_lr(facts)
    return max(peak / lr, 1.0) if lr is not None and peak is not None else 1.0


def _flung(far: float) -> float:
    return TENFOLD if far > FLUNG else THREEFOLD


def _by_length(facts: Facts, *, flung: bool, far: float | None) -> _Reach | None:
    """Without curvature: what a gradient comes to in the end, over the weights; it can show room alone."""
    if flung and far is not None:
        return _Reach(_flung(far), 0.0, f"the weights were thrown {times(far)} their length", accuses=True)
    stride, motion = layer_stride(facts), facts.peak
    beta = number(motion.momentum) if motion is not None else None
    if stride is None or facts.family != "sgd" or beta is None or not 0 <= beta < 1:
        return None
    reach = stride / (1.0 - beta) * _to_peak(facts, number(facts.motions[0].step))
    said = f"a gradient moves a layer by {share(reach)} of its length"
    return _Reach(reach / LONG, SHORT_REACH / LONG, said, accuses=False, late=MOSTLY)


def _harm(facts: Facts, found: Course) -> str:
    """What in the losses and lengths shows that steps are too long; "" where nothing does."""
    far = thrown(facts)
    if found.rose > ROSE:
        return f"the loss rose above where it began by {share(found.rose)} of its fall"
    if unlowered(facts) and far is not None and far > 1:
        return "the loss is no lower than it began"
    if found.scatter is not None and found.scatter > SCATTERED:
        return f"a step's loss scatters by {share(found.scatter)} of the fall"
    if far is not None and far > THROWN:
        return f"the weights were thrown {times(far)} their length"
    return ""


def _evidence(facts: Facts, found: Course, reach: _Reach | None) -> tuple[str, ...]:
    first, last = ends(facts) or (found.start, found.end)
    lines = [f"loss: {plain(first)} at first, {plain(last)} at last"]
    if found.gain is not None and found.scatter is not None:
        lines.append(
            f"share of the fall after a third of the steps: {plain(found.gain)} (standard error {plain(found.error)})"
        )
        lines.append(f"scatter of a step's loss over the fall: {plain(found.scatter)}")
    return (*lines, reach.said) if reach is not None else tuple(lines)


def largest_lr(facts: Facts) -> float | None:
    """The largest lr of the run."""
    return positive(facts.peak.lr) if facts.peak is not None else None
