"""A program rewritten in torch's combined operations, in place: two functions, of its numbers and of a block.

A block is a tensor of each name, or a list of tensors of each name: for lists, torch's own operations on lists, which
take a call where a loop over tensors takes one a tensor.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import fx

from thetadot.fusion.program import NUMBER, CannotCompile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from thetadot.fusion.program import Program

Node = Any  # fx.Node, whose arguments are typed as everything that a graph may hold

_OUT = {
    operator.add: torch.add,
    operator.sub: torch.sub,
    operator.mul: torch.mul,
    operator.truediv: torch.div,
    operator.neg: torch.neg,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sign": torch.sign,
    torch.minimum: torch.minimum,
    torch.maximum: torch.maximum,
}

# In place on the first of the lists; an operation that is not here is done tensor by tensor.
_OF_LISTS: dict[Any, Callable[..., Any]] = {
    torch.add: torch._foreach_add_,
    torch.lerp: torch._foreach_lerp_,
    torch.addcdiv: torch._foreach_addcdiv_,
    torch.sub: torch._foreach_sub_,
    torch.mul: torch._foreach_mul_,
    torch.div: torch._foreach_div_,
    torch.neg: torch._foreach_neg_,
    torch.sqrt: torch._foreach_sqrt_,
    torch.abs: torch._foreach_abs_,
    torch.sign: torch._foreach_sign_,
    torch.reciprocal: torch._foreach_reciprocal_,
    torch.minimum: torch._foreach_minimum_,
    torch.maximum: torch._foreach_maximum_,
}


class Rewriter:
    """Turns a program into two functions: of its numbers, once, and of a block."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.outputs = {n: v for n, v in program.outputs.items() if self._is_array(v)}
        self.numbers = {n: v for n, v in program.outputs.items() if n not in self.outputs}
        values = list(self.outputs.values())
        if len(set(values)) < len(values) or set(values) & set(program.inputs.values()):
            raise CannotCompile("one value goes to two places, or an input to another's place.")
        self.uses: dict[Node, int] = {}
        for node in program.nodes:
            for operand in node.args:  # a sum of one value with itself uses it twice
                if isinstance(operand, fx.Node):
                    self.uses[operand] = self.uses.get(operand, 0) + 1
        for value in self.outputs.values():
            self.uses[value] = self.uses.get(value, 0) + 1
        self.inner: list[Any] = []  # numbers that a block needs, in order
        self.steps = self._combined()

    def _is_array(self, value: Any) -> bool:
        return isinstance(value, fx.Node) and self.program.kinds[value] != NUMBER

    def _scaled(self, value: Any) -> tuple[Any, Node] | None:
        """(s, x) if the value is s·x, used here only."""
        if not self._is_array(value) or value.target is not operator.mul or self.uses[value] != 1:
            return None
        a, b = value.args
        if self._is_array(a) == self._is_array(b):
            return None
        return (b, a) if self._is_array(a) else (a, b)

    def _combine(self, node: Node) -> tuple[Any, tuple[Any, ...], dict[str, Any], list[Node]] | None:
        """Operation, operands, keywords, and the nodes that it swallows."""
        if node.target not in (operator.add, operator.sub) or not all(map(self._is_array, node.args)):
            return None
        a, b = node.args
        minus = node.target is operator.sub
        if (scaled := self._scaled(b)) is not None:
            s, x = scaled
            away = x.target is operator.sub and x.args[1] is a and self.uses[x] == 1
            if not minus and away and self._is_array(x.args[0]):
                return torch.lerp, (a, x.args[0]), {"weight": self._number(s)}, [b, x]
            return torch.add, (a, x), {"alpha": self._number(s, negate=minus)}, [b]
        quotient = self._is_array(b) and b.target is operator.truediv and self.uses[b] == 1
        if quotient and self._is_array(b.args[1]) and (scaled := self._scaled(b.args[0])) is not None:
            s, x = scaled
            return torch.addcdiv, (a, x, b.args[1]), {"value": self._number(s, negate=minus)}, [b, b.args[0]]
        if not minus and (scaled := self._scaled(a)) is not None:
            return torch.add, (b, scaled[1]), {"alpha": self._number(scaled[0])}, [a]
        return None

    def _number(self, value: Any, *, negate: bool = False) -> _Number:
        self.inner.append((value, negate))
        return _Number(len(self.inner) - 1)

    def _combined(self) -> list[tuple[Node, Any, tuple[Any, ...], dict[str, Any]]]:
        steps: list[tuple[Node, Any, tuple[Any, ...], dict[str, Any]]] = []
        swallowed: set[Node] = set()
        for node in reversed(self.program.nodes):
            if self.program.kinds[node] == NUMBER or node in swallowed:
                continue
            found = self._combine(node)
            if found is not None:
                target, args, keywords, gone = found
                swallowed.update(gone)
                steps.append((node, target, args, keywords))
                continue
            args = tuple(
                arg if self._is_array(arg) or not isinstance(arg, fx.Node | float | int) else self._number(arg)
                for arg in node.args
            )
            steps.append((node, node.target, args, {}))
        return steps[::-1]

    def functions(self, arrays: Sequence[str]) -> tuple[Callable[..., Any], Callable[..., Any], int]:
        """Compile the function of numbers, the function of one block, and count the block's buffers.

        Args:
            arrays: names of the block's tensors, in order.
        """
        return self._of_numbers(), *self._of_block(arrays)

    def _of_numbers(self) -> Callable[..., Any]:
        graph = fx.Graph()
        given = graph.placeholder("numbers")
        values: dict[Node, Node] = {}
        for name, node in self.program.inputs.items():
            if self.program.kinds[node] == NUMBER:
                values[node] = graph.call_function(operator.getitem, (given, name))
        for node in self.program.nodes:
            if self.program.kinds[node] == NUMBER:
                if node.op == "call_method":
                    function = _scalar_function(str(node.target))
                    values[node] = graph.call_function(function, (_mapped(node.args[0], values),))
                else:
                    args = tuple(_mapped(arg, values) for arg in node.args)
                    target = _OF_NUMBERS.get(node.target, node.target)
                    values[node] = graph.call_function(cast("Callable[..., Any]", target), args)
        inner = []
        for value, negate in self.inner:
            inner.append(
                graph.call_function(operator.neg, (_mapped(value, values),)) if negate else _mapped(value, values)
            )
        graph.output(({name: _mapped(value, values) for name, value in self.numbers.items()}, inner))
        return fx.GraphModule({}, graph).forward

    def _of_block(self, arrays: Sequence[str]) -> tuple[Callable[..., Any], int]:
        graph = fx.Graph()
        held: dict[Node, Node] = {self.program.inputs[name]: graph.placeholder(name) for name in arrays}
        memory = _Memory(self, graph, held)
        numbers = [graph.placeholder(f"number{i}") for i in range(len(self.inner))]
        for place, (node, target, args, keywords) in enumerate(self.steps):
            operands = [numbers[a.place] if isinstance(a, _Number) else held.get(a, a) for a in args]
            function: Any = target if keywords else _OUT.get(target)
            if function is None or self.program.kinds[node] == torch.bool:  # truth values lie in no buffer
                held[node] = _general(graph, node, operands)
                continue
            out = memory.place_for(node, place, args)
            if not self._is_array(args[0]):
                _number_first(graph, target, operands, out)
            else:
                extra = {name: numbers[number.place] for name, number in keywords.items()}
                inplace = f"{function.__name__}_"
                if out is operands[0] and hasattr(torch.Tensor, inplace):  # takes less time to call
                    graph.call_method(inplace, tuple(operands), extra)
                else:
                    graph.call_function(function, tuple(operands), {**extra, "out": out})
            held[node] = out
        for value, home in memory.homes.items():
            if held[value] is not home:
                graph.call_method("copy_", (home, held[value]))
        scratch = memory.finish()
        graph.output(None)
        return fx.GraphModule({}, graph).forward, scratch

    def of_lists(self, arrays: Sequence[str]) -> tuple[Callable[..., Any], int] | None:
        """Compile the function of lists of blocks and count its buffer lists; None where no list form exists."""
        graph = fx.Graph()
        held: dict[Node, Node] = {self.program.inputs[name]: graph.placeholder(name) for name in arrays}
        if not self.outputs:  # nothing is written
            return None
        dtype = self.program.kinds[next(iter(self.outputs.values()))]
        memory = _Memory(self, graph, held)
        numbers = [graph.placeholder(f"number{i}") for i in range(len(self.inner))]
        for place, (node, target, args, keywords) in enumerate(self.steps):
            if target == "to" and args[0] in self.program.inputs.values():  # noise, which comes as wide as it is needed
                held[node] = held[args[0]]
                continue
            function: Any = target if keywords else _OUT.get(target)
            if function not in _OF_LISTS or self.program.kinds[node] == torch.bool:
                return None
            operands = [numbers[a.place] if isinstance(a, _Number) else held.get(a, a) for a in args]
            extra = {name: numbers[number.place] for name, number in keywords.items()}
            turned = not self._is_array(args[0])  # a number first, which lists take last
            out = memory.place_for(node, place, args, first=operands[turned])
            if out is not operands[turned]:
                graph.call_function(torch._foreach_copy_, (out, operands[turned]))
            if turned:
                function = _turned(graph, function, out)
                operands = [out, operands[0]]
            if len(operands) > 1 and operands[1] in numbers:
                function, operands[1] = _narrowed(graph, function, operands[1], dtype)
            graph.call_function(_OF_LISTS[function], (out, *operands[1:]), extra)
            held[node] = out
        for value, home in memory.homes.items():
            if held[value] is not home:
                graph.call_function(torch._foreach_copy_, (home, held[value]))
        scratch = memory.finish()
        graph.output(None)
        return fx.GraphModule({}, graph).forward, scratch

    def last_uses(self) -> dict[Node, int]:
        """The last step that needs a value; past the end for what goes out."""
        last: dict[Node, int] = {}
        for place, (_, _, args, _) in enumerate(self.steps):
            for arg in args:
                if isinstance(arg, fx.Node):
                    last[arg] = place
        for value in self.outputs.values():
            last[value] = len(self.steps)
        return last


class _Memory:
    """Where results go: over a value that is needed no more, to scratch where there is none.

    An output goes to its own array where that is free by then, else to scratch, and is copied at the end.
    """

    def __init__(self, rewriter: Rewriter, graph: fx.Graph, held: dict[Node, Node]) -> None:
        self.homes = {value: held[rewriter.program.inputs[name]] for name, value in rewriter.outputs.items()}
        self._graph = graph
        self._held = held
        self._last = rewriter.last_uses()
        self._buffers = [graph.placeholder(f"scratch{i}") for i in range(len(rewriter.steps))]
        self._used = 0
        self._holds = {place: node for node, place in held.items() if place in self.homes.values()}

    def _free(self, place: Node, now: int) -> bool:
        return place in self._holds and self._last.get(self._holds[place], -1) <= now

    def place_for(self, node: Node, now: int, args: Sequence[Any], first: Node | None = None) -> Node:
        """The memory that the result of step ``now`` is written to.

        Args:
            node: the result.
            now: the step.
            args: its operands.
            first: the only operand that may be written over, where that is done before others are read.
        """
        operands = [self._held[arg] for arg in args if isinstance(arg, fx.Node)]
        scratch = self._buffers[: self._used]
        home = [self.homes[node]] if node in self.homes else operands  # a passing value may use any dying operand's
        places = [place for place in [*home, *scratch] if first is None or place is first or place not in operands]
        found = next((place for place in places if self._free(place, now)), None)
        if found is None:
            found, self._used = self._buffers[self._used], self._used + 1
        self._holds[found] = node
        return found

    def finish(self) -> int:
        """Drop what was not needed; the number of scratch buffers."""
        for buffer in self._buffers[self._used :]:
            self._graph.erase_node(buffer)
        return self._used


class _Number:
    """A number that a block is given."""

    def __init__(self, place: int) -> None:
        self.place = place


def _mapped(value: Any, values: Mapping[Node, Node]) -> Any:
    return values[value] if isinstance(value, fx.Node) else value


def _number_quotient(a: Any, b: Any) -> Any:
    """a/b, as tensors divide: by 0 it is infinite, or none."""
    if isinstance(b, float | int) and b == 0 and isinstance(a, float | int):
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)  # noqa: PLR0124
    return a / b


def _chosen(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _of_tensors(function: Callable[..., Tensor]) -> Callable[..., float]:
    return lambda *numbers: float(function(*(torch.tensor(x, dtype=torch.float64) for x in numbers)))


_OF_NUMBERS: dict[Any, Callable[..., Any]] = {
    operator.truediv: _number_quotient,
    torch.where: _chosen,
    **{function: _of_tensors(function) for function in (torch.pow, torch.fmod, torch.atan2)},
}


def _scalar_function(name: str) -> Callable[[float], float]:
    """A function of a number that gives what torch gives, where it is infinite or none too."""
    exact = getattr(math, name) if name in ("sqrt", "exp", "log", "sin", "cos", "tan", "tanh") else None
    general = _of_tensors(getattr(torch, name))

    def function(x: float) -> float:
        try:
            return exact(x) if exact is not None else general(x)
        except (OverflowError, ValueError):
            return general(x)

    return function


def _general(graph: fx.Graph, node: Node, operands: list[Any]) -> Node:
    """An operation without a place to write to."""
    if node.op == "call_method":
        return graph.call_method(str(node.target), tuple(operands))
    return graph.call_function(_number_where if node.target is torch.where else node.target, tuple(operands))


def _number_where(condition: Any, yes: Any, no: Any) -> Tensor:
    """torch's, whose condition may be a number."""
    return torch.where(torch.as_tensor(condition, dtype=torch.bool), yes, no)


def _number_first(graph: fx.Graph, target: Any, operands: list[Any], out: Node) -> None:
    """A number and an array, which torch's functions take the other way round only."""
    number, array = operands
    if target is operator.mul:
        graph.call_function(torch.mul, (array, number), {"out": out})
    elif target is operator.add:
        graph.call_function(torch.add, (array, number), {"out": out})
    elif target is operator.sub:
        graph.call_function(torch.neg, (array,), {"out": out})
        graph.call_function(torch.add, (out, number), {"out": out})
    else:
        graph.call_function(torch.reciprocal, (array,), {"out": out})
        graph.call_function(torch.mul, (out, number), {"out": out})


def _turned(graph: fx.Graph, function: Any, out: Node) -> Any:
    """A number and a list, s - x or s / x: -x or 1/x is written; the operation that is left takes s last."""
    if function is torch.sub:
        graph.call_function(_OF_LISTS[torch.neg], (out,))
        return torch.add
    if function is torch.div:
        graph.call_function(_OF_LISTS[torch.reciprocal], (out,))
        return torch.mul
    return function


def _narrowed(graph: fx.Graph, function: Any, number: Node, dtype: Any) -> tuple[Any, Node]:
    """A number as a tensor of the list's dtype; as a number, torch would make one of it for every tensor."""
    if function is torch.sub:  # which takes no tensor here
        function, number = torch.add, graph.call_function(operator.neg, (number,))
    return function, graph.call_function(torch.full, ((), number), {"dtype": dtype})
