"""Compositions of operations are in a program what they are in torch, by either machine."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from thetadot.fusion.blocks import Blocks
from thetadot.fusion.compiler import compiler
from thetadot.fusion.components import component, components
from thetadot.fusion.march import March
from thetadot.fusion.program import CannotCompile

DIM = 3
PATHS = 37


def points(dtype):
    grid = torch.linspace(-2.3, 2.7, PATHS * DIM, dtype=torch.float64)
    return torch.sin(7.0 * grid * grid).mul(2.5).reshape(PATHS, DIM).to(dtype)


def by_blocks(found, x):
    columns = [column.clone() for column in x.unbind(-1)]
    names = [component("x", i) for i in range(DIM)]
    blocks = Blocks(found.program, changing="")
    (pieces,) = blocks.pieces([columns], names)
    blocks.run(pieces, None, blocks.prepare(dict(found.constants))[1])
    return torch.stack(columns, -1)


def by_kernel(found, x):
    columns = [column.clone() for column in x.unbind(-1)]
    kinds = {component("x", i): x.dtype for i in range(DIM)}
    March(found, kinds, (), "normal", "test")(columns, [], steps=1, before=0, key=0)
    return torch.stack(columns, -1)


def same(function, dtype, machines, *, exact_choice=True):
    """Require that the traced function is torch's own on the points; return on how many machines."""
    assert machines
    x = points(dtype)
    found = components(lambda given: {"x": 0.5 * given["x"] + function(given["x"])}, {"x": dtype}, DIM, ())
    wanted = (0.5 * x + function(x)).to(dtype)
    for machine in machines:
        close = torch.isclose(machine(found, x), wanted, rtol=1e-10, atol=1e-10, equal_nan=True)
        # a choice or a whole part may hang on the last digit
        assert close.all() if exact_choice else close.float().mean() > 0.95
    return len(machines)


MACHINES = [by_blocks, by_kernel] if compiler() is not None else [by_blocks]

F64 = torch.float64
WEIGHTS = torch.tensor([[1.0, 0.5, -0.3], [0.0, 2.0, 0.1], [-1.0, 0.2, 0.7]], dtype=F64)


def filled(x):
    y = torch.empty_like(x)
    y[:, 0] = x[:, 1]
    y[..., 1:] = -x[:, :2]
    return y


def grown(x):
    y = x.clone()
    y += 1.0
    y.mul_(x)
    return y


def shifted(x):
    y = torch.zeros_like(x)
    y[:, :1].add_(x[:, 2:])
    return y


SIGNATURES = {
    "power 0": lambda x: x**0,
    "an even power of a negative number": lambda x: (x / 2) ** 20,
    "an odd power of a negative number": lambda x: (x / 2) ** 17,
    "a large negative power": lambda x: (x.abs() + 1) ** -17,
    "a negative number to a broken power": lambda x: x**1.5,
    "a number to a power": lambda x: 2.0**x,
    "powers by component": lambda x: x ** torch.tensor([1.0, 2.0, 3.0], dtype=F64),
    "x to the x": lambda x: x.abs() ** x,
    "quotient, rounded down": lambda x: torch.div(x, 0.7, rounding_mode="floor"),
    "quotient, rounded to zero": lambda x: torch.div(x, 0.7, rounding_mode="trunc"),
    "//": lambda x: x // 0.7,
    "%": lambda x: x % 0.7,
    "% of a negative number": lambda x: x % -0.7,
    "fmod": lambda x: torch.fmod(x, 0.7),
    "a truth times a number": lambda x: (x > 0) * 2.0,
    "truths as whole numbers": lambda x: ((x > 0) * 1 + (x > 1) * 1) * x,
    "a count": lambda x: (x > 0).sum(-1, keepdim=True) * x,
    "a mean of truths": lambda x: (x > 0).double().mean(-1, keepdim=True) * x,
    "a truth compared": lambda x: ((x > 0) < 0.5) * x,
    "and": lambda x: ((x > 0) & (x < 1)) * x,
    "or, not, xor": lambda x: torch.where((x > 1) | ~(x > -1) ^ (x > 0), x, -x),
    "a choice of numbers": lambda x: torch.where(x > 0, 1.0, -1.0) * x,
    "a choice of whole numbers": lambda x: torch.where(x > 0, 3, 0) * 0.5,
    "a choice by a row": lambda x: torch.where(x[:, :1] > 0, x, 0.0),
    "whole numbers": lambda x: x.long() * 0.5 + x.int() // 2,
    "rounding": lambda x: x.round() + x.trunc() - x.ceil() + x.frac(),
    "axes by tuple": lambda x: x.unsqueeze(1).expand(-1, 2, -1).sum((1, 2))[:, None] * x,
    "deviation": lambda x: x * x.std(-1, keepdim=True) + x.var(-1, keepdim=True, correction=0),
    "alpha": lambda x: torch.add(x, x * x, alpha=0.5) + torch.sub(x, x, alpha=3) + torch.rsub(x, 1.0, alpha=2),
    "bounds by component": lambda x: torch.clamp(x, *torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.5, 2.0]], dtype=F64)),
    "one bound": lambda x: x.clamp(max=0.5) + x.clamp(min=-0.5),
    "cumulated": lambda x: x.cumsum(-1),
    "filled in place": filled,
    "grown in place": grown,
    "a view changed": shifted,
    "by a list": lambda x: x[:, [1, 2, 0]],
    "by an index": lambda x: x[:, torch.tensor([1, 1, 0])] + x.index_select(1, torch.tensor([2, 1, 0])),
    "gradient by an index": torch.func.grad(lambda x: (x[:, [0, 0, 2]] ** 3).sum()),
    "einsum": lambda x: x * torch.einsum("ni,ij,nj->n", x, WEIGHTS, x)[:, None],
    "matrix from the left": lambda x: (WEIGHTS @ x.T).T,
    "cross": lambda x: torch.linalg.cross(x, WEIGHTS[:1].expand_as(x), dim=-1),
    "made inside": lambda x: x * torch.arange(3) + torch.linspace(0, 1, 3, dtype=F64),
    "whole constants": lambda x: x * torch.tensor([1, 2, 3]) + torch.tensor(3) / 2,
    "special functions": lambda x: torch.erf(x) + torch.atan(x) + torch.sinh(x) + x.expm1() + torch.atan2(x, x * x),
    "log1p of little": lambda x: torch.log1p(1e-9 * x) * 1e9 + torch.log1p(x.abs() * 1e9),
    "activations": lambda x: torch.nn.functional.gelu(x) + torch.nn.functional.elu(x) + torch.nn.functional.mish(x),
    "split by sizes": lambda x: torch.cat(x.split([1, 2], -1)[::-1], -1),
    "repeated": lambda x: x[:, :1].repeat(1, 3) + torch.nn.functional.pad(x[:, 1:], (1, 0), value=2.0),
    "the largest where there is none": lambda x: torch.maximum(x, torch.log(x)) + torch.log(x).amin(-1, keepdim=True),
    "a product and itself": lambda x: (2.0 * x) + (2.0 * x),
    "a drift to a number": lambda x: 0.3 * (1.0 - x),
    "a network's loss": torch.func.grad(
        lambda x: torch.nn.functional.binary_cross_entropy_with_logits(
            x @ WEIGHTS, torch.tensor([0.0, 1.0, 1.0], dtype=F64).expand_as(x), reduction="none"
        ).sum()
    ),
}


def refused(error, *reasons):
    assert any(reason in str(error) for reason in reasons)


@pytest.mark.parametrize("function", SIGNATURES.values(), ids=SIGNATURES)
def test_every_signature_is_torchs(function):
    try:
        assert same(function, F64, MACHINES) == len(MACHINES)
    except CannotCompile as error:  # in place, no value may go to two places: such steps are marched plainly
        refused(error, "two places", "converts")
        if [by_blocks] == MACHINES:
            pytest.skip("without a compiler there is no other machine")
        assert same(function, F64, MACHINES[1:]) == 1


UNARY = {
    "neg": torch.neg,
    "sin": torch.sin,
    "tanh": torch.tanh,
    "abs": torch.abs,
    "sign": torch.sign,
    "square": torch.square,
    "cube": lambda x: (x / 3) ** 3,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "relu": torch.relu,
    "exp": lambda x: torch.exp(-x.abs()),
    "root": lambda x: x.abs().sqrt(),
    "log": lambda x: torch.log1p(x.abs()),
    "roll": lambda x: x.roll(1, -1),
    "flip": lambda x: x.flip(-1),
    "sum": lambda x: x.sum(-1, keepdim=True),
    "mean": lambda x: x.mean(1, True),  # noqa: FBT003
    "largest": lambda x: x.amax(-1, keepdim=True),
    "softmax": lambda x: torch.softmax(x, -1),
    "first": lambda x: x[..., :1],
    "transposed": lambda x: x.unsqueeze(1).transpose(1, 2).squeeze(-1),
    "clamp": lambda x: x.clamp(-1, 1.5),
    "positive": lambda x: (x > 0.1) * torch.full_like(x, 1.5),
    "floor": lambda x: torch.floor(x + 0.123),
    "number": lambda x: 1.7 - x,
    "share": lambda x: 2.0 / (1.5 + x * x),
}

BINARY = {
    "add": torch.add,
    "sub": lambda a, b: torch.sub(a, b, alpha=2),
    "mul": torch.mul,
    "div": lambda a, b: a / (1.5 + b.abs()),
    "larger": torch.maximum,
    "smaller": torch.minimum,
    "where": lambda a, b: torch.where(a > b + 0.01, a, 2.0),
    "both": lambda a, b: ((a > 0.1) & (b < 0.7)) * b,
    "lerp": lambda a, b: torch.lerp(*torch.broadcast_tensors(a, b), 0.3),
    "hypot": lambda a, b: (a * a + b * b + 0.1).sqrt(),
}


def trees():
    """Expressions: a leaf is x, a node a name and its parts."""
    return st.recursive(
        st.just("x"),
        lambda parts: st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), parts), st.tuples(st.sampled_from(sorted(BINARY)), parts, parts)
        ),
        max_leaves=6,
    )


def value(tree, x):
    if tree == "x":
        return x
    name, *parts = tree
    return {**UNARY, **BINARY}[name](*(value(part, x) for part in parts))


@pytest.mark.slow
@seed(5)
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tree=trees())
def test_compositions_in_torchs_own_operations_are_torchs(tree):
    try:
        same(lambda x: value(tree, x), F64, [by_blocks], exact_choice=False)
    except CannotCompile as error:
        refused(error, "two places")


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@seed(6)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(group=st.lists(trees(), min_size=12, max_size=12))
def test_compositions_in_kernels_are_torchs(group):
    """Several at a time, each in a third of the result: a kernel takes a quarter of a second to compile."""

    def all_of_them(x):
        total = torch.zeros_like(x)
        for scale, tree in enumerate(group, start=1):
            total = total + torch.tanh(value(tree, x)) * math.sqrt(scale)
        return total

    same(all_of_them, F64, [by_kernel], exact_choice=False)
