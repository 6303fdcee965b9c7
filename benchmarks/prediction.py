"""Ends of training predicted from their first fifth: six tasks, four schedules, two seeds.

    python benchmarks/prediction.py [--tasks wine noisy] [--steps 600]

Adam at one rate for all, batches of 16, from the same first parameters per seed. What is to be predicted is the mean
training loss of the last 2% of steps under the planned schedule. Two rows: what the first fifth of the run itself
tells (where its rate has not moved by then, nothing is said, which counts as missed), and what it tells beside a
second record of the same length at a third of the rate. A prediction is good within the larger of 2% and the task's
sd between seeds. The schedule that is named, of the four, is good if its end is at most that much above the best one's.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from pilot_tasks import make
from torch.utils.data import DataLoader

from thetadot.errors import InadmissibleValue
from thetadot.schedules import BatchSampler, Cosine, Join, Linear, Power, Recorded, predict, warmup_stable_decay
from thetadot.training.setting import seed_all

TASKS = ("digits-mlp", "autoencoder", "wine", "mf-b", "noisy", "spiral")
RATE, BATCH, KNOWN = 0.004, 16, 0.2


def schedules(steps):
    warm = 0.02 * steps
    rise = Linear(warm, 0.0, 1.0)
    return {
        "wave": Join((rise, Cosine(steps - warm))),
        "line": Join((rise, Linear(steps - warm))),
        "held, then line": warmup_stable_decay(steps, warm, 0.4 * steps),
        "inverse root": Join((rise, Power(0.1 * steps, 0.5))),
    }


def trained(name, seed, rates):
    """The loss of every step."""
    seed_all(seed)
    task = make(name)
    task.model.train()
    optimizer = torch.optim.Adam(task.model.parameters(), RATE)
    sampler = BatchSampler(len(task.train), BATCH, seed=seed)
    loader = DataLoader(task.train, batch_sampler=sampler)
    losses = []
    while True:
        for (x, y), _ in sampler.over(loader):
            optimizer.param_groups[0]["lr"] = rates[len(losses)]
            optimizer.zero_grad()
            loss = task.loss(task.model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            if len(losses) == len(rates):
                return np.array(losses)


def end_of(losses):
    return losses[-max(1, len(losses) // 50) :].mean()


def within(found, truth, sd):
    return abs(found - truth) <= max(0.02 * truth, sd)


def one_task(name, steps):
    """Rows of the table, and for each seed whether the named schedule was good."""
    paths = {
        label: RATE * np.array([curve(k + 0.5) for k in range(steps)]) for label, curve in schedules(steps).items()
    }
    known = int(KNOWN * steps)
    runs = {(label, seed): trained(name, seed, rates) for label, rates in paths.items() for seed in (0, 1)}
    ends = {key: end_of(losses) for key, losses in runs.items()}
    sd = float(np.sqrt(np.mean([(ends[label, 0] - ends[label, 1]) ** 2 / 2 for label in paths])))
    rows, named = [], []
    for label, rates in paths.items():
        for seed in (0, 1):
            own = Recorded(runs[label, seed][:known], rates[:known])
            slow = Recorded(trained(name, seed, rates[:known] / 3), rates[:known] / 3)
            found = []
            for records in ([own], [own, slow]):
                try:
                    law = predict(records)
                    found.append(law.at(int(0.99 * steps), rates))
                except InadmissibleValue:
                    found.append(None)
            if label == "held, then line":
                guess = min(paths, key=lambda other: law.at(int(0.99 * steps), paths[other]).loss)
                best = min(ends[other, seed] for other in paths)
                named.append(ends[guess, seed] <= best + max(0.02 * best, sd))
            rows.append((label, seed, ends[label, seed], sd, found))
    return rows, named


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--steps", type=int, default=600)
    asked = parser.parse_args()
    good, covered, count, named = [0, 0], [0, 0], 0, []
    print("| task | schedule | seed | end | sd | from its first fifth | and a second record |")
    print("|---|---|---|---|---|---|---|")
    for name in asked.tasks:
        rows, right = one_task(name, asked.steps)
        named += right
        for label, seed, truth, sd, found in rows:
            count += 1
            said = []
            for k, one in enumerate(found):
                said.append("unknown" if one is None else f"{one.loss:.4g} ({one.low:.3g} to {one.high:.3g})")
                if one is not None:
                    good[k] += within(one.loss, truth, sd)
                    covered[k] += one.low <= truth <= one.high
            print(f"| {name} | {label} | {seed} | {truth:.4g} | {sd:.2g} | {' | '.join(said)} |", flush=True)
    for k, title in enumerate(("first fifth", "and a second record")):
        print(f"{title}: {good[k]} of {count} within the larger of 2% and sd; interval holds {covered[k]} of {count}")
    print(f"named schedule good: {sum(named)} of {len(named)}")


if __name__ == "__main__":
    main()
