r"""Dead: nothing reaches most layers any more, while the loss has not vanished.

    |g_l| <= 10⁻⁶ |g_l(0)|  in half of the layers or more,  |g_l| > 10⁻³ |g_l(0)|  in another

A network whose units are dead or saturated gives a constant output, and its last layer alone still has a gradient.
Where the fit is perfect, all gradients vanish together, the last one's too. Dead from the start is a network whose
weights are zero, since symmetric units never part, or whose units are off, or saturated, for every sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import count, plain
from thetadot.records import Layers, standing
from thetadot.verdicts.course import unlowered
from thetadot.verdicts.facts import number
from thetadot.verdicts.thresholds import ALIVE, REST, VANISHED

if TYPE_CHECKING:
    from thetadot.verdicts.facts import Facts


ZERO = "Start anew from random weights: weights of zero never part."
OFF = (
    "Start anew from other weights and biases: the units behind these layers are off, or saturated, for every sample, "
    "and pass no gradient on."
)


@dataclass(frozen=True)
class Dead:
    """A network that nothing reaches.

    Attributes:
        since: the first recorded step of it; 0 where it never lived.
        says: what shows it.
        remedy: how to begin, where it never lived; "" where another lr may do.
    """

    since: float
    says: str
    remedy: str = ""


def dead(facts: Facts) -> Dead | None:
    """Tell whether most layers have lost their gradient, and since when; None where they have not."""
    rows = list(standing(facts.record, Layers)[0])
    if not rows:
        return None
    first, last = _norms(rows[0].gradient), _norms(rows[-1].gradient)
    if len(first) != len(last) or len(first) < 2 or len(rows) < 2:
        return None
    pairs = list(zip(first, last, strict=True))
    living = [i for i, (a, b) in enumerate(pairs) if a > 0 and b > ALIVE * a]
    lost = [i for i, (a, b) in enumerate(pairs) if a > 0 and b <= VANISHED * a]
    if living and len(lost) >= REST * len(pairs):
        begun = next(row for row in rows if all(_gone(row.gradient, first, i) for i in lost))
        names = _layer_names(facts, lost)
        said = f"the gradient of {count(len(lost), 'layer')} of {len(pairs)} ({names}) vanished by step "
        return Dead(float(begun.step), f"{said}{plain(float(begun.step))}, that of others did not")
    never = [i for i, (a, b) in enumerate(pairs) if a == b == 0]
    if len(never) < REST * len(pairs) or not unlowered(facts) or not all(_still(rows, i) for i in never):
        return None
    many = f"{count(len(never), 'layer')} of {len(pairs)} ({_layer_names(facts, never)})"
    if any((number(rows[0].weight[i]) or 0.0) == 0 for i in never):
        return Dead(0.0, f"{many} began with weights and gradients of zero", ZERO)
    return Dead(0.0, f"{many} had weights, and never a gradient", OFF)


def _norms(values: tuple[float, ...]) -> list[float]:
    return [number(value) or 0.0 for value in values]


def _gone(values: tuple[float, ...], first: list[float], layer: int) -> bool:
    return len(values) > layer and (number(values[layer]) or 0.0) <= VANISHED * first[layer]


def _still(rows: list[Layers], layer: int) -> bool:
    """Whether a layer did not move at first; by weight decay alone one that is merely unused does."""
    norms = _norms(rows[0].update)
    return len(norms) > layer and norms[layer] == 0


def _layer_names(facts: Facts, layers: list[int]) -> str:
    names = facts.record.layers
    said = [names[i] if i < len(names) else f"layer {i}" for i in layers[:3]]
    return ", ".join(said) + (" ..." if len(layers) > 3 else "")
