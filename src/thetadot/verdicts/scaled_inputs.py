"""Badly scaled inputs: columns far from size 1, as the record remarks before training.

Layers begin as if their inputs were of size 1, and one lr serves columns of one size: curvature along a weight grows
with the square of its input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.records import Choice
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.sureness import confidence

if TYPE_CHECKING:
    from thetadot.verdicts.facts import Facts

REMEDY = "Standardize the inputs over the training data: x = (x - x.mean(0)) / x.std(0)"


def inputs(facts: Facts) -> Verdict:
    """Judge whether inputs are of a size that layers expect."""
    remark = facts.remarked("inputs")
    if remark is None:
        return _unremarked(facts)
    said = remark.says.split(". ")[0].rstrip(".")
    said = f"Badly scaled inputs: {said}."
    sure = confidence("high", "read from the data")
    return Verdict("inputs", "badly scaled", "attention", said, (remark.says,), sure, f"{REMEDY}.")


def _unremarked(facts: Facts) -> Verdict:
    """Of a record without a remark: the run mended them, nothing was found, or nobody looked."""
    mended = next((choice for choice in facts.record.of(Choice) if choice.setting == "inputs"), None)
    if mended is not None:
        said = "The inputs were badly scaled; the run took them in units of their own."
        return Verdict("inputs", "mended", "good", said, (mended.because,), confidence("high", "read from the data"))
    watched = facts.record.header.watched
    if watched is not None and not watched.reference_samples:
        said = "Not known whether the inputs are well scaled: no reference batch was looked at."
        return Verdict("inputs", "unknown", "unknown", said)
    return Verdict("inputs", "unknown", "unknown", "Nothing was found wrong with the size of the inputs.")
