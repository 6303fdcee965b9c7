"""Records made by hand, one for each finding."""

import msgspec

from thetadot.records import (
    SCHEMA,
    UNITS,
    VERSION,
    Curvature,
    Equilibrium,
    Header,
    Motion,
    Noise,
    Record,
    Result,
    Watched,
)
from thetadot.verdicts import judge

STEPS = 1000


def header(optimizer="SGD", lacks=None, **more):
    watched = Watched(optimizer, "default", "256 samples", 256, lacks=lacks or {})
    given = {"train_samples": 60_000, "watched": watched} | more
    plain = Header(SCHEMA, VERSION, "t", 0, 100, 0, None, None, "cpu", 1, {}, dict(UNITS))
    return msgspec.structs.replace(plain, **given)


def motions(lr=0.1, momentum=0.9, batch=64, loss=None, temperature=None):
    """Twenty along the run; lr, loss and temperature may be functions of the part of the run that is over."""
    found = []
    for i in range(20):
        t = i / 19
        alpha = lr(t) if callable(lr) else lr
        value = (loss or (lambda t: 2.3 - 2.0 * t))(t)
        heat = temperature(t) if temperature is not None else None
        step = (2 * alpha / (1 + momentum)) ** 0.5 if alpha > 0 else 0.0
        friction = 2 * (1 - momentum) / (1 + momentum) / step if step > 0 else None
        found.append(
            Motion(
                int(t * STEPS),
                None,
                value,
                alpha,
                momentum,
                batch,
                step,
                friction,
                heat,
                step * i,
                0.0,
                None,
                None,
                0.0,
            )
        )
    return found


def noises(scale=64.0, spread=1.3, *, resolved=True, count=5, **more):
    scales = [scale] * count if isinstance(scale, float | int) else list(scale)
    apart = STEPS / max(len(scales) - 1, 1)
    return [
        Noise("training", int(i * apart), s, 1.0, s, s / spread, s * spread, resolved, 64, 0.0, **more)
        for i, s in enumerate(scales)
    ]


def curvatures(*sharpness, limit=38.0, residual=0.0, **more):
    last = max(len(sharpness) - 1, 1)
    return [
        Curvature("training", int(i * STEPS / last), h, residual, limit, 256, 0.0, **more)
        for i, h in enumerate(sharpness)
    ]


def windows(*states, ratio=1.0, trend=(-0.1, 0.1), alignment=None, since=0):
    """Equal windows from step ``since`` to the end."""
    width = (STEPS - since) // max(len(states), 1)
    low, high = alignment or (None, None)
    return [
        Equilibrium(
            since + (i + 1) * width, since + i * width, 50, "heavy ball", 1.0, 1.0, ratio, ratio - 0.1, ratio + 0.1,
            sum(trend) / 2, *trend, None if low is None else (low + high) / 2, low, high, None, None, state,
        )
        for i, state in enumerate(states)
    ]  # fmt: skip


def result(*, diverged=False):
    return Result("heavy-ball", 0.1, 0.9, 64, STEPS, 1, 0.3, 0.3, 0.3, 1, None, None, None, None, diverged, 0.0)


def record(*parts, head=None):
    entries = [e for part in parts for e in (part if isinstance(part, list) else [part])]
    return Record(head or header(), tuple(entries))


def verdicts(*parts, head=None):
    return {verdict.name: verdict for verdict in judge(record(*parts, head=head))}
