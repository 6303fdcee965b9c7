"""The record of what is watched: begun once, appended to, continued if asked."""

from __future__ import annotations

import datetime as dt
import weakref
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.files import Claim
from thetadot.errors import RunFolderError
from thetadot.monitor.reference import PARTS, describe_reference
from thetadot.records import SCHEMA, UNITS, VERSION, Entry, Header, Record, Watched, Writer, read
from thetadot.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from thetadot.monitor.layers import Layout
    from thetadot.monitor.reference import Reference


class RunRecorder:
    """Entries in ``out``/record.jsonl, or in memory where ``out`` is None.

    Args:
        out: folder.
        resume: continue the record that is there; its torn last line, if any, is cut.

    Raises:
        RunFolderError: there is a record and ``resume`` is False, or the folder cannot be made.
        DamagedFile: what is there is no record.
    """

    def __init__(self, out: Path | None, *, resume: bool) -> None:
        self.path = None if out is None else out / "record.jsonl"
        self.entries: list[Entry] = []
        self.waiting: list[Entry] = []  # for the header, which the first step completes
        self.header: Header | None = None
        self.writer: Writer | None = None
        self.last_step = 0
        self._let_go: weakref.finalize[..., RunRecorder] | None = None
        if self.path is None or out is None:
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{out} cannot be made ({error.strerror}). Name another folder.") from error
        self._claim(out)
        try:
            used = self.path.exists() and self.path.stat().st_size > 0
        except OSError as error:
            raise RunFolderError(f"{out} cannot be read ({error.strerror}). Name another folder.") from error
        if used and not resume:
            self.close()
            raise RunFolderError(
                f"{out} holds the record of another run. Pass another out, or resume=True to continue that run."
            )
        if used:
            kept = read(self.path)
            self.header = kept.header
            self.last_step = max((step for e in kept.entries if (step := getattr(e, "step", 0))), default=0)
            whole = self.path.read_bytes().rfind(b"\n") + 1
            self.writer = Writer(self.path, whole)

    def _claim(self, out: Path) -> None:
        """Have the folder to itself until it is closed, or nobody holds this any more."""
        try:
            claim = Claim(out)
        except RunFolderError as error:
            raise RunFolderError(
                f"{out} is being written by another watch or run. Close that one first, or pass another out."
            ) from error
        self._let_go = weakref.finalize(self, claim.close)

    def begin(self, header: Header) -> None:
        """Write the header, unless a record is continued."""
        if self.header is None:
            self.header = header
            if self.path is not None:
                self.writer = Writer(self.path)
            if self.writer is not None:
                self.writer.write(header)
        waiting, self.waiting = self.waiting, []
        for entry in waiting:
            self.write(entry)

    @property
    def begun(self) -> bool:
        """Whether there is a header."""
        return self.header is not None

    def write(self, entry: Entry) -> None:
        """Append one entry; entries before the header wait for the header."""
        if self.header is None:
            self.waiting.append(entry)
        elif self.writer is not None:
            self.writer.write(entry)
        elif self.path is None:
            self.entries.append(entry)

    def record(self) -> Record:
        """Return everything recorded so far."""
        if self.path is not None:
            return read(self.path)
        assert self.header is not None  # noqa: S101 - begun by whoever made it
        return Record(self.header, tuple(self.entries))

    def close(self) -> None:
        """Sync the file to disk and close it."""
        if self.writer is not None:
            self.writer.sync()
            self.writer.close()
        if self._let_go is not None:
            self._let_go()


def watched_header(
    layout: Layout,
    optimizer: torch.optim.Optimizer,
    level: Any,
    reference: Reference | None,
    name: str,
    dataset_size: int | None,
    ranks: int,
) -> Header:
    """The header of a watched run."""
    lacks = {}
    if reference is None:
        lacks = dict.fromkeys(("curvature", "barrier"), "no reference batch was given. Pass reference=(inputs, target)")
    elif not reference.parts()[0]:
        least = 2 * PARTS
        cut = reference.axes is not None or reference.own or not reference.samples
        lacks["noise"] = (
            f"the reference has {reference.samples or 'an unknown number of'} samples. Pass {least} or more"
            if cut
            else "the reference is not cut: its samples lie along no axis. Pass batch_dim=, or a Batch of "
            "thetadot.monitor with samples and cut of its own"
        )
    return Header(
        schema=SCHEMA,
        version=VERSION,
        task=name,
        seed=torch.initial_seed() % 2**63,
        parameters=layout.count,
        train_samples=dataset_size,
        valid_samples=None,
        epochs=None,
        device=str(layout.parameters[0].device),
        threads=torch.get_num_threads(),
        software={"thetadot": __version__, "torch": str(torch.__version__)},
        quantities=UNITS,
        layers=layout.layers,
        watched=Watched(
            optimizer=type(optimizer).__name__,
            level=level,
            reference="" if reference is None else describe_reference(reference),
            reference_samples=0 if reference is None else reference.samples,
            lacks=lacks,
            ranks=ranks,
        ),
        started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
