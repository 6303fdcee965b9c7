"""A plain torch loop by ``thetadot.suggest`` beside ``thetadot.run``, on tasks of ``pilot_tasks.py``.

    python benchmarks/suggested_loop.py [--tasks wine digits-mlp] [--seeds 3]

Both begin from the same parameters with the same settings and take the same number of epochs; the loop shuffles by
torch's own loader, is not forked and not guarded. Each is scored by its best and its last validation loss; the ratio is
loop over run, above 1 where the run is better, and at last the ratio of geometric means over seeds.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import torch
from pilot_tasks import TASKS, make
from torch.utils.data import DataLoader

import thetadot
from thetadot.training.data import Source
from thetadot.training.forward import judge
from thetadot.training.setting import seed_all


def looped(name: str, seed: int) -> tuple[float, float, float]:
    """Best and last validation loss of the loop, and what the suggestion cost as a share of the training."""
    seed_all(seed)
    task = make(name)
    found = thetadot.suggest(task.model, task.loss, task.train, epochs=TASKS[name].epochs, seed=seed)
    optimizer = found.build(task.model.parameters())
    schedule = found.schedule(optimizer)
    valid = Source(task.valid, seed, torch.device("cpu"))
    losses = []
    for _ in range(found.epochs):
        task.model.train()
        for batch in DataLoader(task.train, batch_size=found.batch_size, shuffle=True):
            x, y = (batch, batch) if isinstance(batch, dict) else batch
            optimizer.zero_grad()
            task.loss(task.model(**x) if isinstance(x, dict) else task.model(x), y).backward()
            optimizer.step()
            schedule.step()
        losses.append(judge(task, valid.load(valid.whole(512)), None)[0])
    return min(losses), losses[-1], found.price / (found.epochs * found.samples)


def ran(name: str, seed: int) -> tuple[float, float]:
    """Best and last validation loss of the run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        record = thetadot.run(
            lambda: make(name), out=out, epochs=TASKS[name].epochs, seed=seed, page=False, progress=False
        ).record
        return record.result.valid_loss, record.result.final_valid_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=["wine", "digits-mlp"], choices=sorted(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | seed | loop best | run best | ratio | loop last | run last | ratio | price |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.tasks:
        logs = []
        for seed in range(given.seeds):
            best, last, price = looped(name, seed)
            run_best, run_last = ran(name, seed)
            ratios = best / run_best, last / run_last
            logs.append([math.log(ratio) for ratio in ratios])
            print(
                f"| {name} | {seed} | {best:.4g} | {run_best:.4g} | {ratios[0]:.2f} "
                f"| {last:.4g} | {run_last:.4g} | {ratios[1]:.2f} | {price:.1%} |",
                flush=True,
            )
        means = [math.exp(sum(column) / len(column)) for column in zip(*logs, strict=True)]
        print(f"| {name} | all | | | {means[0]:.2f} | | | {means[1]:.2f} | |", flush=True)


if __name__ == "__main__":
    main()
