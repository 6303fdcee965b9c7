"""How long the commands that load no torch take to answer, beside a bare interpreter and one that loads torch.

    python benchmarks/startup.py

Each command is run alternately with the others, as a new process; medians of wall time and of processor time.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

CONVERT = ["--lr", ".1", "--momentum", ".9", "--batch-size", "128", "--to-lr", ".01"]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "thetadot convert": ["-m", "thetadot", "convert", *CONVERT],
    "thetadot simulate --list": ["-m", "thetadot", "simulate", "--list"],
    "python -c 'import torch'": ["-c", "import torch"],
}
GOAL = 0.3


def once(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, command in COMMANDS.items():
            found[name].append(once(command))
    print(f"{'command':28}{'wall s':>10}{'processor s':>14}")
    for name, times in found.items():
        wall, spent = (statistics.median(t[i] for t in times) for i in (0, 1))
        goal = f"   goal {GOAL} s: {'met' if wall <= GOAL else 'missed'}" if "thetadot" in name else ""
        print(f"{name:28}{wall:10.3f}{spent:14.3f}{goal}")


if __name__ == "__main__":
    main()
