"""Overfitting: the validation loss rises while the training loss falls.

Told where the record has a validation loss each epoch. What is risen is compared with what had been gained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.formatting import count, plain, share
from thetadot.records import Epoch, standing
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.facts import finite_field
from thetadot.verdicts.sureness import confidence
from thetadot.verdicts.thresholds import FEW, TURNED

if TYPE_CHECKING:
    from thetadot.verdicts.facts import Facts

FEWEST = 4
"""Epochs before a rise is one."""


def generalization(facts: Facts) -> Verdict:
    """Judge whether the validation loss turned while the training loss went on falling."""
    rows = standing(facts.record, Epoch)[0]
    epochs, valid, train, mean = (finite_field(rows, name) for name in ("epoch", "valid_loss", "train_loss", "mean"))
    known = np.isfinite(valid) & np.isfinite(train) & np.isfinite(epochs)
    known &= mean != 1.0  # a running mean of the parameters lies lower than its neighbours
    epochs, valid, train = epochs[known], valid[known], train[known]
    if len(valid) < FEWEST:
        said = "Not known whether it overfits: the record has no validation loss of several epochs."
        return Verdict("generalization", "unknown", "unknown", said)
    low = int(valid.argmin())
    after, gained = valid[low + 1 :], float(valid[: low + 1].max() - valid[low])
    rise = float(np.median(after[-FEW:])) - float(valid[low]) if len(after) else 0.0
    at, now = f"epoch {plain(float(epochs[low]))}", plain(float(valid[-1]))
    evidence = (
        f"validation loss: {plain(float(valid[0]))} at first, {plain(float(valid[low]))} at best ({at}), {now} at last",
        f"training loss: {plain(float(train[low]))} at that epoch, {plain(float(train[-1]))} at last",
    )
    sure = confidence("moderate", f"{len(valid)} epochs")
    if rise <= TURNED * gained:
        said = f"The validation loss was best at {at}, and has not risen since."
        return Verdict("generalization", "no overfitting", "good", said, evidence, sure)
    risen = share(rise / gained) if gained > 0 else plain(rise)
    risen += " of what it had gained" if gained > 0 else ""
    if train[-1] >= train[low]:
        said = f"The validation loss rose since {at}, by {risen}, and so did the training loss: it is not overfitting "
        return Verdict("generalization", "both rose", "unknown", f"{said}that shows.", evidence, sure)
    if len(after) <= FEW:
        said = f"Not known whether it overfits: the validation loss was best at {at} and is {now} now, but only "
        said += f"{count(len(after), 'epoch')} came since."
        return Verdict("generalization", "unresolved", "unknown", said, evidence, sure)
    said = f"Overfits since {at}: the validation loss rose by {risen}, while the training loss fell."
    advice = "Return the state of the best validation loss; regularize, or get more data, to come lower."
    return Verdict("generalization", "overfitting", "attention", said, evidence, sure, advice)
