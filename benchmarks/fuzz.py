"""Hostile values at public doors: how many calls end in a raw traceback, a hang or a crash.

    python benchmarks/fuzz.py [--packages analysis density systems ...] [--calls 4000] [--seed 0] [--show 20]

Every public function and class of a package, and the public methods of what a call makes, is called with arguments
that its annotations ask for, and one or two of them replaced by what nobody should pass. A call is *raw* where what it
raises is no error of ours, *hung* where it takes longer than five seconds. Each package runs in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import math
import random
import signal
import subprocess
import sys
import traceback
import warnings
from collections import Counter

import torch

PACKAGES = ("analysis", "density", "systems", "potentials", "schedules", "translation", "integrators", "limits")
HOSTILE = (
    None, "", "a", b"x", True, math.nan, math.inf, -math.inf, -1, -0.5, 0, 10**30, 10**400, 1e308, 1e-320, [], [1],
    ["a"], {}, (), (1.0, "b"), object(), int, 1j, torch.tensor(math.nan), torch.tensor(2), torch.zeros(0),
    torch.zeros(2, 0),
    torch.zeros(3, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.complex64),
    torch.full((2, 2), math.inf), torch.zeros(2, 3, 4, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.bfloat16),
    lambda: None, lambda *_: None, lambda *_: "x", lambda *_: torch.zeros(7), lambda *_: 1 / 0,
)  # fmt: skip


class Hung(BaseException):
    """A call that took too long."""


def ring(*_: object) -> None:
    raise Hung


def friendly(parameter: inspect.Parameter, draw: random.Random) -> object:
    """A value that a door takes, by its annotation and name."""
    from thetadot import density, integrators, potentials, systems

    note, name, point = str(parameter.annotation), parameter.name, torch.full((2, 1), 0.5, dtype=torch.float64)
    made = {
        "Problem": lambda: systems.Problem(systems.DampedNewton(0.5), potentials.DoubleWell()),
        "System": systems.GradientFlow,
        "Motion": lambda: systems.ODE(lambda x: -x),
        "Integrator": integrators.Euler,
        "Grid": lambda: density.Grid((-2.5, 2.5), 64),
        "Tableau": lambda: integrators.tableaus.RK4,
        "Callable": lambda: lambda *x: (x[-1] * x[-1]).sum(-1) if draw.random() < 0.5 else -x[-1],
        "Field": lambda: lambda x: -x,
        "Force": lambda: lambda x: x,
        "Tensor": lambda: draw.choice([point, point[0], point.expand(2, 2).contiguous()]),
        "Sequence": lambda: (0.5,),
        "Range": lambda: (-1.0, 1.0),
        "tuple": lambda: (0.5, 0.7),
        "bool": lambda: True,
        "str": lambda: "position" if name == "name" else "x",
        "int": lambda: 2,
        "State": lambda: {"position": point, "critic": point, "predictor": point, "velocity": point, "time": 0.1},
    }
    for kind, make in made.items():
        if kind in note:
            return make()
    return 0.3


def doors(package: str) -> list[tuple[str, object]]:
    """Public functions and classes by name; neither protocols nor what cannot be made."""
    module = importlib.import_module(f"thetadot.{package}")
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    found = []
    for name in names:
        door = getattr(module, name)
        home = str(getattr(door, "__module__", ""))
        ours = home.startswith("thetadot") and (hasattr(module, "__all__") or home == module.__name__)
        if callable(door) and ours and not inspect.isabstract(door) and not getattr(door, "_is_protocol", False):
            found.append((f"{package}.{name}", door))
    return found


def arguments(door: object, draw: random.Random, wrong: int) -> dict[str, object] | None:
    """By name: friendly ones, as many of them wrong."""
    try:
        parameters = [
            p for p in inspect.signature(door).parameters.values()  # type: ignore[arg-type]
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in ("self", "cls", "ax")
        ]  # fmt: skip
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.POSITIONAL_ONLY for p in parameters):
        return None
    given = {p.name: friendly(p, draw) for p in parameters if p.default is p.empty or draw.random() < 0.3}
    for name in draw.sample([p.name for p in parameters], min(wrong, len(parameters))):
        given[name] = draw.choice(HOSTILE)
    return given


def attempt(
    name: str, door: object, draw: random.Random, counts: Counter[str], raw: Counter[str], wrong: int
) -> object:
    """One call; what it gives where it gives something."""
    from thetadot.errors import ThetadotError

    given = arguments(door, draw, wrong)
    if given is None:
        return None
    counts["calls"] += 1
    signal.setitimer(signal.ITIMER_REAL, 5.0)
    try:
        return door(**given)  # type: ignore[operator]
    except ThetadotError:
        counts["said"] += 1
    except Hung:
        counts["hung"] += 1
        raw[f"HUNG {name}"] += 1
    except BaseException as error:  # noqa: BLE001 - that is what is counted
        counts["raw"] += 1
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno}"
        raw[f"{name}: {type(error).__name__}: {str(error)[:70]!r} at {where}"] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return None


def fuzz(package: str, calls: int, seed: int, show: int) -> Counter[str]:
    """One package, in this process."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, ring)
    draw, counts, raw = random.Random(seed), Counter(), Counter()
    every = doors(package)
    while counts["calls"] < calls:
        name, door = draw.choice(every)
        made = attempt(name, door, draw, counts, raw, draw.choice((0, 1, 1, 2)))
        if made is not None and inspect.isclass(door):
            methods = [
                n
                for n, m in inspect.getmembers(type(made), inspect.isfunction)
                if not n.startswith("_") and n != "plot"
            ]
            for method in draw.sample(methods, min(2, len(methods))):
                if method not in ("drift", "increment", "amplitude", "diffusion", "begin", "advance", "prepare"):
                    attempt(f"{name}.{method}", getattr(made, method), draw, counts, raw, 1)
    print(f"{package:12s} calls {counts['calls']:6d}  said {counts['said']:6d}  raw {counts['raw']:5d} "
          f"({100 * counts['raw'] / counts['calls']:.2f}%)  hung {counts['hung']}", flush=True)  # fmt: skip
    for line, number in raw.most_common(show):
        print(f"    {number:5d}  {line}")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", nargs="*", default=PACKAGES)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=15)
    parser.add_argument("--here", action="store_true", help="in this process")
    options = parser.parse_args()
    for package in options.packages:
        if options.here:
            fuzz(package, options.calls, options.seed, options.show)
            continue
        command = [sys.executable, __file__, "--here", "--packages", package, "--calls", str(options.calls)]
        done = subprocess.run([*command, "--seed", str(options.seed), "--show", str(options.show)], check=False)  # noqa: S603
        if done.returncode:
            print(f"{package:12s} crashed with {done.returncode}")


if __name__ == "__main__":
    main()
