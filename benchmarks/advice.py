"""Advice judged by what it does: train, watch, follow the advice, train again at equal samples.

    python benchmarks/advice.py --out DIR [--seeds 3] [--half chooses] [--task digits] [--quick] [--workers 1] [--say]

Tasks of eight kinds: the sixteen of advice_tasks.py set thresholds; those of advice_unseen.py, written before any
verdict on them was looked at, are only reported (what was seen of them since, docs/verdicts.md says). A right setting
of SGD (momentum .9) and of AdamW, from a sweep of lr on other seeds, and wrong ones made of it. Every run sees as many
samples, and is watched at the level "default" (--level). Losses are those of all training samples in eval(), after the
run. Of a setting it is decided on all of its seeds, and of one whose seeds disagree it is not:

    harmful:   its loss is above the right setting's of the same seed by 2% of what that fell, on every seed
    right:     on no seed is it above that at three times its lr, or at a third, by more than 2% of its fall; a seed on
               which the setting found by the sweep diverged is left out, and so is one that a neighbour beats
    named:     the advice begins with a change that undoes what was done
    misnamed:  with another change;  silent: with none
    accused:   a right setting is told to change anything (annealing at the end of a run is no accusation), or any
               verdict on it is "attention" or "bad"
    followed:  the one change that the advice names first, trained again: better or worse where the loss
               changed by more than 2% of the right run's fall, else the same
    to chance: worse, and no longer below a constant predictor where it was

Intervals are those of Wilson, 95%. Runs are kept in DIR: what is there is not trained again, so that after a change of
the verdicts only what they newly advise is. After a change of what the watch records, begin a new DIR.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import multiprocessing
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from advice_tables import HARM, Outcome, by_kind, summary
from advice_tasks import HELD_BACK, TASKS, Task, standard
from advice_unseen import UNSEEN
from torch import Tensor, nn

import thetadot
from thetadot.verdicts import judge

if TYPE_CHECKING:
    from thetadot.verdicts import Verdict

ALL = TASKS + UNSEEN
THIRDS = (3.0, 1 / 3)
GRID = {"SGD": [10 ** (k / 2) for k in range(-6, 2)], "AdamW": [10 ** (k / 2) for k in range(-7, -1)]}
NAMES = {
    "lr too high": {"lower lr"},
    "lr far too high": {"lower lr"},
    "lr too low": {"raise lr"},
    "momentum .999": {"lower momentum"},
    "batch x16": {"lower batch", "raise lr"},
    "batch /8": {"raise batch", "lower lr", "anneal"},
    "raw inputs": {"scale inputs"},
    "start at zero": {"new start"},
}
INNOCENT = {"leave", "unknown", "anneal", "cool"}


@dataclass(frozen=True)
class Setting:
    """Everything that a run is made from, beside task and seed."""

    optimizer: str
    lr: float
    batch: int
    momentum: float = 0.9
    scaled: bool = True
    start: float = 1.0  # what weights and biases of linear layers are multiplied by
    anneal: bool = False  # lr to 0 over the last 40%


def settings(task: Task) -> dict[str, Setting]:
    """What is tried, by what was done: "SGD: right" and so on."""
    found = {}
    for name, lr in task.lrs.items():
        right = Setting(name, lr, task.batch)
        change = dataclasses.replace
        high = {"lr too high": change(right, lr=10 * lr)}
        if name == "AdamW":
            high |= {"lr far too high": change(right, lr=100 * lr)}
        wrong = high | {"lr too low": change(right, lr=lr / 10)}
        if task.raw:
            wrong |= {"raw inputs": change(right, scaled=False)}
        if name == "SGD":
            wrong |= {"momentum .999": change(right, momentum=0.999)}
            wrong |= {
                "batch x16": change(right, batch=task.batch * 16),
                "batch /8": change(right, batch=task.batch // 8),
            }
            if task.kind in {"perceptron", "tiny data"}:
                wrong |= {"start at zero": change(right, start=0.0)}
        found |= {f"{name}: {what}": setting for what, setting in ({"right": right} | wrong).items()}
    return found


# Training.


@cache
def parts(name: str, scaled: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # noqa: FBT001
    """Inputs and targets, to train on and held back."""
    task = next(task for task in ALL if task.name == name)
    x, y = task.data()
    x = standard(x) if task.raw and scaled else x
    kept = len(x) - int(HELD_BACK * len(x))
    return x[:kept], y[:kept], x[kept:], y[kept:]


def constant(task: Task) -> float:
    """Loss of the best constant predictor."""
    y = parts(task.name, True)[1]  # noqa: FBT003
    if not y.is_floating_point():
        share = torch.bincount(y.flatten()).float() / y.numel()
        logits = share.clamp_min(1e-9).log()
        each = [task.loss(logits[None], torch.tensor([k])) * share[k] for k in range(len(share)) if share[k] > 0]
        return float(sum(each))
    mean, median = y.mean(0), y.median(0).values
    tried = [mean, median, torch.logit(mean.clamp(1e-6, 1 - 1e-6)), mean.clamp_min(1e-6).log()]
    return min(float(task.loss(value.expand_as(y), y)) for value in tried)


def build(task: Task, setting: Setting, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model as it begins, and its optimizer."""
    torch.manual_seed(seed)
    model = task.model()
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and setting.start != 1:
            for parameter in layer.parameters():
                parameter.data *= setting.start
    if setting.optimizer == "SGD":
        return model, torch.optim.SGD(model.parameters(), lr=setting.lr, momentum=setting.momentum)
    return model, torch.optim.AdamW(model.parameters(), lr=setting.lr, betas=(setting.momentum, 0.999))


def loss_of(task: Task, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean loss of some samples."""
    if task.named:
        return model(inputs=x, labels=y)["loss"]  # type: ignore[no-any-return]
    return task.loss(model(x), y)  # type: ignore[no-any-return]


def whole(task: Task, model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The same in eval(), as a number; a loss that is none is infinite."""
    model.eval()
    with torch.no_grad():
        found = float(loss_of(task, model, x, y))
    model.train()
    return found if math.isfinite(found) else 1e30


def step_of(task: Task, model: nn.Module, x: Tensor, y: Tensor, probe: Any) -> None:
    """The passes of one step, as the task's loop makes them."""
    for xs, ys in zip(x.chunk(task.accumulate), y.chunk(task.accumulate), strict=True):
        if task.function:
            loss = nn.functional.cross_entropy(model(xs), ys)
            if probe is not None:
                probe.loss(loss)
        else:
            loss = loss_of(task, model, xs, ys)
        (loss / task.accumulate).backward()


def train(task: Task, setting: Setting, seed: int, folder: Path, level: str) -> dict[str, Any]:
    """Train as set, watched if there is a level; the losses before and after, and the seconds."""
    x, y, held_x, held_y = parts(task.name, setting.scaled)
    model, optimizer = build(task, setting, seed)
    shuffle = torch.Generator().manual_seed(seed)
    first = whole(task, model, x, y)
    size = min(max(setting.batch, 1), len(x))
    total, step = task.epochs * math.ceil(len(x) / size), 0
    reference = {"inputs": x[:256], "labels": y[:256]} if task.named else (x[:256], y[:256])
    loss_fn = None if task.named else nn.functional.cross_entropy if task.function else task.loss
    watch = None
    if level:
        watch = thetadot.watch(
            model, optimizer, loss_fn=loss_fn, reference=reference, out=folder, dataset_size=len(x), level=level
        ).start()
    cycle = None
    if task.schedule == "onecycle":
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, setting.lr, total, cycle_momentum=False)
    began = time.process_time()
    for _ in range(task.epochs):
        for rows in torch.randperm(len(x), generator=shuffle).split(size):
            if setting.anneal:
                base = setting.lr if cycle is None else cycle.get_last_lr()[0]
                optimizer.param_groups[0]["lr"] = base * min(1.0, (total - step) / (0.4 * total))
            optimizer.zero_grad()
            step_of(task, model, x[rows], y[rows], watch)
            optimizer.step()
            if cycle is not None:
                cycle.step()
            step += 1
    seconds = time.process_time() - began
    if watch is not None:
        watch.close()
    last, held = whole(task, model, x, y), whole(task, model, held_x, held_y)
    return {"first": first, "last": last, "held": held, "seconds": seconds}


def kept(out: Path, task: Task, setting: Setting, seed: int, level: str = "") -> tuple[dict[str, Any], Path]:
    """The run, trained unless it was; with the folder of its record."""
    said = json.dumps([task.name, task.epochs, dataclasses.asdict(setting), seed, level], sort_keys=True)
    folder = out / hashlib.sha256(said.encode()).hexdigest()[:20]
    done = folder.with_suffix(".json")
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8")), folder
    if folder.exists():  # cut off
        for part in sorted(folder.rglob("*"), reverse=True):
            part.unlink()
        folder.rmdir()
    result = train(task, setting, seed, folder, level) | {"run": said}
    part = done.with_suffix(".part")
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(done)
    return result, folder


# Advice.


def followed(advice: Verdict, setting: Setting) -> Setting | None:
    """The setting after the one change that the advice names first; None where there is none to follow."""
    if advice.finding in {"leave", "unknown"}:
        return None
    if advice.finding == "scale inputs":
        return dataclasses.replace(setting, scaled=True)
    if advice.finding == "new start":
        return dataclasses.replace(setting, start=1.0)
    if advice.finding in {"anneal", "cool"}:
        return dataclasses.replace(setting, anneal=True)
    told = dict(advice.settings)
    new = {"lr": told.get("lr", setting.lr), "momentum": told.get("momentum", setting.momentum)}
    batch = max(round(told.get("batch", setting.batch)), 1)
    return dataclasses.replace(setting, **new, batch=batch) if told else None


def effect_of(before: float, after: float, scale: float, chance: float) -> str:
    """Better, same, worse, or worse and to chance."""
    if abs(after - before) <= HARM * scale:
        return "same"
    if after < before:
        return "better"
    return "chance" if after >= chance > before else "worse"


def outcome(job: tuple[Path, str, str, int, str]) -> Outcome:
    """Train, judge, follow, train again."""
    out, name, what, seed, level = job
    torch.set_num_threads(1)
    task = next(task for task in ALL if task.name == name)
    setting, optimizer = settings(task)[what], what.split(":", maxsplit=1)[0]
    right, _ = kept(out, task, settings(task)[f"{optimizer}: right"], seed)
    run, folder = kept(out, task, setting, seed, level)
    advice, *others = judge(thetadot.records.read(folder))
    fall = max(right["first"] - right["last"], 1e-9)
    done, told = what.split(": ", maxsplit=1)[1], advice.finding
    beside = [right["last"]]
    if done == "right":
        near = (dataclasses.replace(setting, lr=setting.lr * times) for times in THIRDS)
        beside = [kept(out, task, one, seed)[0]["last"] for one in near]
        blamed = any(verdict.state in {"attention", "bad"} for verdict in others)
        naming = "accused" if blamed or told not in INNOCENT else "left alone"
        naming = "diverged" if run["last"] > run["first"] else naming
    else:
        naming = "named" if told in NAMES[done] else "silent" if told in INNOCENT else "misnamed"
    excess = (run["last"] - min(beside)) / fall
    new, effect, held, after = followed(advice, setting), "", "", None
    if new is not None:
        again, _ = kept(out, task, new, seed)
        after = again["last"]
        effect = effect_of(run["last"], after, fall, constant(task))
        held = effect_of(run["held"], again["held"], fall, math.inf)
    return Outcome(name, task.half, what, seed, run["last"], after, excess, naming, effect, held, told, advice.says)


def sweep(job: tuple[Path, str, str]) -> str:
    """The middle of the lrs, half decades, within 1% of the best on seeds 10 and 11."""
    out, name, optimizer = job
    torch.set_num_threads(1)
    task = next(task for task in ALL if task.name == name)
    found = {}
    for lr in GRID[optimizer]:
        losses = [kept(out, task, Setting(optimizer, lr, task.batch), seed)[0]["last"] for seed in (10, 11)]
        found[lr] = sum(losses) / 2
    best = min(found.values())
    good = [lr for lr, loss in found.items() if loss <= best + HARM / 2 * (constant(task) - best)]
    best = good[(len(good) - 1) // 2]
    curve = " ".join(f"{lr:.3g}:{loss:.3g}" for lr, loss in found.items())
    return f"{name} {optimizer}: {best:.3g}   constant {constant(task):.3g}   {curve}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--half", choices=["chooses", "reported"])
    parser.add_argument("--task", default="", help="only tasks whose name holds this")
    parser.add_argument("--quick", action="store_true", help="one seed of four tasks of the half that chooses")
    parser.add_argument("--level", default="default", choices=["light", "default", "full"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--say", action="store_true", help="print each run and its advice")
    parser.add_argument("--sweep", action="store_true", help="find the lrs that advice_tasks.py holds")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    tasks = [t for t in ALL if chosen.task in t.name and chosen.half in {None, t.half}]
    if chosen.quick:
        tasks, chosen.seeds = [t for t in tasks if t.half == "chooses"][::2], 1
    with multiprocessing.get_context("spawn").Pool(chosen.workers) as pool:
        if chosen.sweep:
            for line in pool.imap(sweep, [(chosen.out, t.name, o) for t in tasks for o in t.lrs]):
                print(line, flush=True)
            return
        jobs = [
            (chosen.out, t.name, w, s, chosen.level) for t in tasks for w in settings(t) for s in range(chosen.seeds)
        ]
        found = []
        for one in pool.imap(outcome, jobs):
            found.append(one)
            if chosen.say:
                after = "" if one.after is None else f" -> {one.after:.4g} {one.effect} {one.held}"
                run = f"{one.task} | {one.what} {one.seed} | {one.last:.4g} {one.excess:+.3f}"
                print(f"{run} | {one.finding} {one.told}{after}")
                print(f"      {one.says}", flush=True)
    for half in dict.fromkeys(o.half for o in found):
        title = f"half that {'sets thresholds' if half == 'chooses' else 'is only reported'}"
        print(summary(title, [o for o in found if o.half == half]))
    print(by_kind(found))


if __name__ == "__main__":
    main()
