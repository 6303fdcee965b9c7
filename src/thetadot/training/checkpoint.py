"""Checkpoints: written whole or not at all, loaded with ``weights_only=True``, checked before anything is changed."""

from __future__ import annotations

import contextlib
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from thetadot.errors import DamagedFile, RunFolderError, TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = "thetadot.checkpoint"
VERSION = 1
NAME = "checkpoint.pt"
PARTS = {"phase", "arguments", "threads", "offset"}  # of every checkpoint, whatever else it holds
PARTIAL = ".checkpoint.part"  # one name, so that killed runs do not fill the folder


def save(folder: Path, content: dict[str, Any]) -> None:
    """Replace the folder's checkpoint atomically.

    Raises:
        RunFolderError: it cannot be written; the old one stays.
        TaskError: the first of a folder, if it holds what could not be read again.
    """
    path, partial = folder / NAME, folder / PARTIAL
    try:
        with partial.open("wb") as stream:
            torch.save({"format": FORMAT, "version": VERSION, **content}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        if not path.exists():
            _try(partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's writer on a full disk
        if isinstance(error, RuntimeError) and not isinstance(error.__context__, OSError):
            raise
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, "strerror", None) or error
        raise RunFolderError(f"{path} cannot be written ({reason}). Free space, or name another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _try(partial: Path) -> None:
    """A model's extra state may be anything; told before training, not at the resume."""
    try:
        torch.load(partial, map_location="cpu", weights_only=True)
    except Exception as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it holds a {found[1]}" if found else type(error).__name__
        raise TaskError(
            f"the model's state cannot be kept safely ({what}). "
            "Keep tensors, numbers, texts and containers of them in state_dict and get_extra_state."
        ) from error


def load(folder: Path) -> dict[str, Any]:
    """The folder's checkpoint.

    Raises:
        RunFolderError: there is none.
        DamagedFile: it is torn, foreign or of a newer version.
    """
    path = folder / NAME
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for names that are too long
        raise RunFolderError(f"{folder} holds no run: there is no {NAME}. Pass the --out folder of a run.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged archive raises is not to be listed
        raise DamagedFile(
            f"{path} is not a checkpoint that can be read. Start the run again in a new folder."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("version"), int):
        raise DamagedFile(f"{path} is not a thetadot checkpoint. Pass the --out folder of a thetadot run.")
    if content["version"] > VERSION:
        raise DamagedFile(
            f"{path} has version {content['version']}, this thetadot reads up to {VERSION}. Update thetadot."
        )
    missing = sorted(PARTS - content.keys())
    if missing:
        raise DamagedFile(f"{path} lacks {', '.join(missing)}. Start the run again in a new folder.")
    return content


@contextmanager
def same_model(folder: Path) -> Iterator[None]:
    """Say it where a checkpoint's tensors do not fit the model that the task makes now."""
    try:
        yield
    except (RuntimeError, KeyError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise DamagedFile(f"{folder} holds another model ({said}). Give the task that was trained.") from error
