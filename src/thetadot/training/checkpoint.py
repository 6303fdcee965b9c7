"""Checkpoints: written whole or not at all, sealed by a digest, checked before anything is read or changed.

torch's archive carries checksums that its reader does not compare, so that damaged parameters would load. The digest
sees every damage; it is no signature. Loading is ``weights_only=True``, and fields are bounded like a record's.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
import torch

from thetadot.core.files import sealed, unsealed
from thetadot.errors import DamagedFile, RunFolderError, TaskError, ThetadotError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = "thetadot.checkpoint"
VERSION = 4
NAME = "checkpoint.pt"
_ANEW = "Start the run again in a new folder."
_LONGEST = 200  # characters of what torch says

T = TypeVar("T")


class Data(msgspec.Struct):
    """Size and digests of a data set when the run began (:mod:`thetadot.training.fingerprint`)."""

    size: int
    samples: dict[str, dict[str, str]]


class Head(msgspec.Struct):
    """Fields common to all checkpoints."""

    phase: Literal["measuring", "training", "done"]
    arguments: dict[str, Any]
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**50)]
    data: dict[str, Data]


_NEEDED = {"measuring": {"start"}, "training": {"plan", "loop"}, "done": {"final", "best"}}


def save(folder: Path, content: dict[str, Any], *, durable: bool = True) -> None:
    """Replace the folder's checkpoint atomically.

    Args:
        folder: of the run.
        content: plain containers of tensors and numbers.
        durable: forced onto the disk; else it outlives the process, and perhaps not a power cut.

    Raises:
        RunFolderError: it cannot be written; the old one stays.
        TaskError: the first of a folder, if it holds what could not be read again.
    """
    path = folder / NAME
    write(path, {"format": FORMAT, "version": VERSION, **content}, durable=durable, tried=not os.path.lexists(path))


def write(path: Path, content: dict[str, Any], *, durable: bool, tried: bool) -> None:
    """Write a sealed file of tensors and numbers, whole or not at all.

    Args:
        path: of the file; one that is there is replaced.
        content: plain containers, with their "format" and "version".
        durable: forced onto the disk.
        tried: read once before it takes its place.

    Raises:
        RunFolderError: it cannot be written.
        TaskError: it holds what could not be read again.
    """
    try:
        with sealed(path, durable=durable) as stream:
            torch.save(content, stream)
            if tried:
                _try(stream)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's writer on a full disk
        if isinstance(error, ThetadotError):
            raise
        if isinstance(error, RuntimeError) and not isinstance(error.__context__, OSError):
            raise
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, "strerror", None) or error
        raise RunFolderError(f"{path} cannot be written ({reason}). Free space, or name another folder.") from error


def _try(stream: Any) -> None:
    """A model's extra state may be anything; told before training, not at the resume."""
    stream.seek(0)
    try:
        torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it holds a {found[1]}" if found else type(error).__name__
        raise TaskError(
            f"the model's state cannot be kept safely ({what}). "
            "Keep tensors, numbers, texts and containers of them in state_dict and get_extra_state."
        ) from error


def load(folder: Path) -> dict[str, Any]:
    """Load the checkpoint of a run's folder.

    Raises:
        RunFolderError: there is none.
        DamagedFile: it is torn, damaged, foreign, of another version, or out of bounds.
    """
    path = folder / NAME
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for names that are too long
        raise RunFolderError(f"{folder} holds no run: there is no {NAME}. Pass the --out folder of a run.")
    content = read(path, FORMAT, VERSION, _ANEW, "thetadot checkpoint. Pass the --out folder of a thetadot run.")
    head = converted({name: content.get(name) for name in Head.__struct_fields__ if name in content}, Head, path)
    missing = sorted(_NEEDED[head.phase] - content.keys())
    if missing:
        raise DamagedFile(f"{path} lacks {', '.join(missing)}. {_ANEW}")
    return dict(content)


def read(path: Path, form: str, version: int, anew: str, kind: str) -> dict[str, Any]:
    """Read what :func:`write` wrote, and check digest, format and version before anything is used.

    Args:
        path: of the file.
        form: its "format".
        version: that can be read.
        anew: what to do where it is damaged, a sentence.
        kind: what the file should be, and what to pass, for files that are something else.

    Raises:
        DamagedFile: it is torn, damaged, foreign, or of another version.
    """
    try:
        with unsealed(path, anew) as stream:
            content: Any = torch.load(stream, map_location="cpu", weights_only=True)
    except DamagedFile:
        raise
    except Exception as error:  # what a foreign archive raises is not to be listed
        raise DamagedFile(f"{path} is not a checkpoint that can be read. {anew}") from error
    found = content.get("version") if isinstance(content, dict) else None
    if type(found) is not int or content.get("format") != form:
        raise DamagedFile(f"{path} is not a {kind}")
    if found != version:
        other = "Update thetadot." if found > version else anew
        raise DamagedFile(f"{path} has version {_short(found)}, this thetadot reads {version}. {other}")
    return dict(content)


def converted(values: Any, kind: type[T], where: Path) -> T:
    """Values of a checkpoint as the dataclass or struct that they were made from.

    Raises:
        DamagedFile: a field is missing, of another kind, or out of bounds.
    """
    try:
        return msgspec.convert(values, kind)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError) as error:
        raise DamagedFile(f"{where}: {_short(error)}. {_ANEW}") from error


@contextmanager
def same_model(folder: Path) -> Iterator[None]:
    """Say it where a checkpoint does not fit the model that the task makes now."""
    try:
        yield
    except ThetadotError:
        raise
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        said = _short(error)
        raise DamagedFile(f"{folder} holds another model ({said}). Give the task that was trained.") from error


def _short(said: object) -> str:
    text = str(said) if not isinstance(said, int) or said.bit_length() < _LONGEST else f"{said.bit_length()} bits long"
    return (text.splitlines() or [type(said).__name__])[0][:_LONGEST]
