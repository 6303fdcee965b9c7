r"""The time of one optimizer step, as ratios within interleaved rounds.

    python benchmarks/step_time.py                      # the reference workload: 25.1 M float32 in 99 tensors
    python benchmarks/step_time.py --shapes small       # 2,000 tensors of 1,024; also tiny, huge, tied, all
    python benchmarks/step_time.py --shapes tiny --threads 1 --only HeavyBall norms noise compile=False
    python benchmarks/step_time.py --start              # the first step, with an empty cache and with a full one
    python benchmarks/step_time.py --memory             # peak memory of a process that steps

Gradients are preset; every round steps each optimizer once (on the tiny model 20 times), in random order; a figure is
the median over rounds of time / time of the reference in the same round, with its quartiles. On one thread it is the
processor's time, which other processes disturb less. "--only" takes parts of names, and what they are divided by comes
with them; "norms" are the rules that need a norm, "noise" those that draw. "triad" is torch.add of two buffers
into a third, of as many elements. Peers are measured where they are installed: schedulefree, pytorch_optimizer,
heavyball.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch

from thetadot import optim

BLOCK = [(384, 1152), (384, 384), (384, 1536), (1536, 384), (384,), (384,), (384,), (384,)]
SHAPES = {
    "reference": [(10000, 384), *(BLOCK * 12), (384,), (384,)],
    "small": [(32, 32)] * 2000,
    "tiny": [(16, 32), (32,), (10, 32), (10,), (8, 10), (8,), (8, 4), (32,)],
    "huge": [(2048, 2048)] * 6,
    "tied": [(50000, 256), *([(256, 1024), (1024, 256), (256,)] * 4)],
}
LR, MOMENTUM, HOT = 1e-3, 0.9, 1e-6

# What is aimed at, by the kind of comparison, then by workload.
AIMS: dict[str, dict[str, float]] = {
    "fused": {"tiny": 1.5, "small": 0.9, "": 1.0},
    "default": {"": 1.05},
    "norm": {"": 2.0},
    "noise": {"tiny": 2.0, "": 3.0},
    "uncompiled noise": {"": 5.0},
}
NORMS, NOISE = ("NormalizedDescent", "Polyak", "Amos"), ("Langevin", "Kramers")

# name: (what is built, the name that it is divided by, the kind of comparison)
Case = tuple[Any, str | None, str | None]


def cases(*, scheduled: bool) -> dict[str, Case]:
    """Every optimizer that is timed."""
    torch_sgd = {"lr": LR, "momentum": MOMENTUM}
    own: dict[str, Case] = {
        "torch SGD fused": (lambda p: torch.optim.SGD(p, **torch_sgd, fused=True), None, None),
        "torch SGD nesterov fused": (lambda p: torch.optim.SGD(p, **torch_sgd, nesterov=True, fused=True), None, None),
        "torch SGD": (lambda p: torch.optim.SGD(p, **torch_sgd), None, None),
        "torch SGD nesterov": (lambda p: torch.optim.SGD(p, **torch_sgd, nesterov=True), None, None),
        "torch AdamW fused": (lambda p: torch.optim.AdamW(p, LR, fused=True), None, None),
        "torch AdamW": (lambda p: torch.optim.AdamW(p, LR), None, None),
        "torch RMSprop": (lambda p: torch.optim.RMSprop(p, LR), None, None),
    }
    hot = {"temperature": HOT}
    for compiled in ("auto", False):
        keep = {"compile": compiled}
        tail, kind = ("", "fused") if compiled else (" compile=False", "default")
        end = " fused" if compiled else ""
        nag = f"torch SGD nesterov{end}"
        own |= {
            f"HeavyBall{tail}": (lambda p, k=keep: optim.HeavyBall(p, LR, MOMENTUM, **k), f"torch SGD{end}", kind),
            f"Nesterov c=0.5{tail}": (lambda p, k=keep: optim.Nesterov(p, LR, MOMENTUM, 0.5, **k), nag, kind),
            f"Nesterov c=1{tail}": (lambda p, k=keep: optim.Nesterov(p, LR, MOMENTUM, 1.0, **k), nag, kind),
            f"Adam{tail}": (lambda p, k=keep: optim.Adam(p, LR, **k), f"torch AdamW{end}", kind),
            f"AdamW{tail}": (lambda p, k=keep: optim.AdamW(p, LR, **k), f"torch AdamW{end}", kind),
            f"RMSprop{tail}": (lambda p, k=keep: optim.RMSprop(p, LR, **k), "torch RMSprop", kind),
        }
        noisy = ("HeavyBall", "noise") if compiled else (None, "uncompiled noise")
        own |= {
            f"Langevin{tail}": (lambda p, k=keep: optim.Langevin(p, LR, **hot, **k), noisy[0] or "Langevin", noisy[1]),
            f"Kramers{tail}": (
                lambda p, k=keep: optim.Kramers(p, LR, MOMENTUM, **hot, **k),
                noisy[0] or "Kramers",
                noisy[1],
            ),
        }
    own |= {
        "NormalizedDescent": (lambda p: optim.NormalizedDescent(p, LR), "HeavyBall", "norm"),
        "Polyak": (lambda p: optim.Polyak(p, LR), "HeavyBall", "norm"),
        "Amos": (lambda p: optim.Amos(p, LR), "AdamW", "norm"),
    }
    return own if scheduled else own | peers()


def chosen(words: list[str], *, scheduled: bool) -> dict[str, Case]:
    """Those whose names have one of the words, and what they are divided by."""
    every = cases(scheduled=scheduled)
    if not words:
        return every
    parts = [part for word in words for part in {"norms": NORMS, "noise": NOISE}.get(word, (word,))]
    found = {name for name in every if any(part in name for part in parts)}
    for name in [*found]:
        while (name := every[name][1] or "") and name not in found:
            found.add(name)
    return {name: case for name, case in every.items() if name in found}


def peers() -> dict[str, Case]:
    """Other libraries' optimizers, if they are installed."""
    found: dict[str, Case] = {}
    if importlib.util.find_spec("schedulefree"):
        import schedulefree  # type: ignore[import-not-found]

        def free(p: Any) -> Any:
            optimizer = schedulefree.AdamWScheduleFree(p, LR, foreach=False)
            optimizer.train()
            return optimizer

        found["schedulefree AdamW"] = (free, "torch AdamW fused", None)
    if importlib.util.find_spec("pytorch_optimizer"):
        import pytorch_optimizer  # type: ignore[import-not-found]

        found["pytorch_optimizer AdamW"] = (lambda p: pytorch_optimizer.AdamW(p, LR), "torch AdamW fused", None)
        found["pytorch_optimizer Amos"] = (lambda p: pytorch_optimizer.Amos(p, LR), "torch AdamW fused", None)
        found["pytorch_optimizer SGDW"] = (
            lambda p: pytorch_optimizer.SGDW(p, LR, momentum=MOMENTUM),
            "torch SGD fused",
            None,
        )
    if importlib.util.find_spec("heavyball"):
        import heavyball  # type: ignore[import-not-found]

        found["heavyball AdamW"] = (lambda p: heavyball.AdamW(p, LR, consume_grad=False), "torch AdamW fused", None)
    return found


def parameters(shapes: list[tuple[int, ...]]) -> list[torch.Tensor]:
    """Parameters with gradients."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    for p in made:
        p.grad = torch.randn(p.shape, generator=generator) * 1e-3
    return made


def schedule(optimizer: Any, n: int) -> None:
    """A new lr and a new momentum."""
    for group in optimizer.param_groups:
        group["lr"] = LR / (1 + n / 100)
        if "momentum" in group:
            group["momentum"] = MOMENTUM - 0.001 * (n % 50)


def table(name: str, rounds: int, words: list[str], *, scheduled: bool) -> None:
    """Time all cases on one workload."""
    shapes = SHAPES[name]
    count = sum(torch.Size(shape).numel() for shape in shapes)
    size = f"{count / 1e6:.1f} M" if count > 1e5 else f"{count:,}"
    said = ", lr and momentum moved at every step" if scheduled else ""
    print(f"\n{name}: {size} float32 in {len(shapes)} tensors{said}; {rounds} rounds", flush=True)
    timed = chosen(words, scheduled=scheduled)
    optimizers = {case: build(parameters(shapes)) for case, (build, _, _) in timed.items()}
    x, y, z = (torch.ones(count) for _ in range(3))
    jobs: dict[str, Any] = {"triad": lambda: torch.add(x, y, out=z)}
    jobs |= {
        case: (lambda o=o: o.step(loss=1.0)) if case == "Polyak" else optimizer.step
        for case, optimizer in optimizers.items()
        for o in [optimizer]
    }
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    repeats = 20 if name == "tiny" else 1
    times: dict[str, list[float]] = {case: [] for case in jobs}
    for n in range(rounds + 3):
        for case in random.sample(list(jobs), len(jobs)):
            begun = clock()
            for again in range(repeats):
                if scheduled and case != "triad":
                    schedule(optimizers[case], n + again)
                jobs[case]()
            times[case].append((clock() - begun) / repeats)
    times = {case: measured[3:] for case, measured in times.items()}
    print(f"{'step':34s} {'µs':>9s} {'x triad':>8s}   ratio to its reference [quartiles], aim")
    for case, measured in times.items():
        _, reference, kind = timed.get(case, (None, None, None))
        aims = AIMS.get(kind or "", {})
        aim = aims.get(name, aims.get(""))
        line = f"{case:34s} {1e6 * statistics.median(measured):9.1f} {ratio(measured, times['triad'])[1]:8.2f}"
        if reference:
            low, middle, high = ratio(measured, times[reference])
            line += f"   {middle:.3f} [{low:.3f}, {high:.3f}] x {reference}"
            line += f", aim {aim:g}: {'met' if middle <= aim else 'missed'}" if aim else ""
        print(line, flush=True)


def ratio(times: list[float], references: list[float]) -> tuple[float, float, float]:
    """Quartiles of the rounds' ratios."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(times, references, strict=True)], n=4)
    return low, middle, high


def in_process(case: str, body: str, **environment: str) -> list[float]:
    """What ``body`` prints in a process of its own, where ``o`` is the optimizer of ``case``."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    code = (
        f"import sys, time; sys.path.insert(0, {here!r})\n"
        f"import step_time as s, torch; torch.set_num_threads({torch.get_num_threads()})\n"
        f"o = s.cases(scheduled=True)[{case!r}][0](s.parameters(s.SHAPES['reference']))\n" + body
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return [float(word) for word in done.stdout.split()]


def start() -> None:
    """The first two steps of a fresh process on the reference workload."""
    body = "for _ in range(2):\n    t = time.perf_counter(); o.step(); print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as cache:
        print("\nfirst and second step of a process, seconds (empty memories have a kernel of their own)")
        for case in ("HeavyBall", "AdamW", "RMSprop", "Kramers", "torch AdamW fused"):
            for state in ("empty", "full"):
                first, second = in_process(case, body, THETADOT_CACHE=cache)
                print(f"{case:34s} cache {state:5s} {first:6.2f} {second:6.2f}", flush=True)


def memory() -> None:
    """Peak memory of a process that makes parameters, gradients and steps, beyond what it holds before stepping."""
    body = "b = s.peak()\nfor _ in range(3): o.step()\nprint((s.peak() - b) / 2**20)"
    print("\npeak memory that three steps add, MiB (one state tensor an element is 96)")
    names = ("torch SGD fused", "HeavyBall", "torch AdamW fused", "AdamW", "torch RMSprop", "RMSprop", "Kramers")
    for case in (*names, "HeavyBall compile=False", "AdamW compile=False"):
        (added,) = in_process(case, body)
        print(f"{case:34s} {added:7.0f}", flush=True)


def peak() -> int:
    """Largest resident size so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", choices=[*SHAPES, "all"], default="reference")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="of names; or norms, noise")
    parser.add_argument("--scheduled", action="store_true", help="move lr and momentum at every step")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    random.seed(0)
    print(f"torch {torch.__version__}, {asked.threads} threads")
    if asked.start:
        start()
    if asked.memory:
        memory()
    if not (asked.start or asked.memory):
        for name in SHAPES if asked.shapes == "all" else [asked.shapes]:
            table(name, asked.rounds, asked.only, scheduled=asked.scheduled)


if __name__ == "__main__":
    main()
