"""Which of noise and curvature limits a step, and which rules were made for that.

Noise limits it while every batch in question is below the noise scale B_n; where B_n is only bounded from below, that
can be told and nothing else. Without a noise scale no rule is recommended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thetadot.core.formatting import plain
from thetadot.dictionary.batch_rules import LINEAR, MALLADI, MCCANDLISH, MEAN_FIELD, MOTION, MUON, ROOT, SMITH
from thetadot.dictionary.change import FRICTION, HEAT

if TYPE_CHECKING:
    from thetadot.dictionary.change import Change
    from thetadot.dictionary.families import Family

Limit = Literal["noise", "curvature", "both", "unknown"]


@dataclass(frozen=True)
class NoiseScale:
    """The noise scale B_n = trΣ/|G|² in samples, or what is known of it.

    Attributes:
        value: B_n; None where it was not measured.
        resolved: whether it is a value, and not a lower bound.
    """

    value: float | None = None
    resolved: bool = True

    @property
    def known(self) -> float | None:
        """The value, where it is one."""
        return self.value if self.resolved else None

    def limit(self, *batches: float) -> Limit:
        """What limits steps of such batches.

        Example:
            >>> NoiseScale(100.0).limit(10, 90), NoiseScale(100.0).limit(10, 200), NoiseScale(100.0).limit(200)
            ('noise', 'both', 'curvature')
            >>> NoiseScale().limit(10), NoiseScale(100.0, resolved=False).limit(200)
            ('unknown', 'unknown')
        """
        if self.value is None:
            return "unknown"
        if max(batches) <= self.value:
            return "noise"
        if not self.resolved:
            return "unknown"
        return "curvature" if min(batches) >= self.value else "both"

    def said(self) -> str:
        """The value in words."""
        return f"{'' if self.resolved else 'at least '}{plain(self.value)} samples"


WHY = {
    LINEAR.name: "noise limits the step, and this keeps lr/((1-momentum)B), all that it sees",
    SMITH.name: "noise limits the step; the same temperature without a larger lr",
    MOTION.name: "noise limits the step; the same equation of motion, only stepped differently",
    HEAT.name: "noise limits the step; momentum keeps the temperature",
    FRICTION.name: "noise does not limit the step: the same friction, and the batch may stay",
    MCCANDLISH.name: "curvature limits the step too: if the present lr is the best, this is",
    MALLADI.name: "noise limits the step; the same equation of motion",
    ROOT.name: "noise limits the step, which is divided by it: lr goes with √B",
    MEAN_FIELD.name: "noise no longer makes all of the step: lr goes with √B and levels off, if the present lr is best",
    MUON.name: "noise no longer makes all of the step: lr goes with √B and levels off, if the present lr is best",
}

_BATCH: dict[Family, dict[str, tuple[str, ...]]] = {
    "sgd": {"noise": (LINEAR.name, SMITH.name, MOTION.name), "else": (MCCANDLISH.name,)},
    "adaptive": {"noise": (MALLADI.name, ROOT.name), "else": (MEAN_FIELD.name,)},
    "spectral": {"noise": (ROOT.name,), "else": (MUON.name,)},
}
_LR: dict[Family, dict[str, tuple[str, ...]]] = {
    "sgd": {"noise": (MOTION.name, LINEAR.name, HEAT.name), "else": (MCCANDLISH.name, FRICTION.name)},
    "adaptive": _BATCH["adaptive"],
    "spectral": _BATCH["spectral"],
}
_TWO: dict[Family, dict[str, tuple[str, ...]]] = {
    "sgd": {"noise": (LINEAR.name, HEAT.name), "else": (MCCANDLISH.name, FRICTION.name)},
    "adaptive": _BATCH["adaptive"],
    "spectral": _BATCH["spectral"],
}


def preferred(family: Family, change: Change) -> dict[str, tuple[str, ...]]:
    """Names of rules in order of preference, under what limits the step."""
    if change.lr is not None and change.batch is not None:
        return _TWO[family]
    return _LR[family] if change.lr is not None else _BATCH[family] if change.batch is not None else {}


def advice(noise: NoiseScale, limit: Limit, *, recommended: bool, asked: bool) -> str:
    """What the noise scale says of the change; where it is not known, how to measure it."""
    if not asked:
        return ""
    if limit == "unknown":
        why = (
            "Not known whether noise or curvature limits the step"
            if noise.value is None
            else f"The noise scale is {noise.said()}, which does not tell whether noise limits the larger batch"
        )
        return (
            f"{why}, so no row is recommended. Measure the noise scale: put thetadot.watch(..., out='runs/a') around "
            "your loop, or thetadot run TASK --out runs/a (long runs pay for it), and add --from runs/a to this "
            "command; or add --noise-scale B_n, in samples, such as thetadot.training.critical_batch measures."
        )
    what = {
        "noise": "noise limits the step",
        "curvature": "curvature limits the step",
        "both": "noise limits the step at one batch and curvature at the other",
    }[limit]
    none = (
        "" if recommended else " Every rule made for that is outside its condition or vetoed, or asks for another lr."
    )
    return f"The noise scale is {noise.said()}: {what}.{none}"
