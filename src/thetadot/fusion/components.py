r"""A function of a batch of vectors as a program of their components.

    f: (paths, dim) -> (paths, dim)        becomes        x_0, ..., x_{dim-1}  ->  f_0, ..., f_{dim-1}

torch traces the function once, derivatives included (make_fx on tensors without memory); its operations are then
carried out on arrays of symbols, so that whatever only moves components about (indexing, stacking, sums over dim)
leaves nothing behind. Numbers in the function become inputs of the program, so that another step size or temperature
is the same program.

Paths must not see each other: the function is traced on two paths, and both must be given the same program, each of
its own components alone.
"""

from __future__ import annotations

import logging
import operator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import fx
from torch._decomp import get_decompositions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from thetadot.fusion import operations
from thetadot.fusion.places import boxed
from thetadot.fusion.program import NUMBER, CannotCompile, Interacting, Program, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from thetadot.fusion.program import Kind

    Function = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor | float]]
    Arrays = Mapping[str, tuple[torch.dtype, int]]

_PATHS = 2
_MOST_NODES = 20_000
_FOREIGN = "foreign"


@dataclass(frozen=True)
class Components:
    """A program of components.

    Attributes:
        program: inputs and outputs ``name_i`` for component i of array ``name``; numbers by their own names.
        constants: the numbers that stood in the function, by the names of the inputs that they have become.
    """

    program: Program
    constants: Mapping[str, float] = field(default_factory=dict)


def component(name: str, place: int) -> str:
    """Return the name of component ``place`` of array ``name``."""
    return f"{name}_{place}"


def components(
    function: Function,
    arrays: Mapping[str, torch.dtype],
    dim: int,
    numbers: tuple[str, ...],
    widths: Mapping[str, int] = MappingProxyType({}),
) -> Components:
    """Trace ``function`` into operations on scalar components.

    Args:
        function: pure, of tensors by name: arrays (paths, dim) and numbers (); returns both kinds by name.
        arrays: name and dtype of each array.
        dim: components of every array, returned ones too.
        numbers: names of inputs that are the same for all paths; float64.
        widths: components of those arrays that have another number of them.

    Raises:
        Interacting: its paths see each other.
        CannotCompile: it branches on a value, or uses an operation that has no kernel.

    Example:
        >>> found = components(lambda x: {"y": 3.0 * x["x"].sum(-1, keepdim=True)}, {"x": torch.float32}, 2, ())
        >>> [node.target.__name__ for node in found.program.nodes], found.constants
        (['add', 'mul'], {'constant0': 3.0})
    """
    given = {name: (dtype, widths.get(name, dim)) for name, dtype in arrays.items()}
    graph, names = _graph(function, given, numbers)
    first, second = (_Scalars(graph, names, given, dim, numbers, path).program() for path in range(_PATHS))
    if _text(first) != _text(second):
        raise Interacting("paths are not treated alike: the function holds something of their number.")
    return first


def _graph(function: Function, arrays: Arrays, numbers: tuple[str, ...]) -> tuple[fx.GraphModule, list[str]]:
    """The operations of ``function``, and the names of what it returns."""
    inputs = (*arrays, *numbers)
    names: list[str] = []

    def flat(*given: Tensor) -> tuple[Tensor | float, ...]:
        outputs = function(dict(zip(inputs, given, strict=True)))
        names[:] = outputs
        return tuple(outputs.values())

    with FakeTensorMode(allow_non_fake_inputs=True), _quietly():
        examples = [torch.empty(_PATHS, width, dtype=dtype) for dtype, width in arrays.values()]
        examples += [torch.empty((), dtype=torch.float64) for _ in numbers]
        try:
            traced = _traced(flat, examples)
            if any(node.op == "call_function" and _writes(node) for node in traced.graph.nodes):
                traced = _traced(torch.func.functionalize(traced), examples)
        except CannotCompile:
            raise
        except Exception as error:  # whatever a user's function throws at tensors without memory
            said = str(error).strip().splitlines()
            raise CannotCompile(
                f"it cannot be traced ({type(error).__name__}: {said[0][:160] if said else ''})."
            ) from error
    if len(traced.graph.nodes) > _MOST_NODES:
        raise CannotCompile(f"it has more than {_MOST_NODES} operations.")
    return traced, names


def _traced(function: Callable[..., Any], examples: Sequence[Tensor]) -> fx.GraphModule:
    return make_fx(function, decomposition_table=_decompositions(), tracing_mode="fake")(*examples)


def _writes(node: fx.Node) -> bool:
    """Whether it changes a tensor in place."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def _on_its_own(node: fx.Node) -> bool:
    """Whether what is written to is nobody else's: then it is as good as a new tensor."""
    target = node.args[0]
    if not isinstance(target, fx.Node) or len(target.users) != 1 or target.op != "call_function":
        return False
    returns = getattr(getattr(target.target, "_schema", None), "returns", ())
    return all(given.alias_info is None or given.alias_info.is_write for given in returns)


@contextmanager
def _quietly() -> Iterator[None]:
    """Mute what torch logs of a function that throws, which is told to the caller anyway."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


@cache
def _decompositions() -> Any:
    """Compound operations whose parts :mod:`operations` has."""
    aten = torch.ops.aten
    names = (
        "logsumexp _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data softplus softplus_backward "
        "silu silu_backward gelu gelu_backward elu elu_backward leaky_relu leaky_relu_backward log_sigmoid_forward "
        "log_sigmoid_backward mse_loss mse_loss_backward huber_loss huber_loss_backward smooth_l1_loss "
        "smooth_l1_loss_backward addmm addmv dot linalg_vector_norm xlogy logaddexp lerp addcmul addcdiv sinc "
        "threshold_backward hardtanh hardtanh_backward sigmoid_backward tanh_backward frac hypot mish mish_backward "
        "native_layer_norm linalg_cross heaviside"
    )
    return get_decompositions([getattr(aten, name) for name in names.split()])


def _text(found: Components) -> list[Any]:
    """A program without its nodes' names: equal for equal programs."""
    place: dict[Any, Any] = {node: name for name, node in found.program.inputs.items()}
    lines: list[Any] = []
    for node in found.program.nodes:
        lines.append((node.target, [place.get(a, a) if isinstance(a, fx.Node) else a for a in node.args]))
        place[node] = len(place)
    outputs = {
        name: place[value] if isinstance(value, fx.Node) else value for name, value in found.program.outputs.items()
    }
    return [lines, outputs, dict(found.constants)]


class _Scalars:
    """Carries out a graph on arrays of symbols, for one path."""

    def __init__(
        self,
        graph: fx.GraphModule,
        names: list[str],
        arrays: Arrays,
        dim: int,
        numbers: tuple[str, ...],
        path: int,
    ) -> None:
        self.graph, self.names, self.arrays, self.dim, self.numbers, self.path = (
            graph,
            names,
            arrays,
            dim,
            numbers,
            path,
        )
        self.names_of: dict[float, str] = {}
        self.known: dict[Any, Any] = {}
        self.numeric: set[int] = set()  # symbols that are the same for all paths
        self.dtype, _ = next(iter(arrays.values()))

    def program(self) -> Components:
        kinds: dict[str, Kind] = {
            component(name, i): dtype for name, (dtype, width) in self.arrays.items() for i in range(width)
        }
        kinds |= dict.fromkeys(self.numbers, NUMBER)
        program = trace(self._run, kinds)
        used = {node for step in program.nodes for node in step.all_input_nodes}
        used |= {value for value in program.outputs.values() if isinstance(value, fx.Node)}
        if any(name.startswith(_FOREIGN) and node in used for name, node in program.inputs.items()):
            raise Interacting("paths see each other.")
        program = _without(program, used)
        return Components(program, {n: v for v, n in self.names_of.items() if n in program.inputs})

    def _run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        placeholders = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        values: dict[fx.Node, Any] = {}
        for node, name in zip(placeholders, (*self.arrays, *self.numbers), strict=True):
            values[node] = boxed(given[name]) if name in self.numbers else self._rows(given, name)
        self.numeric = {id(given[name]) for name in self.numbers}
        for node in self.graph.graph.nodes:
            if node.op == "get_attr":
                values[node] = self._held(getattr(self.graph, node.target))
            elif node.op == "call_function":
                args, keywords = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
                values[node] = self._call(node, args, keywords, given)
            elif node.op == "output":
                return self._outputs(node.args[0], values, given)
        raise CannotCompile("it returns nothing.")

    def _rows(self, given: Mapping[str, Any], name: str) -> Any:
        _, width = self.arrays[name]
        rows = np.empty((_PATHS, width), dtype=object)
        for path in range(_PATHS):
            for i in range(width):
                own = component(name, i)
                rows[path, i] = given[own] if path == self.path else given[f"{_FOREIGN}_{own}"]
        return rows

    def _number(self, value: float, given: Any) -> Any:
        """A number that meets a symbol as an input."""
        name = self.names_of.setdefault(value, f"constant{len(self.names_of)}")
        return given[name] if name in given else given.add(name, NUMBER)

    def _each(self, function: Callable[..., Any], operands: Sequence[Any], given: Any) -> Any:
        """An elementary function, element by element, in torch's broadcasting; of numbers alone, its value."""
        arrays = np.broadcast_arrays(*operands)
        result = np.empty(arrays[0].shape, dtype=object)
        for place in np.ndindex(result.shape):
            values = [array[place] for array in arrays]
            key = (function, *(v if isinstance(v, float) else id(v) for v in values))
            if key in self.known:  # computed before
                result[place] = self.known[key]
                continue
            if (kept := _neutral(function, values)) is not None:
                result[place] = kept
            elif all(isinstance(value, float) for value in values):
                result[place] = float(function(*(torch.tensor(value, dtype=torch.float64) for value in values)))
            else:
                result[place] = self._computed(function, values, given)
            self.known[key] = result[place]
        return result

    def _computed(self, function: Callable[..., Any], values: list[Any], given: Any) -> Any:
        numeric = [isinstance(value, float) or id(value) in self.numeric for value in values]
        symbols = [self._number(v, given) if isinstance(v, float) else v for v in values]
        if function is torch.where and not numeric[0] and all(numeric[1:]):
            symbols[1] = symbols[0].to(self.dtype) * self._number(0.0, given) + symbols[1]  # one for each path
        if function is _truth:
            one, zero = (self._number(x, given) for x in (1.0, 0.0))
            found = torch.where(symbols[0], one, zero) if numeric[0] else symbols[0].to(self.dtype)
        else:
            found = function(*symbols)
        if all(numeric):
            self.numeric.add(id(found))
        return found

    @staticmethod
    def _held(tensor: Tensor) -> Any:
        if tensor.numel() > _MOST_NODES:
            raise CannotCompile("it holds a large tensor.")
        return tensor.detach().to(torch.float64).numpy().astype(object)

    def _outputs(self, returned: Any, values: Mapping[fx.Node, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in zip(self.names, returned, strict=True):
            result = values[value] if isinstance(value, fx.Node) else boxed(float(value))
            if result.ndim == 0:
                found[name] = self._symbol(result.item(), given)
            else:
                row = np.broadcast_to(result, (_PATHS, self.dim))[self.path]
                found |= {component(name, i): self._symbol(row[i], given) for i in range(self.dim)}
        return found

    def _symbol(self, value: Any, given: Mapping[str, Any]) -> Any:
        return self._number(value, given) if isinstance(value, float) else value

    def _call(self, node: fx.Node, args: Any, keywords: dict[str, Any], given: Mapping[str, Any]) -> Any:
        name = getattr(node.target, "__name__", str(node.target)).split(".")[0]
        if name in operations.MADE:
            return self._held(cast("Callable[..., Tensor]", node.target)(*args, **keywords))
        if name.endswith("_") and _on_its_own(node):
            name = name.removesuffix("_")
        rule = operations.RULES.get(name)
        if rule is None:
            raise CannotCompile(f"it uses {name}, which has no kernel.")

        def each(function: Callable[..., Any], *operands: Any) -> Any:
            return self._each(function, [boxed(float(x)) if isinstance(x, float | int) else x for x in operands], given)

        if name not in operations.OF_TRUTHS and (_dtype_of(node) != torch.bool or name in operations.COMPARISONS):
            args = [self._counted(a, x, each) for a, x in zip(node.args, args, strict=True)]
        try:
            return rule(each, tuple(_shape_of(node)), *args, **keywords)
        except (TypeError, ValueError, IndexError) as error:
            raise CannotCompile(f"it uses {name} in a way that has no kernel ({error}).") from error

    def _counted(self, argument: Any, value: Any, each: Callable[..., Any]) -> Any:
        """Truth values that are computed with, as 0 and 1."""
        if not isinstance(argument, fx.Node) or _dtype_of(argument) != torch.bool:
            return value
        return each(_truth, value)


def _truth(value: Any) -> Any:
    """0 or 1; a number already where it is known."""
    return value


_NEUTRAL = {operator.mul: 1.0, operator.truediv: 1.0, operator.add: 0.0, operator.sub: 0.0}


def _neutral(function: Callable[..., Any], values: Sequence[Any]) -> Any:
    """Simplify x·1, x/1, x+0, x-0 and a decided choice; None for anything else."""
    if function is torch.where and isinstance(values[0], float):
        return values[1] if values[0] else values[2]
    if function not in _NEUTRAL:
        return None
    first, second = values
    if isinstance(second, float) and second == _NEUTRAL[function]:
        return first
    commutes = function in (operator.mul, operator.add)
    return second if commutes and isinstance(first, float) and first == _NEUTRAL[function] else None


def _shape_of(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val", node.meta.get("tensor_meta"))
    return tuple(getattr(value, "shape", ()))


def _dtype_of(node: fx.Node) -> torch.dtype | None:
    return getattr(node.meta.get("val", node.meta.get("tensor_meta")), "dtype", None)


def _without(program: Program, used: set[Any]) -> Program:
    """The program without inputs that nothing uses, apart from the arrays."""
    inputs = {
        name: node
        for name, node in program.inputs.items()
        if node in used or not name.startswith((_FOREIGN, "constant"))
    }
    return Program(program.nodes, program.kinds, inputs, program.outputs)
