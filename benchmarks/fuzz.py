"""Every public function, class and method called with nonsense: what comes back must be an error of ours.

    python benchmarks/fuzz.py [PACKAGE ...] [--seed 0] [--calls 60] [--show]

A call that works is built from the names of its parameters, then one or two arguments are replaced. What
ends in anything but a result or a ThetadotError with a sentence is counted as raw; so is what does not end in 5 s, and
what kills its process (each package runs in one of its own).
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import importlib
import inspect
import io
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from thetadot.errors import ThetadotError

PACKAGES = (
    "translation",
    "schedules",
    "potentials",
    "systems",
    "integrators",
    "analysis",
    "density",
    "simulation",
    "optim",
    "probes",
    "verdicts",
    "records",
    "report",
    "monitor",
    "testing",
    "tasks",
    "training",
    "reading",
    "limits",
    "random",
    "rounding",
)
LIMIT = 5  # seconds a call may take


@functools.cache
def recorded() -> object:
    """The record of a short watched loop."""
    import torch

    import thetadot

    model, loss_fn = torch.nn.Linear(2, 1), torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, targets = torch.randn(16, 2), torch.randn(16, 1)
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(inputs, targets)) as probe:
        for _ in range(12):
            optimizer.zero_grad()
            loss_fn(model(inputs), targets).backward()
            optimizer.step()
    return probe.record


def valid() -> dict[str, object]:
    """A working value for every parameter name that public functions have; made anew at each call."""
    import torch

    from thetadot import integrators, potentials, systems
    from thetadot.density import Grid
    from thetadot.probes import Objective

    model = torch.nn.Linear(2, 1)
    inputs, targets = torch.randn(16, 2), torch.randn(16, 1)
    well = potentials.DoubleWell()
    folder = Path(tempfile.mkdtemp(dir="."))  # main() goes into a folder of its own
    problem = systems.Problem(systems.Langevin(0.2), well)
    point = torch.tensor([0.5], dtype=torch.float64)
    return {
        "lr": 0.1, "momentum": 0.9, "batch_size": 32, "step": 0.1, "friction": 0.5, "temperature": 0.2,
        "lookahead": 1.0, "damping": 0.1, "gradient_variance": 2.0, "curvature": 1.0, "time": 0.2,
        "paths": 4, "key": 1, "steps": 3,
        "params": [torch.nn.Parameter(torch.ones(2, 2))], "system": systems.Langevin(0.2), "half_width": 1.0,
        "integrator": integrators.EulerMaruyama(), "potential": well, "problem": problem, "dim": 1, "stiffness": 1.0,
        "initial": point, "position": point, "start": point, "end": -point, "point": point, "points": point[None],
        "grid": Grid((-3.0, 3.0), 64), "drift": lambda x: -x, "field": lambda x: -x, "gradient": lambda x: x,
        "model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "loss_fn": torch.nn.MSELoss(),
        "objective": Objective(model, torch.nn.MSELoss(), (inputs, targets)), "inputs": inputs, "targets": targets,
        "reference": (inputs, targets), "alpha": 0.1, "alpha0": 0.1, "t": 1.0, "p": 0.1, "half_life": 10.0,
        "barrier": 0.25, "mean": 0.0, "std": 1.0, "variance": 1.0, "rate": 0.5, "square_rate": 0.1,
        "approach_rate": 0.1, "to_batch_size": 64, "ratio": 2.0, "mode": "stop", "game": "linear",
        "record": recorded(), "path": folder, "out": folder / "out", "folder": folder, "where": folder,
        "matrix": torch.eye(2, dtype=torch.float64), "box": ((-2.0, 2.0),), "span": (-2.0, 2.0), "count": 4,
        "samples": torch.randn(40, dtype=torch.float64), "values": torch.randn(40, dtype=torch.float64),
        "total": 10, "warm": 2, "x": point, "a": 1.0, "b": 0.5, "k": 1.0, "loss": 1.0, "family": "sgd",
        "build": lambda params: torch.optim.SGD(params, lr=0.1), "well": (-1.0,), "saddle": (0.0,), "wall": 3.0,
        "bounds": (-3.0, 3.0), "cells": 64, "amplitude": 1.0, "mass": 1.0, "frequency": 1.0, "weight": 1.0,
        "power": 2.0, "name": "position", "state": {"position": point, "velocity": -point}, "draw": lambda: point,
        "velocity": -point, "times": [0.1, 0.2], "errors": (torch.ones(2, 1),) * 3, "order": 4, "stage": 0,
        "group": {"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0},
        "param_group": {"params": [torch.nn.Parameter(torch.ones(2))]}, "state_dict": {}, "task": tiny_task,
        "samples_of": 4, "gap": 0.5, "critic": point, "generator": point, "encoder": point, "predictor": point,
        "normal": point, "direction": point, "task_name": "tiny", "density": torch.full((64,), 1 / 6.0).double(),
        "letters": "BAOAB", "word": "BAOAB", "tableau": integrators.RungeKutta().tableau, "value": 1.0,
        "diffusion": 0.3, "covariance": torch.eye(1, dtype=torch.float64), "hyperparameters": {}, "spot": 1.0,
        "strike": 1.0, "brownian": point, "closure": None, "output": inputs, "kind": "additive",
    }  # fmt: skip


def hostile() -> list[object]:
    """Values that make no sense almost everywhere."""
    import numpy as np
    import torch

    return [
        None, "a", "", "1e", b"x", b"", bytearray(b"1"), True, False, np.False_, np.True_,
        math.nan, math.inf, -math.inf, -1, -1.0, 0, 0.0, -0.0, 1e308, 1e-320, 2**63, 10**400, -(10**400), 5000,
        Fraction(1, 3), Decimal("0.5"), Decimal("nan"), 3 + 4j, complex("nan"), np.complex64(1j),
        np.float32("nan"), np.float64(0.5), np.int64(-3), np.float16("inf"), np.datetime64("2020-01-01"),
        np.array([1.0, 2.0]), np.array("a"), np.array(None), np.array([]), np.zeros((2, 0)), np.array([[1, 2], [3, 4]]),
        [], [1, "a"], [[1.0], [2.0, 3.0]], (), (1.0,), {}, {"a": 1}, {1: 2}, {"position": 1.0}, {"params": []},
        {"lr": "a"}, set(), frozenset((1,)), range(3), iter(()), (x for x in ("a", 1)), object(), NotImplemented, ...,
        torch.tensor(math.nan), torch.tensor([]), torch.ones(3, 3), torch.ones(0, 2), torch.tensor(1),
        torch.full((2,), math.nan, dtype=torch.float64), torch.tensor([True]), torch.ones(2) * 1j,
        torch.ones(2, dtype=torch.float16), torch.ones(2, device="meta"), torch.tensor(0.5, device="meta"),
        torch.ones(2, requires_grad=True), torch.tensor(0.5, requires_grad=True), torch.ones(2, dtype=torch.int64),
        torch.eye(2).to_sparse(), torch.ones(2, 2).T.expand(2, 2, 2), torch.Size((2,)), torch.float32,
        torch.device("cpu"), torch.device("meta"), torch.Generator(),
        int, float, type, torch.nn.Linear, torch.Tensor, torch.optim.SGD, Path, ThetadotError, math,
        lambda: None, lambda _: None, lambda x: x[:0], lambda *_: "a", print, len, _failing,
        Path("/does/not/exist"), Path(), "\x00", "ü" * 5000, "..", torch.nn.Linear(2, 1), torch.nn.Identity(),
    ]  # fmt: skip


def _failing(*_: object, **__: object) -> None:
    raise KeyError("a function of one's own")


def tiny_task() -> object:
    """Two numbers to one."""
    import torch

    from thetadot.tasks import Task

    data = torch.utils.data.TensorDataset(torch.randn(48, 2), torch.randn(48, 1))
    return Task(torch.nn.Linear(2, 1), torch.nn.MSELoss(), data, data)


class TooSlowError(Exception):
    """A call did not end."""


def _alarm(*_: object) -> None:
    raise TooSlowError


def arguments(call: object, known: dict[str, object]) -> dict[str, object] | None:
    """A working call's arguments by name; None where a required one has no known value."""
    found = {}
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return None
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name == "scales":  # what a rule makes of a system and a step
            with contextlib.suppress(Exception):
                known["scales"] = call.__self__.prepare(known["system"], known["step"])
        if parameter.name in known and parameter.default is parameter.empty:
            found[parameter.name] = known[parameter.name]
        elif parameter.default is parameter.empty:
            return None
        else:
            found[parameter.name] = parameter.default
    return found


def named(call: object) -> list[str]:
    """Names of its parameters."""
    parameters = inspect.signature(call).parameters.values()
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def frames_of(error: BaseException) -> list[tuple[str, int]]:
    """Files and lines that an error came through, the last one last."""
    return [(each.filename, each.lineno or 0) for each in traceback.extract_tb(error.__traceback__)]


def attempt(call: object, given: dict[str, object]) -> tuple[str, str]:
    """What came: "ok", "ours", "theirs", "raw" or "slow", and a line about it."""
    positional = [
        p.name for p in inspect.signature(call).parameters.values() if p.kind is p.POSITIONAL_ONLY and p.name in given
    ]
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            result = call(*[given[n] for n in positional], **{n: v for n, v in given.items() if n not in positional})
            if inspect.isgenerator(result):
                next(result, None)
    except ThetadotError as error:
        return "ours", str(error)
    except TooSlowError:
        return "slow", f"no end in {LIMIT} s"
    except BaseException as error:  # noqa: BLE001 - that is what is counted
        frames = frames_of(error)
        ours = [each for each in frames if "/thetadot/" in each[0]]
        if frames[-1][0] == __file__ and len(frames) > 1:
            return "theirs", str(error)  # a function that was passed has raised it
        place = f"{Path(ours[-1][0]).name}:{ours[-1][1]}" if ours else "?"
        return "raw", f"{place} {type(error).__name__}: {str(error)[:90]}"
    finally:
        signal.alarm(0)
    return "ok", ""


def callables(package: str) -> list[tuple[str, object]]:
    """The public ones of a package, with the public methods of what its classes build."""
    module = importlib.import_module(f"thetadot.{package}")
    found: list[tuple[str, object]] = []
    for name in getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]:
        thing = getattr(module, name)
        if inspect.ismodule(thing) or not callable(thing) or getattr(thing, "_is_protocol", False):
            continue
        if isinstance(thing, type) and issubclass(thing, Exception):
            continue
        found.append((name, thing))
    return found


def methods(name: str, thing: object) -> list[tuple[str, object]]:
    """Public methods of an object that a working call has built."""
    found = []
    for attribute in dir(thing):
        if attribute.startswith("_"):
            continue
        try:
            value = getattr(thing, attribute)
        except Exception:  # noqa: BLE001, S112 - properties that need more
            continue
        module = getattr(value, "__module__", "") or ""
        if inspect.ismethod(value) and module.startswith("thetadot"):
            found.append((f"{name}.{attribute}", value))
    return found


def fuzz(package: str, seed: int, calls: int) -> dict[str, object]:
    """Counts of one package, and its raw ends."""
    signal.signal(signal.SIGALRM, _alarm)
    chance = random.Random(f"{package} {seed}")
    counts: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    examples: dict[str, str] = {}
    skipped = []
    queue = callables(package)
    while queue:
        name, call = queue.pop(0)
        if (base := arguments(call, valid())) is None:
            skipped.append(name)
        elif isinstance(call, type):
            with contextlib.suppress(Exception):
                queue += methods(name, call(**base))
        for _ in range(calls):
            given = arguments(call, valid())
            if given is None:  # what is not known is hostile
                names = inspect.signature(call).parameters.values()
                given = {
                    p.name: chance.choice(hostile()) for p in names if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
                }
            for key in chance.sample(sorted(given), min(len(given), chance.choice((1, 1, 2)))):
                given[key] = chance.choice(hostile())
            if not given:
                break
            print(name, flush=True, file=sys.stderr)
            kind, line = attempt(call, given)
            counts[kind] += 1
            if kind in ("raw", "slow"):
                place = f"{name} at {line.split()[0]}"
                raw[place] += 1
                examples.setdefault(place, line)
    return {
        "package": package,
        "counts": counts,
        "raw": [(place, times, examples[place]) for place, times in raw.most_common()],
        "skipped": skipped,
    }


def main() -> None:
    """Run every package in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--show", action="store_true", help="print every raw end")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        faulthandler.enable()
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            print(json.dumps(fuzz(given.one, given.seed, given.calls)))
        return
    total: Counter[str] = Counter()
    for package in given.packages:
        command = [sys.executable, __file__, "--one", package, "--seed", str(given.seed), "--calls", str(given.calls)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - itself
        if done.returncode:
            print(f"{package}: the process died ({done.returncode}) in {done.stderr.splitlines()[-3:]}")
            total["raw"] += 1
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        counts = Counter(found["counts"])
        total += counts
        calls = sum(counts.values())
        bad = counts["raw"] + counts["slow"]
        print(f"{package:12} {calls:6} calls, {bad:5} raw ({bad / max(calls, 1):.1%}); without a working call: "
              f"{', '.join(found['skipped']) or 'none'}")  # fmt: skip
        if given.show:
            for place, times, example in found["raw"]:
                print(f"    {times:3} {place}, such as {example}")
    calls, bad = sum(total.values()), total["raw"] + total["slow"]
    print(f"{'all':12} {calls:6} calls, {bad:5} raw ({bad / max(calls, 1):.1%})")


if __name__ == "__main__":
    main()
