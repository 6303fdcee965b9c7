r"""simulate beside four lines of torch, and beside jax's lax.scan where jax is installed: one core, interleaved.

    python benchmarks/simulate_speed.py [--only small|matrix|network|costs|memory] [--rounds 9]

Every line: the engine that was chosen, CPU milliseconds a call (medians), and the median of the rounds' ratios to

    for _ in range(steps):
        x = x + h * f(x) + s * math.sqrt(h) * torch.randn_like(x)
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path

import torch

from thetadot import simulate
from thetadot.integrators import Euler, EulerMaruyama
from thetadot.simulation import Save
from thetadot.systems import ODE, SDE

STEP, NOISE, PATHS = 0.01, 0.5, 1000


def hand(f, x, steps, noise):
    with torch.no_grad():
        for _ in range(steps):
            x = x + STEP * f(x)
            if noise:
                x = x + noise * math.sqrt(STEP) * torch.randn_like(x)
    return x


def ours(f, x, steps, noise, **options):  # noqa: ANN003
    motion, rule = (SDE(f, noise), EulerMaruyama()) if noise else (ODE(f), Euler())
    return simulate(motion, rule, x, time=steps * STEP, step=STEP, **options)


def jax_scan(f, x, steps, noise):
    """The same by lax.scan, or None where jax is not installed."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    begun = jnp.asarray(x.numpy())

    def body(x, key):
        x = x + STEP * f(x)
        return (x + noise * STEP**0.5 * jax.random.normal(key, x.shape) if noise else x), None

    run = jax.jit(lambda x, key: jax.lax.scan(body, x, jax.random.split(key, steps))[0])
    return lambda: run(begun, jax.random.key(1)).block_until_ready()


def compared(title, rounds, steps, runs):
    """CPU time of each, the last being what the others are compared with."""
    taken = {name: [] for name in runs}
    for run in runs.values():
        run()
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            begun = time.process_time()
            run()
            taken[name].append(time.process_time() - begun)
    *others, base = taken
    for name in others:
        ratio = statistics.median(a / b for a, b in zip(taken[name], taken[base], strict=True))
        own, loop = (statistics.median(taken[key]) * 1e3 for key in (name, base))
        print(f"{title:34}{steps:>6}{name:>22}{own:>10.2f}{loop:>10.2f}{ratio:>8.2f}", flush=True)


def case(title, f, dim, paths, steps, noise, rounds, *, compiled=False, jax_f=None):
    x = torch.zeros(paths, dim)
    chosen = ours(f, x, steps, noise).engine
    runs = {chosen: lambda: ours(f, x, steps, noise)}
    if compiled:
        runs["compiled"] = lambda: ours(f, x, steps, noise, compile=True)
    peer = jax_scan(jax_f, x, steps, noise) if jax_f is not None else None
    if peer is not None:
        runs["jax lax.scan"] = peer
    runs["loop"] = lambda: hand(f, x, steps, noise)
    compared(f"{title}, {'noise' if noise else 'no noise'}", rounds, steps, runs)


def small(rounds):
    for dim in (1, 2):
        for noise in (0.0, NOISE):
            case(f"x - x³, {dim} x 100", lambda x: x - x**3, dim, 100, 10, noise, rounds, jax_f=lambda x: x - x**3)


def matrix(rounds):
    for dim in (10, 100):
        torch.manual_seed(0)
        m = -torch.eye(dim) + 0.1 * torch.randn(dim, dim) / dim**0.5
        held = m.numpy()
        for noise in (0.0, NOISE):
            case(f"matrix, d = {dim}", lambda x, m=m: x @ m, dim, PATHS, 2000 // dim, noise, rounds,
                 compiled=dim == 10, jax_f=lambda x, held=held: x @ held)  # fmt: skip


def network(rounds):
    for dim in (2, 10, 64):
        for width in (16, 64, 256):
            torch.manual_seed(0)
            parts = [torch.nn.Linear(dim, width), torch.nn.Linear(width, width), torch.nn.Linear(width, dim)]
            net = torch.nn.Sequential(parts[0], torch.nn.Tanh(), parts[1], torch.nn.Tanh(), parts[2])
            for noise in (0.0, NOISE):
                case(f"network, d = {dim}, width {width}", net, dim, PATHS, 50, noise, rounds)


def costs(_):
    """What :mod:`thetadot.simulation.choice` counts with, in ns: from the slopes of runs that differ in one number."""

    def each(f, dim, paths, engine, steps=200):
        x = torch.zeros(paths, dim)
        ours(f, x, steps, 0.0, engine=engine)
        times = []
        for _ in range(7):
            begun = time.process_time()
            ours(f, x, steps, 0.0, engine=engine)
            times.append(time.process_time() - begun)
        return statistics.median(times) / steps * 1e9

    def chain(count):
        def f(x):
            y = x
            for _ in range(count):
                y = y * x + 1e-3
            return y

        return f

    few, many = chain(10), chain(40)  # 2 operations more a link
    for engine in ("in place", "plain"):
        call = (each(many, 1, 16, engine) - each(few, 1, 16, engine)) / 60
        element = (each(many, 1, 60_000, engine) - each(few, 1, 60_000, engine)) / 60 - call
        print(f"{engine}: {call:.0f} ns an operation, {element / 60_000:.3f} ns an element")
    wide = torch.eye(256)
    dear = each(lambda x: x @ wide @ wide @ wide, 256, 1000, "plain", 20)
    cheap = each(lambda x: x @ wide, 256, 1000, "plain", 20)
    print(f"plain: {(dear - cheap) / 2 / 1000 / 256**2:.4f} ns a multiplication in a product of matrices")


def memory(_, paths=10**7):
    """Peak beside the states that a march begins and ends with, the second moment saved."""

    def moment(_, state):
        x = state["position"]
        return torch.dot(x[:, 0], x[:, 0]) / len(x)

    for compiled in (True, False):
        ours(lambda x: x - x**3, torch.zeros(64, 1), 20, NOISE, compile=compiled, save=Save(moment, count=2))
        x = torch.zeros(paths, 1)
        x.fill_(0.0)
        before = _resident()
        run = ours(lambda x: x - x**3, x, 20, NOISE, compile=compiled, save=Save(moment, count=2))
        states = (_peak() - before) / (paths * 4)
        above = f"{states:.2f} states above the initial one ({states - 1:.2f} above both)"
        print(f"{run.engine}: {paths:,} paths, peak {above}")
        del run


def _resident():
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    return _of("VmRSS")


def _peak():
    return _of("VmHWM")


def _of(name):
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=["small", "matrix", "network", "costs", "memory"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = {"small": small, "matrix": matrix, "network": network, "costs": costs, "memory": memory}
    print(f"{'':34}{'steps':>6}{'':>22}{'ms':>10}{'loop, ms':>10}{'ratio':>8}")
    for name, part in parts.items():
        if options.only in (None, name):
            part(options.rounds)


if __name__ == "__main__":
    main()
