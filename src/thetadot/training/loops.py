"""Exact resume for a training loop of one's own: what a run keeps of itself, in one file.

The state is that of :mod:`thetadot.state` and of a run's snapshots: parameters and buffers, what model and loss hold in
attributes, the optimizer, the global generators of Python, numpy, torch and CUDA; beside it schedule, position in the
data, gradient scaler and whatever else has a ``state_dict``. The file is that of a run: written whole or not at all,
sealed by a digest, read with ``weights_only``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import torch
from torch import nn

from thetadot.core.files import sweep_beside
from thetadot.core.signatures import checked
from thetadot.core.validation import said_of
from thetadot.errors import DamagedFile, InadmissibleValue, RunFolderError, ThetadotError
from thetadot.training.checkpoint import converted, read, write
from thetadot.training.snapshot import Snapshot, clone

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "thetadot.loop"
VERSION = 1
_LONGEST = 300  # characters of what torch says
_ANEW = "Go on from an older file, or begin again."
_KIND = "checkpoint of a loop. Pass what thetadot.checkpoint(...).save wrote."


class _Head(msgspec.Struct):
    """Fields of a loop's checkpoint, before their contents are used."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    kinds: dict[str, str]
    noted: dict[str, Any]


class Checkpoint:
    """The state of a loop, to be saved and gone on from; made by :func:`checkpoint`."""

    def __init__(self, model: nn.Module, optimizer: Any, loss: Any, parts: dict[str, Any]) -> None:
        self.model, self.optimizer, self.loss, self.parts = model, optimizer, loss, parts
        self._saved: set[Path] = set()

    @checked
    def save(self, path: str | Path, *, gradients: bool = False, durable: bool = True, **noted: Any) -> None:
        """Write the present state, atomically: where the process is killed meanwhile, the last file is still there.

        Call it at the end of the loop's body, when scheduler and sampler have counted the step.

        Args:
            path: of the file, which is replaced; a rank writes its own.
            gradients: kept too, for a loop that is in the middle of adding them up; a
                :class:`~thetadot.schedules.BatchSampler` in the middle of a batch says so itself.
            durable: forced onto the disk, so that it outlives a power cut; a kill does not need it.
            noted: numbers, texts and tensors of the loop's own, which :meth:`load` returns.

        Raises:
            RunFolderError: it cannot be written.
            TaskError: the state holds what could not be read again without running code.
        """
        path = Path(path)
        in_step = any(getattr(part, "in_step", False) for part in self.parts.values())
        content = {
            "format": FORMAT,
            "version": VERSION,
            "threads": torch.get_num_threads(),
            "kinds": self._kinds(),
            "noted": noted,
            "now": Snapshot.take(self.model, self.optimizer, loss=self.loss).pack(),
            "parts": {name: clone(part.state_dict()) for name, part in self.parts.items()},
            "gradients": [clone(p.grad) for p in self._parameters()] if gradients or in_step else None,
        }
        first = path.absolute() not in self._saved
        if first:
            sweep_beside(path)
        write(path, content, durable=durable, tried=first)
        self._saved.add(path.absolute())

    @checked
    def load(self, path: str | Path) -> dict[str, Any]:
        """Go on from a file, bit for bit: everything is as it was when it was saved.

        Torch's number of threads is set to what it was, because sums depend on it.

        Args:
            path: of the file.

        Returns:
            What was noted: the keyword arguments of :meth:`save`.

        Raises:
            RunFolderError: there is no such file.
            DamagedFile: it is torn, altered or foreign, or of another model, optimizer, schedule or data. Everything is
                as before then.
        """
        path = Path(path)
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for names that are too long
            raise RunFolderError(f"there is no file {path}. Pass what thetadot.checkpoint(...).save wrote.")
        content = read(path, FORMAT, VERSION, _ANEW, _KIND)
        head = converted({name: content.get(name) for name in _Head.__struct_fields__ if name in content}, _Head, path)
        self._require_same_kinds(head.kinds, path)
        before = self._present()
        try:
            self._put(content)
        except BaseException as error:
            self._put(before)
            if isinstance(error, ThetadotError):
                raise DamagedFile(f"{path} does not fit: {error}") from error
            if isinstance(error, Exception):
                said = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
                raise DamagedFile(
                    f"{path} does not fit ({said}). Build model, optimizer and the rest as they were when it was saved."
                ) from error
            raise
        torch.set_num_threads(head.threads)
        return head.noted

    def _present(self) -> dict[str, Any]:
        return {
            "now": Snapshot.take(self.model, self.optimizer, loss=self.loss).pack(),
            "parts": {name: clone(part.state_dict()) for name, part in self.parts.items()},
            "gradients": [p.grad for p in self._parameters()],
        }

    def _put(self, content: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(clone(content["parts"][name]))
        parameters, gradients = self._parameters(), content["gradients"]
        if gradients is not None and [*map(_shape, gradients)] != [
            shape if gradient is not None else None
            for shape, gradient in zip(map(_shape, parameters), gradients, strict=True)
        ]:
            raise ValueError("gradients of other shapes")
        Snapshot.unpack(content["now"]).restore(self.model, self.optimizer, loss=self.loss)
        for place, p in enumerate(parameters):
            gradient = None if gradients is None else gradients[place]
            p.grad = None if gradient is None else gradient.to(p.device, p.dtype)

    def _parameters(self) -> list[Tensor]:
        if self.optimizer is None:
            return list(self.model.parameters())
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _kinds(self) -> dict[str, str]:
        parts = {"optimizer": self.optimizer, **self.parts}
        return {name: type(part).__qualname__ for name, part in parts.items() if part is not None}

    def _require_same_kinds(self, before: dict[str, str], path: Path) -> None:
        now = self._kinds()
        for name in sorted(now.keys() | before.keys()):
            if now.get(name) != before.get(name):
                has, wants = (f"{kinds[name]}" if name in kinds else "none" for kinds in (before, now))
                raise DamagedFile(
                    f"{path} holds {has} for {name}, and the loop has {wants}. "
                    "Pass to thetadot.checkpoint what was passed when it was saved."
                )


def checkpoint(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    sampler: Any = None,
    *,
    loss: Any = None,
    scaler: Any = None,
    **others: Any,
) -> Checkpoint:
    """Make a loop of one's own resumable, bit for bit, after a kill at any moment.

    Kept are parameters, buffers, modes, and numbers, tensors and generators in attributes of model and loss; optimizer,
    schedule, sampler, scaler and others by their state dicts; and the global generators of Python, numpy, torch and
    CUDA. Nothing is kept of a plain DataLoader's position: take a :class:`~thetadot.schedules.BatchSampler`, and
    :class:`~thetadot.schedules.KeyedDataset` where transforms draw in workers. One file holds what one process has.

    Args:
        model: whose parameters are trained.
        optimizer: any of torch's or ours.
        scheduler: with state_dict and load_state_dict, as all that follow.
        sampler: a :class:`~thetadot.schedules.BatchSampler`.
        loss: a module or function, where it has a state.
        scaler: ``torch.amp.GradScaler``.
        others: by name, such as an average of the weights or a second optimizer.

    Raises:
        InadmissibleValue: one of them has no state to be kept.

    Example:
        >>> import tempfile
        >>> from thetadot.schedules import BatchSampler, Linear, ScheduleLR
        >>> model = nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> schedule, sampler = ScheduleLR(optimizer, Linear(8)), BatchSampler(32, 4)
        >>> saved = checkpoint(model, optimizer, schedule, sampler)
        >>> path = Path(tempfile.mkdtemp()) / "loop.pt"
        >>> if path.exists():
        ...     saved.load(path)
        >>> loader = torch.utils.data.DataLoader(torch.randn(32, 1), batch_sampler=sampler)
        >>> for x, part in sampler.over(loader):
        ...     optimizer.zero_grad()
        ...     model(x).square().mean().backward()
        ...     optimizer.step()
        ...     schedule.step()
        ...     saved.save(path, step=part.step + 1)
        >>> saved.load(path), sampler.epoch
        ({'step': 8}, 1)
    """
    if not isinstance(model, nn.Module):
        raise InadmissibleValue(f"model={said_of(model)} is no torch.nn.Module. Pass the one that is trained.")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise InadmissibleValue(f"optimizer={said_of(optimizer)} is no torch.optim.Optimizer. Pass the loop's.")
    parts = {"scheduler": scheduler, "sampler": sampler, "scaler": scaler} | others
    parts = {name: part for name, part in parts.items() if part is not None}
    for name, part in parts.items():
        if not all(callable(getattr(part, method, None)) for method in ("state_dict", "load_state_dict")):
            hint = " Take a thetadot.schedules.BatchSampler." if name == "sampler" else ""
            raise InadmissibleValue(
                f"{name} of type {type(part).__name__} has no state_dict, so that its state cannot be kept. "
                f"Pass what has state_dict and load_state_dict, or leave it out.{hint}"
            )
    return Checkpoint(model, optimizer, loss, parts)


def _shape(tensor: Any) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)
