"""Settings that a rule gives: a row of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """Settings that a rule gives, and what they do to what it does not keep.

    Attributes:
        keeps: what stays, in words.
        lr, momentum, batch_size: the settings; None where there is none.
        step: γ.
        friction: λ.
        temperature_factor: T'/T.
        verdict: why the row is recommended, outside its condition, vetoed, or contradicts what is asked.
        recommended: whether it holds by what is known of the noise.
        rule: the rule's name.
        source: where it is from.
        holds: when it is meant to hold.
        about: which setting it is about.
        standing: whether it may be used.
        beta2, eps, weight_decay, epochs: further settings.
        decay_factor: decay time in samples over the present one; None without decay, or where it is not known.
    """

    keeps: str
    lr: float | None
    momentum: float | None
    batch_size: float | None
    step: float | None
    friction: float | None
    temperature_factor: float | None
    verdict: str = ""
    recommended: bool = False
    rule: str = ""
    source: str = ""
    holds: str = ""
    about: str = "lr"
    standing: Literal["usable", "outside", "vetoed", "contradicts"] = "usable"
    beta2: float | None = None
    eps: float | None = None
    weight_decay: float = 0.0
    epochs: float | None = None
    decay_factor: float | None = None
