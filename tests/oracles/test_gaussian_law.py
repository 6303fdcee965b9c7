"""The noisy optimizers sample a Gaussian: mean, covariance and Kullback-Leibler divergence of an ensemble.

The pattern is that of posteriors' sampler tests; error bars are those of independent chains.
"""

import math

import pytest
import torch

from thetadot.optim import Kramers, Langevin

CHAINS, T = 6000, 0.7
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
# curvature of L = (θ-μ)ᵀH(θ-μ)/2, correlated
H = torch.tensor([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]], dtype=torch.float64)


def euler_covariance(lr):
    """Of θ' = θ - αHθ + √(2αT)ξ: T/(h(1-αh/2)) on each eigenvector."""
    h, basis = torch.linalg.eigh(H)
    return basis @ torch.diag(T / (h * (1 - lr * h / 2))) @ basis.T


def divergence(mean, covariance, other):
    """KL of N(mean, covariance) from N(MEAN, other)."""
    inverse, shift = torch.linalg.inv(other), mean - MEAN
    return 0.5 * float(
        torch.trace(inverse @ covariance) + shift @ inverse @ shift - 3 - torch.logdet(covariance) + torch.logdet(other)
    )


SAMPLERS = {
    "Langevin": (
        lambda p: Langevin(p, 0.2, temperature=T, generator=torch.Generator().manual_seed(1)),
        euler_covariance(0.2),
        120,
    ),
    "Kramers": (
        lambda p: Kramers(p, 0.1, 0.7, temperature=T, generator=torch.Generator().manual_seed(1)),
        T * torch.linalg.inv(H),
        160,
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_ensemble_relaxes_to_its_gaussian(name):
    build, law, steps = SAMPLERS[name]
    chains = torch.zeros(CHAINS, 3, dtype=torch.float64, requires_grad=True)
    optimizer, divergences = build([chains]), []
    for n in range(steps):
        chains.grad = (chains.detach() - MEAN) @ H
        optimizer.step()
        if n + 1 in (5, 15, steps):
            mean, covariance = chains.detach().mean(0), torch.cov(chains.detach().T)
            divergences.append(divergence(mean, covariance, law))
    assert divergences[0] > divergences[1] > divergences[2]
    assert divergences[2] < 0.01 * divergences[0]
    assert divergences[2] < 5 * 9 / (2 * CHAINS)  # nine estimated numbers cost half a nat per chain each
    mean_error = (law.diag() / CHAINS).sqrt()
    assert ((mean - MEAN).abs() < 5 * mean_error).all()
    variances = torch.outer(law.diag(), law.diag())
    covariance_error = ((variances + law**2) / CHAINS).sqrt()  # Isserlis
    assert ((covariance - law).abs() < 5 * covariance_error).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_at_temperature_0_the_ensemble_is_one_point(name):
    build, _, _ = SAMPLERS[name]
    chains = torch.zeros(8, 3, dtype=torch.float64, requires_grad=True)
    optimizer = build([chains])
    optimizer.param_groups[0]["temperature"] = 0.0
    for _ in range(400):
        chains.grad = (chains.detach() - MEAN) @ H
        optimizer.step()
    assert torch.equal(chains, chains[:1].expand(8, 3))
    assert float((chains[0] - MEAN).detach().abs().max()) < 1e-6


def test_the_mean_energy_of_a_chain_in_time_is_half_a_temperature_a_degree():
    """One long chain instead of an ensemble: <L> = 3T/2, error bar from its own batches."""
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = Kramers([theta], 0.2, 0.7, temperature=T, generator=torch.Generator().manual_seed(3))
    energies = []
    for _ in range(2400):
        shift = theta.detach() - MEAN
        theta.grad = H @ shift
        energies.append(float(shift @ theta.grad) / 2)
        optimizer.step()
    batches = torch.tensor(energies[400:]).reshape(20, 100).mean(1)
    error = float(batches.std()) / math.sqrt(20)
    assert abs(float(batches.mean()) - 1.5 * T) < 5 * error
    assert error < 0.15
