"""Compiled arithmetic is torch's, bit for bit: signed zeros, infinities, what is not a number, narrow floats, words."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thetadot.core import tensors

F32, F64, BF16, F16 = torch.float32, torch.float64, torch.bfloat16, torch.float16
bits_of_float = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=64)
word_lists = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=64)
patiently = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

BINARY = {
    "sum": lambda x, y: x + y,
    "difference": lambda x, y: x - y,
    "product": lambda x, y: x * y,
    "quotient": lambda x, y: x / y,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "smaller": tensors.smaller,
    "larger": tensors.larger,
    "less": lambda x, y: torch.where(x < y, x, y),
    "at_most": lambda x, y: torch.where(x <= y, x, y),
    "more": lambda x, y: torch.where(x > y, x, y),
    "at_least": lambda x, y: torch.where(x >= y, x, y),
    "equal": lambda x, y: torch.where(x == y, x, y),
    "unequal": lambda x, y: torch.where(x != y, x, y),
}
UNARY = {
    "negative": lambda x: -x,
    "modulus": lambda x: x.abs(),
    "sign": tensors.sign,
    "root": tensors.sqrt,
    "square": lambda x: x**2,
    "floor": lambda x: x.floor(),
    "reciprocal": lambda x: 1.0 / x,
    "number_over": lambda x: 0.3 / x,  # torch rounds twice: s·(1/x)
    "shifted": lambda x: 2.0 - x,
    "where_number": lambda x: torch.where(x > 0, 1.0, x),
}


def binary(given):
    return {name: f(given["x"], given["y"]) for name, f in BINARY.items()}


def unary(given):
    return {name: f(given["x"]) for name, f in UNARY.items()}


def check(found, expected, to_the_bit):
    for name, value in expected.items():
        assert to_the_bit(found[name], value), name


@pytest.mark.parametrize("dtype", [F32, F64])
def test_special_values_go_through_as_in_torch(element, to_the_bit, pairs, dtype):
    x, y = (value.to(dtype) for value in pairs)
    given = {"x": x, "y": y}
    check(element(binary, given, dict.fromkeys(BINARY, dtype)), binary(given), to_the_bit)
    check(element(unary, {"x": x}, dict.fromkeys(UNARY, dtype)), unary({"x": x}), to_the_bit)


@patiently
@given(bits_of_float, st.randoms(use_true_random=False))
def test_any_float32_goes_through_as_in_torch(element, to_the_bit, patterns, random):
    x = torch.tensor(patterns, dtype=torch.int32).view(F32)
    y = x[torch.tensor(random.sample(range(len(x)), len(x)))]
    given = {"x": x, "y": y}
    check(element(binary, given, dict.fromkeys(BINARY, F32)), binary(given), to_the_bit)
    check(element(unary, {"x": x}, dict.fromkeys(UNARY, F32)), unary({"x": x}), to_the_bit)


def test_the_plain_sign_of_torch_is_kept_but_for_nan(element, pairs):
    """torch's sign takes nan for 0; rules use tensors.sign, which does not."""
    x, _ = pairs
    found = element(lambda given: {"y": given["x"].sign()}, {"x": x}, {"y": F32})["y"]
    assert torch.equal(found, x.sign())


def test_an_exponential_of_elements_is_torchs_to_a_unit_in_the_last_place(element):
    """torch's vector library and the mathematical library's function are different functions."""
    x = torch.linspace(-80, 80, 10_001)
    found = element(lambda given: {"y": tensors.exp(given["x"])}, {"x": x}, {"y": F32})["y"]
    assert ((found / x.exp().double() - 1).abs() <= 2.0**-22).all()


# Numbers are doubles, whatever the elements are.


@patiently
@given(st.floats(-50, 50), st.floats(-50, 50))
def test_numbers_are_calculated_in_double(element, s, t):
    def body(given):
        s, t = given["s"], given["t"]
        return {
            "sum": s + t,
            "difference": s - t,
            "product": s * t,
            "ratio": s / (2.0 + t * t),
            "square": s**2,
            "root": tensors.sqrt(t * t),
            "less": torch.where(s < t, s, t),
            "equal": torch.where(s == t, 1.0, 0.0),
        }

    expected = {
        "sum": s + t,
        "difference": s - t,
        "product": s * t,
        "ratio": s / (2.0 + t * t),
        "square": s * s,
        "root": math.sqrt(t * t),
        "less": min(t, s),
        "equal": float(s == t),
    }
    found = element(body, {"x": torch.zeros(1)}, {}, {"s": s, "t": t}, counts=tuple(expected))
    assert {name: found[name] for name in expected} == expected


@patiently
@given(st.floats(-700, 700))
def test_exponentials_of_numbers_are_the_mathematical_librarys(element, s):
    found = element(lambda g: {"e": tensors.exp(g["s"])}, {"x": torch.zeros(1)}, {}, {"s": s}, counts=("e",))
    assert found["e"] == math.exp(s)


@patiently
@given(st.floats(allow_nan=False, allow_infinity=False, width=64), bits_of_float)
def test_a_number_is_rounded_once_when_it_meets_an_element(element, to_the_bit, s, patterns):
    x = torch.tensor(patterns, dtype=torch.int32).view(F32)

    def body(given):
        s, x = given["s"], given["x"]
        return {"product": s * x, "sum": x + s, "difference": s - x, "quotient": s / x, "ratio": x / s}

    expected = body({"s": s, "x": x}) if s else {"product": s * x, "sum": x + s, "difference": s - x, "quotient": s / x}
    found = element(body, {"x": x}, dict.fromkeys(("product", "sum", "difference", "quotient", "ratio"), F32), {"s": s})
    check(found, expected, to_the_bit)


@pytest.mark.parametrize("constant", [0.1, -0.0, 1e-300, math.inf, -math.inf, math.nan, 3])
def test_constants_are_written_out_exactly(element, to_the_bit, constant):
    x = torch.tensor([1.0, -2.0, 0.0], dtype=F64)
    found = element(lambda given: {"y": given["x"] * constant}, {"x": x}, {"y": F64})
    assert to_the_bit(found["y"], x * constant)


def test_a_product_and_a_sum_round_twice(element):
    """(1+2⁻¹²)² = 1 + 2⁻¹¹ + 2⁻²⁴, whose last term float32 drops, and a fused multiply-add would not."""
    x = torch.full((64,), 1.0 + 2.0**-12)
    found = element(lambda given: {"y": given["x"] * given["x"] + -(1.0 + 2.0**-11)}, {"x": x}, {"y": F32})
    assert (found["y"] == 0).all()


# Narrow floats.


@pytest.mark.parametrize("dtype", [BF16, F16])
def test_all_patterns_of_a_narrow_float_widen_as_in_torch(element, to_the_bit, dtype):
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    found = element(
        lambda given: {"y": given["x"].to(F32), "z": given["x"].to(F32).to(dtype)}, {"x": x}, {"y": F32, "z": dtype}
    )
    check(found, {"y": x.to(F32), "z": x}, to_the_bit)


@pytest.mark.parametrize("dtype", [BF16, F16])
def test_floats_narrow_as_in_torch(element, to_the_bit, pairs, dtype):
    generator = torch.Generator().manual_seed(1)
    patterns = torch.randint(-(2**31), 2**31, (1 << 18,), generator=generator).to(torch.int32).view(F32)
    near = torch.randn(1 << 18, generator=generator) * 2.0 ** torch.randint(-30, 17, (1 << 18,), generator=generator)
    halfway = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).to(F32)
    halfway = halfway + 0.5 * (halfway.roll(-1) - halfway)  # ties, which go to the even neighbour
    x = torch.cat([patterns, near, halfway, pairs[0]])
    found = element(lambda given: {"y": given["x"].to(dtype)}, {"x": x}, {"y": dtype})
    assert to_the_bit(found["y"], x.to(dtype))


# Words: 32 bits without sign, which torch keeps in int64.


@patiently
@given(word_lists)
def test_words_are_torchs_int64_without_the_high_half(element, values):
    x, y = (torch.tensor(column) for column in zip(*values, strict=True))

    def body(given):
        x, y = given["x"], given["y"]
        return {
            "sum": (x + y) & 0xFFFFFFFF,
            "xor": x ^ y,
            "or": x | y,
            "and": x & 0x3FFFFFFF,
            "left": (x << 13) & 0xFFFFFFFF,
            "right": x >> 9,
            "more": (x + 0x9E3779B9) & 0xFFFFFFFF,
        }

    given = {"x": x, "y": y}
    found = element(body, given, dict.fromkeys(body(given), torch.int64), words=("x", "y"))
    for name, value in body(given).items():
        assert torch.equal(found[name], value), name


@patiently
@given(word_lists)
def test_words_become_floats_and_signed_integers_as_in_torch(element, values):
    x, y = (torch.tensor(column) for column in zip(*values, strict=True))

    def body(given):
        x, y = given["x"], given["y"]
        signed = (x & 0x3FFFFFFF).to(torch.int32)
        return {
            "float": x.to(F32),
            "signed": signed - 0x20000000,
            "scaled": (signed - 0x20000000).to(F32) * 2.0**-29,
            "shifted": (signed - 0x20000000) >> 7,
            "chosen": torch.where((x & 0x80000000) != 0, y.to(F32), 1.0),
            "bits": (signed + 1).view(F32).view(torch.int32) & -4,
        }

    given = {"x": x, "y": y}
    expected = body(given)
    found = element(body, given, {name: value.dtype for name, value in expected.items()}, words=("x", "y"))
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
