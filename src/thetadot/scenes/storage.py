"""A simulation's folder: its request, its results, and the arrays from which it resumes.

    simulation.json    arguments, table, whether it is complete
    trajectory.npz     times (n,), states (n, paths, dim), other variables, statistics, and the end
    report.html

Files are hostile: sizes are looked at before anything is read, nothing is unpickled, every array is checked.
"""

from __future__ import annotations

import hashlib
import stat
import tempfile
import zipfile
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch

from thetadot.core.files import Claim, place_text, sealed, unsealed
from thetadot.errors import DamagedFile, RunFolderError
from thetadot.report.names import clean
from thetadot.scenes.files import ARRAYS, PAGE, RECORD
from thetadot.scenes.spelling import either
from thetadot.scenes.time_grid import grid_of
from thetadot.simulation import End, Series, Trajectory
from thetadot.simulation.adaptive import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA = "thetadot.simulation"
VERSION = 2
_LONGEST = 1 << 20  # bytes of a record
_RULE = 500  # characters of a rule's name
_MOST = 1 << 34  # bytes of arrays, unpacked


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of a simulation, defaults filled in."""

    scene: str
    paths: int
    time: float
    step: float | None  # None: found by the integrator
    integrator: str
    key: int
    frames: int
    temperature: float | None = None
    friction: float | None = None
    values: dict[str, float | int | str] = {}
    tolerance: float | None = None  # relative, of an integrator that finds its steps


_SAID = ("paths", "time", "step", "integrator", "tolerance", "temperature", "friction")


def described(request: Request) -> str:
    """Return a request as the call that makes it."""
    settings = {**request.values, **{name: getattr(request, name) for name in _SAID}}
    said = ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)
    return f"{request.scene.replace('-', '_')}({said}, seed={request.key}, save={request.frames})"


class Line(msgspec.Struct, frozen=True):
    """A row of the table."""

    quantity: str
    measured: float | None
    expected: float | None
    error: float
    tolerance: float
    agrees: bool | None
    source: str
    remark: str
    reference: str = "closed form"


class Simulation(msgspec.Struct, frozen=True):
    """Contents of simulation.json."""

    schema: str
    version: int
    asked: Request
    complete: bool
    steps: int
    engine: str
    rows: list[Line] = []
    seconds: float = 0.0
    software: dict[str, str] = {}
    digest: str = ""  # of all the rest


def _out() -> str:
    return either(command="--out", python="folder")


def _anew() -> str:
    return f"Simulate anew, with another {_out()}."


def claim_folder(folder: Path, *, overwrite: bool) -> Claim:
    """Make sure that a folder may be written to and holds nothing that would be lost, and keep others away.

    Raises:
        RunFolderError: it holds a simulation and overwrite is not wanted, or something else, or is in use, or cannot
            be written.
    """
    with Claim(folder):
        _require_free(folder, overwrite=overwrite)
    return Claim(folder)  # there may have been no folder before


def _require_free(folder: Path, *, overwrite: bool) -> None:
    try:
        taken = folder.is_dir() and any(folder.iterdir())
        ours = (folder / RECORD).is_file()
        if not taken or (ours and overwrite):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except (OSError, ValueError) as error:
        raise _unwritable_folder(folder, error) from error
    if taken and not ours:
        raise RunFolderError(f"{folder} is not empty and holds no simulation. Name another {_out()}.")
    if taken and not overwrite:
        instead = either(command="--overwrite", python="overwrite=True")
        raise RunFolderError(
            f"{folder} already holds a simulation. Replace it with {instead}, or name another {_out()}."
        )


def write(folder: Path, record: Simulation, trajectory: Trajectory) -> None:
    """Write the record and the arrays; a page of others is taken away.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    try:
        (folder / PAGE).unlink(missing_ok=True)
        with sealed(folder / ARRAYS) as stream:
            np.savez(stream, allow_pickle=False, **arrays(trajectory))
        sealed_record = msgspec.structs.replace(record, digest=_digest(record))
        place_text(folder / RECORD, msgspec.json.format(msgspec.json.encode(sealed_record), indent=1).decode() + "\n")
    except OSError as error:
        raise _unwritable_folder(folder, error) from error


def _unwritable_folder(folder: Path, error: Exception) -> RunFolderError:
    reason = getattr(error, "strerror", None) or error
    how = either(command=" with --out", python="")
    return RunFolderError(f"{folder} cannot be written ({reason}). Name a folder that you may write to{how}.")


def arrays(trajectory: Trajectory) -> dict[str, Any]:
    """Return a trajectory as named arrays; a plot begins with "times" and "states"."""
    found: dict[str, Any] = {}
    for name, series in trajectory.series.items():
        place = "" if name == "states" else f"{name}/"
        found[f"{place}times"] = series.times.cpu().numpy()
        found[f"{place}{'states' if name == 'states' else 'values'}"] = series.values.cpu().numpy()
        for variable, value in series.variables.items():
            found[f"{place}variables/{variable}"] = value.cpu().numpy()
    end = trajectory.end
    for variable, kept in end.state.items():
        if isinstance(kept, torch.Tensor):
            found[f"end/{variable}"] = kept.cpu().numpy()
        else:
            found[f"number/{variable}"] = np.float64(kept)
    for name, kept in end.memory.items():
        found[f"memory/{name}"] = kept.cpu().numpy()
    found["end.time"] = np.float64(end.time)
    found["end.steps"] = np.int64(end.steps)
    found["end.rule"] = np.str_(end.rule)
    found["end.key"] = np.uint64(end.key)
    return found


def read(folder: Path) -> Simulation:
    """Read the request and the results of the simulation in a folder.

    Raises:
        DamagedFile: it holds no simulation, or one that cannot be read.
    """
    place = folder / RECORD
    try:
        size = _size(place)
        record = msgspec.json.decode(place.read_bytes(), type=Simulation) if size <= _LONGEST else None
    except FileNotFoundError as error:
        made = either(command="--out", python="run(out=...)")
        raise DamagedFile(f"{folder} holds no simulation ({RECORD} is missing). Name one that {made} made.") from error
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{place} cannot be read ({error}). {_anew()}") from error
    if record is None:
        raise DamagedFile(f"{place} has {size} bytes, more than a simulation's record. Name another folder.")
    if record.schema != SCHEMA or record.version != VERSION:
        raise DamagedFile(
            f"{place} is {record.schema!r}, version {record.version}, not {SCHEMA} {VERSION}. Simulate anew."
        )
    if record.digest != _digest(record):
        raise DamagedFile(f"{place} is damaged: its content is not what was written. Simulate anew.")
    return record


def _size(place: Path) -> int:
    """Return the size of a regular file; refuse a pipe, which would block."""
    found = place.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(22, "it is no ordinary file")
    return found.st_size


def _digest(record: Simulation) -> str:
    """Return the digest of the record's content, whatever its layout on disk."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(record, digest=""))).hexdigest()


def load_trajectory(
    folder: Path,
    record: Simulation,
    like: Mapping[str, torch.Size],
    places: Mapping[str, Sequence[float]],
    *,
    expected: int,
) -> Trajectory:
    """Load the saved trajectory of a simulation, from which it can be resumed.

    Args:
        folder: of the simulation.
        record: its record.
        like: shapes of the variables that every path has for itself, by name.
        places: times at which each schedule saves, from start to end.
        expected: bytes that the arrays of the whole simulation take at most.

    Raises:
        DamagedFile: arrays that cannot be read, or are not what this simulation would have written.
    """
    place = folder / ARRAYS
    try:
        found: dict[str, Any] | None = None
        size = place.stat().st_size
        if size <= _MOST:
            with unsealed(place, _anew()) as stream:
                with zipfile.ZipFile(stream) as packed:
                    size = sum(info.file_size for info in packed.infolist())
                if size <= min(expected, _MOST):
                    stream.seek(0)
                    with np.load(stream, allow_pickle=False) as content:
                        found = {name: content[name] for name in content.files}
        read = None if found is None else _trajectory(found, record, like, places)
    except DamagedFile:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DamagedFile(f"{place} cannot be read ({error}). {_anew()}") from error
    if read is None:
        raise DamagedFile(f"{place} unpacks to {size} bytes, more than this simulation saves. Simulate anew.")
    return read


def _trajectory(
    found: Mapping[str, Any],
    record: Simulation,
    like: Mapping[str, torch.Size],
    places: Mapping[str, Sequence[float]],
) -> Trajectory:
    state = _end(found, like, record.asked.paths)
    time, steps, key = float(found["end.time"]), int(found["end.steps"]), int(found["end.key"])
    within = 0 <= time <= record.asked.time and steps == grid_of(record.asked.time, record.asked.step).steps(time)
    if not within or key != record.asked.key & (2**64 - 1):
        raise DamagedFile(
            f"{ARRAYS} ends at time {time:g}, step {steps}, with key {key}, which is not this simulation's. "
            "Simulate anew."
        )
    series: dict[str, Series] = {}
    names = ["states", *(name.removesuffix("/values") for name in found if name.endswith("/values"))]
    for name in names:
        place = "" if name == "states" else f"{name}/"
        times, values = found[f"{place}times"], found[f"{place}{'states' if name == 'states' else 'values'}"]
        variables = {
            each.removeprefix(f"{place}variables/"): torch.from_numpy(value)
            for each, value in found.items()
            if each.startswith(f"{place}variables/")
        }
        if times.ndim != 1 or any(len(value) != len(times) for value in (values, *variables.values())):
            raise DamagedFile(f"{ARRAYS}: the series {name!r} has not one entry a time. Simulate anew.")
        if tuple(times) != tuple(places.get(name, ()))[: len(times)]:
            raise DamagedFile(f"{ARRAYS}: the series {name!r} is of other times than this simulation's. Simulate anew.")
        series[name] = Series(torch.from_numpy(times).double(), torch.from_numpy(values), variables)
    memory = {
        name.removeprefix("memory/"): _checked_memory(name, value, record.asked.paths)
        for name, value in found.items()
        if name.startswith("memory/")
    }
    end = End(state, time, steps, key, clean(str(found["end.rule"]), _RULE), memory)
    return Trajectory(series, end, record.engine, counts=counted(memory))


def _end(found: Mapping[str, Any], like: Mapping[str, torch.Size], paths: int) -> dict[str, Any]:
    """The variables where the simulation stands."""
    state: dict[str, Any] = {}
    for name, value in found.items():
        kind, _, variable = name.partition("/")
        if kind not in ("end", "number"):
            continue
        allowed = [tuple(like[variable])] if variable in like else [(), (paths, 1)]
        if value.dtype not in (np.float32, np.float64) or not np.isfinite(value).all():
            raise DamagedFile(f"{ARRAYS}: {name} is not of finite floating-point numbers. Simulate anew.")
        if tuple(value.shape) not in allowed:
            raise DamagedFile(f"{ARRAYS}: {name} has shape {value.shape}, not {allowed[0]}. Simulate anew.")
        state[variable] = float(value) if kind == "number" else torch.from_numpy(np.array(value))
    missing = sorted(set(like) - set(state))
    if missing:
        raise DamagedFile(f"{ARRAYS} lacks the end of {missing[0]!r}. Simulate anew.")
    return state


def _checked_memory(name: str, value: Any, paths: int) -> torch.Tensor:
    """Check and return what an adaptive method remembers of each path."""
    kinds = {"memory/accepted": (np.int64,), "memory/rejected": (np.int64,), "memory/held_back": (np.bool_,)}
    fits = value.shape == (paths, 1) and value.dtype in kinds.get(name, (np.float32, np.float64))
    if not fits or np.isnan(value).any():
        raise DamagedFile(f"{ARRAYS}: {name} is not one number a path. Simulate anew.")
    return torch.from_numpy(np.array(value))
