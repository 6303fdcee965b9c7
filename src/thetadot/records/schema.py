"""The record's schema, version 1: one JSON object a line, its kind in the field ``kind``.

The first line is the header; the lines after it come in the order of the run. ``UNITS`` gives every quantity its unit
(loss, step, sample, or none) and its meaning in plain words. All times are in fields named ``seconds`` or
``started``: two records of the same run are equal apart from them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = "thetadot.record"
VERSION = 1

UNITS: dict[str, tuple[str, str]] = {
    "loss": ("loss", "mean training loss over the samples of a step"),
    "train_loss": ("loss", "mean loss over the training samples seen in an epoch"),
    "valid_loss": ("loss", "mean loss over the validation set"),
    "metric": ("1", "the task's metric on the validation set; higher is better"),
    "test_loss": ("loss", "mean loss over the test set, by which nothing was chosen"),
    "test_metric": ("1", "the task's metric on the test set"),
    "lr": ("parameter²/loss", "learning rate α, as torch.optim counts it"),
    "momentum": ("1", "momentum β, the share of velocity that survives a step"),
    "batch_size": ("sample", "samples averaged into one gradient"),
    "time_step": ("time", "time step γ = √(2α/(1+β)): how far the motion's clock goes in one step"),
    "friction": ("1/time", "friction λ = (1-β)√(2/(α(1+β))): how fast velocity is lost"),
    "temperature": (
        "loss",
        "temperature T = α·trΣ/(2(1-β)·B·d): loss per degree of freedom that gradient noise keeps up",
    ),
    "clock": ("time", "time passed on the motion's clock, the sum of the steps"),
    "kinetic": ("loss", "kinetic energy per degree of freedom, mean of η²"),
    "displacement": ("parameter", "distance |θ-θ₀| from the start"),
    "speed": ("parameter/time", "how fast that distance changes, ⟨η, θ-θ₀⟩/|θ-θ₀|"),
    "sharpness": ("loss/parameter²", "largest curvature λmax of the loss on the reference batch"),
    "limit": ("loss/parameter²", "the sharpness above which the optimizer's own step is unstable"),
    "residual": ("loss/parameter²", "‖Hv-λv‖: an eigenvalue lies within this distance of the sharpness"),
    "gradient_variance": ("loss²/parameter²", "trΣ, summed variance of one sample's gradient"),
    "gradient_square": ("loss²/parameter²", "|G|², squared length of the true gradient, noise removed"),
    "noise_scale": ("sample", "trΣ/|G|²: the batch size at which noise and signal are equal"),
    "cost": ("sample", "gradient evaluations spent so far, counted in samples (a forward pass counts a third)"),
}


class Ensemble(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is simulated when a record is of an ensemble and not of one training run."""

    system: str
    integrator: str
    paths: int
    dimension: int


class Header(msgspec.Struct, tag_field="kind", tag="header", frozen=True):
    """What runs, on what, from which seed."""

    schema: str
    version: int
    task: str
    seed: int
    parameters: int
    train_samples: int
    valid_samples: int
    epochs: int
    device: str
    threads: int
    software: dict[str, str]
    quantities: dict[str, tuple[str, str]]
    metric: str | None = None  # the metric's name; None: the task has none
    ensemble: Ensemble | None = None
    started: str = ""


class Curvature(msgspec.Struct, tag_field="kind", tag="curvature", frozen=True):
    """A measurement of the largest curvature on the named reference batch."""

    when: Literal["start", "warm-up", "training"]
    step: int
    sharpness: float
    residual: float
    limit: float | None  # None before anything is chosen
    samples: int
    cost: float
    preconditioned: bool = False


class Noise(msgspec.Struct, tag_field="kind", tag="noise", frozen=True):
    """A measurement of the gradient's noise.

    ``resolved`` is false where |G|² is not told from zero: noise_scale is then a lower bound.
    """

    when: Literal["start", "warm-up", "training"]
    step: int
    gradient_variance: float
    gradient_square: float
    noise_scale: float
    low: float
    high: float
    resolved: bool
    samples: int
    cost: float


class Trial(msgspec.Struct, tag_field="kind", tag="trial", frozen=True):
    """A short annealed run that judges one setting by the loss on held-back training samples."""

    optimizer: str
    lr: float
    momentum: float
    batch_size: int
    steps: int
    round: int
    score: float | None  # None: it diverged
    cost: float


class Choice(msgspec.Struct, tag_field="kind", tag="choice", frozen=True):
    """One setting, its value, and why."""

    setting: str
    value: float | int | str
    because: str
    source: Literal["measured", "tried", "rule", "given"] = "measured"


class Motion(msgspec.Struct, tag_field="kind", tag="motion", frozen=True):
    """The state of the motion: settings in both vocabularies, and what moves."""

    step: int
    epoch: float
    loss: float
    lr: float
    momentum: float
    batch_size: int
    time_step: float
    friction: float
    temperature: float | None  # None before the noise was measured
    clock: float
    kinetic: float
    displacement: float
    speed: float
    cost: float


class Epoch(msgspec.Struct, tag_field="kind", tag="epoch", frozen=True):
    """The end of an epoch."""

    epoch: int
    step: int
    train_loss: float
    valid_loss: float
    metric: float | None
    cost: float
    seconds: float = 0.0


class Rollback(msgspec.Struct, tag_field="kind", tag="rollback", frozen=True):
    """The guard went back to the last good state and made the step smaller."""

    step: int
    back_to: int
    because: str
    lr_factor: float


class Result(msgspec.Struct, tag_field="kind", tag="result", frozen=True):
    """The last line of a finished run."""

    optimizer: str
    lr: float
    momentum: float
    batch_size: int
    steps: int
    epochs: int
    train_loss: float
    valid_loss: float
    best_valid_loss: float
    best_epoch: int
    metric: float | None
    sharpness: float | None
    noise_scale: float | None
    temperature: float | None
    diverged: bool
    cost: float
    seconds: float = 0.0
    test_loss: float | None = None  # of the final parameters; nothing was chosen by it
    test_metric: float | None = None


Entry = Header | Curvature | Noise | Trial | Choice | Motion | Epoch | Rollback | Result
