"""Ensembles against the libraries that simulate them, on the same problems, interleaved.

    python benchmarks/ensembles.py [--rounds 5] [--only double-well]

Every implementation has a process of its own, warmed up, held to one core (two where it says so); rounds go through
all of them in turn. Figures: path-steps per second, median over rounds; ratios: medians of the rounds' ratios. All
simulate the same law: the second moment at the end is printed beside. Peers are used where they are installed:
pip install jax diffrax torchsde posteriors.
"""

from __future__ import annotations

import argparse
import atexit
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings

PATHS = 100_000
SIGMA, STEP = 0.7, 0.01  # double well: dx = (x - x³) dt + .7 dW
FRICTION, HEAT, LONG_STEP = 1.0, 0.5, 0.05  # two quartic wells in two dimensions, BAOAB


def thetadot_double_well(compiled, threads):
    import torch

    from thetadot import simulate
    from thetadot.integrators import EulerMaruyama
    from thetadot.potentials import DoubleWell
    from thetadot.systems import Langevin, Problem

    torch.set_num_threads(threads)
    problem, start = Problem(Langevin(SIGMA**2 / 2), DoubleWell()), torch.zeros(PATHS, 1)

    def run(steps):
        end = simulate(problem, EulerMaruyama(), start, time=steps * STEP, step=STEP, compile=compiled, key=1)
        return float(end.final.square().mean())

    return run


def thetadot_rademacher():
    import torch

    from thetadot import simulate
    from thetadot.integrators import EulerMaruyama
    from thetadot.potentials import DoubleWell
    from thetadot.systems import Langevin, Problem

    torch.set_num_threads(1)
    problem, start = Problem(Langevin(SIGMA**2 / 2), DoubleWell()), torch.zeros(PATHS, 1)

    def run(steps):
        end = simulate(
            problem, EulerMaruyama(), start, time=steps * STEP, step=STEP, compile=True, key=1, noise="rademacher"
        )
        return float(end.final.square().mean())

    return run


def thetadot_kramers(compiled):
    import torch

    from thetadot import simulate
    from thetadot.integrators import Splitting
    from thetadot.potentials import DoubleWell
    from thetadot.systems import Kramers, Problem

    torch.set_num_threads(1)
    problem, start = Problem(Kramers(FRICTION, HEAT), DoubleWell()), torch.zeros(PATHS, 2)

    def run(steps):
        end = simulate(
            problem, Splitting("BAOAB"), start, time=steps * LONG_STEP, step=LONG_STEP, compile=compiled, key=1
        )
        return float(end.final.square().mean())

    return run


def jax_double_well():
    import jax
    import jax.numpy as jnp

    def run(steps):
        return float(_scan(jax, jnp, steps))

    return run


def _scan(jax, jnp, steps, cache={}):  # noqa: B006 - compiled once a number of steps
    if steps not in cache:

        def body(x, key):
            noise = jax.random.normal(key, x.shape)
            return x + STEP * (x - x**3) + SIGMA * STEP**0.5 * noise, None

        cache[steps] = jax.jit(lambda x, key: (jax.lax.scan(body, x, jax.random.split(key, steps))[0] ** 2).mean())
    return cache[steps](jnp.zeros(PATHS), jax.random.key(1)).block_until_ready()


def jax_kramers():
    import math

    import jax
    import jax.numpy as jnp

    keep = math.exp(-FRICTION * LONG_STEP)
    spread = math.sqrt(HEAT * (1 - keep * keep))

    def body(state, key):
        x, v = state
        v = v - LONG_STEP / 2 * (x**3 - x)
        x = x + LONG_STEP / 2 * v
        v = keep * v + spread * jax.random.normal(key, v.shape)
        x = x + LONG_STEP / 2 * v
        return (x, v - LONG_STEP / 2 * (x**3 - x)), None

    cache = {}

    def run(steps):
        if steps not in cache:
            cache[steps] = jax.jit(
                lambda x, key: (jax.lax.scan(body, (x, x), jax.random.split(key, steps))[0][0] ** 2).mean()
            )
        return float(cache[steps](jnp.zeros((PATHS, 2)), jax.random.key(1)))

    return run


def diffrax_double_well():
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    cache = {}

    def run(steps):
        if steps not in cache:

            def solve(key):
                path = diffrax.UnsafeBrownianPath((PATHS,), key)
                terms = diffrax.MultiTerm(
                    diffrax.ODETerm(lambda _, x, __: x - x**3),
                    diffrax.ControlTerm(lambda *_: lineax.DiagonalLinearOperator(jnp.full((PATHS,), SIGMA)), path),
                )
                found = diffrax.diffeqsolve(
                    terms,
                    diffrax.Euler(),
                    0.0,
                    steps * STEP,
                    STEP,
                    jnp.zeros(PATHS),
                    max_steps=steps + 2,
                    adjoint=diffrax.DirectAdjoint(),
                )
                return (found.ys[-1] ** 2).mean()

            cache[steps] = jax.jit(solve)
        return float(cache[steps](jax.random.key(1)))

    return run


def torchsde_double_well():
    import torch
    import torchsde

    torch.set_num_threads(1)

    class Well(torch.nn.Module):
        sde_type, noise_type = "ito", "diagonal"

        def f(self, _, x):
            return x - x**3

        def g(self, _, x):
            return torch.full_like(x, SIGMA)

    def run(steps):
        with torch.no_grad():
            times = torch.tensor([0.0, steps * STEP])
            end = torchsde.sdeint(Well(), torch.zeros(PATHS, 1), times, method="euler", dt=STEP)[-1]
        return float((end**2).mean())

    return run


def posteriors_kramers():
    import posteriors
    import torch

    torch.set_num_threads(1)

    def log_posterior(x, _):
        return -((x**2 - 1) ** 2).sum() / 4, torch.tensor(0.0)

    transform = posteriors.sgmcmc.baoa.build(log_posterior, lr=LONG_STEP, alpha=FRICTION, temperature=HEAT)

    def run(steps):
        torch.manual_seed(1)
        state = transform.init(torch.zeros(PATHS, 2), momenta=torch.zeros(PATHS, 2))
        for _ in range(steps):
            state, _ = transform.update(state, None, inplace=True)
        return float((state.params**2).mean())

    return run


DOUBLE_WELL = {
    "jax lax.scan": (jax_double_well, 1, 1000, {}),
    "thetadot compiled": (thetadot_double_well, 1, 1000, {"compiled": True, "threads": 1}),
    "thetadot compiled, 2 cores": (thetadot_double_well, 2, 1000, {"compiled": True, "threads": 2}),
    "thetadot compiled, +-1 noise": (thetadot_rademacher, 1, 1000, {}),
    "thetadot eager": (thetadot_double_well, 1, 1000, {"compiled": False, "threads": 1}),
    "thetadot eager, 2 cores": (thetadot_double_well, 2, 1000, {"compiled": False, "threads": 2}),
    "diffrax Euler, UnsafeBrownianPath": (diffrax_double_well, 1, 1000, {}),
    "torchsde euler": (torchsde_double_well, 1, 1000, {}),
}
KRAMERS = {
    "jax lax.scan": (jax_kramers, 1, 400, {}),
    "thetadot compiled": (thetadot_kramers, 1, 400, {"compiled": True}),
    "thetadot eager": (thetadot_kramers, 1, 400, {"compiled": False}),
    "posteriors BAOA": (posteriors_kramers, 1, 400, {}),
}


def worker(build, cores, steps, options, pipe):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads={cores}"
    warnings.simplefilter("ignore")
    try:
        run = build(**options)
        run(steps)
        run(steps)
    except ImportError as error:
        pipe.send(f"not installed ({error.name})")
        return
    except Exception as error:  # noqa: BLE001 - a peer that does not run is said, not hidden
        pipe.send(f"does not run: {type(error).__name__}: {str(error)[:100]}")
        return
    pipe.send("ready")
    while pipe.recv() == "go":
        wall, cpu = time.perf_counter(), time.process_time()
        moment = run(steps)
        pipe.send((time.perf_counter() - wall, time.process_time() - cpu, moment))


def compare(title, table, rounds):
    context = multiprocessing.get_context("spawn")
    pipes, said = {}, {}
    for name, (build, cores, steps, options) in table.items():
        here, there = context.Pipe()
        context.Process(target=worker, args=(build, cores, steps, options, there), daemon=True).start()
        said[name] = here.recv()
        if said[name] == "ready":
            pipes[name] = here
    results = {name: [] for name in pipes}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send("go")
            results[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send("stop")
    print(f"\n{title}: {PATHS:,} paths, {rounds} rounds")
    print(f"{'':36}{'M/s CPU':>9}{'M/s wall':>10}{'x JAX (CPU)':>13}{'x eager (wall)':>16}{'E x²':>9}")
    for name, (_, cores, steps, _) in table.items():
        if name not in pipes:
            print(f"{name:36}{said[name]}")
            continue
        work = PATHS * steps / 1e6
        wall = [work / one[0] for one in results[name]]
        # on two cores CPU time says nothing of speed
        cpu = [work / one[cores == 1] for one in results[name]]
        ratios = [
            _ratio(cpu, _speeds(results, table, "jax lax.scan", 1)),
            _ratio(wall, _speeds(results, table, "thetadot eager", 0)),
        ]
        print(
            f"{name:36}{statistics.median(cpu):9.1f}{statistics.median(wall):10.1f}{ratios[0]:>13}{ratios[1]:>16}"
            f"{results[name][-1][2]:9.3f}"
        )
    sys.stdout.flush()


def _speeds(results, table, name, column):
    return [PATHS * table[name][2] / 1e6 / one[column] for one in results.get(name, [])]


def _ratio(own, other):
    return f"{statistics.median(a / b for a, b in zip(own, other, strict=True)):.2f}" if other else "-"


def break_even():
    """When a kernel pays: time to trace and compile with an empty cache, beside what eager takes."""
    folder = tempfile.mkdtemp(prefix="thetadot-benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["THETADOT_CACHE"] = folder
    import torch

    from thetadot import simulate
    from thetadot.integrators import EulerMaruyama
    from thetadot.potentials import DoubleWell
    from thetadot.simulation.choice import PAYS
    from thetadot.systems import Langevin, Problem

    torch.set_num_threads(1)
    problem = Problem(Langevin(SIGMA**2 / 2), DoubleWell())
    warm = torch.zeros(64, 1)
    simulate(problem, EulerMaruyama(), warm, time=STEP, step=STEP, compile=False)
    begun = time.perf_counter()
    simulate(problem, EulerMaruyama(), warm, time=STEP, step=STEP, compile=True)
    first = time.perf_counter() - begun
    steps = int(PAYS / PATHS)
    taken = {}
    for compiled in (False, True):
        begun = time.perf_counter()
        simulate(problem, EulerMaruyama(), torch.zeros(PATHS, 1), time=steps * STEP, step=STEP, compile=compiled)
        taken[compiled] = time.perf_counter() - begun
    print(
        f"\ncompile='auto' compiles from {PAYS:.0e} path-steps: cold compile {first:.2f} s; there eager takes "
        f"{taken[False]:.2f} s, the compiled march {taken[True]:.2f} s"
    )


def streamed(sizes=(10**5, 10**6, 10**7)):
    """Cost a path-step as paths grow, statistics saved."""
    import torch

    from thetadot import simulate
    from thetadot.integrators import EulerMaruyama
    from thetadot.potentials import DoubleWell
    from thetadot.simulation import Save
    from thetadot.systems import Langevin, Problem

    torch.set_num_threads(1)
    problem = Problem(Langevin(SIGMA**2 / 2), DoubleWell())
    simulate(problem, EulerMaruyama(), torch.zeros(64, 1), time=STEP, step=STEP, compile=True)
    print("\npaths       steps   ns a path-step (compiled, 1 core, second moment saved 10 times)")
    for paths in sizes:
        for steps in (100, 200):
            start = torch.zeros(paths, 1)
            begun = time.perf_counter()
            simulate(
                problem,
                EulerMaruyama(),
                start,
                time=steps * STEP,
                step=STEP,
                compile=True,
                save=Save(_moment, count=10),
            )
            print(f"{paths:<12,}{steps:<8}{(time.perf_counter() - begun) / paths / steps * 1e9:.2f}")


def spread(rounds, sizes=(10**6, 10**7), steps=1000, cores=2):
    """What a cluster costs on one machine: workers of one core each against threads of one process, interleaved."""
    import torch

    from thetadot import simulate
    from thetadot.errors import ThetadotError
    from thetadot.integrations.ray import RayEnsemble
    from thetadot.integrators import EulerMaruyama
    from thetadot.potentials import DoubleWell
    from thetadot.simulation.noise import PATHS as BLOCK
    from thetadot.systems import Langevin, Problem

    torch.set_num_threads(cores)
    problem = Problem(Langevin(SIGMA**2 / 2), DoubleWell())

    def run(paths, steps, engine):
        start = torch.zeros(paths, 1)
        begun = time.perf_counter()
        end = simulate(
            problem, EulerMaruyama(), start, time=steps * STEP, step=STEP, compile=True, key=1, engine=engine
        ).final
        return time.perf_counter() - begun, end

    run(64, 1, None)
    try:
        with RayEnsemble(workers=cores) as engine:
            begun = time.perf_counter()
            run(cores * BLOCK, 1, engine)
            print(f"\nRay, {cores} workers: started and first paths marched in {time.perf_counter() - begun:.1f} s")
            print(f"{'paths':>12}{'s, threads':>12}{'s, Ray':>9}{'Ray / threads':>15}  equal (medians of {rounds})")
            for paths in sizes:
                taken = {None: [], engine: []}
                ends = {}
                for _ in range(rounds):
                    for own, times in taken.items():
                        seconds, ends[own] = run(paths, steps, own)
                        times.append(seconds)
                ratio = statistics.median(b / a for a, b in zip(taken[None], taken[engine], strict=True))
                one, many = (statistics.median(times) for times in taken.values())
                same = torch.equal(ends[None], ends[engine])
                print(f"{paths:>12,}{one:>12.2f}{many:>9.2f}{ratio:>15.2f}  {same}", flush=True)
    except ThetadotError as error:
        print(f"\nRay: {error}")


def _moment(_, state):
    return state["position"].square().mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["double-well", "kramers", "compile", "streamed", "ray"])
    options = parser.parse_args()
    if options.only in (None, "double-well"):
        compare("Double well, Euler-Maruyama, float32", DOUBLE_WELL, options.rounds)
    if options.only in (None, "kramers"):
        compare("Quartic wells in two dimensions, BAOAB, float32", KRAMERS, options.rounds)
    if options.only in (None, "compile"):
        break_even()
    if options.only in (None, "streamed"):
        streamed()
    if options.only in (None, "ray"):
        spread(options.rounds)


if __name__ == "__main__":
    main()
