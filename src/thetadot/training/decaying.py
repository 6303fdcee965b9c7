"""Weight decay, while a run knows its training data better than others.

    on        while validation loss - training loss > |validation loss|/10 at three successive epochs
    λ         lr·λ·S = 1.2 over the S steps of the run, at its first rate: what was learned at the beginning is
              forgotten to exp(-1.2), however long the run is

Decoupled, and of matrices alone: what a bias holds may be the targets' own offset. A run whose losses agree, of which
more fitting is all that is wanted (a differential equation in the loss, a deep linear network), is not decayed.

Source: I. Loshchilov, F. Hutter, Decoupled weight decay regularization, ICLR 2019; X. Wang, L. Aitchison, How to set
AdamW's weight decay as you scale model and dataset size, ICML 2025 (the time that weights remember, in epochs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.training import reasons

if TYPE_CHECKING:
    from thetadot.training.progress import TrainingProgress
    from thetadot.training.steering import Steered

APART, SUCCESSIVE = 0.1, 3
"""Over eight development tasks the loss is .904 of what it was with three epochs, .924 with two; on the one with
derivatives in its loss, whose losses scatter, 1.005 and 1.07. With .3 instead of .1: .92 to .93."""


def decays(progress: TrainingProgress) -> bool:
    """Whether the next step is decayed."""
    return progress.apart >= SUCCESSIVE


def look(loop: Steered, train_loss: float, valid_loss: float, *, hidden: bool) -> None:
    """Count an epoch whose losses lie apart; where that begins the decay for the first time, say it.

    Args:
        loop: the run.
        train_loss: mean over the epoch.
        valid_loss: of the parameters after it.
        hidden: whether the epoch may be undone, so that nothing is said of it.
    """
    progress = loop.progress
    apart = valid_loss - train_loss > APART * abs(valid_loss)
    progress.apart = progress.apart + 1 if apart else 0
    if loop.plan.decay and decays(progress) and not progress.decayed and not hidden:
        progress.decayed = True
        loop.write(reasons.decay(loop.plan.decay, train_loss, valid_loss))
