"""Oracle: the exact temperature of both settings along a direction that hardly moves in an epoch."""

from dataclasses import replace

import pytest

from thetadot.translation import temperature
from thetadot.verdicts import Settings, table
from thetadot.verdicts.warmth import broken, flat_change


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("batch", "size"), [(4, 64), (32, 1000), (128, 50_000), (100, 1000)])
@pytest.mark.parametrize("factor", [0.5, 2, 4])
def test_the_change_of_temperature_is_that_of_the_law(momentum, batch, size, factor):
    before = Settings(0.1, batch, momentum)
    after = Settings(0.1 * factor, batch * factor, momentum)
    h = 0.1 * 3 * (1 - momentum) * batch / (0.1 * size)
    now, then = (
        temperature(s.lr, momentum, 1.0, s.batch, sampling="epochs", dataset_size=size, curvature=h)
        for s in (before, after)
    )
    assert flat_change(before, after, size, "sgd") == pytest.approx(then / now, rel=1e-3)


def test_rules_keep_the_temperature_while_an_epoch_has_many_batches():
    many = table(Settings(0.1, 32, 0.9), 64, family="sgd", dataset_size=50_000)
    assert {row.remark for row in many} == {""}
    few = {row.rule.name: row.remark for row in table(Settings(0.1, 32, 0.9), 256, family="sgd", dataset_size=1024)}
    assert all("4 shuffled batches" in few[name] for name in ("linear", "Smith", "same motion"))
    assert few["square root"] == few["McCandlish"] == ""  # they promise no temperature
    assert {row.remark for row in table(Settings(0.1, 32, 0.9), 256, family="sgd")} == {""}


def test_a_batch_of_all_data_has_no_noise():
    present = Settings(0.1, 32, 0.9)
    assert "no noise" in broken(present, replace(present, batch=1024), 1024, "sgd")
    assert broken(present, replace(present, batch=1024), None, "sgd") == ""


def test_adam_keeps_flat_temperatures_by_the_square_root():
    present = Settings(1e-3, 32, 0.9)
    assert broken(present, Settings(2e-3, 128, 0.9), 100_000, "adaptive") == ""
    assert "rise to" in broken(present, Settings(4e-3, 128, 0.9), 100_000, "adaptive")
