"""Steps can be differentiated through: central differences are the oracle."""

import pytest
import torch


def end(lab, name, lr, weight_decay):
    """Loss after three steps by given gradients, and the lr it depends on."""
    lr = torch.tensor(lr, dtype=torch.float64, requires_grad=True)
    start = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64, requires_grad=True)
    p = start * 1.0
    optimizer = lab.build(name, [p], lr=lr, differentiable=True, weight_decay=weight_decay)
    for n in range(3):
        p.grad = torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=torch.float64) * (1 + n)
        optimizer.step()
    return (p**2).sum(), lr, start


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_slope_with_respect_to_lr_is_that_of_differences(lab, plain, weight_decay):
    loss, lr, start = end(lab, plain, 0.05, weight_decay)
    by_lr, by_start = torch.autograd.grad(loss, (lr, start))
    h = 1e-6
    difference = (end(lab, plain, 0.05 + h, weight_decay)[0] - end(lab, plain, 0.05 - h, weight_decay)[0]) / (2 * h)
    assert by_lr.item() == pytest.approx(difference.item(), rel=1e-6)
    assert torch.isfinite(by_start).all()
    assert by_start.abs().max() > 0
