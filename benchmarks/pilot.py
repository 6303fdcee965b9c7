"""thetadot with nothing given, against grids of torch.optim and methods without a rate, on tasks of all kinds.

    python benchmarks/pilot.py run --out pilot [--task NAME ...] [--rows grid untuned ...] [--seeds 8] [--jobs 1]
    python benchmarks/pilot.py table --out pilot

Protocol, written before anything was tuned by it:

- Tasks: those of ``pilot_tasks.py``, at most two of a kind (of three factorisations the second, mf-b, counts among the
  fourteen of the spike only). Those marked ``chooses`` may choose mechanisms and constants; the others are only
  reported. The mechanism was found on the fourteen that are marked ``spike``, in another implementation; four tasks
  (derivative, residual, ratings, counts) were seen by nobody before.
- Every run is one of ``thetadot.compare``, which keeps each that has ended: what is cut goes on where it was. After a
  change of thetadot, remove OUT/TASK/untuned and OUT/TASK/time, and run again.
- Ours: ``thetadot.run`` and nothing else. It is scored by the validation loss of the state that it returns, and by the
  test loss of that state, which nothing is chosen by. What it costs more than the planned epochs is a column.
- The grid: 24 points of torch.optim.SGD (lr .001 to .3, half a decade apart; momentum 0, .8, .9, .95) and 5 of AdamW
  (lr 3e-4 to 3e-2, torch's other defaults), cosine to 0, at the task's own batch. The point is chosen by the mean final
  validation loss on seeds 0 and 1, and scored on seeds 10 and up, the same as ours.
- ``grid16`` is the same at a batch of 16.
- Peers: each at the one setting of ``PEERS``, fixed before any of them was run: its authors' defaults, and their
  schedule. Of two that have no default for short runs, lr = .01.
- ``time``: ours in the processor time that the grid's setting needs for the planned epochs, as steps × the median
  processor time of a step, measured once a task, interleaved. All of our gradient evaluations count as steps, those of
  measuring too; epochs are rounded down.
- Numbers: for each task the ratio of means over seeds, ours / other; over tasks the geometric mean, with a 95% interval
  by resampling seeds within tasks, paired (2000 times); the worst task; how many are within 1.05. Also best validated
  against best validated, last against last, test against test.
- A score that is worse than that of the best constant output counts as that one's, on both sides, since a mean over
  seeds of which one diverged is of that seed alone. (The first draft said 1e9; it made .14 of the fourteen's mean.)
- A run that diverged has no loss, also no best one from before; it counts as the constant output too.
- Nothing reads a clock but the measurement for ``time``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pilot_tasks import TASKS, maker
from pilot_time import epochs_in_equal_time

import thetadot

SEEDS, CHOOSING = range(10, 18), range(2)
PARTS = (
    "sgd:lr=0.001|0.003|0.01|0.03|0.1|0.3,momentum=0.0|0.8|0.9|0.95,schedule=cosine",
    "adamw:lr=3e-4|1e-3|3e-3|1e-2|3e-2,schedule=cosine",
)
PEERS = {
    "Prodigy": "prodigyopt:Prodigy(lr=1.0,schedule=cosine)",
    "Prodigy + schedule-free": "prodigyplus:ProdigyPlusScheduleFree(lr=1.0)",
    "schedule-free AdamW": "schedulefree:AdamWScheduleFree(lr=0.01,warmup_steps=25)",
    "DoG": "pilot_peers:AveragedDoG",
    "NAdamW": "nadam:lr=0.01,weight_decay=0.01,decoupled_weight_decay=True,schedule=cosine",
}
PACKAGES = {
    "prodigyopt": "prodigyopt",
    "prodigyplus": "prodigy-plus-schedule-free",
    "schedulefree": "schedulefree",
    "pilot_peers": "dog-optimizer",
}
UNTUNED = "untuned"
RUNS = {
    UNTUNED: UNTUNED,
    "grid": "; ".join(PARTS),
    "grid16": "; ".join(f"{part},batch_size=16" for part in PARTS),
    **PEERS,
}
OTHERS = [row for row in RUNS if row != UNTUNED]
TIME = "time"
PAIRS = {  # ours, theirs
    "returned/last": ("returned", "final"),
    "best/best": ("best", "best"),
    "last/last": ("final", "final"),
    "test": ("returned-test", "final-test"),
}
WORST = 1e9


def absent(row: str) -> str | None:
    """The package that a row needs and that is not there."""
    module = RUNS.get(row, "").partition(":")[0]
    needed = "dog" if module == "pilot_peers" else module
    return PACKAGES[module] if module in PACKAGES and importlib.util.find_spec(needed) is None else None


def compute(out: Path, name: str, row: str, seeds: range, jobs: int) -> None:
    """Do what is missing of a row of a task, and write its table."""
    setting, epochs = TASKS[name], TASKS[name].epochs
    folder = out / name / row.replace(" ", "-")
    if row == TIME:
        grid, ours = (kept(out, name, each) for each in ("grid", UNTUNED))
        if grid is None or ours is None:
            print(f"{name}: {TIME} needs the rows grid and {UNTUNED} first", flush=True)
            return
        epochs = epochs_in_equal_time(folder.with_suffix(".json"), name, grid["settings"], ours["cost"])
    found = thetadot.compare(
        maker(name),
        {row: RUNS.get(row, UNTUNED)},
        seeds=seeds,
        choosing=CHOOSING,
        epochs=epochs,
        batch_size=setting.batch,
        by="returned",
        out=folder,
        jobs=jobs,
        progress=False,
    )
    print(f"{name} {row}: {found.rows[0].mean('returned')}", flush=True)


def kept(out: Path, name: str, row: str) -> dict[str, Any] | None:
    """A row of a task, once it is whole."""
    place = out / name / row.replace(" ", "-") / "result.json"
    if not place.is_file():
        return None
    found = json.loads(place.read_text())
    return found["runs"][0] | {"constant": found["constant"]}


def losses(out: Path, name: str, row: str, other: str) -> dict[str, np.ndarray] | None:
    """Pairs of ours and the other's scores, seed by seed; None before both are there."""
    ours, theirs = kept(out, name, row), kept(out, name, other)
    if ours is None or theirs is None:
        return None
    most = ours["constant"] or WORST
    found = {}
    for says, (mine, yours) in PAIRS.items():
        both = [side["losses"].get(by) for side, by in ((ours, mine), (theirs, yours))]
        if None not in both:
            pairs = [[most if x is None else min(x, most) for x in pair] for pair in zip(*both, strict=False)]
            found[says] = np.array(pairs, dtype=np.float64)
    return found


GROUPS = {
    "the spike's fourteen": lambda name: TASKS[name].spike,
    "all": lambda name: name != "mf-b",
    "chooses": lambda name: TASKS[name].chooses,
    "reported": lambda name: not TASKS[name].chooses and name != "mf-b",
}


def summary(found: dict[str, dict[str, np.ndarray]], groups: list[str], pairs: list[str]) -> list[str]:
    """Markdown of the geometric means: a line a group and pair."""
    lines = ["| geometric mean over | tasks | pair | mean (95%) | worst | within 1.05 |", "|---" * 6 + "|"]
    for group, says in itertools.product(groups, pairs):
        names = [name for name in found if GROUPS[group](name) and says in found[name]]
        if names:
            sides = ({name: found[name][says][:, side].tolist() for name in names} for side in (0, 1))
            total = thetadot.comparing.overall(*sides)
            middle, low, high = map(number, (total.ratio, total.low, total.high))
            lines.append(
                f"| {group} | {len(names)} | {says} | {middle} ({low} to {high}) | "
                f"{total.each[total.worst]:.2f} ({total.worst}) | {total.within(1.05)} |"
            )
    return lines


def number(value: float) -> str:
    return f"{value:.3f}" if 0.01 <= value < 100 else f"{value:.1e}"


def ratio(pairs: np.ndarray | None) -> str:
    return "" if pairs is None else number(pairs[:, 0].mean() / pairs[:, 1].mean())


def against_grid(out: Path, other: str) -> str:
    """Markdown: a line a task, then the means of halves and of all."""
    found = {name: got for name in TASKS if (got := losses(out, name, UNTUNED, other)) is not None}
    if not found:
        return f"Against {other}: no task is done yet."
    lines = [
        f"Against {other}:\n",
        f"| task | half | seeds | {other}'s choice | {' | '.join(PAIRS)} | over constant | cost |",
        "|---" * (len(PAIRS) + 6) + "|",
    ]
    for name, got in found.items():
        ours, theirs = kept(out, name, UNTUNED), kept(out, name, other)
        scores = [WORST if x is None else x for x in ours["losses"]["returned"]]
        over = max(scores) / ours["constant"] if ours["constant"] else math.nan
        lines.append(
            f"| {name} | {'chooses' if TASKS[name].chooses else 'reported'} | {len(got['returned/last'])} | "
            f"{theirs['settings'].removesuffix(',batch_size=16').removesuffix(',schedule=cosine')} | "
            + " | ".join(ratio(got.get(says)) for says in PAIRS)
            + f" | {over:.2f} | {ours['cost']:.3f} |"
        )
    return "\n".join([*lines, "", *summary(found, list(GROUPS), list(PAIRS))])


def against_peers(out: Path) -> str:
    """Markdown: ours over each peer, task by task, then over all tasks."""
    found = {
        peer: {name: got for name in TASKS if name != "mf-b" and (got := losses(out, name, UNTUNED, peer)) is not None}
        for peer in PEERS
    }
    peers = [peer for peer in PEERS if found[peer]]
    if not peers:
        return "Against peers: no task is done yet."
    lines = ["Against peers, ours returned / theirs last:\n", f"| task | seeds | {' | '.join(peers)} |"]
    lines.append("|---" * (len(peers) + 2) + "|")
    for name in TASKS:
        cells = [found[peer].get(name, {}).get("returned/last") for peer in peers]
        if any(cell is not None for cell in cells):
            seeds = sorted({len(cell) for cell in cells if cell is not None})
            said = " to ".join(map(str, dict.fromkeys([seeds[0], seeds[-1]])))
            lines.append(f"| {name} | {said} | {' | '.join(map(ratio, cells))} |")
    for peer in peers:
        lines += ["", f"Against {peer}:\n", *summary(found[peer], ["all", "chooses", "reported"], list(PAIRS)[::3])]
    return "\n".join(lines)


def in_equal_time(out: Path) -> str:
    """Markdown: ours in the grid's time, task by task, then over all tasks."""
    found = {name: got for name in TASKS if name != "mf-b" and (got := losses(out, name, TIME, "grid")) is not None}
    if not found:
        return "In equal time: no task is done yet."
    lines = [
        "In equal time:\n",
        "| task | a step of ours / the grid's | epochs of ours / the grid's | returned/last | test |",
    ]
    lines.append("|---" * 5 + "|")
    for name, got in found.items():
        times = json.loads((out / name / f"{TIME}.json").read_text())
        lines.append(
            f"| {name} | {times['ours'] / times['grid']:.2f} | {times['epochs']} / {TASKS[name].epochs} | "
            f"{ratio(got['returned/last'])} | {ratio(got.get('test'))} |"
        )
    return "\n".join([*lines, "", *summary(found, list(GROUPS), list(PAIRS)[::3])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("run", "table"))
    parser.add_argument("--out", type=Path, default=Path("pilot"))
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rows", nargs="+", choices=[*RUNS, TIME], default=[*RUNS, TIME])
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.do == "run":
        seeds = range(SEEDS.start, SEEDS.start + options.seeds)
        rows = [row for row in options.rows if absent(row) is None]
        for row in [row for row in options.rows if row not in rows]:
            print(f"{row} is left out: pip install {absent(row)}", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):
            for row, name in itertools.product(rows, options.task):
                compute(options.out, name, row, seeds, options.jobs)
    tables = [against_grid(options.out, row) for row in ("grid", "grid16")]
    print("\n\n".join(["", *tables, against_peers(options.out), in_equal_time(options.out)]))


if __name__ == "__main__":
    main()
