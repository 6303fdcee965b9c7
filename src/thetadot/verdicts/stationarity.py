r"""Stationary, or still descending.

    ⟨θ·∇L⟩ = (1+β)/(2α) ⟨|Δθ|²⟩    once stationary; their ratio is 1

A stationary motion has learned what it can at its temperature: it is time to anneal, or to raise the batch size.

Source:
    Yaida, arXiv:1810.00004. Intervals and the test itself are the probe's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.core.formatting import between, plain, share
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.facts import Facts, number
from thetadot.verdicts.loss import stuck
from thetadot.verdicts.sureness import confidence
from thetadot.verdicts.thresholds import COLD, EARLY, FEW

if TYPE_CHECKING:
    from thetadot.records import Equilibrium


def trailing(facts: Facts) -> list[Equilibrium]:
    """The windows at the end that agree with the last."""
    found: list[Equilibrium] = []
    known = _told(facts)
    for entry in reversed(known):
        if entry.state != known[-1].state:
            break
        found.append(entry)
    return found[::-1]


def _told(facts: Facts) -> list[Equilibrium]:
    """All windows, without one at the end that has not told yet where the one before it did, at the same settings."""
    known = facts.equilibria
    if not known or known[-1].state != "unresolved":
        return known
    before = [e for e in known if e.since < known[-1].since]
    if not before or before[-1].state == "unresolved" or known[-1].samples >= before[-1].samples:
        return known
    then, now = facts.at(number(before[-1].step) or 0.0), facts.at(number(known[-1].step) or 0.0)
    same = then is not None and now is not None and (then.lr, then.momentum) == (now.lr, now.momentum)
    return before if same else known


def cold(facts: Facts) -> bool:
    """Whether the run was annealed: its temperature is far below its highest."""
    known = facts.temperatures
    return known is not None and known[0] > 0 and known[1] < COLD * known[0]


def rest(facts: Facts) -> Verdict:
    """Judge whether the run is stationary."""
    agreeing = trailing(facts)
    if not agreeing:
        why = facts.lacking("equilibrium", "stationarity", otherwise="fluctuation and dissipation were not measured")
        return Verdict("stationarity", "unknown", "unknown", f"Not known whether the run is stationary: {why}.")
    last = agreeing[-1]
    evidence = _window_evidence(last, agreeing)
    if last.state == "unresolved":
        said = "Not resolved whether the run is stationary: its fluctuations are too large for the window."
        return Verdict("stationarity", "unresolved", "unknown", said, evidence, confidence("low", _windows(agreeing)))
    sure = _window_sureness(last, agreeing)
    if last.state == "stationary":
        return _stationary(facts, agreeing, evidence, sure)
    low, high, trend = number(last.trend_low), number(last.trend_high), number(last.trend)
    if low is not None and low > 0:
        said = f"Rising: the loss grew by {plain(trend or low)} over the last window."
        return Verdict("stationarity", "rising", "bad", said, evidence, sure)
    if high is not None and high < 0:
        said = f"Still descending: the loss fell by {plain(abs(trend or high))} over the last window."
        return Verdict("stationarity", "descending", "good", said, evidence, sure)
    said = "Still moving: fluctuation and dissipation do not balance, though the loss shows no trend yet."
    return Verdict("stationarity", "moving", "good", said, evidence, sure)


def _stationary(facts: Facts, agreeing: list[Equilibrium], evidence: tuple[str, ...], sure: str) -> Verdict:
    since = number(agreeing[0].since) or 0.0
    lasting = (facts.steps - since) / facts.steps if facts.steps > 0 else 0.0
    said = f"Stationary since step {plain(since)}, for {share(min(max(lasting, 0.0), 1.0))} of the run"
    if facts.temperatures is not None and cold(facts):
        highest, last = facts.temperatures
        said += f", and cooled to {share(last / highest)} of its highest temperature."
        return Verdict("stationarity", "stationary and cold", "good", said, evidence, sure)
    if lasting > EARLY:
        said += ": the step is too hot for what is left to learn. It was time to anneal long ago."
        state = "bad" if stuck(facts) else "attention"
        return Verdict("stationarity", "too hot", "bad" if state == "bad" else "attention", said, evidence, sure)
    said += ": at this temperature it will not come lower. Time to anneal, or to raise the batch size."
    return Verdict("stationarity", "stationary", "attention", said, evidence, sure)


def _window_evidence(last: Equilibrium, agreeing: list[Equilibrium]) -> tuple[str, ...]:
    window = f"steps {plain(number(last.since) or 0.0)} to {plain(number(last.step) or 0.0)}"
    lines = []
    ratio, trend, alignment = number(last.ratio), number(last.trend), number(last.alignment)
    if ratio is not None:
        lines.append(f"virial over fluctuation: {plain(ratio)}{between(number(last.low), number(last.high))}, {window}")
    if trend is not None:
        ends = between(number(last.trend_low), number(last.trend_high))
        lines.append(f"change of the loss: {plain(trend)}{ends}, {window}")
    if alignment is not None:
        ends = between(number(last.alignment_low), number(last.alignment_high))
        lines.append(f"⟨gₜ, gₜ₊₁⟩: {plain(alignment)}{ends} loss²/parameter²")
    return (*lines, f"{_windows(agreeing)} in a row {'say' if len(agreeing) > 1 else 'says'} {last.state}")


def _windows(agreeing: list[Equilibrium]) -> str:
    return f"{len(agreeing)} window{'' if len(agreeing) == 1 else 's'}"


def _window_sureness(last: Equilibrium, agreeing: list[Equilibrium]) -> str:
    exact = "" if last.identity == "heavy ball" else "the identity used holds for any optimizer, and is weaker"
    if len(agreeing) < FEW or exact:
        return confidence("moderate", _windows(agreeing), exact)
    return confidence("high", f"{_windows(agreeing)} agree")
