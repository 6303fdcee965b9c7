r"""The implicit step, solved: z = (θ + θ'(∇L(z)))/2 by Newton's method with Krylov inner solves.

θ'(g) is the integrator's own rule with g for the gradient; the solver only finds the midpoint z at which gradient and step agree.
Convergence is checked; a step that does not converge is not taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from thetadot.errors import NotConverged
from thetadot.systems.base import POSITION
from thetadot.tensors import real_view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

_MOST_ITERATIONS = 50


def solve_midpoint(
    moving: Sequence[tuple[int, Tensor, dict[str, Any], Any]],
    advance: Callable[..., dict[str, Any]],
    store: Callable[[Tensor, dict[str, Any]], None],
    evaluate: Callable[[], Any],
) -> None:
    """Move every parameter of ``moving`` by the implicit step and update its state.

    Args:
        moving: (index, parameter, group, scalars) of each parameter with a gradient.
        advance: the rule of one parameter, from p.grad to a state.
        store: writes a state to its parameter.
        evaluate: recomputes p.grad at the parameters' present values.

    Raises:
        NotConverged: the equation was not solved to √eps of the parameters' dtype; parameters and state are as before.
    """
    from scipy.optimize import NoConvergence, newton_krylov  # noqa: PLC0415 - half a second of import that few need

    parameters = [entry[1] for entry in moving]
    if not parameters:
        return
    start = [p.detach().clone() for p in parameters]
    eps = max(torch.finfo(p.dtype).eps for p in parameters)

    def place(values: Sequence[Tensor]) -> None:
        for p, value in zip(parameters, values, strict=True):
            p.detach().copy_(value)

    def step_from_start() -> list[dict[str, Any]]:
        place(start)
        return [advance(*entry) for entry in moving]

    def residual(flat: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        place(_unflatten(flat, start))
        evaluate()
        after = step_from_start()
        middle = [(real_view(s) + state[POSITION]) / 2.0 for s, state in zip(start, after, strict=True)]
        return flat - _flatten(middle)

    origin = _flatten([real_view(s) for s in start])
    first = residual(origin)
    scale = max(1.0, float(abs(origin).max()), float(abs(first).max()))
    try:
        solution = newton_krylov(
            residual, origin - first, method="lgmres", f_tol=eps**0.75 * scale, rdiff=eps**0.5, maxiter=_MOST_ITERATIONS
        )
    except (NoConvergence, ValueError) as error:
        place(start)
        raise NotConverged(
            f"the implicit step was not solved to {eps**0.75 * scale:.1e} in {_MOST_ITERATIONS} iterations. "
            "Pass a smaller lr, or parameters in float64."
        ) from error
    place(_unflatten(solution, start))
    evaluate()
    for entry, state in zip(moving, step_from_start(), strict=True):
        store(entry[1], state)


def _flatten(values: Sequence[Tensor]) -> np.ndarray[Any, Any]:
    return torch.cat([value.reshape(-1).double() for value in values]).cpu().numpy()


def _unflatten(flat: np.ndarray[Any, Any], like: Sequence[Tensor]) -> list[Tensor]:
    parts, offset = [], 0
    for p in like:
        view = real_view(p)
        part = torch.from_numpy(flat[offset : offset + view.numel()].copy()).reshape(view.shape).to(view)
        parts.append(torch.view_as_complex(part) if p.is_complex() else part)
        offset += view.numel()
    return parts
