"""Momentum at a temperature samples exp(-L/T): the variance on a curvature h is T/h at every stable step."""

import torch

from thetadot.optim import Kramers

temperature, curvature = 0.5, 2.0
p = torch.zeros(20_000, dtype=torch.float64, requires_grad=True)  # as many independent walkers
optimizer = Kramers([p], lr=0.6, momentum=0.5, temperature=temperature, generator=torch.Generator().manual_seed(0))
for _ in range(200):
    optimizer.zero_grad()
    (curvature * p**2 / 2).sum().backward()
    optimizer.step()
variance = float(p.detach().var())
error = (2 / p.numel()) ** 0.5 * temperature / curvature
print(f"variance {variance:.4f} ± {error:.4f}; exp(-L/T) has {temperature / curvature:.4f}")
assert abs(variance - temperature / curvature) < 4 * error
