r"""The time of one optimizer step, as ratios within interleaved rounds.

    python benchmarks/step_time.py                      # the reference workload: 25.1 M float32 in 99 tensors
    python benchmarks/step_time.py --shapes small       # 2,000 tensors of 1,024; also huge, tied, all
    python benchmarks/step_time.py --start              # the first step, with an empty cache and with a full one
    python benchmarks/step_time.py --memory             # peak memory of a process that steps

Gradients are preset; every round steps each optimizer once, in random order; a figure is the median over rounds of
time / time of the reference in the same round, with its quartiles. "triad" is torch.add of two buffers into a third,
of as many elements. Peers are measured where they are installed: schedulefree, pytorch_optimizer, heavyball.
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
    "huge": [(2048, 2048)] * 6,
    "tied": [(50000, 256), *([(256, 1024), (1024, 256), (256,)] * 4)],
}
LR, MOMENTUM, HOT = 1e-3, 0.9, 1e-6

# name: (what is built, the name that it is divided by, the ratio that is aimed at)
Case = tuple[Any, str | None, float | None]


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
    for compiled in ("auto", False):
        tail, plain = ("", False) if compiled else (" compile=False", True)

        def add(
            name: str, build: Any, fused: str, default: str, aim: float | None, *, tail: str = tail, plain: bool = plain
        ) -> None:
            own[name + tail] = (build, default if plain else fused, 1.0 if plain else aim)

        keep = {"compile": compiled}
        sgd, nag, adam = "torch SGD fused", "torch SGD fused", "torch AdamW fused"
        add("HeavyBall", lambda p, k=keep: optim.HeavyBall(p, LR, MOMENTUM, **k), sgd, "torch SGD", 1.0)
        for c in (0.5, 1.0):
            add(f"Nesterov c={c:g}", lambda p, k=keep, c=c: optim.Nesterov(p, LR, MOMENTUM, c, **k), nag,
                "torch SGD nesterov", 1.0)  # fmt: skip
        add("Adam", lambda p, k=keep: optim.Adam(p, LR, **k), adam, "torch AdamW", 0.95)
        add("AdamW", lambda p, k=keep: optim.AdamW(p, LR, **k), adam, "torch AdamW", 0.95)
        add("RMSprop", lambda p, k=keep: optim.RMSprop(p, LR, **k), "torch RMSprop", "torch RMSprop", 0.40)
    hot = {"temperature": HOT}
    own["Langevin"] = (lambda p: optim.Langevin(p, LR, **hot), "HeavyBall", 3.0)
    own["Kramers"] = (lambda p: optim.Kramers(p, LR, MOMENTUM, **hot), "HeavyBall", 3.0)
    own["Amos"] = (lambda p: optim.Amos(p, LR), "torch AdamW fused", None)
    return own if scheduled else own | peers()


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


def table(name: str, rounds: int, *, scheduled: bool) -> None:
    """Time all cases on one workload."""
    shapes = SHAPES[name]
    count = sum(torch.Size(shape).numel() for shape in shapes)
    said = ", lr and momentum moved at every step" if scheduled else ""
    print(f"\n{name}: {count / 1e6:.1f} M float32 in {len(shapes)} tensors{said}; {rounds} rounds", flush=True)
    chosen = cases(scheduled=scheduled)
    optimizers = {case: build(parameters(shapes)) for case, (build, _, _) in chosen.items()}
    x, y, z = (torch.ones(count) for _ in range(3))
    jobs: dict[str, Any] = {"triad": lambda: torch.add(x, y, out=z)}
    jobs |= {case: optimizer.step for case, optimizer in optimizers.items()}
    times: dict[str, list[float]] = {case: [] for case in jobs}
    for n in range(rounds + 3):
        for case in random.sample(list(jobs), len(jobs)):
            if scheduled and case != "triad":
                schedule(optimizers[case], n)
            begun = time.perf_counter()
            jobs[case]()
            times[case].append(time.perf_counter() - begun)
    times = {case: measured[3:] for case, measured in times.items()}
    print(f"{'step':34s} {'ms':>7s} {'x triad':>8s}   ratio to its reference [quartiles], aim")
    for case, measured in times.items():
        _, reference, aim = chosen.get(case, (None, None, None))
        line = f"{case:34s} {1e3 * statistics.median(measured):7.2f} {ratio(measured, times['triad'])[1]:8.2f}"
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
            table(name, asked.rounds, scheduled=asked.scheduled)


if __name__ == "__main__":
    main()
