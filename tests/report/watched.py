"""A watched loop as it could have been: made-up numbers of plausible sizes."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from thetadot.records import (
    SCHEMA,
    UNITS,
    VERSION,
    Barrier,
    Curvature,
    End,
    Entry,
    Equilibrium,
    Header,
    Layers,
    Motion,
    Noise,
    Regularization,
    Setting,
    Watched,
)

HOSTILE = "</script><img src=x onerror=alert(1)>$name @x{safe}{{7*7}}\u202e"
BLOCKS = [
    f"transformer.encoder.layers.{block}.{part}"
    for block in range(6)
    for part in ("self_attention.in_projection.weight", "self_attention.out_projection.weight", "linear1", "linear2")
]
LAYERS = ("embedding.weight", *BLOCKS, HOSTILE, "head.weight")
LR, MOMENTUM, BATCH, STEPS = 0.05, 0.9, 64, 2000


def header(task: str = "nanogpt", layers: tuple[str, ...] = LAYERS, **changes) -> Header:
    watched = Watched(
        optimizer="SGD",
        level="full",
        reference="the first batch of the loader",
        reference_samples=256,
        layers=layers,
        lacks={"preconditioned sharpness": "the optimizer has no preconditioner", HOSTILE: HOSTILE},
    )
    return msgspec.structs.replace(
        Header(
            schema=SCHEMA,
            version=VERSION,
            task=task,
            seed=3,
            parameters=812_000,
            train_samples=None,
            valid_samples=None,
            epochs=None,
            device="cpu",
            threads=1,
            software={"torch": "2.9.1"},
            quantities=dict(UNITS),
            watched=watched,
        ),
        **changes,
    )


def motion(step: int, lr: float, rng: np.random.Generator, batch: int | None = BATCH) -> Motion:
    t = step / STEPS
    time_step = math.sqrt(2 * lr / (1 + MOMENTUM))
    return Motion(
        step=step, epoch=None, loss=1.4 + 2.6 * math.exp(-6 * t) + 0.1 * rng.normal(), lr=lr, momentum=MOMENTUM,
        batch_size=batch, time_step=time_step, friction=(1 - MOMENTUM) * math.sqrt(2 / (lr * (1 + MOMENTUM))),
        temperature=None if step < 50 else lr * 40 / (2 * (1 - MOMENTUM) * BATCH * 812_000),
        clock=step * time_step, kinetic=3e-8 * (1 + 8 * math.exp(-9 * t)) * rng.chisquare(40) / 40,
        displacement=None if step % 100 else 20 * math.sqrt(t), speed=None if step % 100 else 8 * math.exp(-3 * t),
        cost=float(step * BATCH), gradient_norm=2.0 * math.exp(-t), weight_norm=50.0, update_norm=0.1,
        update_angle=0.4, reference_loss=None if step % 50 else 1.38 + 2.6 * math.exp(-6 * t),
    )  # fmt: skip


def curvature(step: int, lr: float) -> Curvature:
    t = step / STEPS
    top = 9 + 50 * t
    spectrum = tuple(top * 0.66**i for i in range(8))
    friction = (1 - MOMENTUM) * math.sqrt(2 / (lr * (1 + MOMENTUM)))
    return Curvature(
        when="training" if step else "start", step=step, sharpness=top, residual=0.04 * top,
        limit=2 * (1 + MOMENTUM) / lr, samples=256, cost=1e4 + step, spectrum=spectrum,
        residuals=(0.1,) * 8, damping=tuple(friction / (2 * math.sqrt(h)) for h in spectrum),
    )  # fmt: skip


def noise(step: int, layers: int) -> Noise:
    t = step / STEPS
    scale = 20 * math.exp(4 * t)
    resolved = not 900 <= step <= 1100
    return Noise(
        when="training", step=step, gradient_variance=40.0, gradient_square=40 / scale, noise_scale=scale,
        low=scale / 1.5, high=scale * 1.7, resolved=resolved, samples=256, cost=1e4 + step, pooled=4,
        method="accumulation" if step > 1500 else "reference", layers=tuple(40 / (1 + i) for i in range(layers)),
        curvature_scale=0.7 * scale if resolved else None,
    )  # fmt: skip


def equilibrium(step: int, rng: np.random.Generator) -> Equilibrium:
    t = step / STEPS
    ratio = 1 + 7 * math.exp(-5 * t) + 0.1 * rng.normal()
    half = 0.4 + 1.5 * math.exp(-5 * t)
    state = "unresolved" if step < 300 else "stationary" if abs(ratio - 1) < half and t > 0.6 else "moving"
    known = state != "unresolved"
    return Equilibrium(
        step=step, since=max(step - 200, 0), samples=200, identity="heavy ball", virial=0.1 * ratio, kinetic=0.1,
        ratio=ratio, low=ratio - half if known else None, high=ratio + half if known else None, trend=-0.1,
        trend_low=-0.2, trend_high=0.0, alignment=0.1, alignment_low=-0.1, alignment_high=0.3,
        configurational=2e-8 * ratio, kinetic_temperature=2.2e-8, state=state,
    )  # fmt: skip


def layers(step: int, count: int, rng: np.random.Generator) -> Layers:
    depth = np.linspace(0, 1, count)
    gradient = 10 ** (-1 - depth - step / STEPS) * rng.uniform(0.8, 1.2, count)
    gradient[1] = 0.0
    weight = 1 + 9 * depth
    return Layers(
        step=step, gradient=tuple(gradient.tolist()), weight=tuple(weight.tolist()),
        update=tuple((0.05 * gradient).tolist()), angle=(0.4,) * count,
    )  # fmt: skip


def body(names: tuple[str, ...] = LAYERS, *, lr: float = LR, steps: int = STEPS, every: int = 4, seed: int = 0,
         cosine: bool = False) -> list[Entry]:  # fmt: skip
    """Entries in the order of a loop, without header and end."""
    rng = np.random.default_rng(seed)
    found: list[Entry] = [
        Setting(
            0, group, 406_000, {"lr": lr, "momentum": MOMENTUM, "nesterov": False, "foreach": None, HOSTILE: HOSTILE}
        )
        for group in range(2)
    ]
    for step in range(0, steps, every):
        now = lr * 0.5 * (1.02 + math.cos(math.pi * step / STEPS)) if cosine else lr
        found.append(motion(step, now, rng))
        if step % 100 == 0:
            found += [curvature(step, now), noise(step, len(names)), equilibrium(step + 1, rng)]
            t = step / STEPS
            height = max(0.05 * rng.normal(), 0.0)
            found.append(Regularization(step, 0.02 * math.exp(-t), 0.004, 1.4 + math.exp(-6 * t)))
            found.append(Barrier(step, max(step - 100, 0), height, 0.4, 1.6, 1.5, 0.02))
        if step % 20 == 0:
            found.append(layers(step, len(names), rng))
    return found


def end(steps: int = STEPS) -> End:
    return End(step=steps, because="closed", extra=0.04 * steps * BATCH, work=float(steps * BATCH), seconds=71.0)
