r"""Temperature along flat directions after a change of settings, where batches come from shuffled epochs.

    steep, or independent draws:  T ∝ α/((1-β)B);    flat:  T ∝ α/((1-β)B) · f(α, β, m),  f → αm/(3(1-β)) for m(1-β) ≫ 1

With m = N/B the flat ones go with the square, so that rules which keep α/((1-β)B) keep both, as long as an epoch has
many batches and the velocity forgets them. At few of them, or a memory as long as an epoch, they do not; how much is
said here, by the exact law, at a tenth of the curvature 3(1-β)/(αm) below which epochs are colder than independent
draws. Of an adaptive method P is taken to be made by noise, P ∝ 1/√B.

Source:
    :mod:`thetadot.core.epochs`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thetadot.core.epochs import EpochDivision, epoch_share
from thetadot.core.formatting import plain, share
from thetadot.dictionary.families import known_family

if TYPE_CHECKING:
    from thetadot.dictionary.families import Family
    from thetadot.dictionary.settings import Settings


NOISY = ("adaptive", "spectral")
"""Families that divide by a size of the gradient, which noise makes: P ∝ 1/√B."""
SAME_HEAT = 0.1
"""A temperature that changes by no more than this share counts as kept: it is seldom measured to more."""
FLAT = 0.1
"""Of the curvature at which epochs begin to matter."""


def flat_change(before: Settings, after: Settings, dataset_size: float, family: Family | None) -> float | None:
    """T'/T along flat directions; 0 where a batch is all of the data, None where there was no temperature before.

    Example:
        >>> from thetadot.dictionary.settings import Settings
        >>> many = flat_change(Settings(0.1, 10, 0.0), Settings(0.2, 20, 0.0), 10_000, "sgd")  # the linear rule
        >>> few = flat_change(Settings(0.1, 10, 0.0), Settings(0.3, 30, 0.0), 60, "sgd")  # m from 6 to 2
        >>> round(many, 2), round(few, 2)  # in the limit h → 0 (1-1/2²)/(1-1/6²) = .77
        (1.0, 0.85)
    """
    family = None if family is None else known_family(family)
    momentum = before.momentum or 0.0
    if not 1 <= before.batch < dataset_size:
        return None
    curvature = FLAT * 3.0 * (1.0 - momentum) * before.batch / (_effective_rate(before, family) * dataset_size)
    present = _flat_temperature(before, curvature, dataset_size, family)
    stretch = math.sqrt(after.batch / before.batch) if family in NOISY else 1.0  # P⁻¹H as P ∝ 1/√B
    new = _flat_temperature(after, curvature * stretch, dataset_size, family)
    return None if not present or new is None else new / present


def _effective_rate(settings: Settings, family: Family | None) -> float:
    return settings.lr * (1.0 - (settings.momentum or 0.0)) if family in NOISY else settings.lr


def _flat_temperature(settings: Settings, curvature: float, dataset_size: float, family: Family | None) -> float | None:
    """T to a factor; None where the step is not stable."""
    momentum, batch, rate = settings.momentum or 0.0, settings.batch, _effective_rate(settings, family)
    if not 1 <= batch < dataset_size:
        return 0.0
    if not rate * curvature < 2.0 * (1.0 + momentum):
        return None
    noise = math.sqrt(batch) if family in NOISY else batch
    kept = epoch_share(rate, momentum, curvature, EpochDivision.of(dataset_size, batch))
    return rate / ((1.0 - momentum) * noise) * kept


def broken(before: Settings, after: Settings, dataset_size: float | None, family: Family | None) -> str:
    """Why settings that keep α/((1-β)B) do not keep the temperature; "" where they do, or draws are independent."""
    if dataset_size is None or not dataset_size > 1:
        return ""
    if after.batch >= dataset_size:
        return f"an epoch has {plain(dataset_size)} samples, and a batch of all of them has no noise"
    changed = flat_change(before, after, dataset_size, family)
    if changed is None or abs(changed - 1.0) <= SAME_HEAT:
        return ""
    batches = EpochDivision.of(dataset_size, max(after.batch, 1.0)).batches
    word = "come to" if changed < 1 else "rise to"
    return (
        f"noise adds up to nothing over an epoch's {plain(batches)} shuffled batches: flat directions "
        f"{word} {share(changed)} of their temperature"
    )
