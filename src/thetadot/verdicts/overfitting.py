"""Overfitting: the validation loss rises while the training loss falls.

Told where the record has a validation loss each epoch. What is risen is compared with what had been gained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.formatting import plain, share
from thetadot.records import Epoch, standing
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.facts import numbers
from thetadot.verdicts.sureness import confidence
from thetadot.verdicts.thresholds import FEW, TURNED

if TYPE_CHECKING:
    from thetadot.verdicts.facts import Facts

FEWEST = 4
"""Epochs before a rise is one."""


def generalization(facts: Facts) -> Verdict:
    """Judge whether the validation loss turned while the training loss went on falling."""
    rows = standing(facts.record, Epoch)[0]
    epochs, valid, train = (numbers(rows, name) for name in ("epoch", "valid_loss", "train_loss"))
    known = np.isfinite(valid) & np.isfinite(train) & np.isfinite(epochs)
    epochs, valid, train = epochs[known], valid[known], train[known]
    if len(valid) < FEWEST:
        said = "Not known whether it overfits: the record has no validation loss of several epochs."
        return Verdict("generalization", "unknown", "unknown", said)
    low = int(valid.argmin())
    late = valid[-min(FEW, len(valid)) :]
    rise, gained = float(np.median(late) - valid[low]), float(valid[: low + 1].max() - valid[low])
    best = f"{plain(float(valid[low]))} at best (epoch {plain(float(epochs[low]))})"
    evidence = (
        f"validation loss: {plain(float(valid[0]))} at first, {best}, {plain(float(valid[-1]))} at last",
        f"training loss: {plain(float(train[low]))} at that epoch, {plain(float(train[-1]))} at last",
    )
    sure = confidence("moderate", f"{len(valid)} epochs")
    if low < len(valid) - FEW and rise > TURNED * gained and train[-1] < train[low]:
        said = f"Overfits since epoch {plain(float(epochs[low]))}: the validation loss rose by "
        said += f"{share(rise / gained) if gained > 0 else plain(rise)} of what it had gained, while the training loss "
        said += "fell."
        advice = "Return the state of the best validation loss; regularize, or get more data, to come lower."
        return Verdict("generalization", "overfitting", "attention", said, evidence, sure, advice)
    said = f"The validation loss was best at epoch {plain(float(epochs[low]))}, and has not risen since."
    return Verdict("generalization", "no overfitting", "good", said, evidence, sure)
