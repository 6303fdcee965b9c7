"""The record's schema, version 3: one JSON object a line, its kind in the field ``kind``.

The first line is the header; the lines after it come in the order of the run. ``UNITS`` gives every quantity its unit
(loss, step, sample, or none) and its meaning in plain words. All times are in fields named ``seconds`` or
``started``: two records of the same run are equal apart from them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from thetadot.records.observed import Barrier, Draws, End, Equilibrium, Layers, Regularization, Remark, Setting, Watched
from thetadot.records.step_losses import Losses

SCHEMA = "thetadot.record"
VERSION = 3
"""1: runs of ``thetadot run``. 2: also what is watched in loops of others; there a reading may be missing (None).
3: also the loss of every step; forks in place of trials, and a result that is of the best validated state."""

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
        "temperature that noise keeps up, per degree of freedom: α·trΣ/(2(1-β)·B·d); under epochs of a direction",
    ),
    "clock": ("time", "time passed on the motion's clock, the sum of the steps"),
    "kinetic": ("loss", "kinetic energy per degree of freedom, mean of η²"),
    "displacement": ("parameter", "distance |θ-θ₀| from the start"),
    "speed": ("parameter/time", "how fast that distance changes, ⟨η, θ-θ₀⟩/|θ-θ₀|"),
    "sharpness": ("loss/parameter²", "largest curvature λmax of the loss on the reference batch"),
    "limit": ("loss/parameter²", "the sharpness above which the optimizer's own step is unstable"),
    "residual": ("loss/parameter²", "‖Hv-λv‖: an eigenvalue, though not always the largest, lies within this distance"),
    "gradient_variance": ("loss²/parameter²", "trΣ, summed variance of one sample's gradient"),
    "gradient_square": ("loss²/parameter²", "|G|², squared length of the true gradient, noise removed"),
    "noise_scale": ("sample", "trΣ/|G|²: the batch size at which noise and signal are equal"),
    "curvature_scale": ("sample", "tr(HΣ)/GᵀHG: the noise scale as the curvature weighs it"),
    "damping": (
        "1",
        "damping ratio ζ = λ/(2√h) at curvature h: below 1 it oscillates, above 1 it creeps",
    ),
    "gradient_norm": ("loss/parameter", "length of the gradient that the step is made from"),
    "weight_norm": ("parameter", "length of the parameters"),
    "update_norm": ("parameter", "length of one step"),
    "update_angle": ("1", "cosine of the step and the negative gradient"),
    "virial": ("loss", "mean of ⟨θ, ∇L⟩: force times position"),
    "kinetic_virial": ("loss", "what fluctuations make of it once stationary: (1+β)/(2α)·mean of |Δθ|²"),
    "ratio": ("1", "fluctuation-dissipation ratio, virial over its stationary value: 1 once stationary"),
    "alignment": ("loss²/parameter²", "mean of ⟨gₜ, gₜ₊₁⟩: positive while descending, negative when bouncing"),
    "trend": ("loss", "change of the loss over the window"),
    "configurational": (
        "loss",
        "temperature told by positions: virial per degree of freedom; under epochs that of independent draws",
    ),
    "kinetic_temperature": ("loss", "temperature told by velocities, mean η² at the half step"),
    "gradient_term": ("loss", "implicit regularization α(1+β)/(4(1-β)²)·|G|²: what the step adds to the loss"),
    "noise_term": ("loss", "implicit regularization by the batches of shuffled epochs, α/(4(1-β))·trΣ/B"),
    "height": ("loss", "highest loss on the line between two points of the motion, above where it begins"),
    "layer_share": ("1", "share of the sharpest direction that lies in a layer"),
    "line": ("1", "a place on a straight line of parameters: 0 begins, 1 ends it"),
    "cost": ("sample", "gradient evaluations spent so far, counted in samples (a forward pass counts a third)"),
}


class Header(msgspec.Struct, tag_field="kind", tag="header", frozen=True):
    """Header of a record: task, data, seed."""

    schema: str
    version: int
    task: str
    seed: int
    parameters: int
    train_samples: int | None
    valid_samples: int | None
    epochs: int | None
    device: str
    threads: int
    software: dict[str, str]
    quantities: dict[str, tuple[str, str]]
    metric: str | None = None  # the metric's name; None: the task has none
    watched: Watched | None = None
    started: str = ""
    asked: dict[str, str] = {}  # the options of the command that were given, by name
    layers: tuple[str, ...] = ()  # in the order of the lists of Layers, Noise.layers and Curvature.layers
    address: str | None = ""  # of the task for the command, from any folder; None: it has none. "" in older records


class Curvature(msgspec.Struct, tag_field="kind", tag="curvature", frozen=True, omit_defaults=True):
    """A measurement of the largest curvature on the named reference batch."""

    when: Literal["start", "warm-up", "training"]
    step: int
    sharpness: float
    residual: float
    limit: float | None  # None before anything is chosen
    samples: int
    cost: float
    preconditioned: bool = False
    method: Literal["lanczos", "forward"] = "lanczos"
    spectrum: tuple[float, ...] = ()  # largest eigenvalues, descending; the first is the sharpness
    residuals: tuple[float, ...] = ()
    damping: tuple[float, ...] = ()  # ζ of each that is positive, in their order; () without friction
    layers: tuple[float, ...] = ()  # share of the sharpest direction that lies in each layer
    low: float | None = None  # ends of λmax, of 95%, products exact; None in older records
    high: float | None = None
    damping_low: tuple[float, ...] = ()  # ends of each damping, by those of its curvature; () in older records
    damping_high: tuple[float | None, ...] = ()
    temperature: tuple[
        float | None, ...
    ] = ()  # T along each that is positive, as batches are drawn; () where not known
    temperature_low: tuple[float | None, ...] = ()
    temperature_high: tuple[float | None, ...] = ()


class Noise(msgspec.Struct, tag_field="kind", tag="noise", frozen=True, omit_defaults=True):
    """A measurement of the gradient's noise.

    ``resolved`` is false where |G|² is not significantly different from zero: noise_scale is then a lower bound.
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
    method: Literal["reference", "accumulation", "ranks", "samples"] = "reference"
    pooled: int = 1  # measurements whose averages the ratio is of
    layers: tuple[float, ...] = ()  # trΣ by layer
    curvature_scale: float | None = None  # B_noise = tr(HΣ)/GᵀHG; None where not measured or not resolved
    variance_low: float | None = None  # ends of trΣ, of 95%; None where not told, and in older records
    variance_high: float | None = None
    square_low: float | None = None  # ends of |G|²
    square_high: float | None = None


class Trial(msgspec.Struct, tag_field="kind", tag="trial", frozen=True):
    """A short annealed run that judged one setting by the loss on held-back training samples, in records before 3."""

    optimizer: str
    lr: float
    momentum: float
    batch_size: int
    steps: int
    round: int
    score: float | None  # None: it diverged
    cost: float


class Choice(msgspec.Struct, tag_field="kind", tag="choice", frozen=True, omit_defaults=True):
    """One setting, its value, and why."""

    setting: str
    value: float | int | str
    because: str
    source: Literal["measured", "tried", "rule", "given"] = "measured"
    low: float | None = None  # ends of the value, by those of what it was measured from, of 95%
    high: float | None = None


class Fork(msgspec.Struct, tag_field="kind", tag="fork", frozen=True, omit_defaults=True):
    """The run and a branch of it at a larger lr, on the same batches; it went on from the one that did better.

    By ``drift`` there is no branch: the loss at the mean of the latest parameters, and further on along their drift.
    """

    step: int  # where they part
    steps: int  # of each
    lr: float  # of the run, before annealing
    other_lr: float  # of the branch
    level: float | None  # what is compared, of the run: the mean loss over its second half; None: not finite
    other_level: float | None
    raised: bool  # the run went on at the larger lr
    because: str
    cost: float
    method: Literal["branch", "drift"] = "branch"
    losses: tuple[float, ...] = ()  # of the run along the fork, each the mean over ``each`` steps
    other_losses: tuple[float, ...] = ()
    each: int = 1


class Constant(msgspec.Struct, tag_field="kind", tag="constant", frozen=True):
    """Loss of the best constant output, which a model that reads no input can reach."""

    train_loss: float
    valid_loss: float
    says: str  # which constant
    samples: int  # of the training data, that it was taken from


class Motion(msgspec.Struct, tag_field="kind", tag="motion", frozen=True, omit_defaults=True):
    """The state of the motion: settings in both vocabularies, and what moves. None where it is not known."""

    step: int
    epoch: float | None
    loss: float | None
    lr: float
    momentum: float
    batch_size: int | None
    time_step: float
    friction: float | None
    temperature: float | None  # None before the noise was measured
    clock: float
    kinetic: float
    displacement: float | None
    speed: float | None
    cost: float
    gradient_norm: float | None = None
    weight_norm: float | None = None
    update_norm: float | None = None
    update_angle: float | None = None
    reference_loss: float | None = None
    temperature_low: float | None = None  # ends of the temperature, by those of trΣ and of the curvature
    temperature_high: float | None = None


class Epoch(msgspec.Struct, tag_field="kind", tag="epoch", frozen=True):
    """The end of an epoch."""

    epoch: int
    step: int
    train_loss: float
    valid_loss: float
    metric: float | None
    cost: float
    seconds: float = 0.0
    mean: bool = False  # validation loss and metric are of the running mean of the parameters


class Rollback(msgspec.Struct, tag_field="kind", tag="rollback", frozen=True):
    """The guard went back to the last good state and made the step smaller."""

    step: int
    back_to: int
    because: str
    lr_factor: float


class Extension(msgspec.Struct, tag_field="kind", tag="extension", frozen=True):
    """A finished run goes on for some more epochs, by a plan of its own; the result before it is no longer the last."""

    step: int  # where it goes on
    epoch: int  # that are done by then
    epochs: int  # that are added
    optimizer: str
    lr: float
    momentum: float
    batch_size: int
    annealing: str
    because: str


class Result(msgspec.Struct, tag_field="kind", tag="result", frozen=True):
    """The last line of a finished run; from version 3 on, losses and metric are of the best validated state."""

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
    test_loss: float | None = None  # of the same parameters as valid_loss; nothing was chosen by it
    test_metric: float | None = None
    temperature_low: float | None = None
    temperature_high: float | None = None
    final_valid_loss: float | None = None  # of the last parameters; before version 3 that was valid_loss
    constant_loss: float | None = None  # of the best constant output on the validation data; None where there is none
    mean: bool = False  # the best validated state is the running mean of the parameters

    @property
    def learned(self) -> bool:
        """Whether the result is better than the best constant output, where there is one: else nothing was learned."""
        return self.constant_loss is None or self.valid_loss < self.constant_loss


Entry = (
    Header
    | Curvature
    | Noise
    | Trial
    | Choice
    | Fork
    | Constant
    | Motion
    | Losses
    | Epoch
    | Rollback
    | Extension
    | Result
    | Setting
    | Draws
    | Layers
    | Equilibrium
    | Regularization
    | Barrier
    | Remark
    | End
)
