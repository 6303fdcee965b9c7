"""Time and peak memory of reading, judging and drawing records of 10⁴ to 10⁶ lines, of several shapes.

    python benchmarks/report_speed.py [--lines 10000 100000 1000000] [--shapes motion rollbacks spikes layers]

Each record is written to a temporary folder and judged and drawn in a process of its own, whose peak memory above that
of the imports is printed. The goal is 10⁶ lines in 5 s and 300 MB.
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

SHAPES = ("motion", "rollbacks", "spikes", "layers")
SECONDS, MEGABYTES = 5.0, 300.0


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


def write(path: Path, shape: str, count: int) -> None:
    """A record of so many lines."""
    header = {
        "schema": SCHEMA, "version": VERSION, "task": "t", "seed": 0, "parameters": 100, "train_samples": 1000,
        "valid_samples": None, "epochs": None, "device": "cpu", "threads": 1, "software": {}, "quantities": dict(UNITS),
        "watched": {"optimizer": "SGD", "level": "default", "reference": "", "layers": ["a", "b", "c"]},
    }  # fmt: skip
    with path.open("w") as file:
        file.write(line("header", **header) + "\n")
        for step in range(count - 1):
            if shape == "layers" and step % 2:
                norms = {name: [1.0, 2.0, 3.0] for name in ("gradient", "weight", "update", "angle")}
                file.write(line("layers", step=step, **norms) + "\n")
            elif shape == "rollbacks" and step % 200 == 199:
                file.write(line("rollback", step=step, back_to=step - 50, because="rose", lr_factor=0.5) + "\n")
            else:
                file.write(motion(step, count, shape) + "\n")


def measure(path: str) -> None:
    """Judge and draw one record; seconds and megabytes as JSON."""
    from thetadot import records
    from thetadot.report.page import render

    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    record = records.read(path)
    read = time.perf_counter() - start
    page = render(record)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = time.perf_counter() - start
    print(json.dumps({"read": read, "all": whole, "memory": (after - before) / 1024, "page": len(page) / 2**20}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
        return
    print(f"{'shape':12}{'lines':>10}{'read s':>10}{'all s':>10}{'peak MB':>10}{'page MB':>10}")
    for shape in given.shapes:
        for count in given.lines:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "record.jsonl"
                write(path, shape, count)
                command = [sys.executable, __file__, "--measure", str(path)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own
            found = json.loads(said)
            missed = found["all"] > SECONDS or found["memory"] > MEGABYTES
            print(
                f"{shape:12}{count:10,}{found['read']:10.2f}{found['all']:10.2f}{found['memory']:10.0f}"
                f"{found['page']:10.2f}{'   above the goal' if missed else ''}",
                flush=True,
            )


if __name__ == "__main__":
    main()
