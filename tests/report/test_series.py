"""Thinning keeps what the eye looks for: ends, and extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from thetadot.records import Curvature, Motion, Rollback, standing
from thetadot.report.series import MOST_POINTS, column, drawable, finite, smooth, thin

from . import conftest

VALUES = arrays.arrays(np.float64, st.integers(0, 300), elements=st.floats(width=32))


@given(VALUES, st.integers(4, 40))
def test_a_thinned_line_is_short_finite_ordered_and_keeps_ends_and_extremes(y, most):
    steps = np.arange(float(len(y)))
    x, thinned = thin(steps, y, most)
    assert len(thinned) <= most
    assert np.isfinite(thinned).all()
    assert (np.diff(x) > 0).all()
    assert np.isin(x, steps).all()
    good = y[np.isfinite(y)]
    if len(good):
        assert thinned.min() == good.min()
        assert thinned.max() == good.max()
        assert (thinned[0], thinned[-1]) == (good[0], good[-1])


def test_a_short_line_is_left_alone():
    x = np.arange(float(MOST_POINTS))
    assert thin(x, x)[0] is not None
    np.testing.assert_array_equal(thin(x, np.sin(x))[1], np.sin(x))


def test_one_wild_step_in_a_million_is_still_seen():
    y = np.zeros(1_000_000)
    y[654_321] = 7.0
    assert thin(np.arange(1e6), y)[1].max() == 7.0


@given(arrays.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)), st.floats(0.01, 1.0))
def test_smoothing_stays_between_the_extremes_and_leaves_constants(y, share):
    smoothed = smooth(y, share)
    assert smoothed.shape == y.shape
    assert (smoothed >= y.min() - 1e-3).all()
    assert (smoothed <= y.max() + 1e-3).all()
    np.testing.assert_allclose(smooth(np.full_like(y, 2.5), share), 2.5, rtol=1e-9)


def test_a_logarithmic_axis_gets_positive_values_only():
    x, y = finite(np.arange(4.0), np.array([1.0, 0.0, -1.0, np.nan]), positive=True)
    assert (x, y) == (np.array([0.0]), np.array([1.0]))


@pytest.mark.parametrize("value", [None, 1e308, 10**400, -(10**400), float("inf"), float("nan")])
def test_what_cannot_be_drawn_is_nan(value):
    assert np.isnan(drawable(value))


def test_a_column_holds_missing_values_as_nan():
    assert np.isnan(column(conftest.curvatures(), "limit")[0])
    assert len(column([], "limit")) == 0


def test_a_rollback_undoes_the_steps_after_its_state_and_nothing_else(make):
    motion = conftest.motions()[0]
    steps = [0, 1, 2, 3, 4, 3, 4, 5]
    entries = [Motion(**{**{n: getattr(motion, n) for n in Motion.__struct_fields__}, "step": step}) for step in steps]
    entries.insert(5, Rollback(4, 2, "the loss ran away", 0.5))
    entries.insert(0, Curvature("warm-up", 90, 1.0, 0.1, None, 512, 1.0))
    record = make(entries)
    kept, undone = standing(record, Motion)
    assert [entry.step for entry in kept] == [0, 1, 2, 3, 4, 5]
    assert [entry.step for entry in undone] == [3, 4]
    assert len(standing(record, Curvature)[0]) == 1
