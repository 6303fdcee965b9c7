"""A pure function of one tensor as a program: its elementary operations, in order, with the kind of every value.

Kinds: "number" is a double, the same for all elements; float32, float64, bfloat16, float16, int32, int64 (32-bit words,
without sign) and bool are values of one element.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import fx
from torch.fx.proxy import GraphAppendingTracer

from thetadot.errors import ThetadotError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Kind = torch.dtype | str
NUMBER = "number"


class CannotCompile(ThetadotError):  # noqa: N818
    """Error for a function of non-elementary operations, or for a missing compiler."""


class Interacting(CannotCompile):
    """A function whose paths see each other, or that holds something of their number."""


@dataclass(frozen=True)
class Array:
    """An input of one value per element.

    Attributes:
        name: of the placeholder.
        dtype: in memory; int64 stands for 32-bit words.
    """

    name: str
    dtype: torch.dtype


@dataclass(frozen=True)
class Program:
    """Operations and what goes in and out.

    Attributes:
        nodes: in order of execution; placeholders left out.
        kinds: of every node.
        inputs: placeholders by name.
        outputs: node or constant by name.
    """

    nodes: tuple[fx.Node, ...]
    kinds: Mapping[fx.Node, Kind]
    inputs: Mapping[str, fx.Node]
    outputs: Mapping[str, Any]


def trace(function: Callable[[Mapping[str, Any]], Mapping[str, Any]], inputs: Mapping[str, Kind]) -> Program:
    """Run ``function`` on placeholders and note what it does.

    Args:
        function: of a mapping of inputs to a mapping of outputs.
        inputs: name and kind of each; what the function asks for besides is a float32 array.

    Raises:
        CannotCompile: it branches on a value, or uses an operation that has no kind here.

    Example:
        >>> program = trace(lambda x: {"y": x["s"] * x["x"] + 1.0}, {"x": torch.float32, "s": NUMBER})
        >>> [node.target.__name__ for node in program.nodes], program.kinds[program.outputs["y"]]
        (['mul', 'add'], torch.float32)
    """
    graph = fx.Graph()
    tracer = GraphAppendingTracer(graph)
    kinds: dict[fx.Node, Kind] = {}
    placeholders = _Placeholders(graph, tracer, kinds)
    for name, kind in inputs.items():
        placeholders.add(name, kind)
    try:
        outputs = function(placeholders)
    except fx.proxy.TraceError as error:
        raise CannotCompile(
            f"the rule branches on a value: {error}. Branch in prepare(), or use torch.where."
        ) from error
    nodes = {name: value.node if isinstance(value, fx.Proxy) else value for name, value in outputs.items()}
    used = _ancestors([node for node in nodes.values() if isinstance(node, fx.Node)])
    body = [node for node in graph.nodes if node.op != "placeholder" and node in used]
    kept = []
    for node in body:
        kinds[node] = _kind(node, kinds)
        if node.target == "to" and kinds[node] == kinds[node.all_input_nodes[0]]:  # nothing is converted
            source = node.all_input_nodes[0]
            node.replace_all_uses_with(source)
            nodes = {name: source if value is node else value for name, value in nodes.items()}
        else:
            kept.append(node)
    return Program(tuple(kept), kinds, {name: proxy.node for name, proxy in placeholders.items()}, nodes)


class _Placeholders(dict[str, fx.Proxy]):
    """Inputs by name; what is asked for and missing is a float32 array from then on."""

    def __init__(self, graph: fx.Graph, tracer: GraphAppendingTracer, kinds: dict[fx.Node, Kind]) -> None:
        super().__init__()
        self._graph, self._tracer, self._kinds = graph, tracer, kinds

    def add(self, name: str, kind: Kind) -> fx.Proxy:
        proxy = self[name] = fx.Proxy(self._graph.placeholder(name), self._tracer)
        self._kinds[proxy.node] = kind
        return proxy

    def __missing__(self, name: str) -> fx.Proxy:
        return self.add(name, torch.float32)


def _ancestors(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


_COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)


def _kind(node: fx.Node, kinds: Mapping[fx.Node, Kind]) -> Kind:
    """The kind of a node's value: that of its widest array operand, a number if it has none."""
    target = node.target
    if node.op == "call_method" and target in ("to", "view"):
        return cast("torch.dtype", node.args[1])
    operands = [kinds[operand] for operand in node.all_input_nodes]
    if target in _COMPARISONS:
        return torch.bool if any(isinstance(kind, torch.dtype) for kind in operands) else NUMBER
    if target is torch.where:
        operands = operands[1:]
    return widest(operands)


def widest(kinds: Sequence[Kind]) -> Kind:
    """Return the widest array kind among operands, or a number if there is none."""
    arrays = [kind for kind in kinds if isinstance(kind, torch.dtype)]
    if not arrays:
        return NUMBER
    kind = arrays[0]
    for other in arrays[1:]:
        kind = torch.promote_types(kind, other)
    return kind
