"""Equal draws are told from passes of different laws, at the level of the test."""

import numpy as np
import pytest

from thetadot.errors import InadmissibleValue
from thetadot.probes.exchangeability import exchangeability


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(10, 2, 4), (40, 3, 20)])
def test_equal_draws_are_seldom_told_apart(shape):
    rng = np.random.default_rng(1)
    told = [exchangeability(rng.standard_t(4, size=shape) * rng.lognormal(size=(shape[0], 1, 1))) for _ in range(60)]
    assert sum(found.alike is False for found in told) <= 1  # 1 in 250 each
    assert abs(np.mean([found.share for found in told])) < 0.1


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("what", ["means", "sizes"])
def test_different_laws_are_told_apart(n, what):
    noise = np.random.default_rng(2).normal(size=(n, 2, 50))
    rows = noise + np.array([[[3.0], [-3.0]]]) if what == "means" else noise * np.array([[[1.0], [10.0]]])
    found = exchangeability(rows)
    assert found.alike is False
    assert found.share > 0.5


def test_what_is_no_series_of_steps_is_said():
    with pytest.raises(InadmissibleValue, match=r"are not \(n, k, s\)"):
        exchangeability(np.zeros((3, 2, 1)))
