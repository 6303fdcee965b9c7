"""A verdict: one sentence about a run, with its evidence and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from thetadot.core.formatting import html_table

State = Literal["good", "attention", "bad", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """Answer of a record to one question.

    Attributes:
        name: the question, as a key: "noise", "damping", "edge", "stationarity", "advice" ...
        finding: the answer as a key, such as "noise-limited" or "batch wasted".
        state: good, worth attention, bad; unknown where the record does not tell.
        says: the answer in a sentence or two, with numbers.
        evidence: the measurements it rests on, each with unit and interval.
        confidence: "high", "moderate" or "low", and why, in words.
        advice: what to change and what the other settings should then be; "" where nothing.
        settings: of an advice, the settings to change first, by name, and their new values: lr, momentum, batch.
    """

    name: str
    finding: str
    state: State
    says: str
    evidence: tuple[str, ...] = field(default=())
    confidence: str = ""
    advice: str = ""
    settings: tuple[tuple[str, float], ...] = ()

    def _repr_html_(self) -> str:
        rows = [(self.name, f"{self.finding} ({self.state})"), ("in words", self.says), ("advice", self.advice)]
        rows += [("evidence", "; ".join(self.evidence)), ("how sure", self.confidence)]
        return html_table((name, value) for name, value in rows if value)


@dataclass(frozen=True)
class SettingChange:
    """A single change of a setting, or of several that go together."""

    finding: str
    says: str
    evidence: tuple[str, ...] = ()
    settings: tuple[tuple[str, float], ...] = ()
