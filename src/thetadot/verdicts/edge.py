r"""Distance to the stability edge: sharpness over the optimizer's own limit, and whether the loss was lost.

    λmax/λ*:    below 1 a step on the sharpest direction shrinks, above 1 it grows

The limit moves with lr and momentum, so the ratio is of one moment. λmax of the reference batch lies in an interval
that begins at the sharpness measured: its lower end says that it is above the limit, its upper one that it is below. Of
other samples it is another: a mini-batch's is about 1.5 times as large.

Source:
    Cohen et al., arXiv:2103.00065 and 2207.14484: descent on the whole data drives sharpness up to the limit and
    hovers there, which is no fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import count, plain
from thetadot.core.limits import limit_at
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.course import course, ends
from thetadot.verdicts.facts import Facts, interval, middle, number, positive
from thetadot.verdicts.loss import lost, stuck
from thetadot.verdicts.noise import scale
from thetadot.verdicts.sureness import at_most, confidence
from thetadot.verdicts.thresholds import ABOVE, AT, CLOSE, FAIR, FEW, NEAR, RECENT, ROSE, SCATTERED, START, WARM

if TYPE_CHECKING:
    from thetadot.dictionary.settings import Settings
    from thetadot.records import Curvature
    from thetadot.verdicts.loss import Loss


@dataclass(frozen=True)
class EdgeReading:
    """Sharpness over limit at one step, and the ends of λmax over limit."""

    step: float
    ratio: float
    low: float
    high: float
    entry: Curvature
    limit: float


def points(facts: Facts) -> list[EdgeReading]:
    """Return every measurement with a limit, in order."""
    found = []
    for entry in facts.curvatures:
        limit, sharpness, step = positive(entry.limit), number(entry.sharpness), number(entry.step)
        if limit is None or sharpness is None or step is None:
            continue
        low, high = interval(entry)
        found.append(EdgeReading(step, sharpness / limit, low / limit, high / limit, entry, limit))
    return found


def latest(facts: Facts, found: list[EdgeReading]) -> list[EdgeReading]:
    """The last quarter, at least one, of those near the run's largest lr: annealing ends far from any edge."""
    peak = (number(facts.peak.lr) or 0.0) if facts.peak is not None else 0.0
    near = [p for p in found if (m := facts.at(p.step)) is None or (number(m.lr) or 0.0) >= WARM * peak] or found
    return near[-max(int(len(near) * RECENT), 1) :]


def stability(facts: Facts, present: Settings) -> tuple[float | None, float | None]:
    """The last sharpness by its upper end, and its limit at the present settings."""
    found = points(facts)
    if not found:
        return None, None
    motion = facts.at(found[-1].step)
    lr = positive(motion.lr) if motion is not None else None
    beta = number(motion.momentum) if motion is not None else None
    if lr is None or beta is None or not 0 <= beta < 1:
        return None, None
    decay, decoupled = facts.decay
    limit = limit_at(found[-1].limit, lr, beta, present.lr, present.momentum or 0.0, decay=decay, decoupled=decoupled)
    return found[-1].high * found[-1].limit, limit


def accusing(facts: Facts, entry: Curvature) -> bool:
    """Whether a measurement may show harm: it is of 64 samples or more, and of no fewer than the batch.

    On fewer, λmax is above that of the data: such a reading can show that a limit is far, never that it is passed.
    """
    samples, everything = positive(entry.samples), positive(facts.record.header.train_samples)
    if samples is None or (everything is not None and samples >= everything):
        return True
    return samples >= FAIR and (facts.batch is None or samples >= min(facts.batch, everything or facts.batch))


def began_above(facts: Facts, found: list[EdgeReading]) -> bool:
    """Whether the run began above its limit, by the lower end.

    An adaptive method's first measurements are left out: its preconditioner has not yet seen gradients.
    """
    start = [p for p in found if p.step <= START * facts.steps]
    return bool(start) and not start[0].entry.preconditioned and start[0].low > 1 and accusing(facts, start[0].entry)


def closeness(facts: Facts) -> Verdict:
    """Judge how close the step is to its stability limit."""
    found = points(facts)
    loss = lost(facts)
    if loss is not None:
        return _diverged(facts, found, loss)
    if not found:
        return _without_limit(facts)
    now = _now(facts, found)
    if began_above(facts, found):
        return _above_at_start(facts, found, now)
    verdict = _by_ratio(facts, found, now)
    if verdict.state in {"attention", "bad"} and not accusing(facts, latest(facts, found)[-1].entry):
        said = f"Not resolved how close the step is to instability: sharpness was at most {plain(now.high)} of the "
        said += "limit, on too few samples to tell."
        return Verdict("edge", "unresolved", "unknown", said, verdict.evidence, verdict.confidence)
    return verdict


@dataclass(frozen=True)
class Now:
    """Sharpness over limit of late: medians of the measured and of both ends."""

    ratio: float
    low: float
    high: float

    @property
    def told(self) -> str:
        """The one number, or both ends where they lie on different sides of a threshold."""
        if _side_of_limit(self.low) == _side_of_limit(self.high):
            return plain(max(self.ratio, 0.0))
        return f"{plain(max(self.low, 0.0))} to {plain(self.high)}"


def _now(facts: Facts, found: list[EdgeReading]) -> Now:
    late = latest(facts, found)
    return Now(middle([p.ratio for p in late]), middle([p.low for p in late]), middle([p.high for p in late]))


def _without_limit(facts: Facts) -> Verdict:
    otherwise = "this optimizer gives no limit" if facts.curvatures else facts.no_curvature
    reason = facts.lacking("limit", "sharpness", "curvature", otherwise=otherwise)
    said = f"Not known how close the step is to instability: {reason}."
    first_and_last = ends(facts)
    if not stuck(facts) or first_and_last is None:
        return Verdict("edge", "unknown", "unknown", said)
    said += f" The loss is no lower than it began ({plain(first_and_last[0])}, now {plain(first_and_last[1])})."
    return Verdict("edge", "unknown", "attention", said, (), confidence("low", "the loss alone tells it"))


def _by_ratio(facts: Facts, found: list[EdgeReading], now: Now) -> Verdict:
    evidence, sure, verb = _stability_evidence(facts, found), _stability_sureness(facts, found), _verb(facts, found)
    if now.low > ABOVE:
        return _above(facts, now, verb, evidence, sure)
    if _side_of_limit(now.high) - _side_of_limit(now.low) > 1:
        said = f"Not resolved how close the step is to instability: sharpness {verb} {now.told} of the limit."
        return Verdict("edge", "unresolved", "unknown", said, evidence, sure)
    if now.high > AT:
        return _at_edge(facts, now, verb, evidence, sure)
    said = f"Sharpness {verb} {now.told} of the limit"
    if now.high > CLOSE:
        said += f": stable, but an lr {plain(1 / now.high)} times as large might not be."
        return Verdict("edge", "near the edge", "good", said, evidence, sure)
    return Verdict("edge", "far from the edge", "good", f"{said}: far from instability.", evidence, sure)


def _above(facts: Facts, now: Now, verb: str, evidence: tuple[str, ...], sure: str) -> Verdict:
    """Above the limit by curvature, which is harm where the loss shows some too."""
    said = f"Sharpness {verb} {now.told} times the limit: steps along the sharpest direction grow"
    found = course(facts)
    calm = found is not None and found.fall > 0 and found.rose <= ROSE and (found.scatter or 0.0) <= SCATTERED
    if calm and not stuck(facts):
        said += ", though the loss fell and shows no harm: the reference may be sharper than what is trained on."
        return Verdict(
            "edge", "above the edge", "unknown", said, evidence, confidence("low", "the loss does not agree")
        )
    return Verdict("edge", "above the edge", "bad", f"{said}.", evidence, sure)


def _verb(facts: Facts, found: list[EdgeReading]) -> str:
    """Is, or was while the lr was large."""
    last = latest(facts, found)[-1]
    return "is" if last is found[-1] else f"at the large lr, until step {plain(last.step)}, was"


def _diverged(facts: Facts, found: list[EdgeReading], loss: Loss) -> Verdict:
    said = f"The loss is lost: {loss.why}."
    sound = [p for p in found if p.step <= loss.before]
    if sound:
        most = max(sound, key=lambda p: p.ratio)
        said += f" Before, sharpness was up to {plain(most.ratio)} times the limit, at step {plain(most.step)}."
    sure = confidence("high", "the loss itself says so")
    return Verdict("edge", "diverged", "bad", said, _stability_evidence(facts, found), sure)


def _above_at_start(facts: Facts, found: list[EdgeReading], now: Now) -> Verdict:
    first, evidence = found[0], _stability_evidence(facts, found)
    said = (
        f"The run began above the edge: sharpness was {plain(first.ratio)} times the limit at step {plain(first.step)}"
    )
    if now.high <= AT and not stuck(facts):
        said += f"; it was thrown to where curvature is lower, and is at {now.told} of the limit now."
        sure = confidence("moderate", "the loss fell all the same")
        course_ = course(facts)
        harmed = course_ is None or course_.rose > ROSE
        return Verdict("edge", "began above the edge", "attention" if harmed else "good", said, evidence, sure)
    said += f" and is {now.told} times it now. The lr is too large for this model."
    return Verdict("edge", "above the edge", "bad", said, evidence, _stability_sureness(facts, found))


def _at_edge(facts: Facts, now: Now, verb: str, evidence: tuple[str, ...], sure: str) -> Verdict:
    said = f"Sharpness {verb} {now.told} of the limit: at the edge of stability."
    noise = scale(facts)
    quiet = noise is not None and noise.resolved and facts.batch is not None and facts.batch > NEAR * noise.value
    if (facts.whole or quiet) and not stuck(facts):
        said += " That is where descent with little noise settles by itself; the loss still falls, in waves."
        return Verdict("edge", "at the edge", "good", said, evidence, sure)
    said += " With noisy batches, whose own curvature is larger, some steps are unstable here."
    found = course(facts)
    harmed = stuck(facts) or found is None or found.rose > ROSE or (found.scatter or 0.0) > SCATTERED
    return Verdict("edge", "at the edge", "attention" if harmed else "good", said, evidence, sure)


def _stability_evidence(facts: Facts, found: list[EdgeReading]) -> tuple[str, ...]:
    lines = []
    if found:
        last = found[-1]
        name = "sharpness of P⁻¹H" if last.entry.preconditioned else "sharpness"
        lines.append(
            f"{name} at step {plain(last.step)}: {plain(number(last.entry.sharpness) or 0.0)} "
            f"(λmax {plain(last.low * last.limit)} to {plain(last.high * last.limit)}) loss/parameter², "
            f"limit {plain(last.limit)}"
        )
        most = max(found, key=lambda p: p.ratio)
        lines.append(
            f"sharpness over limit: {plain(found[0].ratio)} at step {plain(found[0].step)}, "
            f"at most {plain(most.ratio)} at step {plain(most.step)}, "
            f"{plain(last.ratio)} ({plain(last.low)} to {plain(last.high)}) at step {plain(last.step)}"
        )
        samples = number(last.entry.samples)
        if samples is not None:
            lines.append(f"on {plain(samples)} reference samples")
    first_and_last = ends(facts)
    if first_and_last is not None:
        lines.append(f"loss: {plain(first_and_last[0])} at first, {plain(first_and_last[1])} at last")
    return tuple(lines)


def _stability_sureness(facts: Facts, found: list[EdgeReading]) -> str:
    sides = {_side_of_limit(value) for p in latest(facts, found) for value in (p.low, p.high)}
    if len(sides) > 1:
        said = confidence("moderate" if len(sides) == 2 else "low", "intervals and waves reach another finding")
    elif len(found) < FEW:
        said = confidence("moderate", count(len(found), "measurement"))
    else:
        said = confidence("high", count(len(found), "measurement"), "intervals change nothing")
    return at_most(facts.sampled, said)


def _side_of_limit(ratio: float) -> int:
    return (ratio > CLOSE) + (ratio > AT) + (ratio > ABOVE)
