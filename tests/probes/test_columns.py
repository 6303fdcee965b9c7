"""Columns are badly scaled where layers would see another size than 1; images' edges and constants are not."""

import pytest
import torch

from thetadot.probes.columns import badly_scaled

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "scales", [[1.0, 1, 1, 1, 1, 500], [100.0] * 6, [1e-3] * 6, [0.05, 0.05, 0.05, 0.05, 0.05, 8.0]]
)
def test_sizes_far_from_one_are_said(scales):
    assert badly_scaled(X * torch.tensor(scales)) is not None


def test_a_far_mean_is_a_size_too():
    assert "column 2" in badly_scaled(X + torch.tensor([0.0, 0, 300, 0, 0, 0]))


@pytest.mark.parametrize("scales", [[1.0] * 6, [0.0, 1e-3, 1, 1, 2, 3], [5.0, 1, 1, 1, 0.2, 0.2]])
def test_ordinary_sizes_seldom_used_columns_and_constants_are_not(scales):
    assert badly_scaled(X * torch.tensor(scales)) is None


def test_what_is_no_table_is_not_judged():
    for other in (X[:, 0], X.reshape(50, 4, 6), X.long(), X[:1], X * float("nan")):
        assert badly_scaled(other * 1000 if other.is_floating_point() else other) is None
