"""thetadot with nothing given, against grids of torch.optim with a cosine schedule at the same cost, on the digits.

The grid points are chosen by their mean final validation loss on seeds 0-4; all rows are scored on seeds 5-9, as paired
differences with a 95% t-interval. Cost is counted in gradient evaluations: the grid's runs get the epochs that
measuring and trials cost ours.

    python benchmarks/untuned_vs_grid.py [--jobs 2] [--out results.json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from scipy.stats import t as student

import thetadot

EPOCHS, OVERHEAD, BATCH = 60, 0.15, 32
TUNED_ON, SCORED_ON = range(5), range(5, 10)
SGD = list(itertools.product((0.001, 0.003, 0.01, 0.03, 0.1, 0.3), (0.0, 0.8, 0.9, 0.95)))
ADAMW = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
OURS = {
    "thetadot, nothing given": {},
    "thetadot, heavy ball, coupled annealing": {"optimizer": "heavy-ball", "annealing": "coupled"},
    "thetadot, heavy ball, cosine at fixed momentum": {"optimizer": "heavy-ball", "annealing": "cosine"},
}


def grid_run(kind: str, lr: float, momentum: float, seed: int) -> tuple[float, float]:
    """Final validation loss and accuracy of one torch.optim run."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    task = thetadot.tasks.digits()
    model, (x, y), (xv, yv) = task.model, task.train.tensors, task.valid.tensors
    epochs = round(EPOCHS * (1 + OVERHEAD))
    if kind == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr, momentum=momentum)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(x) / BATCH))
    for _ in range(epochs):
        model.train()
        for index in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            task.loss(model(x[index]), y[index]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        output = model(xv)
        loss = float(task.loss(output, yv))
    return (loss if math.isfinite(loss) else 1e3), float((output.argmax(1) == yv).float().mean())


def our_run(options: dict[str, str], seed: int) -> tuple[float, float, float, float]:
    """Final validation loss, accuracy, seconds and overhead of one run of ours."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = thetadot.run(
            thetadot.tasks.digits, out=Path(folder) / "run", seed=seed, epochs=EPOCHS, **options
        ).record
    closing = result.result
    overhead = closing.cost / (EPOCHS * result.header.train_samples) - 1
    return closing.valid_loss, closing.metric, closing.seconds, overhead


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean and half-width of a 95% t-interval."""
    half = student.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences), float(half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    points = [("SGD", lr, momentum) for lr, momentum in SGD] + [("AdamW", lr, 0.9) for lr in ADAMW]
    with ProcessPoolExecutor(options.jobs) as pool:
        pending = {point: [pool.submit(grid_run, *point, seed) for seed in TUNED_ON] for point in points}
        tuned = {point: statistics.mean(run.result()[0] for run in runs) for point, runs in pending.items()}
        ranked = {kind: sorted((p for p in points if p[0] == kind), key=tuned.__getitem__) for kind in ("SGD", "AdamW")}
        chosen = {
            "best of 24 SGD": ranked["SGD"][0],
            "median of 24 SGD": ranked["SGD"][12],
            "best of 5 AdamW": ranked["AdamW"][0],
        }
        grid = {name: [pool.submit(grid_run, *point, seed) for seed in SCORED_ON] for name, point in chosen.items()}
        ours = {name: [pool.submit(our_run, given, seed) for seed in SCORED_ON] for name, given in OURS.items()}
        scores = {name: [run.result() for run in runs] for name, runs in (grid | ours).items()}
    best = [score[0] for score in scores["best of 24 SGD"]]
    table = [
        "| run | settings | final validation loss | accuracy | minus best of 24 SGD (95%) | ratio of means |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in scores.items():
        losses = [row[0] for row in rows]
        mean, half = interval([a - b for a, b in zip(losses, best, strict=True)])
        point = chosen.get(name)
        settings = (
            f"lr {point[1]:g}" + (f", momentum {point[2]:g}" if point[0] == "SGD" else "")
            if point
            else "chosen by itself"
        )
        accuracy = statistics.mean(row[1] for row in rows)
        difference = "" if name == "best of 24 SGD" else f"{mean:+.4f} ± {half:.4f}"
        ratio = statistics.mean(losses) / statistics.mean(best)
        table.append(
            f"| {name} | {settings} | {statistics.mean(losses):.4f} | {accuracy:.2%} | {difference} | {ratio:.2f} |"
        )
    coupled, plain = ([row[0] for row in scores[name]] for name in list(OURS)[1:])
    mean, half = interval([a - b for a, b in zip(coupled, plain, strict=True)])
    print("\n".join(table))
    print(f"\ncoupled minus cosine at fixed momentum: {mean:+.4f} ± {half:.4f} (95%)")
    own = scores["thetadot, nothing given"]
    print(
        f"thetadot: {statistics.mean(r[2] for r in own):.1f} s a run, "
        f"measuring and trials {statistics.mean(r[3] for r in own):.1%}"
    )
    if options.out:
        tuned_rows = [[*point, loss] for point, loss in tuned.items()]
        options.out.write_text(json.dumps({"tuned": tuned_rows, "scores": scores, "table": table}, indent=1))


if __name__ == "__main__":
    main()
