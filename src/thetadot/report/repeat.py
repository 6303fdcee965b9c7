"""How to repeat a run: the command that does, or the call in Python where its task has no file."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from thetadot.records import Choice, Extension
from thetadot.report.names import clean

if TYPE_CHECKING:
    from thetadot.records import Record

ORDER = (
    "epochs", "minutes", "seed", "optimizer", "lr", "momentum", "batch_size", "annealing", "device", "threads",
    "workers",
)  # fmt: skip
"""Of ``thetadot run``, in the order in which a page says them; others follow."""
AGAIN = "runs/again"
"""Folder in which a run that was extended is repeated."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def command(record: Record) -> str:
    """Return the text that repeats a run; "" where a loop of others was watched.

    Example:
        >>> from thetadot.records import Header, Record
        >>> asked = {"lr": "0.1", "seed": "3"}
        >>> head = Header("thetadot.record", 3, "digits", 3, 1, 1, 1, 9, "cpu", 2, {}, {}, asked=asked)
        >>> command(Record(head, ()))
        'thetadot run digits --epochs 9 --seed 3 --lr 0.1 --threads 2'
    """
    header = record.header
    if header.watched is not None:
        return ""
    options, more = _options_as_text(record), [entry.epochs for entry in record.of(Extension)]
    if header.address is None:
        return _call(options, more)
    task = shlex.quote(clean(header.address or header.task))
    flags = (_flag(name, value) for name, value in options.items())
    first = " ".join([f"thetadot run {task}", *flags, *([f"--out {AGAIN}"] if more else [])])
    return " && ".join([first, *(f"thetadot run --resume {AGAIN} --extend {epochs}" for epochs in more)])


def _options_as_text(record: Record) -> dict[str, str]:
    """Every option of a run by its name in Python, as text."""
    header = record.header
    said = {"seed": str(header.seed if abs(header.seed) < 10**20 else "…")}
    if header.epochs is not None and abs(header.epochs) < 10**20:
        said["epochs"] = str(header.epochs)
    if header.device != "cpu":
        said["device"] = header.device
    if 1 <= header.threads < 10**6:  # the last digits depend on them
        said["threads"] = str(header.threads)
    for choice in record.of(Choice):
        if choice.source == "given":
            said[choice.setting] = choice.value if isinstance(choice.value, str) else f"{choice.value!r}"
    said |= header.asked
    names = [*(name for name in ORDER if name in said), *sorted(name for name in said if name not in ORDER)]
    return {name: clean(said[name]) for name in names if _NAME.fullmatch(name)}


def _flag(name: str, value: str) -> str:
    """An option of the command; one that is true or false has no value.

    Example:
        >>> _flag("batch_size", "8"), _flag("cure", "False"), _flag("amp", "True")
        ('--batch-size 8', '--no-cure', '--amp')
    """
    word = name.replace("_", "-")
    if value in ("True", "False"):
        return f"--{word}" if value == "True" else f"--no-{word}"
    return f"--{word} {shlex.quote(value)}"


def _call(options: dict[str, str], more: list[int]) -> str:
    """The call in Python, of a task that was made there; one more for each time that the run was extended."""
    number = re.compile(r"-?\d[\d.e+-]*|True|False|None")
    said = [f"{name}={value if number.fullmatch(value) else repr(value)}" for name, value in options.items()]
    common = ["task", *said, *([f"out={AGAIN!r}"] if more else [])]
    calls = [common, *([*common, "resume=True", f"extend={epochs}"] for epochs in more)]
    return "; ".join(f"thetadot.run({', '.join(call)})" for call in calls)
