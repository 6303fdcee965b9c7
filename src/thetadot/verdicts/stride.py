"""Length of the steps against that of the weights, from norms that cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.records import Layers, standing
from thetadot.verdicts.facts import SMALLEST, finite_field, middle, positive

if TYPE_CHECKING:
    from thetadot.verdicts.facts import Facts


def first_stride(facts: Facts) -> float | None:
    """The first recorded step over the length of the weights then; None where it is not known.

    An adaptive method's is lr·√d whatever the gradient.
    """
    moved, weight = finite_field(facts.motions, "update_norm"), finite_field(facts.motions, "weight_norm")
    known = np.flatnonzero((moved > SMALLEST) & (weight > SMALLEST))
    return float(moved[known[0]] / weight[known[0]]) if len(known) else None


def layer_stride(facts: Facts) -> float | None:
    """The first recorded step over the length of the weights, median over layers; of all where layers are not known.

    Layers that begin at zero are left out. Over all weights together large layers hide the others, as embeddings do.
    """
    rows = standing(facts.record, Layers)[0]
    if not rows:
        return first_stride(facts)
    pairs = zip(rows[0].update, rows[0].weight, strict=False)
    known = [u / w for a, b in pairs if (u := positive(a)) is not None and (w := positive(b)) is not None]
    return middle(known) if known else first_stride(facts)


def thrown(facts: Facts) -> float | None:
    """How far the weights came from their start, over their length at first; None where it is not known."""
    begin = positive(facts.motions[0].weight_norm) if facts.motions else None
    away = finite_field(facts.motions, "displacement")
    away = away[np.isfinite(away)]
    return float(away.max()) / begin if begin is not None and len(away) else None
