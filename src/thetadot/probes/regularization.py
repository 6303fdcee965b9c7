r"""Implicit regularization: what a finite step adds to the loss that is descended.

    L̃ = L + α(1+β)/(4(1-β)²)·|∇L|² + C α·V,    θ̇ = -∇L̃ α/(1-β) a step;    V = (1/m)Σₖ|∇Lₖ-∇L|² = trΣ/B·(1-1/m)

The first term is of any heavy ball [barrett2021; ghosh2023]. The second is of reshuffling: m batches that make up an
epoch, in an order drawn anew every epoch [smith2021]. A batch that was seen pushes θ by -α(1-β^j)/(1-β)·∇Lₖ within j
steps, and cannot come again; so ∇²Lₖ and the push are anticorrelated by 1/(m-1), and the mean over the epoch is

    C = [½ - β/((1-β)m(m-1))·(m - (1-β^m)/(1-β))] / (2(1-β)),    → 1/(4(1-β)) for m ≫ 1/(1-β);  ¼ at β = 0 for every m

Batches drawn independently have no such term: V then changes the mean motion only in the next order. Exact to second
order in α; small where αm times the curvature is small against 1-β.

Source:
    Barrett, Dherin, "Implicit gradient regularization", ICLR 2021 (2009.11162).
    Smith, Dherin, Barrett, De, "On the origin of implicit regularization in SGD", ICLR 2021 (2101.12176): β = 0.
    Ghosh et al., "Implicit regularization in heavy-ball momentum accelerated SGD", ICLR 2023 (2302.00849).
    C at β > 0: derived here, and compared in the tests with the mean over all orders.
"""

from __future__ import annotations

from thetadot.analysis.modified import gradient_penalty
from thetadot.core.signatures import checked
from thetadot.errors import require


@checked
def gradient_term(rate: float, momentum: float, square: float) -> float:
    """α(1+β)/(4(1-β)²)·|G|², in units of the loss.

    Args:
        rate: α >= 0 (Adam with frozen P: lr(1-β₁), and |G|² weighted by P⁻¹).
        momentum: 0 <= β < 1.
        square: |G|², noise removed.

    Raises:
        InadmissibleValue: rate or momentum out of range.

    Example:
        >>> gradient_term(0.1, 0.0, 4.0), round(gradient_term(0.1, 0.9, 4.0), 9)  # the second 190 times the first
        (0.1, 19.0)
    """
    _require_settings(rate, momentum)
    return gradient_penalty(rate, momentum) * square


@checked
def noise_term(rate: float, momentum: float, variance: float, batch_size: float, batches: int | None = None) -> float:
    """C α·trΣ/B, in units of the loss, for sampling by reshuffling.

    Args:
        rate: α >= 0.
        momentum: 0 <= β < 1.
        variance: trΣ of one sample.
        batch_size: B > 0.
        batches: m >= 2 batches an epoch; many if None. With m, V = trΣ/B·(1-1/m), else trΣ/B.

    Raises:
        InadmissibleValue: an argument out of range.

    Example:
        >>> noise_term(0.1, 0.0, 8.0, 2.0), round(noise_term(0.1, 0.9, 8.0, 2.0), 9)
        (0.1, 1.0)
    """
    _require_settings(rate, momentum)
    require(batch_size > 0, f"batch_size={batch_size:g}", "is not above 0", "Pass the samples of a batch.")
    share = 1.0 if batches is None else 1.0 - 1.0 / batches
    return noise_coefficient(momentum, batches) * rate * variance / batch_size * share


@checked
def noise_coefficient(momentum: float, batches: int | None = None) -> float:
    """C, by which α times the variance V between batches is weighed.

    Args:
        momentum: 0 <= β < 1.
        batches: m >= 2 batches an epoch; many if None.

    Raises:
        InadmissibleValue: an argument out of range.

    Example:
        >>> noise_coefficient(0.0, batches=7), noise_coefficient(0.5), noise_coefficient(0.5, batches=2)
        (0.25, 0.5, 0.25)
    """
    _require_settings(0.0, momentum)
    if batches is None:
        return 0.25 / (1.0 - momentum)
    require(batches >= 2, f"batches={batches}", "is below 2: there is no order", "Pass the batches of an epoch.")
    slow = batches - (1.0 - momentum**batches) / (1.0 - momentum)
    half = 0.5 - momentum / ((1.0 - momentum) * batches * (batches - 1)) * slow
    return half / (2.0 * (1.0 - momentum))


def _require_settings(rate: float, momentum: float) -> None:
    require(rate >= 0, f"rate={rate:g}", "is below 0", "Pass rate >= 0.")
    require(0 <= momentum < 1, f"momentum={momentum:g}", "is outside [0, 1)", "Pass 0 <= momentum < 1.")
