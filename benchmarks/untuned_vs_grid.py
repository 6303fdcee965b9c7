"""thetadot with nothing given, against grids of torch.optim with a cosine schedule at the same cost.

The grid points are chosen by their mean final validation loss on the first half of the seeds; all rows are scored on
the second half, as paired differences with a 95% t-interval. Cost is counted in gradient evaluations: the grid's runs
get the epochs that measuring and trials may cost ours. Each task's grid spans its own range of lr; ours is told none.

    python benchmarks/untuned_vs_grid.py [--task digits] [--seeds 5] [--jobs 2] [--out results.json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import runpy
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scipy.stats import t as student

import thetadot
from thetadot.training.data import Source
from thetadot.training.forward import accuracy, judge

EXAMPLES = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "tasks.py"))
OVERHEAD, BATCH = 0.15, 32
MOMENTA = (0.0, 0.8, 0.9, 0.95)


class Bench(NamedTuple):
    """A task, how long it is trained, and where its grids lie."""

    make: Any
    epochs: int
    sgd: tuple[float, ...]
    adamw: tuple[float, ...]
    classes: bool = True


USUAL = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
TASKS = {
    "digits": Bench(thetadot.tasks.digits, 60, *USUAL),
    "convolution": Bench(EXAMPLES["convolution"], 12, *USUAL),
    "characters": Bench(EXAMPLES["characters"], 8, *USUAL),
    "regression": Bench(
        EXAMPLES["regression"], 20, (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4), (1e-3, 3e-3, 1e-2, 3e-2, 1e-1), classes=False
    ),
}
OURS = {
    "thetadot, nothing given": {},
    "thetadot, heavy ball, coupled annealing": {"optimizer": "heavy-ball", "annealing": "coupled"},
    "thetadot, heavy ball, cosine at fixed momentum": {"optimizer": "heavy-ball", "annealing": "cosine"},
}


def grid_run(name: str, kind: str, lr: float, momentum: float, seed: int) -> tuple[float, float]:
    """Final validation loss and accuracy of one torch.optim run."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    bench = TASKS[name]
    task = bench.make()
    cpu = torch.device("cpu")
    train, valid = Source(task.train, seed, cpu), Source(task.valid, seed, cpu)
    epochs = round(bench.epochs * (1 + OVERHEAD))
    if kind == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(task.model.parameters(), lr, momentum=momentum)
    else:
        optimizer = torch.optim.AdamW(task.model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(train.size / BATCH))
    for epoch in range(epochs):
        task.model.train()
        for batch in train.load(train.plan(epoch, lambda _: BATCH)):
            optimizer.zero_grad()
            task.loss(task.model(batch.inputs), batch.target).backward()
            optimizer.step()
            schedule.step()
    loss, score = judge(task, valid.load(valid.whole(512)), accuracy if bench.classes else None)
    return (loss if math.isfinite(loss) else 1e9), score or 0.0


def our_run(name: str, options: dict[str, str], seed: int) -> tuple[float, float, float, float]:
    """Final validation loss, accuracy, seconds and overhead of one run of ours."""
    bench = TASKS[name]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        record = thetadot.run(bench.make, out=out, seed=seed, epochs=bench.epochs, threads=1, **options).record
    closing = record.result
    overhead = closing.cost / (bench.epochs * record.header.train_samples) - 1
    return closing.valid_loss, closing.metric or 0.0, closing.seconds, overhead


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean and half-width of a 95% t-interval."""
    half = student.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences), float(half)


def rows(scores: dict[str, list[Any]], chosen: dict[str, Any], *, classes: bool) -> list[str]:
    """The table, in Markdown."""
    best = [score[0] for score in scores["best of 24 SGD"]]
    table = [
        "| run | settings | final validation loss | accuracy | minus best of 24 SGD (95%) | ratio of means |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in scores.items():
        losses = [score[0] for score in found]
        mean, half = interval([a - b for a, b in zip(losses, best, strict=True)])
        point = chosen.get(name)
        settings = (
            f"lr {point[1]:g}" + (f", momentum {point[2]:g}" if point[0] == "SGD" else "") if point else "its own"
        )
        right = f"{statistics.mean(score[1] for score in found):.2%}" if classes else ""
        difference = "" if name == "best of 24 SGD" else f"{mean:+.3g} ± {half:.2g}"
        ratio = statistics.mean(losses) / statistics.mean(best)
        table.append(f"| {name} | {settings} | {statistics.mean(losses):.4g} | {right} | {difference} | {ratio:.2f} |")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="digits")
    parser.add_argument("--seeds", type=int, default=5, help="for choosing, and as many for scoring")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    name, bench = options.task, TASKS[options.task]
    tuned_on, scored_on = range(options.seeds), range(options.seeds, 2 * options.seeds)
    points = [("SGD", lr, momentum) for lr, momentum in itertools.product(bench.sgd, MOMENTA)]
    points += [("AdamW", lr, 0.9) for lr in bench.adamw]
    with ProcessPoolExecutor(options.jobs) as pool:
        pending = {point: [pool.submit(grid_run, name, *point, seed) for seed in tuned_on] for point in points}
        tuned = {point: statistics.mean(run.result()[0] for run in runs) for point, runs in pending.items()}
        ranked = {kind: sorted((p for p in points if p[0] == kind), key=tuned.__getitem__) for kind in ("SGD", "AdamW")}
        chosen = {
            "best of 24 SGD": ranked["SGD"][0],
            "second best of 24 SGD": ranked["SGD"][1],
            "median of 24 SGD": ranked["SGD"][12],
            "best of 5 AdamW": ranked["AdamW"][0],
        }
        grid = {row: [pool.submit(grid_run, name, *point, seed) for seed in scored_on] for row, point in chosen.items()}
        ours = {row: [pool.submit(our_run, name, given, seed) for seed in scored_on] for row, given in OURS.items()}
        scores = {row: [run.result() for run in runs] for row, runs in (grid | ours).items()}
    table = rows(scores, chosen, classes=bench.classes)
    print(f"{name}: {bench.epochs} epochs, seeds {list(scored_on)}\n\n" + "\n".join(table))
    second = [score[0] for score in scores["second best of 24 SGD"]]
    print()
    for row in OURS:
        mean, half = interval([score[0] - b for score, b in zip(scores[row], second, strict=True)])
        print(f"{row}, minus second best of 24 SGD: {mean:+.3g} ± {half:.2g} (95%)")
    coupled, plain = ([score[0] for score in scores[row]] for row in list(OURS)[1:])
    mean, half = interval([a - b for a, b in zip(coupled, plain, strict=True)])
    print(f"\ncoupled minus cosine at fixed momentum: {mean:+.3g} ± {half:.2g} (95%)")
    own = scores["thetadot, nothing given"]
    print(
        f"thetadot: {statistics.mean(score[2] for score in own):.1f} s a run, "
        f"measuring and trials {statistics.mean(score[3] for score in own):.1%}"
    )
    if options.out:
        options.out.write_text(
            json.dumps({"tuned": [[*p, loss] for p, loss in tuned.items()], "scores": scores}, indent=1)
        )


if __name__ == "__main__":
    main()
