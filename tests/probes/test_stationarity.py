"""The verdict on stationary AR(1), ρ = .95, and on motions that move (T9)."""

import numpy as np
import pytest
from shared.serial import autoregressive

from thetadot.errors import InadmissibleValue
from thetadot.probes import stationarity


def slow(n, records, seed):
    return autoregressive(n, 0.95, records, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 100, 200, 1000])
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_a_stationary_run_is_called_moving_in_at_most_one_of_ten(n, spread):
    k = 250
    virial, kinetic = 1.0 + spread * slow(n, k, n), 1.0 + 0.3 * np.abs(slow(n, k, n + 1)) - 0.3 * (2 / np.pi) ** 0.5
    loss = 2.0 + slow(n, k, n + 2)
    states = [stationarity(*records).state for records in zip(virial, kinetic, loss, strict=True)]
    assert states.count("moving") <= 0.10 * k
    if n == 1000 and spread == 0.3:
        assert states.count("stationary") > 0.6 * k


def test_a_linear_drift_of_the_loss_is_motion_though_the_ratio_is_one():
    n, k = 1000, 60
    virial, kinetic = 1.0 + 0.3 * slow(n, k, 0), 1.0 + 0.1 * slow(n, k, 1)
    loss = slow(n, k, 2) + np.linspace(10.0, 0.0, n)
    states = [stationarity(*records).state for records in zip(virial, kinetic, loss, strict=True)]
    assert states.count("moving") > 0.9 * k


def test_a_ratio_away_from_one_is_motion_though_the_loss_is_flat():
    n, k = 1000, 60
    virial, kinetic = 3.0 + 0.3 * slow(n, k, 0), 1.0 + 0.1 * slow(n, k, 1)
    states = [stationarity(*records).state for records in zip(virial, kinetic, slow(n, k, 2), strict=True)]
    assert states.count("moving") > 0.9 * k


def test_a_wide_interval_around_one_is_not_stationary():
    n, k = 1000, 30
    virial, kinetic = 1.0 + 3.0 * slow(n, k, 0), 1.0 + 0.1 * slow(n, k, 1)
    states = [stationarity(*records).state for records in zip(virial, kinetic, slow(n, k, 2), strict=True)]
    assert states.count("stationary") == 0
    assert states.count("unresolved") > 0.8 * k


def test_a_short_record_is_unresolved():
    assert stationarity([1.0, 1.1], [1.0, 0.9], [2.0, 2.0]).state == "unresolved"
    assert stationarity([1.0] * 40, [float("nan")] * 40, [1.0] * 40).state == "unresolved"


def test_records_of_different_length_are_refused():
    with pytest.raises(InadmissibleValue, match="2 virials, 2 kinetic readings and 3 losses do not go together"):
        stationarity([1.0] * 2, [1.0] * 2, [1.0] * 3)
