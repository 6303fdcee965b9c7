"""The last line of a run's record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thetadot.records import Result

if TYPE_CHECKING:
    from thetadot.training.loop import Loop
    from thetadot.training.validating import Judged


def closing(loop: Loop, test: Judged | None) -> Result:
    """What came of a run.

    Args:
        loop: at its end.
        test: loss and metric of the returned state on data that nothing was chosen by; None where there are none.
    """
    plan, progress, last = loop.plan, loop.progress, loop.final
    kept_up = loop.temperature()
    test_loss, test_metric = (None, None) if test is None else test
    return Result(
        optimizer=plan.optimizer,
        lr=plan.lr,
        momentum=plan.momentum,
        batch_size=plan.batch_size,
        steps=progress.step,
        epochs=progress.epoch,
        train_loss=last.train_loss,
        valid_loss=progress.best_valid,
        best_valid_loss=progress.best_valid,
        best_epoch=progress.best_epoch,
        metric=progress.best_metric,
        sharpness=loop.sharpness,
        noise_scale=None if loop.noise is None else loop.noise.noise_scale,
        temperature=kept_up and kept_up.value,
        temperature_low=kept_up and kept_up.low,
        temperature_high=kept_up and kept_up.high,
        diverged=loop.diverged,
        cost=loop.spent,
        seconds=loop.seconds,
        test_loss=test_loss if test_loss is not None and math.isfinite(test_loss) else None,
        test_metric=test_metric,
        final_valid_loss=last.valid_loss,
        constant_loss=None if loop.constant is None else loop.constant.valid_loss,
        mean=progress.best_mean,
    )
