"""Time and peak memory of reading, judging and drawing records of 10⁵ and 10⁶ lines, of several shapes.

    python benchmarks/report_speed.py [--lines 10000 100000 1000000] [--shapes motion rollbacks spikes layers watched]

Each record is written to a temporary folder and judged and drawn in a process of its own, whose peak memory above that
of the imports is printed. Seconds are of the processor, so that what else runs counts for little. "live" is what the
server does when the record has grown by a line: it reads what is new and draws the page again. The goal is 10⁶ lines in
5 s and 300 MB.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from thetadot.records import SCHEMA, UNITS, VERSION

SHAPES = ("motion", "rollbacks", "spikes", "layers", "watched")
SECONDS, MEGABYTES = 5.0, 300.0
KEYS = ("read", "all", "memory", "page", "live", "served")
SECONDS_OF = {"read", "all", "live", "page"}


def line(kind: str, **fields: object) -> str:
    """One entry."""
    return json.dumps({"kind": kind, **fields})


def motion(step: int, count: int, shape: str) -> str:
    """A step of a loss that falls, with a spike every fifty steps in one of the shapes."""
    loss = 2.3 * math.exp(-5.0 * step / count) + 0.1 * math.sin(step * 12.9898)
    loss += 5.0 if shape == "spikes" and step % 50 == 0 else 0.0
    return line(
        "motion", step=step, epoch=step / 1000, loss=loss, lr=0.1, momentum=0.9, batch_size=64, time_step=0.3,
        friction=0.3, temperature=1e-4, clock=0.3 * step, kinetic=1e-4, displacement=math.sqrt(step + 1.0), speed=0.1,
        cost=64.0 * step, gradient_norm=1.0, weight_norm=10.0, update_norm=0.01,
    )  # fmt: skip


def measured(step: int) -> list[str]:
    """What a watch at level "full" measures now and then."""
    wave = 1.0 + 0.5 * math.sin(step / 1000)
    when = {"when": "training", "step": step, "samples": 256, "cost": 1.0 * step}
    ends = {"trend": -0.1, "trend_low": -0.2, "trend_high": 0.0, "alignment": 0.1, "alignment_low": -0.1}
    ends |= {"alignment_high": 0.3, "configurational": 1e-4, "kinetic_temperature": 1e-4, "state": "moving"}
    spectrum = [10.0 * wave * 0.7**i for i in range(8)]
    return [
        line("curvature", **when, sharpness=10.0 * wave, residual=0.1, limit=38.0, spectrum=spectrum,
             residuals=[0.1] * 8, damping=[0.1 * 1.2**i for i in range(8)], low=10.0 * wave, high=11.0 * wave),
        line("noise", **when, gradient_variance=wave, gradient_square=0.01, noise_scale=100.0 * wave, low=70.0 * wave,
             high=150.0 * wave, resolved=step % 700 > 100, layers=[0.5, 0.3, 0.2]),
        line("equilibrium", step=step, since=max(step - 200, 0), samples=200, identity="heavy ball", virial=wave,
             kinetic=1.0, ratio=wave, low=wave - 0.2, high=wave + 0.2, **ends),
        line("regularization", step=step, gradient_term=0.01, noise_term=0.004, loss=1.0 + wave),
        line("barrier", step=step, since=max(step - 100, 0), height=0.1 * wave, at=0.4, start_loss=1.6, end_loss=1.5,
             temperature=None),
    ]  # fmt: skip


def watched(step: int, count: int) -> list[str]:
    """Steps of a watched loop, layers at every fourth, all measurements at every hundredth."""
    norms = {name: [1.0, 2.0, 3.0] for name in ("gradient", "weight", "update", "angle")}
    layers = [line("layers", step=step, **norms)] if step % 4 == 0 else []
    return [motion(step, count, "watched"), *layers, *(measured(step) if step % 100 == 0 else [])]


def write(path: Path, shape: str, count: int) -> None:
    """A record of so many lines."""
    header = {
        "schema": SCHEMA, "version": VERSION, "task": "t", "seed": 0, "parameters": 100, "train_samples": 1000,
        "valid_samples": None, "epochs": None, "device": "cpu", "threads": 1, "software": {}, "quantities": dict(UNITS),
        "watched": {"optimizer": "SGD", "level": "default", "reference": "", "layers": ["a", "b", "c"]},
    }  # fmt: skip
    with path.open("w") as file:
        file.write(line("header", **header) + "\n")
        written = 1
        for step in range(count - 1):
            if shape == "watched":
                lines = watched(step, count)[: count - written]
                written += len(lines)
                file.write("".join(f"{each}\n" for each in lines))
            elif shape == "layers" and step % 2:
                norms = {name: [1.0, 2.0, 3.0] for name in ("gradient", "weight", "update", "angle")}
                file.write(line("layers", step=step, **norms) + "\n")
            elif shape == "rollbacks" and step % 200 == 199:
                file.write(line("rollback", step=step, back_to=step - 50, because="rose", lr_factor=0.5) + "\n")
            else:
                file.write(motion(step, count, shape) + "\n")


def measure(path: str) -> None:
    """Judge and draw one record, then once more as it grows; seconds and megabytes as JSON."""
    from thetadot import records
    from thetadot.report.page import render
    from thetadot.report.serve import FolderWatch

    def memory() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    before, start = memory(), time.process_time()
    record = records.read(path)
    read = time.process_time() - start
    page = render(record)
    found = {"read": read, "all": time.process_time() - start, "memory": memory() - before, "page": len(page) / 2**20}
    last = record.of(records.Motion)[-1]
    del record, page
    watch = FolderWatch([path])
    watch.page()
    with records.Writer(Path(path), Path(path).stat().st_size) as writer:
        writer.write(last)
    start = time.process_time()
    watch.page()
    print(json.dumps(found | {"live": time.process_time() - start, "served": memory() - before}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
        return
    heads = ("lines", "read s", "all s", "peak MB", "page MB", "live s", "live MB")
    print(f"{'shape':12}{''.join(f'{head:>10}' for head in heads)}")
    for shape in given.shapes:
        for count in given.lines:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "record.jsonl"
                write(path, shape, count)
                command = [sys.executable, __file__, "--measure", str(path)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own
            found = json.loads(said)
            missed = max(found["all"], found["live"]) > SECONDS or found["served"] > MEGABYTES
            numbers = "".join(f"{found[key]:10.{2 if key in SECONDS_OF else 0}f}" for key in KEYS)
            print(f"{shape:12}{count:10,}{numbers}{'   above the goal' if missed else ''}", flush=True)


if __name__ == "__main__":
    main()
