"""Record entries of a watched training loop, beside those that every run has.

An estimate comes with the ends of its 95% interval in ``low`` and ``high``; both are None where it has none.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Watched(msgspec.Struct, frozen=True, omit_defaults=True):
    """Description of a watched loop: optimizer, reference data, and what cannot be read."""

    optimizer: str
    level: Literal["light", "default", "full"]
    reference: str  # what the fixed reference batch is, in words; "" without one
    reference_samples: int = 0
    layers: tuple[str, ...] = ()  # of records whose header has none
    lacks: dict[str, str] = {}  # reading -> why it is not there and what would give it
    ranks: int = 1


class Setting(msgspec.Struct, tag_field="kind", tag="setting", frozen=True):
    """One parameter group's hyperparameters, written when they are first seen and when their kind changes."""

    step: int
    group: int
    parameters: int
    values: dict[str, float | bool | str | None]


class Layers(msgspec.Struct, tag_field="kind", tag="layers", frozen=True, gc=False):
    """Norms by layer, in the order of ``Header.layers``; 0 where a layer had no gradient."""

    step: int
    gradient: tuple[float, ...]
    weight: tuple[float, ...]
    update: tuple[float, ...]
    angle: tuple[float, ...]  # cosine of update and negative gradient


class Equilibrium(msgspec.Struct, tag_field="kind", tag="equilibrium", frozen=True):
    """Fluctuation against dissipation over a window of steps, and whether the motion is stationary.

    ``virial`` (force times position) and ``kinetic`` (fluctuation) are equal in the mean once stationary, by the
    identity that ``identity`` names; per degree of freedom they are the configurational and the kinetic temperature.
    """

    step: int
    since: int  # the window's first step
    samples: int  # readings in it
    identity: Literal["heavy ball", "any"]
    virial: float
    kinetic: float
    ratio: float | None  # virial / kinetic; None where kinetic is not resolved from zero
    low: float | None
    high: float | None
    trend: float | None  # change of the loss over the window, in loss
    trend_low: float | None
    trend_high: float | None
    alignment: float | None  # mean of ⟨gₜ, gₜ₊₁⟩ (Pflug)
    alignment_low: float | None
    alignment_high: float | None
    configurational: float | None  # temperatures, loss per degree of freedom
    kinetic_temperature: float | None
    state: Literal["stationary", "moving", "unresolved"]


class Draws(msgspec.Struct, tag_field="kind", tag="draws", frozen=True):
    """How batches are drawn, once it is known; from then on temperatures are of it. ``step`` is the first of them."""

    step: int
    sampling: Literal["replacement", "epochs"]
    dataset_size: int | None = None
    drop_last: bool = False  # whether an epoch leaves out what the batch size does not divide


class Regularization(msgspec.Struct, tag_field="kind", tag="regularization", frozen=True, omit_defaults=True):
    """Implicit gradient regularization: what the finite step adds to the loss; ends are those of |G|² and trΣ."""

    step: int
    gradient_term: float  # α(1+β)/(4(1-β)²)·|G|²
    noise_term: float | None  # α/(4(1-β))·trΣ/B, of shuffled epochs alone; None where batches are drawn otherwise
    loss: float  # of the reference, for comparison
    gradient_low: float | None = None
    gradient_high: float | None = None
    noise_low: float | None = None
    noise_high: float | None = None


class Barrier(msgspec.Struct, tag_field="kind", tag="barrier", frozen=True, omit_defaults=True):
    """The highest loss on the straight line between where the motion was and where it is.

    ``temperature`` is of the direction that ``direction`` names: "all", of independent draws; under epochs "line",
    at ``curvature``, that of the line where it begins, or where the loss does not curve upward there "sharpest", which
    flatter ones do not exceed. None where it is not known, and in older records.
    """

    step: int
    since: int
    height: float  # above the loss where the line begins; 0 where it only falls
    at: float  # where on the line, 0 begins and 1 ends it
    start_loss: float
    end_loss: float
    temperature: float | None  # loss per degree of freedom
    temperature_low: float | None = None
    temperature_high: float | None = None
    direction: Literal["all", "line", "sharpest"] | None = None
    curvature: float | None = None


class Remark(msgspec.Struct, tag_field="kind", tag="remark", frozen=True):
    """Event of the run (alarm), or the reason why a reading is no longer taken."""

    step: int
    about: str  # "loss", "gradient" or the name of a reading
    says: str
    alarm: bool = False


class End(msgspec.Struct, tag_field="kind", tag="end", frozen=True):
    """End of the watching; without this line the run was cut off, or is in progress."""

    step: int
    because: Literal["closed", "exception"]
    extra: float  # gradient evaluations of one sample that measuring took
    work: float  # that the steps themselves took
    seconds: float = 0.0
