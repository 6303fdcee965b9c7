"""Momentum is a damped Newton equation, stepped by leapfrog: the same numbers as torch.optim.SGD, read as mechanics."""

import torch
from torch import nn

from thetadot.optim import HeavyBall


def train(optimizer_of) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    x = torch.randn(64, 4, dtype=torch.float64)
    y = x.prod(dim=1, keepdim=True)
    optimizer = optimizer_of(model.parameters())
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()]), optimizer


torchs, _ = train(lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9))
ours, optimizer = train(lambda params: HeavyBall(params, lr=0.05, momentum=0.9))
difference = float((torchs - ours).abs().max())
print(f"largest difference after 300 steps: {difference:.1e}")
assert difference < 1e-11

reading = optimizer.reading(optimizer.param_groups[0])
print(f"time step {reading.step:.4f}, friction {reading.friction:.4f}, stable up to curvature {reading.limit:.0f}")
