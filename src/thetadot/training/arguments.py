"""Arguments of a run: checked when given, kept in its folder, compared on resume."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from thetadot.errors import InadmissibleValue, RunFolderError, require
from thetadot.training.plan import ANNEALINGS, FAMILIES, PREFERENCES, Annealing, Family, Preference

if TYPE_CHECKING:
    from pathlib import Path


EPOCHS = 60
FORK_MEMORY = 2**30
_MOST = 1024  # threads or processes
_NO_OPTIONS = ("task", "extended")


@dataclass(frozen=True)
class Arguments:
    """Arguments of a run, kept in its folder; ``extended`` are epochs that were added to it once it had finished."""

    task: str
    epochs: int = EPOCHS
    minutes: float | None = None
    seed: int = 0
    optimizer: Family | None = None
    lr: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    device: str = "cpu"
    workers: int = 0
    threads: int | None = None
    annealing: Annealing | None = None
    cure: bool = True
    fork_memory: int = FORK_MEMORY
    prefer: Preference = "samples"
    extended: tuple[int, ...] = ()

    def options(self) -> dict[str, str]:
        """Return the arguments as command-line options, leaving out defaults.

        Example:
            >>> Arguments("digits", lr=0.1, minutes=2.5).options()
            {'epochs': '60', 'minutes': '2.5', 'seed': '0', 'lr': '0.1'}
        """
        plain = {"device": "cpu", "workers": 0, "cure": True, "fork_memory": FORK_MEMORY, "prefer": "samples"}
        found = {name: value for name, value in asdict(self).items() if name not in _NO_OPTIONS and value is not None}
        return {name: str(value) for name, value in found.items() if plain.get(name) != value}

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"epochs={self.epochs}", "is below 1", "Pass epochs >= 1.")
        for more in self.extended:
            require(more >= 1, f"extend={more}", "is below 1", "Pass the epochs that are to be added.")
        require(0 <= self.seed < 2**63, f"seed={self.seed}", "is outside [0, 2^63)", "Pass a non-negative seed.")
        threads = 1 if self.threads is None else self.threads
        require(
            1 <= threads <= _MOST, f"threads={threads}", f"is outside [1, {_MOST}]", "Pass as many as there are cores."
        )
        require(0 <= self.workers <= _MOST, f"workers={self.workers}", f"is outside [0, {_MOST}]", "Pass a few, or 0.")
        if self.minutes is not None:
            require(
                0 < self.minutes < math.inf,
                f"minutes={self.minutes:g}",
                "is not positive and finite",
                "Pass minutes > 0.",
            )
        if self.lr is not None:
            require(
                0 < self.lr < math.inf,
                f"lr={self.lr:g}",
                "is not a positive finite number",
                "Pass lr > 0, or leave it out to have it chosen.",
            )
        if self.momentum is not None:
            require(
                0 <= self.momentum < 1,
                f"momentum={self.momentum:g}",
                "is outside [0, 1): the friction it stands for is negative or none",
                "Pass 0 <= momentum < 1, or leave it out to have it chosen.",
            )
        if self.batch_size is not None:
            require(
                self.batch_size >= 1,
                f"batch_size={self.batch_size}",
                "is below 1",
                "Pass batch_size >= 1, or leave it out to have it chosen.",
            )
        require(
            self.fork_memory >= 0,
            f"fork_memory={self.fork_memory}",
            "is below 0",
            "Pass bytes of parameters up to which the run forks; 0 never copies it.",
        )
        if self.annealing is not None and self.annealing not in ANNEALINGS:
            raise InadmissibleValue(f"annealing={self.annealing!r} is unknown. Pass one of {', '.join(ANNEALINGS)}.")
        if self.prefer not in PREFERENCES:
            raise InadmissibleValue(f"prefer={self.prefer!r} is unknown. Pass one of {', '.join(PREFERENCES)}.")
        require(
            self.prefer == "samples" or self.batch_size is None,
            f"prefer={self.prefer!r}",
            f"chooses the batch, and batch_size={self.batch_size} was given",
            "Pass one of them.",
        )
        if self.optimizer is not None and self.optimizer not in FAMILIES:
            raise InadmissibleValue(f"optimizer={self.optimizer!r} is unknown. Pass one of {', '.join(FAMILIES)}.")


def require_same(asked: Arguments, remembered: dict[str, Any], out: Path) -> None:
    """Raise RunFolderError where ``asked`` contradicts what the folder remembers."""
    for name, value in asdict(asked).items():
        if name != "extended" and remembered.get(name) != value:
            raise RunFolderError(
                f"{out} was begun with {name}={remembered.get(name)!r}, not {value!r}. "
                f"Leave {name} out to resume it, or begin a new run."
            )
