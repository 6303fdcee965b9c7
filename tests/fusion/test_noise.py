"""The noise of compiled code is that of thetadot.core.rng, and has the law that it should."""

import concurrent.futures

import numpy as np
import pytest
import torch
from scipy import stats

from thetadot.core.rng import box_muller, derive, normal, threefry2x32, words
from thetadot.fusion import draws
from thetadot.fusion.draws import Places, derived

F32 = torch.float32
ONES = 0xFFFFFFFF
PI_COUNTER, PI_KEY = (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344)
KNOWN = {  # Random123's kat_vectors: by rounds, (key, counter, result)
    13: (
        ((0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        ((ONES, ONES), (ONES, ONES), (0xFD36D048, 0x2D17272C)),
        (PI_KEY, PI_COUNTER, (0xBA3E4725, 0xF27D669E)),
    ),
    20: (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
        (PI_KEY, PI_COUNTER, (0xC4923A9C, 0x483DF7A0)),
    ),
}
INPUTS = ("k0", "k1", "c0", "c1")


def threefry(rounds):
    def body(given):
        k0, k1, c0, c1 = (given[name] for name in INPUTS)
        first, second = threefry2x32((k0, k1), (c0, c1), rounds)
        return {"first": first, "second": second}

    return body


@pytest.mark.parametrize("rounds", KNOWN)
def test_compiled_threefry_gives_the_known_answers(element, rounds):
    columns = torch.tensor([(*key, *counter) for key, counter, _ in KNOWN[rounds]]).T
    given = dict(zip(INPUTS, columns, strict=True))
    found = element(threefry(rounds), given, dict.fromkeys(("first", "second"), torch.int64), words=INPUTS)
    assert [*zip(found["first"].tolist(), found["second"].tolist(), strict=True)] == [r for _, _, r in KNOWN[rounds]]


def test_compiled_box_muller_is_torchs_to_the_bit(element, to_the_bit):
    """A million words, and the extreme ones."""
    generator = torch.Generator().manual_seed(9)
    x, y = torch.randint(2**32, (2, 500_000), generator=generator)
    edges = torch.tensor([0, 1, 2**29, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 2**32 - 1])
    x, y = torch.cat([x, edges.repeat_interleave(8)]), torch.cat([y, edges.repeat(8)])
    found = element(
        lambda given: dict(zip(("first", "second"), box_muller(given["x"], given["y"]), strict=True)),
        {"x": x, "y": y},
        {"first": F32, "second": F32},
        words=("x", "y"),
    )
    first, second = box_muller(x, y)
    assert to_the_bit(found["first"], first)
    assert to_the_bit(found["second"], second)
    assert torch.isfinite(first).all()


def drawn(element, numel, *, index=0, stream=3, stage=1, key=0xFEDCBA9876543210):
    """Two draws and the words of as many elements."""
    return element(
        lambda given: {"a": given["draw1"], "b": given["draw2"].to(torch.float64), "w": given["words"].to(F32)},
        {"x": torch.zeros(numel)},
        {"a": F32, "b": torch.float64, "w": F32},
        key=key,
        index=index,
        stream=stream,
        stage=stage,
    )


@pytest.mark.parametrize("index", [0, 1, 2, 1023, 1024, 2**33 + 1])
@pytest.mark.parametrize("numel", [1, 2, 1024, 1025, 40_001])
def test_compiled_noise_is_that_of_torchs_operations(element, numel, index):
    """Whatever the first element's place, the ends of blocks, and the ends of the threads' parts."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = drawn(element, numel, index=index)
    finally:
        torch.set_num_threads(before)
    like = torch.zeros(numel)
    branch = derive(0xFEDCBA9876543210, 3, 1)
    assert torch.equal(found["a"], normal(like, derive(branch, 1), index=index))
    assert torch.equal(found["b"], normal(like, derive(branch, 2), torch.float64, index))
    assert torch.equal(found["w"], words(like, derive(branch, 0), index).to(F32))


def test_streams_stages_and_keys_have_noise_of_their_own(element):
    ways = ({}, {"stream": 4}, {"stage": 0}, {"key": 1}, {"key": 1 << 32})
    drawings = [drawn(element, 1000, **way)["a"].double() for way in ways]
    correlation = torch.corrcoef(torch.stack(drawings)) - torch.eye(len(ways))
    assert correlation.abs().max() < 4.5 / 1000**0.5


@pytest.fixture(scope="module")
def million():
    return normal(torch.zeros(1 << 20), key=derive(31, 4)).double()


def test_the_noise_has_a_normals_moments(million):
    """Moments 1 to 6, each within four standard errors; E x²ᵏ = (2k-1)!!"""
    n = len(million)
    even = {0: 1, 2: 1, 4: 3, 6: 15, 8: 105, 10: 945, 12: 10395}
    for power in range(1, 7):
        moment = even.get(power, 0)
        error = ((even[2 * power] - moment**2) / n) ** 0.5
        assert abs(float((million**power).mean()) - moment) < 4 * error, power


def test_the_noise_passes_kolmogorov_and_smirnov(million):
    """At 1 %, whole and by halves of pairs."""
    for part in (million, million[::2], million[1::2]):
        assert stats.kstest(part.numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize("bound", [3.0, 4.0, 4.5])
def test_the_noises_tails_are_as_heavy_as_they_should_be(million, bound):
    """A count above the bound is Poisson's, on either side."""
    expected = len(million) * stats.norm.sf(bound)
    for tail in (million > bound, million < -bound):
        assert abs(int(tail.sum()) - expected) < 4 * expected**0.5 + 1


def test_the_radius_ends_where_the_documentation_says():
    largest = box_muller(torch.tensor([0]), torch.tensor([0x20000000]))
    assert float(torch.stack(largest).square().sum().sqrt()) == pytest.approx(6.7637, abs=1e-4)  # √(2·33·ln 2)


def test_the_words_of_rounding_are_uniform():
    """Each of 32 bits is set half the time: |count - n/2| < 4.5·√n/2."""
    n = 1 << 17
    w = words(torch.zeros(n), key=derive(31, 5))
    for bit in range(32):
        assert abs(int((w >> bit & 1).sum()) - n / 2) < 4.5 * n**0.5 / 2, bit


# By numpy, where there is no compiler.

BEGINS, COUNTS = (0, 3, 4, 2**33 + 1, 7, 2**40), (10, 1, 0, 5, 40_001, 2)


def test_noise_by_numpy_is_that_of_torchs_operations():
    places = Places(BEGINS, COUNTS)
    keys = derived(5, np.arange(len(COUNTS)), 2, 1)
    drawn, bits = torch.empty(places.total), torch.empty(places.total, dtype=torch.int32)
    places.normals(keys, drawn)
    places.words(keys, bits)
    for row, (begin, count) in enumerate(zip(BEGINS, COUNTS, strict=True)):
        key, like = derive(5, row, 2, 1), torch.empty(count)
        assert torch.equal(places.of(drawn)[row], normal(like, key, index=begin))
        assert torch.equal(places.of(bits)[row].to(torch.int64) & 0xFFFFFFFF, words(like, key, index=begin))
        assert torch.equal(draws.fast_normal(like, key, torch.float64, begin), normal(like, key, torch.float64, begin))
        assert torch.equal(draws.fast_words(like, key, begin), words(like, key, begin))


def test_threads_draw_beside_one_another():
    """Each has vectors of its own to write to."""
    like = torch.empty(100_000)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        drawn = [*pool.map(lambda key: draws.fast_normal(like, key, torch.float32, 0), range(8))]
    assert all(torch.equal(z, normal(like, key)) for key, z in enumerate(drawn))
