"""Why a setting was chosen, in one line each, for the terminal, the record and the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from thetadot.analysis import stability_limit
from thetadot.records import Choice
from thetadot.translation import to_physical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.records import Curvature, Noise
    from thetadot.training.plan import Plan
    from thetadot.training.trials import Candidate

Source = Literal["measured", "tried", "rule", "given"]


def batch_size(value: int, noise: Noise | None) -> Choice:
    """Give the reason for a batch size that was not given."""
    if noise is None:
        return Choice("batch_size", value, "the run is too short to measure the gradient's noise", "rule")
    scale = f"{noise.noise_scale:.3g} samples at the start"
    if value > noise.noise_scale:
        why = f"noise and signal are equal at {scale}, at more later; {value} keeps steps cheap and many"
    else:
        bound = "" if noise.resolved else "at least "
        why = f"below the noise scale ({bound}{scale}), where a larger batch still buys more than it costs"
    return Choice("batch_size", value, why, "measured")


def optimizer(best: Candidate, tried: Sequence[Candidate], source: Source, *, given: bool) -> Choice:
    """Give the reason for the choice of optimizer."""
    if given:
        return Choice("optimizer", best.optimizer, "given", "given")
    if source == "given":
        return Choice(
            "optimizer", best.optimizer, "an lr was given without an optimizer: it is read as heavy ball's", "rule"
        )
    if source == "rule":
        why = (
            "the trials were inconclusive (too few samples, or nothing gained); "
            "Adam's step does not depend on the loss's scale"
        )
        return Choice("optimizer", best.optimizer, why, "rule")
    others = [c.score for c in tried if c.optimizer != best.optimizer and c.steps == best.steps]
    rival = (
        f"the other family's reached {min(others):.3g}"
        if others and math.isfinite(min(others))
        else "the other diverged"
    )
    return Choice(
        "optimizer", best.optimizer, f"its trial reached a held-back loss of {best.score:.3g}; {rival}", "tried"
    )


def lr(best: Candidate, curvature: Curvature | None, horizon: float, center: float, source: Source) -> Choice:
    """Give the reason for the learning rate; ``horizon`` carries the best rate of trials over to the run."""
    if source == "given":
        return Choice("lr", best.lr, "given", "given")
    if source == "rule":
        return Choice("lr", best.lr, "the trials were inconclusive: too few samples, or nothing gained", "rule")
    if best.optimizer == "adam":
        around = f"{center:g}, Adam's usual scale"
    elif curvature is None or curvature.sharpness <= 0:
        around = f"{center * (1.0 - best.momentum):.3g}"
    else:
        share = best.lr * curvature.sharpness / stability_limit(best.momentum)
        around = f"1/curvature (now {share:.2g} of the stability limit at curvature {curvature.sharpness:.3g})"
    trials = (
        f"{best.lr / horizon:.3g} was taken in trials of {best.steps} steps around {around}, "
        "near-ties resolved in favour of the smaller step"
    )
    return Choice("lr", best.lr, f"{trials}; × {horizon:.2g} for the run's length", "tried")


def momentum(best: Candidate, *, given: bool) -> Choice:
    """Give the reason for the momentum."""
    if given:
        return Choice("momentum", best.momentum, "given", "given")
    memory = "one step" if best.momentum == 0 else f"{1.0 / (1.0 - best.momentum):.3g} steps"
    if best.optimizer == "adam":
        return Choice("momentum", best.momentum, f"the mean of the gradient remembers {memory}, as is usual", "rule")
    physical = to_physical(best.lr, best.momentum)
    friction = f"a friction of {physical.friction:.3g} at a time step of {physical.step:.3g}"
    why = f"velocity is forgotten in {memory}, {friction}; where noise limits the run only lr/(1-momentum) matters"
    return Choice("momentum", best.momentum, why, "rule")


def annealing(plan: Plan, *, given: bool) -> Choice:
    """Give the reason for the schedule."""
    grows = f" while the batch grows to {plan.last_batch}" if plan.last_batch > plan.batch_size else ""
    falls = f"falls to {plan.end:.0%} of its start{grows}"
    if plan.coupled:
        rise = f"momentum rises from {plan.momentum:g} to {plan.at(1.0).momentum:.4f} by the exact rule"
        return Choice("annealing", "coupled", f"the time step {falls}; friction stays, so {rise}", "rule")
    if given:
        why = "momentum stays, as given"
    else:
        why = "Adam's memory stays" if plan.optimizer == "adam" else "there is no momentum to raise"
    return Choice("annealing", "cosine", f"lr {falls}; {why}", "given" if given else "rule")
