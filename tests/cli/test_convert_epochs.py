"""Under shuffled epochs a conversion promises no temperature that the exact law does not keep."""

import pytest

from thetadot.cli.actions.convert import translate
from thetadot.errors import InadmissibleValue


def test_rows_that_do_not_keep_the_temperature_say_so_and_are_not_recommended():
    _, few = translate(0.1, 0.9, 32, to_batch_size=256, dataset_size=1024)
    promising = [row for row in few if "temperature" in row.keeps]
    assert len(promising) == 3
    assert all("4 shuffled batches" in row.verdict and not row.recommended for row in promising)


@pytest.mark.parametrize("target", [{"to_lr": 0.05}, {"to_batch_size": 64}])
def test_with_many_batches_rows_are_those_of_independent_draws(target):
    assert translate(0.1, 0.9, 32, **target, dataset_size=50_000) == translate(0.1, 0.9, 32, **target)


@pytest.mark.parametrize("size", [0, 31, float("nan"), float("inf")])
def test_an_epoch_smaller_than_a_batch_is_refused(size):
    with pytest.raises(InadmissibleValue, match="dataset_size"):
        translate(0.1, 0.9, 32, to_lr=0.05, dataset_size=size)
