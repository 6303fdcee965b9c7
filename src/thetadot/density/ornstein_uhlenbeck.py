r"""The Ornstein-Uhlenbeck process: linear drift, constant noise, Gaussian at every time.

    dx = A x dt + B dW
    mean        m(t) = e^(At) m(0)
    covariance  C(t) = e^(At) C(0) e^(Aᵀt) + ∫₀ᵗ e^(As) B Bᵀ e^(Aᵀs) ds
    stationary  A S + S Aᵀ + B Bᵀ = 0    (Lyapunov), where every eigenvalue of A has a negative real part

The integral is a block of one matrix exponential [vanloan1978], taken of a short time and doubled,
C(2t) = C(t) + e^(At) C(t) e^(Aᵀt), so that long times do not overflow. Exact to rounding.

Source:
    Uhlenbeck, Ornstein, Phys. Rev. 36, 823 (1930); Van Loan, IEEE Trans. Autom. Control 23, 395 (1978).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.linalg import solve_continuous_lyapunov

from thetadot.core import rng
from thetadot.core.signatures import checked
from thetadot.core.validation import require_finite, require_instances, require_numbers, require_tensors, require_whole
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.potentials import Harmonic
from thetadot.systems import Kramers, Langevin, PerStep, Problem

if TYPE_CHECKING:
    from torch import Tensor


@checked
@dataclass(frozen=True, eq=False)
class OrnsteinUhlenbeck:
    """dx = A x dt + B dW.

    Args:
        matrix: A, (d, d).
        noise: B, (d, m).

    Raises:
        InadmissibleValue: shapes that do not fit, or numbers that are not finite.

    Example:
        >>> process = OrnsteinUhlenbeck(torch.tensor([[-1.0]]).double(), torch.tensor([[0.8]]).double())
        >>> round(float(process.mean(1.0, torch.tensor([2.0]))), 7)  # 2/e
        0.7357589
        >>> round(float(process.covariance(1.0, torch.tensor([[0.01]]))), 7)  # .01 e⁻² + .32 (1 - e⁻²)
        0.2780461
    """

    matrix: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        require_tensors(matrix=self.matrix, noise=self.noise)
        size = self.matrix.shape[0] if self.matrix.dim() == 2 else -1
        if self.matrix.shape != (size, size) or self.noise.dim() != 2 or len(self.noise) != size:
            raise InadmissibleValue(
                f"matrix of shape {tuple(self.matrix.shape)}, noise of {tuple(self.noise.shape)}. "
                "Pass A (d, d) and B (d, m)."
            )
        finite = bool(self.matrix.isfinite().all() and self.noise.isfinite().all())
        require(finite, "a matrix or noise", "is not finite", "Pass finite numbers.")
        for name in ("matrix", "noise"):
            object.__setattr__(self, name, getattr(self, name).double())

    @classmethod
    def of(cls, problem: Problem, dim: int | None = None) -> OrnsteinUhlenbeck:
        """The process of Langevin or Kramers in a harmonic potential.

        Args:
            problem: Problem(Langevin(T) or Kramers(friction, T), Harmonic(h)).
            dim: of the position; None: as many as there are curvatures. Kramers' state is (θ_1, ..., θ_dim, η_1, ...,
                η_dim).

        Raises:
            IncompatiblePair: another potential or system.
            InadmissibleValue: another number of curvatures.
        """
        require_instances(Problem, problem=problem)
        system, potential = problem.system, problem.potential
        if not isinstance(potential, Harmonic) or not isinstance(system, Langevin | Kramers):
            raise IncompatiblePair(
                f"{system} in {potential} is not linear. Pass Langevin or Kramers in Harmonic, or use FokkerPlanck."
            )
        curvature = torch.as_tensor(potential.curvature, dtype=torch.float64).reshape(-1)
        dim = len(curvature) if dim is None else dim
        require_whole(dim=dim)
        if dim < 1 or len(curvature) not in (1, dim):
            raise InadmissibleValue(f"dim={dim} with {len(curvature)} curvatures. Pass as many, or leave dim out.")
        stiffness = torch.diag(curvature.expand(dim))
        heat, one = 2.0 * float(system.temperature), torch.eye(dim, dtype=torch.float64)
        if isinstance(system, Langevin):
            return cls(-stiffness, math.sqrt(heat) * one)
        if isinstance(system.friction, PerStep):
            raise IncompatiblePair("a friction per step is none per time. Pass Kramers(friction, T) in 1/time.")
        friction = float(system.friction)
        zero = torch.zeros_like(one)
        matrix = torch.cat((torch.cat((zero, one), 1), torch.cat((-stiffness, -friction * one), 1)))
        return cls(matrix, torch.cat((zero, math.sqrt(friction * heat) * one)))

    def mean(self, time: float, start: Tensor) -> Tensor:
        """Return the mean m(t) from m(0) (..., d)."""
        self._require_state(start, 1)
        return start.double() @ self._transition(time).T

    def covariance(self, time: float, start: Tensor | None = None) -> Tensor:
        """C(t) from C(0) (d, d), from a point if None."""
        if start is not None:
            self._require_state(start, 2)
        transition, spread = self._transition(time), self._spread(time)
        return spread if start is None else transition @ start.double() @ transition.T + spread

    def stationary(self) -> Tensor:
        """Return the stationary covariance S, (d, d).

        Raises:
            InadmissibleValue: an eigenvalue of A has no negative real part, so that nothing is stationary.
        """
        slowest = float(torch.linalg.eigvals(self.matrix).real.max())
        spread = self.noise @ self.noise.T
        require_finite(noise=spread)
        require(slowest < 0, f"a matrix with the eigenvalue {slowest:.3g}", "has no stationary law", "Add friction.")
        solved: Tensor = torch.from_numpy(solve_continuous_lyapunov(self.matrix.numpy(), -spread.numpy()))
        return solved

    def sample(self, time: float, start: Tensor, key: int = 0) -> Tensor:
        """States at ``time`` of paths that begin at ``start`` (paths, d), exact in law for every time, float64."""
        require_whole(key=key)
        mean, spread = self.mean(time, start), self._spread(time)
        require_finite(covariance=spread)
        values, vectors = torch.linalg.eigh(spread)  # a root also where a variable has no noise yet
        root = vectors * values.clamp(min=0.0).sqrt()
        states: Tensor = mean + rng.normal(mean, rng.derive(key, 0)) @ root.T
        return states

    def _require_state(self, start: Tensor, axes: int) -> None:
        require_tensors(start=start)
        size = len(self.matrix)
        if start.shape[-axes:] != (size,) * axes:
            raise InadmissibleValue(
                f"start of shape {tuple(start.shape)} does not end in {(size,) * axes}. "
                f"Pass {'a state' if axes == 1 else 'a covariance'} of all {size} variables."
            )

    def _transition(self, time: float) -> Tensor:
        """Return the transition matrix e^(At)."""
        require_numbers(time=time)
        require(0 <= time < math.inf, f"time={time:g}", "is negative or not finite", "Pass t >= 0.")
        require_finite(exponent=self.matrix * time)
        transition: Tensor = torch.linalg.matrix_exp(self.matrix * time)
        return transition

    def _spread(self, time: float) -> Tensor:
        """C(t) from a point."""
        size, length = len(self.matrix), float(torch.linalg.norm(self.matrix)) * time
        require_finite(exponent=length)
        halvings = max(0, math.ceil(math.log2(max(length, 1e-300))))
        short = time / 2.0**halvings
        block = torch.zeros(2 * size, 2 * size, dtype=torch.float64)
        block[:size, :size], block[:size, size:] = -self.matrix, self.noise @ self.noise.T
        block[size:, size:] = self.matrix.T
        power = torch.linalg.matrix_exp(block * short)
        transition = power[size:, size:].T
        spread: Tensor = transition @ power[:size, size:]
        for _ in range(halvings):
            spread = spread + transition @ spread @ transition.T
            transition = transition @ transition
        return (spread + spread.T) / 2.0
