"""Why a setting was chosen, in one line each, for the terminal, the record and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from thetadot.records import Choice
from thetadot.translation import to_physical

if TYPE_CHECKING:
    from thetadot.records import Noise
    from thetadot.training.plan import Family, TrainingPlan

Source = Literal["measured", "rule", "given"]
PRICE = (
    "many small steps learn more from the same samples than few large ones, at 2 to 4 times the time of a batch of 64"
)


def batch_size(
    value: int, noise: Noise | None, source: Source, ends: tuple[float | None, float | None] = (None, None)
) -> Choice:
    """Give the reason for a batch size; ``ends`` are those by the ends of the noise scale."""
    if source == "given":
        return Choice("batch_size", value, "given", "given")
    if noise is None:
        return Choice("batch_size", value, f"{PRICE}; --batch-size overrides it", "rule")
    scale = f"{noise.noise_scale:.3g} samples at the start"
    if value > noise.noise_scale:
        why = f"noise and signal are equal at {scale}, at more later; {value} keeps steps cheap and many"
    else:
        bound = "" if noise.resolved else "at least "
        why = f"below the noise scale ({bound}{scale}), where a larger batch still buys more than it costs"
    return Choice("batch_size", value, why, "measured", *ends)


def large_batch(value: int, noise: Noise | None, room: float, ends: tuple[float | None, float | None]) -> Choice:
    """Give the reason for the first batch where few steps are preferred."""
    price = "few large steps were preferred: the same loss takes more samples, and fewer steps"
    if noise is None:
        return Choice("batch_size", value, f"{price}; the noise could not be measured", "rule")
    bound = "" if noise.resolved else "at least "
    why = f"noise and signal are equal at {bound}{noise.noise_scale:.3g} samples"
    if noise.noise_scale > room:
        why += f", and there is room for {room:.3g}: an eighth of the data, 400 steps"
    return Choice("batch_size", value, f"{price}; {why}", "measured", *ends)


def grown(value: int, noise: Noise, lr: float) -> Choice:
    """Give the reason for a batch that grows on the way."""
    bound = "" if noise.resolved else "at least "
    why = (
        f"noise limits the run: it equals the signal at {bound}{noise.noise_scale:.3g} samples, {noise.low:.3g} surely"
    )
    return Choice("batch_size", value, f"{why} (step {noise.step}); lr rises to {lr:.3g} with it", "measured")


def optimizer(family: Family, *, given: bool, by_lr: bool) -> Choice:
    """Give the reason for the choice of optimizer."""
    if given:
        return Choice("optimizer", family, "given", "given")
    if by_lr:
        return Choice("optimizer", family, "an lr was given without an optimizer: it is read as heavy ball's", "rule")
    why = "its step does not depend on the loss's scale, so that a start without knowledge is safe"
    return Choice("optimizer", family, why, "rule")


def given_lr(lr: float) -> Choice:
    """Give the reason for a learning rate that was given."""
    return Choice("lr", lr, "given: it is not forked", "given")


def _further(*, steered: bool) -> str:
    """What finds out whether the first rate is too small."""
    if steered:
        return "forks on the way find out whether twice as much is better"
    return "thetadot.run would find out on the way whether twice as much is better, again and again"


def adam_lr(lr: float, size: float, *, steered: bool = True) -> Choice:
    """Give the reason for Adam's first learning rate."""
    if lr < 0.5 * size or size == 0:
        why = f"a safe start, below half the parameters' typical size of {size:.3g}"
    else:
        why = f"half the parameters' typical size of {size:.3g}, or 0.001: Adam moves each of them by lr a step"
    return Choice("lr", lr, f"{why}; {_further(steered=steered)}", "rule")


def heavy_lr(
    lr: float,
    sharpness: float | None,
    ends: tuple[float | None, float | None] = (None, None),
    *,
    steered: bool = True,
) -> Choice:
    """Give the reason for heavy ball's first learning rate; ``ends`` are those by the ends of the curvature."""
    end = _further(steered=steered)
    if sharpness is None:
        return Choice("lr", lr, f"the curvature could not be measured; {end}", "rule")
    why = f"lr/(1-momentum) is an eighth of 1/curvature, which is {sharpness:.3g} at the start"
    return Choice("lr", lr, f"{why}; {end}", "measured", *ends)


def momentum(family: Family, lr: float, value: float, *, given: bool) -> Choice:
    """Give the reason for the momentum."""
    if given:
        return Choice("momentum", value, "given", "given")
    memory = "one step" if value == 0 else f"{1.0 / (1.0 - value):.3g} steps"
    if family == "adam":
        return Choice("momentum", value, f"the mean of the gradient remembers {memory}, as is usual", "rule")
    physical = to_physical(lr, value)
    friction = f"a friction of {physical.friction:.3g} at a time step of {physical.step:.3g}"
    why = f"velocity is forgotten in {memory}, {friction}; where noise limits the run only lr/(1-momentum) matters"
    return Choice("momentum", value, why, "rule")


def annealing(plan: TrainingPlan, *, given: bool) -> Choice:
    """Give the reason for the schedule."""
    source: Source = "given" if given else "rule"
    if plan.annealing == "linear":
        why = "lr is constant, so that one rate holds for most of the run, then falls in a straight line to 0"
        return Choice("annealing", "linear", why, source)
    grows = f" while the batch grows to {plan.last_batch}" if plan.last_batch > plan.batch_size else ""
    falls = f"falls to {plan.end:.0%} of its start{grows}"
    if plan.annealing == "coupled":
        rise = f"momentum rises from {plan.momentum:g} to {plan.at(1.0).momentum:.4f} by the exact rule"
        return Choice("annealing", "coupled", f"the time step {falls}; friction stays, so {rise}", source)
    why = "Adam's memory stays" if plan.optimizer == "adam" else "momentum stays"
    return Choice("annealing", "cosine", f"lr {falls}; {why}", source)


def fork(level: float | None, other: float | None, lr: float, other_lr: float, *, raised: bool) -> str:
    """Say what decided a fork."""
    if level is None and other is None:
        return f"both runs failed, at lr {lr:.3g} and at {other_lr:.3g}: the smaller is kept"
    if other is None:
        return f"at lr {other_lr:.3g} the loss ran away: {lr:.3g} is kept"
    if level is None:
        return f"at lr {lr:.3g} the loss ran away, at {other_lr:.3g} it did not, and is taken"
    kept = f"at lr {other_lr:.3g} the training loss was {other:.4g}, at {lr:.3g} {level:.4g}, on the same batches"
    return f"{kept}: the run goes on at {other_lr if raised else lr:.3g}"


def drift(level: float, further: float, lr: float, other_lr: float, *, raised: bool) -> str:
    """Say what decided where the mean motion was followed further."""
    found = (
        f"the loss is {level:.4g} at the mean of the latest parameters, {further:.4g} twice as far along their drift"
    )
    end = f"so lr rises to {other_lr:.3g}" if raised else f"so lr stays {lr:.3g}"
    return f"{found}: {end}"


def decay(value: float, train: float, valid: float) -> Choice:
    """Give the reason for decaying the weights."""
    why = (
        f"the validation loss, {valid:.4g}, lay above the training loss, {train:.4g}, for three epochs: matrices "
        "decay as long as it does, by as much as forgets the run's beginning to its end"
    )
    return Choice("weight_decay", value, why, "measured")


def extension(plan: TrainingPlan, epoch: int, epochs: int) -> str:
    """Say by which plan a finished run goes on."""
    falls = (
        f"constant, then in a straight line to 0 after {epochs} more epochs"
        if plan.annealing == "linear"
        else (f"annealed again ({plan.annealing}) over {epochs} more epochs")
    )
    where = f"from the last state of epoch {epoch}, at rest"
    return f"{where}: lr rises to {plan.lr:.3g}, the rate that the run had found, is {falls}"
