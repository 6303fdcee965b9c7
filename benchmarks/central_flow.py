"""A central flow beside the run whose average it is: digits, a tanh network of 2,410 weights, whole-batch steps.

    python benchmarks/central_flow.py [--samples 200] [--lr 1.0] [--momentum 0] [--beta2 B] [--steps 250]

Prints, over windows of 50 steps, the run's mean loss, the flow's, and its sharpness over the limit.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

from thetadot.analysis import central_flow


def digits(samples: int):
    """The loss as a function of a flat vector, and where it starts."""
    found = load_digits()
    x = torch.tensor(found.data[:samples] / 16, dtype=torch.float32)
    x = x - x.mean(dim=0)
    y = nn.functional.one_hot(torch.tensor(found.target[:samples]), 10).float()
    torch.manual_seed(0)
    start = list(nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).parameters())
    sizes = [p.numel() for p in start]

    def loss(w):
        a, b, c, d = (part.view(p.shape) for part, p in zip(torch.split(w, sizes), start, strict=True))
        return 0.5 * ((torch.tanh(x @ a.T + b) @ c.T + d - y) ** 2).sum(dim=1).mean()

    return loss, torch.cat([p.detach().reshape(-1) for p in start])


def run(loss, start, options):
    """Losses of the rule itself."""
    w, v, slope = start.clone(), torch.zeros_like(start), torch.func.grad(loss)
    nu, losses = slope(w) ** 2, []
    for _ in range(options.steps + 1):
        losses.append(float(loss(w)))
        g = slope(w)
        if options.beta2 is None:
            v = options.momentum * v - options.lr * g
            w = w + v
        else:
            nu = options.beta2 * nu + (1 - options.beta2) * g**2
            w = w - options.lr * g / (nu.sqrt() + 1e-8)
    return torch.tensor(losses, dtype=torch.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--beta2", type=float)
    parser.add_argument("--steps", type=int, default=250)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loss, start = digits(options.samples)
    losses = run(loss, start, options)
    flow = central_flow(loss, start, lr=options.lr, momentum=options.momentum, beta2=options.beta2, steps=options.steps)
    print("| steps | run's mean loss | flow's | ratio | loss of the path itself | λmax over its limit |")
    print("|---|---|---|---|---|---|")
    for begin in range(0, options.steps, 50):
        part = slice(begin, min(begin + 50, options.steps + 1))
        mean, predicted = float(losses[part].mean()), float(flow.mean_loss[part].mean())
        over = float(flow.sharpness[part].mean()) / flow.limit
        print(
            f"| {begin} to {part.stop} | {mean:.4f} | {predicted:.4f} | {predicted / mean:.3f} "
            f"| {float(flow.loss[part].mean()):.4f} | {over:.3f} |"
        )


if __name__ == "__main__":
    main()
