"""A comparison's folder: what all its runs share, and a file for each run that has ended.

    comparison.json           task, data, model and arguments that all runs share
    runs/NAME.json            a run, written in one step when it has ended
    runs/NAME/record.jsonl    record of a run that was thetadot's own (``thetadot report`` draws it)
    result.json, report.html  the table, and the page

A comparison that was killed loses the runs that had not ended. A run that is found is taken as it is, so that runs and
seeds can be added later. A file that is damaged or of another run is done again.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from thetadot.comparing.job import SCHEMA, VERSION, Outcome
from thetadot.core.files import place_text, placed, sweep
from thetadot.errors import DamagedFile, RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

    from thetadot.comparing.job import ComparisonJob

SHARED, RESULT, PAGE = "comparison.json", "result.json", "report.html"
_LONGEST = 1 << 22  # bytes of a file


class Shared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all runs of a comparison share.

    Attributes:
        task: its name.
        epochs: passes over the data.
        batch_size: where a run has none of its own.
        device: where they are trained.
        threads: of torch, in each.
        data: digests of samples.
        model: digest of the first parameters at seed 0.
        software: versions that it was begun with.
    """

    task: str
    epochs: int
    batch_size: int
    device: str
    threads: int
    data: dict[str, Any]
    model: str
    software: dict[str, str]
    schema: str = "thetadot.comparison"
    version: int = 1


class Store:
    """A comparison's folder of runs that have ended.

    Args:
        folder: made where there is none.
        shared: what all its runs share.

    Raises:
        RunFolderError: it holds a comparison of something else, or other things, or cannot be written.
        DamagedFile: comparison.json is not what was written.
    """

    def __init__(self, folder: Path, shared: Shared) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.redone: list[str] = []
        try:
            begun = _is_begun(folder)
            if begun:
                _require_same(shared, _shared_text(folder / SHARED), folder)
            self.runs.mkdir(parents=True, exist_ok=True)
            sweep(self.runs)
            if not begun:
                place_text(folder / SHARED, _json_text(shared))
        except (DamagedFile, RunFolderError):
            raise
        except (OSError, ValueError) as error:
            raise unwritable(folder, error) from error

    def find(self, job: ComparisonJob) -> Outcome | None:
        """Return what came of a run that has ended; None where there is none, or its file is damaged."""
        place = self.runs / f"{file_name_of(job)}.json"
        try:
            raw = _read_bounded(place)
        except FileNotFoundError:
            return None
        except OSError:
            self.redone.append(place.name)
            return None
        try:
            found = msgspec.json.decode(raw, type=Outcome)
            fits = (found.point, found.seed, found.epochs, found.budget) == _job_identity(job)
            if (
                fits
                and (found.schema, found.version) == (SCHEMA, VERSION)
                and found.digest == _digest_of_outcome(found)
            ):
                return found
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        self.redone.append(place.name)
        return None

    def keep(self, job: ComparisonJob, outcome: Outcome, record: bytes | None) -> None:
        """Write a run that has ended into the folder.

        Raises:
            RunFolderError: it cannot be written.
        """
        name = file_name_of(job)
        try:
            if record is not None:
                (self.runs / name).mkdir(exist_ok=True)
                with placed(self.runs / name / "record.jsonl") as stream:
                    stream.write(record)
            place_text(
                self.runs / f"{name}.json",
                _json_text(msgspec.structs.replace(outcome, digest=_digest_of_outcome(outcome))),
            )
        except OSError as error:
            raise unwritable(self.folder, error) from error


def file_name_of(job: ComparisonJob) -> str:
    """Return the name of a run's file: readable, and another for every other run.

    Example:
        >>> from thetadot.comparing.job import ComparisonJob
        >>> from thetadot.comparing.spec import parse_spec
        >>> file_name_of(ComparisonJob("digits", "digits", parse_spec("sgd:lr=0.1").points[0], 3, 10, 1000, 32))
        'sgd-lr-0.1-3d98c913f1-seed3'
    """
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", job.point.label).strip("-.")[:40]
    digest = hashlib.sha256(repr(_job_identity(job)).encode()).hexdigest()[:10]
    return f"{readable}-{digest}-seed{job.seed}"


def _job_identity(job: ComparisonJob) -> tuple[str, int, int, int]:
    return job.point.identity, job.seed, job.epochs, job.budget


def unwritable(folder: Path, error: Exception) -> RunFolderError:
    """The error of a folder that cannot be written; what is there can be continued."""
    reason = getattr(error, "strerror", None) or error
    return RunFolderError(
        f"{folder} cannot be written ({reason}). Make room, or name another --out; the runs that have ended are kept."
    )


def _is_begun(folder: Path) -> bool:
    """Whether it holds a comparison; refuse it where it holds something else."""
    if (folder / SHARED).is_file():
        return True
    if folder.is_dir() and any(path.name != "runs" for path in folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty and holds no comparison. Name another --out.")
    return False


def _read_bounded(place: Path) -> bytes:
    if place.stat().st_size > _LONGEST:
        raise DamagedFile(f"{place} is longer than any file of a comparison. Remove it.")
    with place.open("rb") as stream:
        return stream.read(_LONGEST)


def _shared_text(place: Path) -> Shared:
    try:
        found = msgspec.json.decode(_read_bounded(place), type=Shared)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFile(f"{place} is damaged ({error}). Name another --out.") from error
    if (found.schema, found.version) != ("thetadot.comparison", 1):
        raise DamagedFile(f"{place} is of version {found.version}, not 1. Name another --out.")
    return found


def _require_same(now: Shared, before: Shared, folder: Path) -> None:
    for name, said in {
        "task": "task",
        "epochs": "epochs",
        "batch_size": "batch size",
        "device": "device",
        "threads": "threads",
        "data": "data",
        "model": "model",
    }.items():
        here, there = getattr(now, name), getattr(before, name)
        if here != there:
            other = f"with {said} {there!r}, not {here!r}" if name not in ("data", "model") else f"on another {said}"
            raise RunFolderError(f"{folder} was begun {other}. Give what it was begun with, or name another --out.")


def _json_text(value: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def _digest_of_outcome(outcome: Outcome) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(outcome, digest=""))).hexdigest()


def place_result(folder: Path, name: str, text: str) -> None:
    """Write the table or the page.

    Raises:
        RunFolderError: it cannot be written.
    """
    try:
        with suppress(FileNotFoundError):
            (folder / name).unlink()
        place_text(folder / name, text)
    except OSError as error:
        raise unwritable(folder, error) from error
