"""Checkpoints: written whole or not at all, loaded with ``weights_only=True``, checked before anything is changed."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import TYPE_CHECKING, Any

import torch

from thetadot.errors import DamagedFile, RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "thetadot.checkpoint"
VERSION = 1
NAME = "checkpoint.pt"


def save(folder: Path, content: dict[str, Any]) -> None:
    """Replace the folder's checkpoint atomically."""
    path = folder / NAME
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".checkpoint-")
        try:
            with os.fdopen(handle, "wb") as stream:
                torch.save({"format": FORMAT, "version": VERSION, **content}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)  # noqa: PTH105 - atomic on every platform
        except BaseException:
            os.unlink(temporary)  # noqa: PTH108
            raise
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written ({error.strerror}). Free space, or name another folder.") from error


def load(folder: Path) -> dict[str, Any]:
    """The folder's checkpoint.

    Raises:
        RunFolderError: there is none.
        DamagedFile: it is torn, foreign or of a newer version.
    """
    path = folder / NAME
    if not path.is_file():
        raise RunFolderError(f"{folder} holds no run: there is no {NAME}. Pass the --out folder of a run.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, OSError) as error:
        raise DamagedFile(f"{path} is not a checkpoint that can be read. Start the run again in a new folder.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DamagedFile(f"{path} is not a thetadot checkpoint. Pass the --out folder of a thetadot run.")
    if content["version"] > VERSION:
        raise DamagedFile(f"{path} has version {content['version']}, this thetadot reads up to {VERSION}. Update thetadot.")
    return content
