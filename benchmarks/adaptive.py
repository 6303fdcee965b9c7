"""Steps that follow their error, beside the libraries that take them: same problems, tolerances and precision.

    python benchmarks/adaptive.py [--rounds 7] [--only lorenz] [--paths 1 1000 100000]

Dormand-Prince in float64 everywhere, from the same initial points to the same time; diffrax under jit and vmap, warm;
scipy's solve_ivp one path after the other, so at one path alone. One thread, one process, implementations in turn
within every round. Figures: CPU time, medians over rounds; ratios: medians of the rounds' ratios, ours over theirs,
so below 1 is faster. The error is the largest over the first paths against DOP853 at 1e-13: work of different errors
is not the same work. Times of the first call (on the wall; ours with an empty
cache of kernels, which holds those of earlier tables) stand apart. "eager" is ours with compile=False.
Peers are used where they are installed: pip install jax diffrax.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["THETADOT_CACHE"] = tempfile.mkdtemp(prefix="thetadot-benchmark-")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])

import numpy as np
import torch
from scipy.integrate import solve_ivp

from thetadot import simulate
from thetadot.integrators import BogackiShampine, DormandPrince
from thetadot.systems import ODE

try:
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", True)  # noqa: FBT003 - theirs
except ImportError:
    diffrax = None

RTOL, ATOL = 1e-6, 1e-9
REFERENCES = 4  # paths whose error is measured
EAGER_MOST = 1000  # paths


def lorenz(a, b, c):
    return 10.0 * (b - a), a * (28.0 - c) - b, a * b - 8.0 / 3.0 * c


def van_der_pol(a, b):
    return b, 5.0 * (1.0 - a * a) * b - a


def harmonic(a, b):
    return b, -a


def duffing(a, b):
    return b, a - a * a * a - 0.1 * b


PROBLEMS = {"Lorenz": (lorenz, 3, 5.0), "van der Pol": (van_der_pol, 2, 20.0), "harmonic": (harmonic, 2, 30.0),
            "Duffing": (duffing, 2, 30.0)}  # fmt: skip


def ours(field, start, end, rule=None, compile="auto"):  # noqa: A002
    def stacked(x):
        return torch.stack(field(*x.unbind(-1)), -1)

    system = ODE(stacked)

    def run():
        return simulate(system, rule or DormandPrince(RTOL, ATOL), start, time=end, compile=compile).final.numpy()

    return run


def theirs_jitted(field, start, end):
    import jax.numpy as jnp

    def one(y):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda _t, y, _args: jnp.stack(field(*y))), diffrax.Dopri5(), 0.0, end, None, y,
            saveat=diffrax.SaveAt(t1=True), stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
            adjoint=diffrax.DirectAdjoint(), max_steps=None,
        ).ys[-1]  # fmt: skip

    compiled, given = jax.jit(jax.vmap(one)), jnp.asarray(start.numpy())
    return lambda: np.asarray(compiled(given).block_until_ready())


def theirs_plain(field, start, end, method, tolerance=(RTOL, ATOL)):
    def run(rows=None):
        found = [
            solve_ivp(lambda _, y: field(*y), (0.0, end), row, method=method, rtol=tolerance[0], atol=tolerance[1])
            for row in start.numpy()[:rows]
        ]
        return np.stack([each.y[:, -1] for each in found])

    return run


def timed(run):
    begun = time.process_time()
    found = run()
    return time.process_time() - begun, found


def waited(run):
    """On the wall: compilers are processes of their own."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def compare(name, paths, rounds):
    field, dim, end = PROBLEMS[name]
    start = torch.randn(paths, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = theirs_plain(field, start, end, "DOP853", (1e-13, 1e-13))(min(paths, REFERENCES))
    runs = {"thetadot": ours(field, start, end)}
    if diffrax is not None:
        runs["diffrax"] = theirs_jitted(field, start, end)
    if paths == 1:
        runs |= {f"scipy {method}": theirs_plain(field, start, end, method) for method in ("RK45", "DOP853")}
    if paths <= EAGER_MOST:
        runs["thetadot eager"] = ours(field, start, end, compile=False)
    runs["thetadot Bogacki-Shampine"] = ours(field, start, end, BogackiShampine(RTOL, ATOL))
    first = {key: waited(run) for key, run in runs.items()}
    timed(runs["thetadot"])
    taken, errors = {key: [] for key in runs}, {}
    for _ in range(rounds):
        for key, run in runs.items():
            seconds, found = timed(run)
            taken[key].append(seconds)
            errors[key] = float(np.abs(found[: len(exact)] - exact).max())
    print(f"\n{name}, {paths:,} path{'s' * (paths > 1)} to time {end:g}, rtol {RTOL:g}, atol {ATOL:g}")
    print(f"{'':28}{'ms':>10}{'ours/theirs':>13}{'error':>10}{'first call, ms':>16}")
    for key, own in taken.items():
        ratio = statistics.median(a / b for a, b in zip(taken["thetadot"], own, strict=True))
        said = "" if key.startswith("thetadot") else f"{ratio:.2f}"
        print(f"{key:28}{1e3 * statistics.median(own):10.2f}{said:>13}{errors[key]:10.1e}{1e3 * first[key]:16.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="")
    parser.add_argument("--paths", type=int, nargs="*", default=[1, 1000, 100_000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if diffrax is None:
        print("diffrax is not installed")
    for name in PROBLEMS:
        if options.only.lower() in name.lower():
            for paths in options.paths:
                compare(name, paths, options.rounds)


if __name__ == "__main__":
    main()
