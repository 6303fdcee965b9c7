"""A program run block by block in torch's combined operations is the program, to rounding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.fusion import Blocks, blocks, trace
from thetadot.fusion.program import NUMBER, CannotCompile

F64 = torch.float64
NAMES = ("x", "y", "z")
RULES = {
    "axpy": lambda x, y, z, s, t: {"x": x + s * y},
    "minus": lambda x, y, z, s, t: {"x": x - s * y},
    "mean": lambda x, y, z, s, t: {"x": x + s * (y - x)},
    "scaled-first": lambda x, y, z, s, t: {"x": s * x + y},
    "quotient": lambda x, y, z, s, t: {"x": x + s * y / (z * z + 1.0)},
    "minus-quotient": lambda x, y, z, s, t: {"x": x - s * y / (z * z + 1.0)},
    "number-first": lambda x, y, z, s, t: {"x": s - x, "y": t / (y * y + 2.0)},
    "adam": lambda x, y, z, s, t: {
        "y": y + s * (x - y),
        "z": z + t * (x * x - z),
        "x": x - s * (y + s * (x - y)) / ((z * z).sqrt() + 1e-8),
    },
    "rotation": lambda x, y, z, s, t: {"x": y + 1.0, "y": z + 1.0, "z": x + 1.0},
    "shared": lambda x, y, z, s, t: {"x": s * y + x, "y": s * y + z, "z": s * y},
    "twice": lambda x, y, z, s, t: {"x": x + y, "y": x + y},
    "chosen": lambda x, y, z, s, t: {"x": torch.where(x < s, y, z * t)},
    "bounded": lambda x, y, z, s, t: {"x": torch.minimum(x, y), "y": torch.maximum(x, z.abs()), "z": -z.sign()},
    "numbers": lambda x, y, z, s, t: {"x": (s * t + 1.0) * x, "s": s * t, "t": s - t},
    "self": lambda x, y, z, s, t: {"x": x + s * x, "y": y - s * y / (y * y + 1.0)},
    "constant": lambda x, y, z, s, t: {"s": s + 1.0, "x": x * 2.0},
}


def program_of(rule):
    kinds = dict.fromkeys(NAMES, F64) | dict.fromkeys(("s", "t"), NUMBER)
    return trace(lambda given: rule(*(given[name] for name in (*NAMES, "s", "t"))), kinds)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("numel", [1, 63, 64, 65, 1000])
def test_blocks_give_what_the_function_gives(name, numel, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 64)
    generator = torch.Generator().manual_seed(numel)
    arrays = {n: torch.randn(numel, generator=generator, dtype=F64) for n in NAMES}
    numbers = {"s": 0.3, "t": -0.7}
    expected = RULES[name](*arrays.values(), *numbers.values())
    expected = {n: value.clone() if n in arrays else value for n, value in expected.items()}
    untouched = {n: x.clone() for n, x in arrays.items() if n not in expected}
    outputs = Blocks(program_of(RULES[name]))(numbers, arrays, lambda *_: None)
    for n, value in expected.items():
        if n in arrays:
            assert torch.allclose(arrays[n], value, rtol=1e-13, atol=1e-14), n
        else:
            assert outputs[n] == value
    assert all(torch.equal(arrays[n], x) for n, x in untouched.items())


def rule_of(steps, outputs):  # noqa: C901
    """Sums, products and quotients, whose intermediate values die at any time."""

    def rule(x, y, z, s, t):  # noqa: C901
        values = [x, y, z]
        for kind, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            match kind:
                case "sum":
                    values.append(a + 0.3 * b)
                case "difference":
                    values.append(a - s * b)
                case "product":
                    values.append(t * a)
                case "quotient":
                    values.append(a - s * b / (a * a + 1.0))
                case "mean":
                    values.append(b + s * (a - b))
                case "least":
                    values.append(torch.minimum(a, b))
        left = dict(enumerate(values))
        for own in range(3):
            left.pop(own)
        found = {}
        for name, i in zip(NAMES, outputs, strict=True):
            if left:  # no value goes to two places, see below
                found[name] = left.pop([*left][i % len(left)])
        return found

    return rule


KINDS = ("sum", "difference", "product", "quotient", "mean", "least")
places = st.integers(0, 20)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), places, places), max_size=12),
    st.lists(places, min_size=3, max_size=3),
)
def test_no_value_is_written_over_while_it_is_needed(steps, outputs):
    rule = rule_of(steps, outputs)
    generator = torch.Generator().manual_seed(1)
    arrays = {n: torch.randn(5, generator=generator, dtype=F64) for n in NAMES}
    expected = {n: value.clone() for n, value in rule(*arrays.values(), 0.3, -0.7).items()}
    Blocks(program_of(rule))({"s": 0.3, "t": -0.7}, arrays, lambda *_: None)
    for n, value in expected.items():
        assert torch.allclose(arrays[n], value, rtol=1e-11, atol=1e-12), n


@pytest.mark.parametrize(
    "rule",
    [
        lambda x, y, z, s, t: dict.fromkeys(("x", "y"), x + s * z),
        lambda x, y, z, s, t: {"x": y, "y": x},
        lambda x, y, z, s, t: {"x": y, "y": z, "z": x},
    ],
    ids=["twice", "exchange", "cycle"],
)
def test_a_rule_that_hands_values_round_is_left_to_plain_operations(rule):
    """In place, one copy would be written over a value that the next still needs."""
    with pytest.raises(CannotCompile, match="two places"):
        Blocks(program_of(rule))


def test_draws_are_asked_for_block_by_block(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 4)
    program = trace(lambda given: {"x": given["x"] + 2.0 * given["draw1"]}, {"x": torch.float32})
    x, asked = torch.zeros(10), []

    def draw(name, like, start):
        asked.append((name, start, like.numel()))
        return torch.arange(start, start + like.numel(), dtype=torch.float32)

    Blocks(program)({}, {"x": x}, draw)
    assert asked == [("draw1", 0, 4), ("draw1", 4, 4), ("draw1", 8, 2)]
    assert torch.equal(x, 2.0 * torch.arange(10.0))


def test_a_rule_that_converts_between_dtypes_is_refused():
    program = trace(lambda given: {"x": (given["x"].to(torch.float32) * 2.0).to(torch.bfloat16)}, {"x": torch.bfloat16})
    with pytest.raises(CannotCompile, match="converts"):
        Blocks(program)
