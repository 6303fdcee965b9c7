"""Location of the samples' axis from the sizes of tensors alone.

Data may nest tuples, lists, mappings and dataclasses. A place in them is a path of keys. What can carry samples: an
axis of a tensor or an array, the sequences of a packed one, the parts of a nested one, the members of a list.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Path = tuple[Any, ...]
MOST = 12
"""Ways to lie that are told apart at most."""


@dataclass(frozen=True)
class Axes:
    """``count`` samples, and the axis that they lie along by path; what is not named carries none."""

    count: int
    of: dict[Path, int]


def sizes(node: Any) -> tuple[int, ...]:
    """Return the sizes of the axes that could carry samples; () where none could.

    Example:
        >>> sizes(torch.zeros(3, 5)), sizes(["a", "b"]), sizes("text")
        ((3, 5), (2,), ())
    """
    if isinstance(node, PackedSequence):
        return (int(node.batch_sizes[0]),)
    if isinstance(node, Tensor):
        return (int(node.size(0)),) if node.is_nested else tuple(node.shape)
    if isinstance(node, np.ndarray):
        return tuple(node.shape)
    if type(node) is list and len(node) > 1 and len(set(map(type, node))) == 1:
        return (len(node),)
    graphs = getattr(node, "num_graphs", None)  # a batch of graphs, as torch_geometric has it
    return (graphs,) if isinstance(graphs, int) else ()


def walk(data: Any, path: Path = ()) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """List every place that could carry samples, with its sizes, in the order of the data.

    Example:
        >>> list(walk({"x": torch.zeros(3, 5), "y": (torch.tensor(1.0), "a")}))
        [(('x',), (3, 5))]
    """
    found = sizes(data)
    if found and (path or not isinstance(data, list)):  # the outermost list is a loader's tuple
        yield path, found
    if isinstance(data, Tensor | PackedSequence | np.ndarray | str | bytes):
        return
    for key, part in _tensor_parts(data):
        yield from walk(part, (*path, key))


def take(data: Any, axes: dict[Path, int], rows: slice | Tensor, path: Path = ()) -> Any:  # noqa: PLR0911
    """Take some samples of a structure; parts that carry no samples are handed on as they are.

    Args:
        data: of any structure.
        axes: by path.
        rows: samples from a first to a last one, or their numbers, (k,).
        path: where ``data`` lies in what ``axes`` speaks of.

    Example:
        >>> take({"x": torch.arange(6).reshape(2, 3), "a": 1}, {("x",): 1}, slice(1, 3))
        {'x': tensor([[1, 2],
                [4, 5]]), 'a': 1}
    """
    if path in axes:
        return _select(data, axes[path], rows)
    if isinstance(data, Tensor | PackedSequence | np.ndarray | str | bytes):
        return data
    parts = [(key, take(part, axes, rows, (*path, key))) for key, part in _tensor_parts(data)]
    if not parts:
        return data
    if type(data) is dict:
        return dict(parts)
    if isinstance(data, MutableMapping):
        made: Any = copy.copy(data)
        for key, part in parts:
            made[key] = part
        return made
    if isinstance(data, tuple | list):
        members = [part for _, part in parts]
        return type(data)(*members) if hasattr(data, "_fields") else type(data)(members)
    held: Any = data
    return dataclasses.replace(held, **dict(parts)) if dataclasses.is_dataclass(data) else data


def ways(data: Any, target: Path | None = None, axis: int | None = None) -> list[Axes]:
    """The ways in which the samples could lie, by agreement of sizes: the likeliest first, :data:`MOST` at most.

    A size counts if the target has it, where there is one of some dimension, and an input too. Ways that more places
    agree on come first; among these, those along first axes.

    Args:
        data: inputs and target.
        target: where the target is; None where it is not told apart.
        axis: of the first input, if it is known.

    Example:
        >>> time_major = (torch.zeros(24, 64, 3), torch.zeros(64))
        >>> ways(time_major, target=(1,))
        [Axes(count=64, of={(0,): 1, (1,): 0})]
    """
    places = list(walk(data))
    aims = [place for place in places if target is not None and place[0][: len(target)] == target]
    given = [place for place in places if place not in aims]
    if not given:
        return []
    first = given[0]
    if axis is not None:
        if not -len(first[1]) <= axis < len(first[1]):
            return []
        axis %= len(first[1])
        counts = [first[1][axis]]
    else:
        known = aims or given
        counts = list(dict.fromkeys(n for _, found in known for n in found if n > 1))
    found: list[tuple[tuple[int, int, int], Axes]] = []
    for n in counts:
        for number, of in enumerate(_ways_of(n, given, aims, axis)):
            found.append(((-len(of), sum(k != 0 for k in of.values()), number), Axes(n, of)))
    found.sort(key=lambda pair: pair[0])
    return [axes for _, axes in found[:MOST]]


def count_of(data: Any, target: Path | None = None, axis: int | None = None) -> int:
    """Count the samples, by agreement; else the rows of the target, or of the first input; 0 without any.

    Example:
        >>> count_of((torch.zeros(7, 3), torch.zeros(2, 12), torch.zeros(4)), target=(2,))  # nodes, edges; graphs
        4
    """
    found = ways(data, target, axis)
    if found:
        return found[0].count
    places = list(walk(data))
    aims = [found for path, found in places if target is not None and path[: len(target)] == target]
    known = aims or [found for _, found in places]
    return known[0][0] if known else 0


def disagreeing(places: Sequence[tuple[Path, tuple[int, ...]]]) -> str:
    """Say what contradicts the first axis of the first place; "" where nothing does.

    Example:
        >>> disagreeing([(("x",), (24, 32, 3)), (("lengths",), (32,))])
        'x has sizes (24, 32, 3) and lengths (32,)'
        >>> disagreeing([(("x",), (32, 24, 3)), (("mask",), (32, 24))])
        ''
    """
    if not places:
        return ""
    path, first = places[0]
    for other, found in places[1:]:
        if len(found) == 1 and first[0] not in found and found[0] in first[1:] and found[0] > 1:
            return f"{named(path)} has sizes {first} and {named(other)} {found}"
    return ""


def named(path: Path) -> str:
    """A path in words.

    Example:
        >>> named(("batch", 0, "x"))
        'batch.0.x'
    """
    return ".".join(map(str, path)) or "data"


def _ways_of(
    n: int,
    given: list[tuple[Path, tuple[int, ...]]],
    aims: list[tuple[Path, tuple[int, ...]]],
    axis: int | None,
) -> Iterator[dict[Path, int]]:
    """Every choice of an axis of n at each place that has one; then with one place left out."""
    choices: list[list[tuple[Path, int]]] = []
    for path, found in [*given, *aims]:
        own = [(path, k) for k, size in enumerate(found) if size == n]
        if axis is not None:
            own = [(path, axis)] if path == given[0][0] else sorted(own, key=lambda pair: pair[1] != axis)
        if own:
            choices.append(own)
    inputs, targets = {path for path, _ in given}, {path for path, found in aims if n in found}

    def whole(of: dict[Path, int]) -> dict[Path, int] | None:
        of = {path: k for path, k in of.items() if not any(path[:j] in of for j in range(len(path)))}
        stands = inputs & of.keys() and (not aims or targets & of.keys())
        return of if stands and (axis is None or given[0][0] in of) else None

    full = [dict(chosen) for chosen in itertools.islice(itertools.product(*choices), MOST)]
    fewer = [{p: k for p, k in of.items() if p != left} for of in full[:2] for left in of] if len(choices) > 2 else []
    seen: list[dict[Path, int]] = []
    for of in [*full, *fewer]:
        kept = whole(of)
        if kept is not None and kept not in seen:
            seen.append(kept)
            yield kept


def _tensor_parts(data: Any) -> list[tuple[Any, Any]]:
    if isinstance(data, Mapping):
        return list(data.items())
    if isinstance(data, tuple | list):
        return list(enumerate(data))
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return [(field.name, getattr(data, field.name)) for field in dataclasses.fields(data) if field.init]
    return []


def _select(node: Any, axis: int, rows: slice | Tensor) -> Any:
    numbers = list(range(rows.start, rows.stop)) if isinstance(rows, slice) else rows.tolist()
    if isinstance(node, PackedSequence):
        padded, lengths = pad_packed_sequence(node)
        kept = lengths[numbers]
        ordered = node.sorted_indices is None and bool((kept[1:] <= kept[:-1]).all())
        return pack_padded_sequence(padded[: int(kept.max()), numbers], kept, enforce_sorted=ordered)
    if isinstance(node, Tensor):
        if node.is_nested:
            parts = node.unbind()
            return torch.nested.as_nested_tensor([parts[i] for i in numbers], layout=node.layout)
        if isinstance(rows, slice):
            return node.narrow(axis, rows.start, rows.stop - rows.start)
        return node.index_select(axis, rows.to(node.device))
    if isinstance(node, np.ndarray):
        return np.take(node, numbers, axis)
    return [node[i] for i in numbers]
