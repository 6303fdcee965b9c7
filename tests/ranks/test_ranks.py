"""The law and the path do not depend on how many ranks carry the parameters, nor on how these are spread."""

import pytest
from ranks.checks import checks


def verdict(said, name):
    failed = [f"rank {rank}: {found[name]}" for rank, found in enumerate(said) if found.get(name)]
    missing = [str(found) for found in said if name not in found]
    assert not failed, "\n".join(failed)
    assert not missing, f"not reached: {missing[0][-3000:]}"


@pytest.mark.parametrize("name", checks(4))
def test_on_four_ranks(four, name):
    verdict(four[1], name)


@pytest.mark.parametrize("name", checks(2))
def test_on_two_ranks(two, name):
    verdict(two[1], name)
