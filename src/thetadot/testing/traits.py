"""Traits of an optimizer that the laws need and cannot observe."""

from __future__ import annotations

from dataclasses import dataclass

from thetadot.core.signatures import checked


@checked
@dataclass(frozen=True)
class Traits:
    """The nature of an optimizer; whoever holds it to the contract declares it.

    Attributes:
        lr: a learning rate at which five steps on a loss of curvature 1 to 10 stay bounded and are not small.
        closure: ``step()`` needs a closure: the rule moves by the loss, or takes further gradients.
        solves: the closure is called many times and a step is the solution of an equation, to a tolerance.
        noisy: steps are random; a factory called under the same global seed gives the same noise.
        momentum: takes ``momentum=``.
        sparse: takes sparse gradients, as exactly as dense ones.
        differentiable: takes ``differentiable=True``.
        capturable: takes ``capturable=True``.

    Example:
        >>> Traits(momentum=True).noisy
        False
    """

    lr: float = 0.05
    closure: bool = False
    solves: bool = False
    noisy: bool = False
    momentum: bool = False
    sparse: bool = False
    differentiable: bool = False
    capturable: bool = False
