"""thetadot with nothing given, against grids of torch.optim on tasks of all kinds: the protocol, then the table.

    python benchmarks/pilot.py run --out pilot.json [--task NAME ...] [--seeds 8] [--rows grid grid16 untuned]
    python benchmarks/pilot.py table --out pilot.json

Protocol, written before anything was tuned by it:

- Tasks: those of ``pilot_tasks.py``, at most two of a kind (of three factorisations the second, mf-b, counts among the
  fourteen of the spike only). Those marked ``chooses`` may choose mechanisms and constants; the others are only
  reported. The mechanism was found on the fourteen that are marked ``spike``, in another implementation; four tasks
  (derivative, residual, ratings, counts) were seen by nobody before.
- Ours: ``thetadot.run(make, epochs=..., seed=...)`` and nothing else. It is scored by the validation loss of the state
  that it returns, and by the test loss of that state, which nothing is chosen by.
- The grid: 24 points of torch.optim.SGD (lr .001 to 1, a half decade apart; momentum 0, .8, .9, .95) and 5 of AdamW (lr
  3e-4 to 3e-2, torch's other defaults), cosine to 0, at the task's own batch. The point is chosen by the mean final
  validation loss on seeds 0 and 1, and scored on seeds 10 and up, the same as ours. Infinite or worse than 1e9 is 1e9.
- ``grid16`` is the same at a batch of 16.
- Numbers: for each task the ratio of means over seeds, ours / grid; over tasks the geometric mean, with a 95% interval
  by resampling seeds within tasks, paired (2000 times); the worst task; how many are within 1.05. Also best validated
  against best validated, last against last, test against test, and our cost in gradient evaluations over the run's.
- A score that is worse than that of the best constant output counts as that one's, on both sides, since a mean over
  seeds of which one diverged is of that seed alone. (The first draft said 1e9; it made .14 of the fourteen's mean.)
- Points of a grid are run in lockstep by torch.vmap where the model allows it (by ``together``; the others one by one,
  by torch.optim itself): the same batches, the same rules, equal to rounding. Scored seeds are run by torch.optim.
- Nothing in it reads a clock but the column of processor seconds.

A result is kept as soon as it is there, so that the computation can be cut and continued, by several processes with
files of their own (``table`` takes several files).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pilot_tasks import TASKS, make

import thetadot
from thetadot.files import place_text
from thetadot.training.data import Source
from thetadot.training.forward import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

SGD = [("SGD", lr, m) for lr, m in itertools.product((0.001, 0.003, 0.01, 0.03, 0.1, 0.3), (0.0, 0.8, 0.9, 0.95))]
ADAMW = [("AdamW", lr, 0.9) for lr in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)]
GRID = [*SGD, *ADAMW]
CHOSEN_ON, SCORED_FROM = (0, 1), 10
ROWS = ("grid", "grid16", "untuned")
WORST = 1e9
CPU = torch.device("cpu")

Scores = dict[str, Any]
Point = tuple[str, float, float]


def bounded(value: float) -> float:
    return min(value, WORST) if math.isfinite(value) else WORST


def by_torch(name: str, batch: int, point: Point, seed: int) -> Scores:
    """One run of torch.optim: last and best validated state, on validation and test data."""
    torch.manual_seed(seed)
    began, setting, task = time.process_time(), TASKS[name], make(name)
    train, valid, test = (Source(data, seed, CPU) for data in (task.train, task.valid, task.test))
    kind, lr, momentum = point
    parameters = task.model.parameters()
    made = torch.optim.SGD(parameters, lr, momentum=momentum) if kind == "SGD" else torch.optim.AdamW(parameters, lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, setting.epochs * math.ceil(train.size / batch))
    best = {"best": WORST, "best_test": WORST}
    last: Scores = {}
    for epoch in range(setting.epochs):
        task.model.train()
        for part in train.load(train.plan(epoch, lambda _: batch)):
            made.zero_grad()
            output = task.model(**part.inputs) if isinstance(part.inputs, dict) else task.model(part.inputs)
            task.loss(output, part.target).backward()
            made.step()
            schedule.step()
        found = [bounded(judge(task, data.load(data.whole(512)), None)[0]) for data in (valid, test)]
        last = {"valid": found[0], "test": found[1]}
        if found[0] < best["best"]:
            best = {"best": found[0], "best_test": found[1]}
        if found[0] >= WORST:
            break
    return last | best | {"cost": 1.0, "seconds": time.process_time() - began}


def untuned(name: str, seed: int) -> Scores:
    """One run of ours, with nothing given."""
    torch.manual_seed(seed)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = thetadot.run(
            lambda: make(name), out=Path(folder) / "run", epochs=TASKS[name].epochs, seed=seed, threads=1
        )
    closing, header = run.record.result, run.record.header
    return {
        "valid": closing.final_valid_loss,
        "best": closing.valid_loss,
        "best_test": closing.test_loss,
        "constant": closing.constant_loss,
        "cost": closing.cost / (header.epochs * header.train_samples),
        "epoch": closing.best_epoch,
        "rollbacks": len(run.record.of(thetadot.records.Rollback)),
        "raised": [fork.raised for fork in run.record.of(thetadot.records.Fork)],
        "seconds": time.process_time() - began,
    }


def together(name: str, batch: int, points: Sequence[Point], seed: int) -> list[Scores]:
    """Runs of torch.optim at several points in lockstep: the same batches, the same first parameters, one vmap.

    The rules are torch's (SGD: v = μv + g, θ -= lr·v; AdamW: decay .01·lr, debiased moments), the parameters have a
    dimension of points. Raises what vmap raises where a model cannot be mapped.
    """
    torch.manual_seed(seed)
    began, setting, task = time.process_time(), TASKS[name], make(name)
    train, valid, test = (Source(data, seed, CPU) for data in (task.train, task.valid, task.test))
    count, sgd = len(points), torch.tensor([kind == "SGD" for kind, *_ in points])
    lr, momentum = torch.tensor([p[1] for p in points]), torch.tensor([p[2] for p in points])
    p, buffers = ({n: t.detach().expand(count, *t.shape).clone() for n, t in named} for named in (
        task.model.named_parameters(), task.model.named_buffers()))  # fmt: skip
    first, second = ({n: torch.zeros_like(t) for n, t in p.items()} for _ in range(2))

    def loss(p: Any, b: Any, inputs: Any, target: Any) -> Any:
        given = ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})
        return task.loss(torch.func.functional_call(task.model, (p, b), *given), target)

    slopes = torch.vmap(torch.func.grad(loss), in_dims=(0, 0, None, None), randomness="error")
    values = torch.vmap(loss, in_dims=(0, 0, None, None))
    steps, t = setting.epochs * math.ceil(train.size / batch), 0
    found = [{"best": WORST, "best_test": WORST} for _ in points]
    for epoch in range(setting.epochs):
        task.model.train()
        for part in train.load(train.plan(epoch, lambda _: batch)):
            g = slopes(p, buffers, part.inputs, part.target)
            now = lr * 0.5 * (1.0 + math.cos(math.pi * t / steps))
            t += 1
            for n, x in p.items():
                along = [-1, *[1] * (x.dim() - 1)]
                rate, beta, plain = (v.view(along) for v in (now, momentum, sgd))
                first[n] = torch.where(plain, beta * first[n] + g[n], 0.9 * first[n] + 0.1 * g[n])
                second[n] = 0.999 * second[n] + 0.001 * g[n] * g[n]
                adam = first[n] / (1 - 0.9**t) / ((second[n] / (1 - 0.999**t)).sqrt() + 1e-8) + 0.01 * x
                p[n] = x - rate * torch.where(plain, first[n], adam)
        task.model.eval()
        scores = []
        for data in (valid, test):
            whole = next(iter(data.load(data.whole(data.size))))
            with torch.no_grad():
                scores.append([bounded(v) for v in values(p, buffers, whole.inputs, whole.target).tolist()])
        for k, scored in enumerate(found):
            scored |= {"valid": scores[0][k], "test": scores[1][k]}
            if scores[0][k] < scored["best"]:
                scored |= {"best": scores[0][k], "best_test": scores[1][k]}
    spent = (time.process_time() - began) / count
    return [scored | {"cost": 1.0, "seconds": spent} for scored in found]


def grid_of(book: Book, name: str, row: str, batch: int, points: Sequence[Point], seed: int) -> None:
    """Run the points that are missing, together where the model can be mapped, else one by one."""
    missing = [point for point in points if key(name, row, seed, point) not in book.found]
    if len(missing) > 1:
        with contextlib.suppress(RuntimeError, NotImplementedError, ValueError):
            scored = together(name, batch, missing, seed)
            book.take({key(name, row, seed, point): found for point, found in zip(missing, scored, strict=True)})
    for point in missing:
        book.ask(key(name, row, seed, point), by_torch, name, batch, point, seed)


class Book:
    """Results by task, row, point and seed, kept in a file."""

    def __init__(self, *files: Path) -> None:
        self.file, self.found = files[0], {}
        for file in files:
            if file.exists():
                self.found |= json.loads(file.read_text())

    def take(self, found: dict[str, Scores]) -> None:
        self.found |= found
        place_text(self.file, json.dumps(self.found, indent=0))

    def ask(self, key: str, work: Any, *given: Any) -> Scores:
        if key not in self.found:
            self.take({key: work(*given)})
            print(key, {k: v for k, v in self.found[key].items() if k in ("valid", "best", "cost")}, flush=True)
        return self.found[key]

    def chosen(self, name: str, row: str) -> tuple[str, float, float] | None:
        """The grid point of the lowest mean final validation loss; None before all are there."""
        scores = {}
        for point in GRID:
            keys = [key(name, row, seed, point) for seed in CHOSEN_ON]
            if not all(k in self.found for k in keys):
                return None
            scores[point] = sum(self.found[k]["valid"] for k in keys) / len(keys)
        return min(scores, key=scores.__getitem__)


def key(name: str, row: str, seed: int, point: tuple[Any, ...] = ()) -> str:
    return " ".join(map(str, (name, row, seed, *point)))


def compute(book: Book, names: list[str], rows: list[str], seeds: int) -> None:
    for name, row in itertools.product(names, rows):
        scored = range(SCORED_FROM, SCORED_FROM + seeds)
        if row == "untuned":
            for seed in scored:
                book.ask(key(name, row, seed), untuned, name, seed)
            continue
        batch = TASKS[name].batch if row == "grid" else 16
        for seed in CHOSEN_ON:
            grid_of(book, name, row, batch, GRID, seed)
        best = book.chosen(name, row)
        for seed in scored:
            book.ask(key(name, row, seed, best), by_torch, name, batch, best, seed)


PAIRS = {
    "returned/last": ("best", "valid"),
    "best/best": ("best", "best"),
    "last/last": ("valid", "valid"),
    "test": ("best_test", "test"),
}


def ratios(book: Book, name: str, row: str, seeds: list[int]) -> dict[str, np.ndarray] | None:
    """Pairs of ours and the grid's scores, seed by seed."""
    best = book.chosen(name, row)
    ours = [book.found.get(key(name, "untuned", seed)) for seed in seeds]
    theirs = [book.found.get(key(name, row, seed, best or ())) for seed in seeds]
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a and b]
    if best is None or len(both) < 2:
        return None
    most = max((a["constant"] for a, _ in both if a.get("constant")), default=WORST)
    return {
        says: np.minimum(np.array([(a[mine], b[other]) for a, b in both], dtype=np.float64), most)
        for says, (mine, other) in PAIRS.items()
    }


def mean_ratio(pairs: np.ndarray) -> float:
    return float(pairs[:, 0].mean() / pairs[:, 1].mean())


def geometric(every: list[np.ndarray]) -> tuple[float, float, float]:
    """Geometric mean over tasks of the ratio of means, and the ends of 95% by resampling seeds."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(2000):
        picked = [pairs[rng.integers(len(pairs), size=len(pairs))] for pairs in every]
        draws.append(np.mean([math.log(mean_ratio(pairs)) for pairs in picked]))
    low, high = np.quantile(draws, (0.025, 0.975))
    return math.exp(np.mean([math.log(mean_ratio(p)) for p in every])), math.exp(low), math.exp(high)


def table(book: Book, row: str, seeds: int) -> str:
    """Markdown: a line a task, then the means of halves and of all."""
    scored = list(range(SCORED_FROM, SCORED_FROM + seeds))
    found = {name: got for name in TASKS if (got := ratios(book, name, row, scored)) is not None}
    lines = [
        f"| task | half | seeds | {row}'s choice | {' | '.join(PAIRS)} | over constant | cost | rollbacks | seconds |",
        "|---" * (len(PAIRS) + 8) + "|",
    ]
    for name, got in found.items():
        ours = [book.found[key(name, "untuned", s)] for s in scored if key(name, "untuned", s) in book.found]
        over = max((o["best"] / o["constant"] for o in ours if o["constant"]), default=math.nan)
        kind, lr, momentum = book.chosen(name, row)
        lines.append(
            f"| {name} | {'chooses' if TASKS[name].chooses else 'reported'} | {len(got['test'])} | {kind} {lr:g}"
            + (f", {momentum:g} | " if kind == "SGD" else " | ")
            + " | ".join(f"{mean_ratio(got[says]):.3f}" for says in PAIRS)
            + f" | {over:.2f} | {max(o['cost'] for o in ours):.3f} | {sum(o['rollbacks'] for o in ours)} | "
            + f"{np.mean([o['seconds'] for o in ours]):.1f} |"
        )
    groups = {
        "the spike's fourteen": [n for n in found if TASKS[n].spike],
        "all": [n for n in found if n != "mf-b"],
        "chooses": [n for n in found if TASKS[n].chooses],
        "reported": [n for n in found if not TASKS[n].chooses and n != "mf-b"],
    }
    lines += ["", "| geometric mean over | tasks | pair | mean (95%) | worst | within 1.05 |", "|---" * 6 + "|"]
    for group, names in groups.items():
        for says in PAIRS if names else ():
            every = [found[name][says] for name in names]
            middle, low, high = geometric(every)
            single = [mean_ratio(pairs) for pairs in every]
            lines.append(
                f"| {group} | {len(names)} | {says} | {middle:.3f} ({low:.3f} to {high:.3f}) | {max(single):.2f} "
                f"({names[int(np.argmax(single))]}) | {sum(r <= 1.05 for r in single)} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("run", "table"))
    parser.add_argument("--out", type=Path, nargs="+", default=[Path("pilot.json")])
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    book = Book(*options.out)
    if options.do == "run":
        with contextlib.suppress(KeyboardInterrupt):
            compute(book, options.task, options.rows, options.seeds)
    for row in [r for r in options.rows if r != "untuned"]:
        print(f"\nAgainst {row}:\n\n{table(book, row, options.seeds)}")


if __name__ == "__main__":
    main()
