"""Implicit regularization by the finite step, against the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.formatting import plain, ratio
from thetadot.records import Regularization, standing
from thetadot.report.figures.frame import FACTORS, Timeline, band, draw_line, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import by_step, column, drawable, finite, gathered, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES = (
    ("loss", "loss of the reference batch", "ink", "solid", 2.0, 1.0),
    ("gradient_term", "added by the step: α(1+β)/(4(1-β)²)·|G|²", "blue", "dashed", 2.0, 0.8),
    ("noise_term", "added by the batches: α/(4(1-β))·trΣ/B", "orange", "dotted", 1.2, 0.7),
)


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Draw both terms of implicit gradient regularization beside the loss; None where none is positive."""
    found = {run.index: standing(run.record, Regularization)[0] for run in runs}
    values = [gathered(found.values(), name) for name, *_ in LINES]
    if not any((each > 0).any() for each in values):
        return None
    plot = timeline.axes(270, padded_range(*values, log=True), log=True)
    keys: list[Key] = []
    for run in runs:
        for name, text, role, dash, width, alpha in LINES:
            entries = found[run.index]
            x, y = finite(by_step(entries), column(entries, name), positive=True)
            if name != "loss" and len(x):
                low, high = (column(entries, f"{name.removesuffix('_term')}_{end}") for end in ("low", "high"))
                good = np.isfinite(by_step(entries)) & (np.minimum(low, high) > 0)
                if good.any():
                    band(plot, run, by_step(entries)[good], low[good], high[good], role, alpha=0.12)
            if len(x):
                line = draw_line(
                    plot, run, thin(x, y), role, width=width, alpha=alpha if run.several else 1.0, dash=dash
                )
                hover(plot, run, line, [("step", "@x{0,0}"), (name.replace("_", " "), "@y{%.3g}")], along=True)
                mark = {"solid": "line", "dashed": "dashed", "dotted": "dotted"}[dash]
                keys.append(run.key("thin" if run.several else mark, role, text))  # type: ignore[arg-type]
    return Picture(
        name="regularization",
        heading="What the size of the step adds to the loss",
        reading="A step of finite size descends not the loss but the loss plus these terms, which keep the motion out "
        f"of steep places. Far below the loss they change little; near it, they decide where the run ends. {FACTORS}",
        says=tuple(_terms_sentence(found[run.index]) for run in runs),
        panels=(Panel("Loss, and what is added to it", "L", plot),),
        keys=(*merged(keys), *timeline.keys),
    )


def _terms_sentence(entries: Sequence[Regularization]) -> str:
    if not entries:
        return ""
    last = entries[-1]
    own = drawable(last.gradient_term)
    noise = 0.0 if last.noise_term is None else drawable(last.noise_term)
    if not (drawable(last.loss) > 0 and own + noise >= 0):
        return ""
    part = ratio((own + noise) / last.loss)
    beyond = "" if own + noise < last.loss else " So large, they say only that the step is not small."
    if last.noise_term is None:
        return (
            f"At step {plain(last.step)} the term came to {part} the loss.{beyond} Batches add one of their own where "
            "each epoch shuffles them anew; here they are not known to be drawn so."
        )
    larger = "the step itself" if own >= noise else "the batches' noise"
    return f"At step {plain(last.step)} the terms came to {part} the loss, most of it from {larger}.{beyond}"
