"""What is traced is what the function does; what cannot be traced is refused."""

import operator

import pytest
import torch

from thetadot.fusion import trace
from thetadot.fusion.program import NUMBER, CannotCompile

F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16


def kind_of(function, **inputs):
    program = trace(lambda given: {"y": function(*(given[name] for name in inputs))}, inputs)
    return program.kinds[program.outputs["y"]]


@pytest.mark.parametrize(
    "branch",
    [
        lambda x: x if x > 0 else -x,
        lambda x: x and 1.0,
        lambda x: not x,
        lambda x: [0.0 for _ in x],
        lambda x: x if x == 0 else -x,
    ],
    ids=["if", "and", "not", "for", "equality"],
)
@pytest.mark.parametrize("kind", [F32, NUMBER])
def test_a_branch_on_a_value_is_refused(branch, kind):
    with pytest.raises(CannotCompile, match=r"branches on a value.*prepare\(\).*torch.where"):
        trace(lambda given: {"y": branch(given["x"])}, {"x": kind})


def test_a_branch_on_structure_is_none():
    for flag in (True, False):
        program = trace(lambda given: {"y": given["x"] + 1.0 if flag else -given["x"]}, {"x": F32})
        assert [node.target for node in program.nodes] == [operator.add if flag else operator.neg]


@pytest.mark.parametrize(
    ("function", "inputs", "kind"),
    [
        (lambda s, t: s * t - 1.0, {"s": NUMBER, "t": NUMBER}, NUMBER),
        (lambda s, x: s * x, {"s": NUMBER, "x": F32}, F32),
        (lambda x, y: x + y, {"x": F32, "y": F64}, F64),
        (lambda x, y: x + y, {"x": BF16, "y": F32}, F32),
        (lambda x: x.to(F32), {"x": BF16}, F32),
        (lambda x: x.view(torch.int32), {"x": F32}, torch.int32),
        (lambda w: w & 0xFF, {"w": torch.int64}, torch.int64),
        (lambda x: x < 0.0, {"x": F32}, torch.bool),
        (lambda s: s < 0.0, {"s": NUMBER}, NUMBER),
        (lambda x, s: torch.where(x < 0.0, s, x), {"x": F64, "s": NUMBER}, F64),
        (lambda s, t: torch.where(s < t, s, t), {"s": NUMBER, "t": NUMBER}, NUMBER),
    ],
)
def test_kinds_are_those_of_torchs_promotion(function, inputs, kind):
    assert kind_of(function, **inputs) == kind


def test_what_no_output_needs_is_left_out():
    program = trace(lambda given: {"y": given["x"] + 1.0, "z": (given["x"] * 7.0, given["x"])[1]}, {"x": F32})
    assert [node.target for node in program.nodes] == [operator.add]


def test_a_conversion_to_the_same_dtype_is_none():
    program = trace(lambda given: {"y": given["x"].to(F32), "z": given["x"].to(F32) + 1.0}, {"x": F32})
    assert [node.target for node in program.nodes] == [operator.add]
    assert program.outputs["y"] is program.inputs["x"]


def test_what_is_asked_for_besides_is_a_float32_array():
    program = trace(lambda given: {"y": given["draw1"] * 2.0}, {})
    assert program.kinds[program.inputs["draw1"]] == F32


@pytest.mark.parametrize("function", [torch.sin, lambda x: torch.cumsum(x, 0), lambda x: x.median(), lambda x: x**3])
def test_an_operation_without_cpp_is_named(element, function):
    with pytest.raises(CannotCompile, match=r"(sin|cumsum|median|pow).*Use"):
        element(lambda given: {"y": function(given["x"])}, {"x": torch.ones(3)}, {"y": F32})
