"""A program as C++: one statement an operation, each rounded as torch rounds it."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import fx

from thetadot.fusion.program import NUMBER, CannotCompile, widest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thetadot.fusion.program import Kind, Program

TYPES: dict[Any, str] = {
    NUMBER: "double",
    torch.float64: "double",
    torch.float32: "float",
    torch.bfloat16: "bfloat16",
    torch.float16: "_Float16",
    torch.int32: "int32_t",
    torch.int64: "uint32_t",  # words: 32 bits without sign, in int64 tensors
    torch.bool: "bool",
}

_INFIX = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.and_: "&",
    operator.or_: "|",
    operator.xor: "^",
    operator.lshift: "<<",
    operator.rshift: ">>",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}
# fmt: off
_ELEMENTARY = (
    "sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "abs", "floor", "ceil", "trunc", "erf", "erfc", "expm1",
    "exp2", "log2", "log10", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh",
)
# fmt: on
_METHODS = {name: f"std::{name}" for name in _ELEMENTARY} | {"round": "std::nearbyint"}
_FUNCTIONS = {
    operator.neg: "-",
    torch.minimum: "least",
    torch.maximum: "greatest",
    torch.sign: "sign",
    torch.sqrt: "std::sqrt",
    torch.pow: "std::pow",
    torch.fmod: "std::fmod",
    torch.atan2: "std::atan2",
}

PREAMBLE = r"""
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <omp.h>

struct bfloat16 {
    uint16_t bits;
    bfloat16() = default;
    inline operator float() const {
        uint32_t wide = uint32_t(bits) << 16; float x; std::memcpy(&x, &wide, 4); return x;
    }
    inline explicit bfloat16(float x) {  // to the nearest, ties to even
        uint32_t wide; std::memcpy(&wide, &x, 4);
        uint32_t rounded = (wide + 0x7FFFu + ((wide >> 16) & 1u)) >> 16;
        bits = uint16_t(x != x ? 0x7FC0u : rounded);
    }
};
template <class To, class From> static inline To bits_of(From x) { To y; std::memcpy(&y, &x, sizeof y); return y; }
template <class T> static inline T sign(T x) { return T(T(0) < x) - T(x < T(0)); }
template <class T> static inline T least(T a, T b) { return a != a || a < b ? a : b; }
template <class T> static inline T greatest(T a, T b) { return a != a || a > b ? a : b; }
"""


class SourceWriter:
    """Writes statements; knows the C++ name of every node."""

    def __init__(self, program: Program, names: Mapping[str, str]) -> None:
        self.program = program
        self.names = {node: names[name] for name, node in program.inputs.items() if name in names}

    def statements(self, *, numbers: bool) -> list[str]:
        """Write the statements that compute numbers, or those that compute elements."""
        lines = []
        for node in self.program.nodes:
            if (self.program.kinds[node] == NUMBER) == numbers:
                self.names[node] = f"v{len(self.names)}"
                kind = self.program.kinds[node]
                lines.append(f"const {TYPES[kind]} {self.names[node]} = {self._expression(node, kind)};")
        return lines

    def value(self, operand: Any, kind: Kind) -> str:
        """An operand as it enters an operation of ``kind``."""
        if isinstance(operand, fx.Node):
            name, own = self.names[operand], self.program.kinds[operand]
            return name if own == kind else f"{TYPES[kind]}({name})"
        if isinstance(operand, bool) or not isinstance(operand, float | int):
            raise CannotCompile(f"operand {operand!r} is neither a number nor an array. Use numbers and tensors.")
        if kind == torch.int64:
            return f"{int(operand) & 0xFFFFFFFF:#x}u"
        if kind == torch.int32:
            return f"int32_t({int(operand)})"
        return f"{TYPES[kind]}({_literal(float(operand))})"

    def _expression(self, node: fx.Node, kind: Kind) -> str:  # noqa: PLR0911 - one for each way to write it
        target, args = node.target, node.args
        if node.op == "call_method":
            return self._method(node, kind)
        inner = self._operand_kind(node, kind)
        match target:
            case operator.lshift | operator.rshift:
                return f"{self.value(args[0], inner)} {_INFIX[target]} {args[1]}"
            case operator.pow if args[1] == 2:
                return " * ".join([self.value(args[0], kind)] * 2)
            case torch.where:
                chosen = self.names[cast("fx.Node", args[0])]
                return f"{chosen} ? {self.value(args[1], kind)} : {self.value(args[2], kind)}"
        operands = [self.value(arg, inner) for arg in args]
        if target is operator.truediv and kind != NUMBER and self._is_number(args[0]):
            return f"{TYPES[kind]}(1) / {operands[1]} * {operands[0]}"  # as torch divides a float by a tensor
        if target in _INFIX:
            return f" {_INFIX[target]} ".join(operands)
        if target in _FUNCTIONS:
            return f"{_FUNCTIONS[target]}({', '.join(operands)})"
        raise CannotCompile(f"operation {target} has no C++ here. Use + - * / sqrt exp abs sign where minimum maximum.")

    def _is_number(self, operand: Any) -> bool:
        return not isinstance(operand, fx.Node) or self.program.kinds[operand] == NUMBER

    def _method(self, node: fx.Node, kind: Kind) -> str:
        own = self.value(node.args[0], self._operand_kind(node, kind))
        match node.target:
            case "to":
                return f"{TYPES[kind]}({own})"
            case "view":
                return f"bits_of<{TYPES[kind]}>({own})"
            case "sign":
                return f"sign({own})"
            case str(name) if name in _METHODS:
                return f"{_METHODS[name]}({own})"
        raise CannotCompile(f"method {node.target} has no C++ here. Use sqrt, exp, abs, sign, floor.")

    def _operand_kind(self, node: fx.Node, kind: Kind) -> Kind:
        """Return the kind that the operands are converted to, the widest among them."""
        if kind not in (torch.bool, torch.int32, torch.int64) and node.target not in ("to", "view"):
            return kind
        return widest([self.program.kinds[operand] for operand in node.all_input_nodes])


def _literal(x: float) -> str:
    if math.isnan(x):
        return "std::numeric_limits<double>::quiet_NaN()"
    if math.isinf(x):
        return f"{'-' if x < 0 else ''}std::numeric_limits<double>::infinity()"
    return x.hex()
