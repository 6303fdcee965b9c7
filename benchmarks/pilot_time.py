"""How many epochs of ``thetadot.run`` take the processor time of a plain loop, for ``pilot.py``."""

from __future__ import annotations

import json
import math
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch
from pilot_tasks import TASKS, maker

from thetadot.comparing.conduct import conduct
from thetadot.comparing.job import ComparisonJob, Outcome
from thetadot.comparing.spec import parse_spec
from thetadot.core.files import place_text

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS, EPOCHS = 3, 4


class Clocked:
    """Makes a task whose model notes the processor time at each pass with gradients."""

    def __init__(self, name: str) -> None:
        self.name, self.at = name, [0.0]

    def __call__(self) -> Any:
        task = maker(self.name)()
        task.model.register_forward_pre_hook(self.note)
        return task

    def note(self, *_: object) -> None:
        if torch.is_grad_enabled():
            self.at.append(time.process_time())

    def times(self) -> list[float]:
        """Times between passes since the last call."""
        found = [b - a for a, b in zip(self.at[1:], self.at[2:], strict=False)]
        self.at = [0.0]
        return found


def epochs_in_equal_time(place: Path, name: str, settings: str, cost: float) -> int:
    """Epochs of ours that take the processor time which a setting needs for the planned ones.

    Both sides' time is their steps × the median processor time of a step, measured once a task, a few epochs of each in
    turn, and kept in a file.

    Args:
        place: of the file.
        name: of the task.
        settings: of the plain loop.
        cost: of ours in gradient evaluations, over those planned.
    """
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        place_text(place, json.dumps(measured(name, settings, cost), indent=1) + "\n")
    return json.loads(place.read_text())["epochs"]


def measured(name: str, settings: str, cost: float) -> dict[str, Any]:
    """Median processor time of a step on either side, and the epochs that follow."""
    setting, make = TASKS[name], Clocked(name)
    threads = torch.get_num_threads()
    spent: dict[str, list[float]] = {"grid": [], "ours": []}
    sizes = {"grid": setting.batch, "ours": setting.batch}
    samples = len(maker(name)().train)
    epochs = min(EPOCHS, setting.epochs)
    for seed in range(ROUNDS):
        for side, spec in (("grid", settings), ("ours", "untuned")):
            point = parse_spec(spec).points[0]
            job = ComparisonJob(make, name, point, seed, epochs, epochs * samples, setting.batch, threads=threads)
            outcome: Outcome = conduct(job)[0]
            spent[side] += make.times()
            sizes[side] = int(outcome.settings.get("batch_size", point.batch_size or setting.batch))
    step = {side: statistics.median(found) for side, found in spent.items()}
    steps = {side: math.ceil(samples / size) for side, size in sizes.items()}
    share = step["grid"] * steps["grid"] / (step["ours"] * steps["ours"] * cost)
    return {**step, "sizes": sizes, "steps": steps, "epochs": max(1, math.floor(setting.epochs * share))}
