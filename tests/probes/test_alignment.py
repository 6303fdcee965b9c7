"""Pflug's product of consecutive gradients on a quadratic (T4): -ηhs²/(2-ηh) once stationary, |G|² before."""

import numpy as np
import pytest

from thetadot.errors import InadmissibleValue
from thetadot.probes import alignment, stationary_alignment


def products(rate, h, steps, start, seed=0):
    rng = np.random.default_rng(seed)
    x, last, found = start, None, []
    for _ in range(steps):
        gradient = h * x + rng.standard_normal()
        if last is not None:
            found.append(last * gradient)
        last, x = gradient, x - rate * gradient
    return found


@pytest.mark.parametrize(("rate", "h"), [(0.1, 1.0), (0.5, 1.0), (0.5, 2.4)])
def test_once_stationary_it_is_the_closed_form(rate, h):
    found = alignment(products(rate, h, 40_000, 0.0))
    expected = stationary_alignment(rate, h, 1.0)
    assert found.low <= expected <= found.high
    assert found.high < 0.0
    assert found.high - found.low < 0.6 * abs(expected) + 0.03


def test_the_closed_form_has_the_known_figures():
    assert stationary_alignment(0.1, 1.0, 1.0) == pytest.approx(-0.0526, abs=1e-4)
    assert stationary_alignment(0.5, 1.0, 1.0) == pytest.approx(-0.3333, abs=1e-4)


def test_while_descending_it_is_the_gradient_squared():
    found = alignment(products(1e-4, 1.0, 2000, 5.0))
    assert found.low > 0
    assert found.low < 25.0 * np.exp(-0.2) < found.high or found.mean == pytest.approx(22.0, rel=0.15)


def test_an_unstable_step_has_no_stationary_value():
    with pytest.raises(InadmissibleValue, match="no stationary law"):
        stationary_alignment(1.0, 2.0, 1.0)
