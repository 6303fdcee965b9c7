"""Counter-based noise: known answers, moments with error bars, independence of everything around it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thetadot.core.rng import derive, normal, threefry2x32

ONES = 0xFFFFFFFF
PI_COUNTER, PI_KEY = (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344)
KNOWN = [  # Random123's kat_vectors: rounds, key, counter, result
    (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    (13, (ONES, ONES), (ONES, ONES), (0xFD36D048, 0x2D17272C)),
    (13, PI_KEY, PI_COUNTER, (0xBA3E4725, 0xF27D669E)),
    (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    (20, (ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    (20, PI_KEY, PI_COUNTER, (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("rounds", "key", "counter", "result"), KNOWN)
def test_threefry_gives_the_known_answers(rounds, key, counter, result):
    assert threefry2x32(key, counter, rounds) == result
    x, y = threefry2x32(key, tuple(torch.tensor([word]) for word in counter), rounds)
    assert (x.item(), y.item()) == result


def test_the_normal_law_has_its_moments():
    n = 1 << 20
    x = normal(torch.zeros(n, dtype=torch.float64), key=derive(2024, 1))
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) < 4 * (variance / n) ** 0.5, power
    # the two normals of one pair, and neighbouring pairs, are uncorrelated
    for lag in (1, 2, 3):
        assert abs((x[lag:] * x[:-lag]).mean()) < 4 / n**0.5
    # P(|x| > 3) = 2.6998e-3
    assert abs((x.abs() > 3).double().mean() - 2.6998e-3) < 4 * (2.6998e-3 / n) ** 0.5


@given(st.integers(0, 2**63 - 1), st.integers(0, 300), st.integers(0, 300))
def test_an_element_is_a_function_of_key_and_index(key, short, more):
    long = normal(torch.zeros(short + more), key)
    assert torch.equal(normal(torch.zeros(short), key), long[:short])


def test_blocks_and_shapes_change_nothing():
    n = (1 << 17) + 2 * 3  # more than one block of pairs, and not a whole number of them
    flat = normal(torch.zeros(n), key=3)
    assert torch.equal(normal(torch.zeros(n // 2, 2), key=3).flatten(), flat)
    assert torch.equal(normal(torch.zeros(2, n // 2).T, key=3).flatten(), flat)
    assert torch.equal(normal(torch.zeros((1 << 17) - 2), key=3), flat[: (1 << 17) - 2])


def test_keys_are_independent():
    n = 1 << 16
    draws = torch.stack([normal(torch.zeros(n, dtype=torch.float64), derive(5, step, 0)) for step in range(8)])
    correlation = torch.corrcoef(draws) - torch.eye(8)
    assert correlation.abs().max() < 5 / n**0.5


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=4), st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_every_path_is_a_key_of_its_own(one, other):
    assert (derive(11, *one) == derive(11, *other)) == (one == other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_noise_has_the_dtype_asked_for_and_the_same_values(dtype):
    exact = normal(torch.zeros(9, dtype=torch.float64), key=1)
    assert torch.equal(normal(torch.zeros(9, dtype=dtype), key=1), exact.to(dtype))
    assert normal(torch.zeros((), dtype=torch.bfloat16), key=1, dtype=torch.float32).dtype is torch.float32


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    normal(torch.zeros(1000), key=7)
    assert torch.equal(torch.get_rng_state(), before)
