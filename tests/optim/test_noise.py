"""Noise is a function of (key, step, parameter, element), and of nothing else."""

import pytest
import torch

from thetadot.optim import HeavyBall, Kramers, Langevin


def zero_force_run(optimizer, params, steps=3):
    for _ in range(steps):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    return [p.detach().clone() for p in params]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_noise_and_another_another(lab, noisy):
    runs = []
    for seed in (1, 1, 2):
        params = lab.tensors()
        runs.append(zero_force_run(lab.build(noisy, params, generator=seeded(seed)), params))
    lab.assert_equal(runs[0], runs[1])
    assert not torch.equal(runs[0][0], runs[2][0])


def test_without_a_generator_torchs_own_seed_decides(lab):
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        params = lab.tensors()
        runs.append(zero_force_run(Langevin(params, 0.1, temperature=1.0), params))
    lab.assert_equal(*runs)
    params = lab.tensors()
    assert not torch.equal(zero_force_run(Langevin(params, 0.1, temperature=1.0), params)[0], runs[0][0])


def test_groups_and_missing_gradients_leave_a_parameters_noise_as_it_is(lab, noisy):
    """It depends on the parameter's number, not on who else moves."""
    whole, apart, alone = lab.tensors(), lab.tensors(), lab.tensors()
    zero_force_run(lab.build(noisy, whole), whole)
    zero_force_run(lab.build(noisy, [{"params": apart[:1]}, {"params": apart[1:]}]), apart)
    lab.assert_equal(whole, apart)
    zero_force_run(lab.build(noisy, alone), alone[1:2])
    assert torch.equal(whole[1], alone[1])


def test_parameters_steps_and_elements_have_independent_noise():
    p, q = (torch.zeros(4000, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = Langevin([p, q], 0.5, temperature=1.0, generator=seeded(0))
    noises = []
    for _ in range(3):
        before = [x.detach().clone() for x in (p, q)]
        after = zero_force_run(optimizer, (p, q), 1)
        noises += [y - x for x, y in zip(before, after, strict=True)]
    stacked = torch.stack(noises)
    assert (torch.corrcoef(stacked) - torch.eye(6)).abs().max() < 5 / 4000**0.5
    assert abs(stacked.var() - 1.0) < 5 * (2 / stacked.numel()) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_noise_is_the_rounded_noise(dtype):
    velocities = []
    for kind in (torch.float64, dtype):
        p = torch.zeros(50, dtype=kind, requires_grad=True)
        optimizer = Kramers([p], 0.5, 0.9, temperature=1.0, generator=seeded(0))
        zero_force_run(optimizer, [p], 1)
        velocities.append(optimizer.state[p]["velocity"])
    assert torch.allclose(velocities[1].double(), velocities[0], rtol=1e-5, atol=1e-6)


def test_dropping_heavy_ball_in_for_sgd_leaves_dropout_masks_alone():
    masks = []
    for build in (HeavyBall, torch.optim.SGD):
        torch.manual_seed(3)
        p = torch.ones(20, requires_grad=True)
        build([p], 0.1, 0.9)
        masks.append(torch.nn.functional.dropout(torch.ones(50)))
    assert torch.equal(*masks)
