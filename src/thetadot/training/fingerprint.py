"""Whether the data are those that a run was begun with: their number, and some samples read again.

Samples are read under a fixed key, with every generator put back that can be found, twice. What differs between two
reads (a transform that draws from elsewhere) says nothing and is left out; inputs and targets are compared part by
part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from thetadot.core.rng import derive
from thetadot.errors import RunFolderError
from thetadot.state.leaves import is_generator, put_back, taken
from thetadot.state.walk import Walk
from thetadot.training.data import BatchRequest, keyed_batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thetadot.tasks.task import Task

_SOME = 6  # samples between the first and the last
_NAMES = {"train": "training", "valid": "validation", "test": "test"}


def fingerprint(task: Task, seed: int) -> dict[str, Any]:
    """Compute each data set's {"size": N, "samples": {"i": {part: digest}}}, without parts that vary."""
    sets = {name: getattr(task, name) for name in _NAMES if getattr(task, name) is not None}
    return {name: _of(data, seed) for name, data in sets.items()}


def require_same_data(now: Mapping[str, Any], before: Mapping[str, Any], out: Path) -> None:
    """Refuse other data than a run was begun with.

    Raises:
        RunFolderError: size, or a part of a sample, is another.
    """
    for name, said in _NAMES.items():
        differs = _difference(now.get(name), before.get(name), said)
        if differs is not None:
            raise RunFolderError(
                f"{out} was begun with other data: {differs}. Give the data that it was begun with, or insist on these "
                "with --new-data (new_data=True); it is another run from here on."
            )


def _difference(now: Any, before: Any, said: str) -> str | None:
    if now is None or before is None:
        return None if now is before else f"there are {'no ' if now is None else ''}{said} data now"
    if now["size"] != before["size"]:
        return f"{now['size']} {said} samples, not {before['size']}"
    for index, parts in now["samples"].items():
        known = before["samples"].get(index, {})
        for part in parts.keys() & known.keys():
            if parts[part] != known[part]:
                return f"the {part.partition('.')[0]} of {said} sample {index} has changed"
    return None


def _of(data: Dataset[Any], seed: int) -> dict[str, Any]:
    size = len(data)  # type: ignore[arg-type]
    places = {0, size - 1, *(derive(seed, 4, k) % size for k in range(_SOME))}
    samples = {}
    for index in sorted(places):
        request = BatchRequest(derive(seed, 5, index), [index])
        once, again = (_read(data, request) for _ in range(2))
        samples[str(index)] = {part: value for part, value in once.items() if again.get(part) == value}
    return {"size": size, "samples": samples}


def _read(data: Dataset[Any], request: BatchRequest) -> dict[str, str]:
    with _generators_kept(data):
        sample = keyed_batch(data, request)
    named = {"input": sample} if isinstance(sample, Mapping) else {}
    if isinstance(sample, list | tuple) and len(sample) == 2:
        named = {"input": sample[0], "target": sample[1]}
    found: dict[str, str] = {}
    for name, value in named.items():
        _digests(name, value, found)
    return found


def _digests(path: str, value: Any, found: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for name, part in value.items():
            _digests(f"{path}.{name}", part, found)
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            _digests(f"{path}.{place}", part, found)
    elif isinstance(value, torch.Tensor | np.ndarray):
        whole = torch.as_tensor(value).detach().cpu().to_dense().contiguous()
        kind = f"{whole.dtype} {tuple(whole.shape)}".encode()
        found[path] = hashlib.sha256(kind + whole.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
    elif isinstance(value, bool | int | float | str | bytes | np.generic):
        found[path] = hashlib.sha256(f"{type(value).__name__} {value!r}".encode()).hexdigest()


@contextmanager
def _generators_kept(data: Dataset[Any]) -> Iterator[None]:
    """Generators that a data set, those inside it, and its transforms own."""
    waiting, seen, kept = [data], set(), []
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        walk = Walk.over({"data": getattr(one, "__dict__", {})})
        kept += [(leaf, taken(leaf)) for _, _, leaf in walk.leaves.values() if is_generator(leaf)]
        waiting += [part for _, _, part in walk.opaque.values() if isinstance(part, Dataset)]
    try:
        yield
    finally:
        for leaf, state in kept:
            put_back(leaf, state)
