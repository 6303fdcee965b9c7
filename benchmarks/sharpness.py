"""The largest Hessian eigenvalue of a network of ten million parameters: time to the same error, beside pyhessian.

    python benchmarks/sharpness.py [--rounds 3] [--width 1750]

pyhessian's power iteration runs at its own tolerance; what it is off by, held against 40 Lanczos products, is the error
that ours must reach too: the fewest products that do. Ratios of processor time, one core, in turn. Where it
is not installed (pip install pyhessian) power iteration on the same products stands in for it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from thetadot.probes import Objective, sharpness

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCES = (1e-2, 1e-3)  # pyhessian's own is the second


def network(width: int) -> torch.nn.Module:
    """A tanh network of three hidden layers, its last one scaled so that it has begun to learn."""
    torch.manual_seed(0)
    sizes = [64, width, width, width, width, 10]
    layers: list[torch.nn.Module] = []
    for one, other in pairwise(sizes):
        layers += [torch.nn.Linear(one, other), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def peer(model: torch.nn.Module, data: tuple[torch.Tensor, torch.Tensor], tolerance: float) -> float:
    """λ by pyhessian, or by its algorithm."""
    loss = torch.nn.CrossEntropyLoss()
    try:
        from pyhessian import hessian
    except ImportError:
        objective = Objective(model, lambda: loss(model(data[0]), data[1]))
        with objective.hessian() as product:
            return power(product, objective.position(), tolerance)
    for p in model.parameters():
        p.grad = None
    return float(hessian(model, loss, data=data, cuda=False).eigenvalues(maxIter=100, tol=tolerance)[0][0])


def power(product: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor, tolerance: float) -> float:
    """Power iteration until two values in turn agree to the tolerance."""
    v, last = torch.randn_like(like), None
    for _ in range(100):
        v = v / v.norm()
        moved = product(v)
        value = float(moved @ v)
        if last is not None and abs(value - last) / (abs(last) + 1e-6) < tolerance:
            break
        v, last = moved, value
    return value


def ours(model: torch.nn.Module, data: tuple[torch.Tensor, torch.Tensor], products: int) -> float:
    """λ by Lanczos from a fresh start."""
    objective = Objective(model, lambda: torch.nn.functional.cross_entropy(model(data[0]), data[1]))
    with objective.hessian() as product:
        return sharpness(product, torch.randn_like(objective.position()), products, tolerance=0.0).value


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """Processor seconds, and what came."""
    before = time.process_time()
    value = call()
    return time.process_time() - before, value


def main() -> None:
    """Print a row a tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=1750)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = network(given.width).eval()
    data = torch.randn(32, 64), torch.randint(0, 10, (32,))
    count = sum(p.numel() for p in model.parameters())
    true = ours(model, data, 40)
    print(f"{count:,} parameters, λmax {true:.5g}")
    for tolerance in TOLERANCES:
        torch.manual_seed(1)
        missed = [abs(peer(model, data, tolerance) - true) for _ in range(given.rounds)]
        aim = statistics.median(missed)
        for products in range(2, 60):
            found = [abs(ours(model, data, products) - true) for _ in range(given.rounds)]
            if statistics.median(found) <= aim:
                break
        ratios = []
        for _ in range(given.rounds):
            their, _ = timed(lambda t=tolerance: peer(model, data, t))
            own, _ = timed(lambda n=products: ours(model, data, n))
            ratios.append(own / their)
        print(
            f"tolerance {tolerance:g}: pyhessian is off by {aim / true:.1e}; ours in {products} products takes "
            f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] of its time"
        )


if __name__ == "__main__":
    main()
