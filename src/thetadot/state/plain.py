"""Values in containers that ``torch.load(weights_only=True)`` takes, and back, in place where they fit."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import torch
from torch import nn

from thetadot.state.leaves import is_leaf, put_back, taken

_ATOMS = (bool, int, float, str, bytes, type(None))
_SEQUENCES: dict[str, type[Any]] = {made.__name__: made for made in (list, tuple, deque, set, frozenset)}
_MAPPINGS: dict[str, type[Any]] = {made.__name__: made for made in (dict, OrderedDict, Counter, defaultdict)}


class NotPlain(Exception):  # noqa: N818 - control flow, never seen outside
    """A value that has no plain form."""


def plain_form(value: Any) -> Any:  # noqa: PLR0911 - one kind a line
    """A value in plain form: a tensor copied, a number itself, (kind, content) of everything else.

    Raises:
        NotPlain: it has none.
    """
    if isinstance(value, torch.Tensor) and is_leaf(value):
        return taken(value)
    if type(value) in _ATOMS:
        return value
    if type(value) is complex:
        return ("complex", value.real, value.imag)
    if isinstance(value, np.generic):
        return ("scalar", _plain_array(np.asarray(value)))
    if isinstance(value, torch.dtype | torch.device | torch.Size):
        return ("torch", str(value) if not isinstance(value, torch.Size) else list(value))
    if is_leaf(value):
        return _plain_leaf(value)
    for kind, made in _SEQUENCES.items():
        if type(value) is made:
            return (kind, [plain_form(part) for part in value])
    if type(value) in _MAPPINGS.values():
        return (type(value).__name__, [(plain_form(name), plain_form(part)) for name, part in value.items()])
    raise NotPlain


def _plain_leaf(leaf: Any) -> tuple[Any, ...]:
    if isinstance(leaf, torch.Generator):
        return ("torch.Generator", str(leaf.device), leaf.get_state())
    if isinstance(leaf, np.ndarray):
        return _plain_array(leaf)
    if type(leaf) is random.Random:
        version, words, gauss = leaf.getstate()
        return ("random.Random", version, list(words), gauss)
    if type(leaf) is np.random.Generator:
        return ("numpy.Generator", plain_form(leaf.bit_generator.state))
    if type(leaf) is np.random.RandomState:
        return ("numpy.RandomState", plain_form(taken(leaf)))
    raise NotPlain


def _plain_array(array: Any) -> tuple[Any, ...]:
    if array.dtype.kind not in "biufc":
        raise NotPlain
    content = torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
    return ("array", array.dtype.str, list(array.shape), content)


def fitted(live: Any, form: Any) -> Any:  # noqa: PLR0911
    """The value that a plain form stands for: ``live`` itself with that value where it can take it, else a new one."""
    if isinstance(form, torch.Tensor):
        return _tensor(live, form)
    if type(form) in _ATOMS:
        return form
    kind, *content = form
    if kind in _SEQUENCES:
        parts = list(live) if isinstance(live, list | tuple | deque) else []
        values = [fitted(parts[i] if i < len(parts) else None, part) for i, part in enumerate(content[0])]
        return _filled(live, _SEQUENCES[kind], values)
    if kind in _MAPPINGS:
        known = live if isinstance(live, dict) else {}
        pairs = [(fitted(None, name), value) for name, value in content[0]]
        return _filled(live, _MAPPINGS[kind], {name: fitted(known.get(name), value) for name, value in pairs})
    if kind == "complex":
        return complex(*content)
    if kind == "scalar":
        return fitted(None, content[0])[()]
    if kind == "torch":
        return _described_value(content[0])
    return _leaf(live, kind, content)


def _tensor(live: Any, value: torch.Tensor) -> torch.Tensor:
    if isinstance(live, torch.Tensor) and is_leaf(live) and live.is_leaf and _alike(live, value):
        put_back(live, value)
        return live
    new = value.clone() if not isinstance(live, torch.Tensor) else value.to(live.device, copy=True)
    return nn.Parameter(new, live.requires_grad) if isinstance(live, nn.Parameter) else new


def _alike(live: torch.Tensor, value: torch.Tensor) -> bool:
    return live.shape == value.shape and live.dtype == value.dtype and live.layout == value.layout


def _leaf(live: Any, kind: str, content: list[Any]) -> Any:
    if kind == "torch.Generator":
        device, state = content
        made = live if isinstance(live, torch.Generator) else torch.Generator(device)
        made.set_state(state.cpu())
        return made
    if kind == "array":
        dtype, shape, held = content
        array = np.frombuffer(held.cpu().numpy().tobytes(), np.dtype(dtype)).reshape(shape).copy()
        if isinstance(live, np.ndarray) and live.shape == array.shape and live.dtype == array.dtype:
            np.copyto(live, array)
            return live
        return array
    if kind == "random.Random":
        drawn = live if type(live) is random.Random else random.Random()
        version, words, gauss = content
        drawn.setstate((version, tuple(words), gauss))
        return drawn
    if kind == "numpy.Generator":
        state = fitted(None, content[0])
        bits = {"PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"} & {state["bit_generator"]}
        own = live if type(live) is np.random.Generator else np.random.Generator(getattr(np.random, bits.pop())())
        own.bit_generator.state = state
        return own
    if kind == "numpy.RandomState":
        legacy = live if type(live) is np.random.RandomState else np.random.RandomState()
        legacy.set_state(fitted(None, content[0]))
        return legacy
    raise ValueError(f"{kind!r} is no kind of value")


def _filled(live: Any, made: type[Any], values: Any) -> Any:
    """The live container with these values where it can change, else a new one."""
    if type(live) is not made or made in (tuple, frozenset):
        return made(values) if made is not defaultdict else values  # what makes its defaults is not known any more
    if isinstance(live, list):
        live[:] = values
    else:
        live.clear()
        (live.extend if isinstance(live, deque) else live.update)(values)
    return live


def _described_value(said: Any) -> Any:
    if isinstance(said, list):
        return torch.Size(said)
    name = said.removeprefix("torch.")
    found = getattr(torch, name, None) if said.startswith("torch.") else torch.device(said)
    if not isinstance(found, torch.dtype | torch.device):
        raise TypeError(f"{said!r} is neither a dtype nor a device")
    return found
