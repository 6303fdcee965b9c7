r"""An oscillator braked by a power of its velocity: θ̇ = φ,  φ̇ = -θ - c|φ|^{p-2} φ,  p > 1.

In ρ = ln r and the angle a from θ, where only the damping ratio κ = c r^{p-2} knows of the size,

    ρ̇ = -κ |sin a|^p,    ȧ = -1 - κ |sin a|^{p-2} sin a cos a

    κ << 1   the orbit turns:   d(r²)/dt = -2c m_p r^p,  averaged over it,   m_p = ⟨|cos|^p⟩ = Γ((p+1)/2)/(√π Γ(p/2+1))
             p > 2:  r² ∝ t^{-2/(p-2)}, exact as r → 0;    p < 2:  r^{2-p} falls linearly, while κ is small
    κ >> 1   the orbit creeps:  |φ| = (|θ|/c)^{1/(p-1)};    p < 2:  θ ∝ t^{-(p-1)/(2-p)}, exact as r → 0
    p = 2    linear:            r² falls like e^{-ct} for c < 2, like e^{-2t/(c/2 + √(c²/4-1))} above

Between the limits the two equations are integrated (LSODA, to 1e-9).

Derived here.
"""

from __future__ import annotations

import cmath
import math

_WEAK = 1e-3  # κ below which the averaged equation is as good
_LONGEST = 1e4  # of an integration over orbits that turn
_TURNS = 2.0  # κ above which they do not
_FLAT = 1e-5  # |φ/θ| below which it creeps
_SHORTEST = 1e-300


def log_radius_square(
    coefficient: float, power: float, time: float, start: float, angle: float = math.pi / 4.0
) -> float:
    """Ln r² at a time >= 0.

    Args:
        coefficient: c > 0.
        power: p > 1.
        time: t >= 0.
        start: r² > 0 at time 0.
        angle: at time 0, from θ to φ. Where damping is weak it does not matter.

    Example:
        >>> round(math.exp(log_radius_square(2e-4, 4.0, 1e5, 2.0)), 4)  # 1/(1/2 + 2·2e-4·1e5·3/8)
        0.0645
    """
    now = math.log(start) / 2.0
    coefficient = min(max(coefficient, _SHORTEST), 1.0 / _SHORTEST)
    if power == 2.0:
        return 2.0 * now + _linear(coefficient / 2.0, time, angle)
    left = time
    if power < 2.0 and _damping_ratio(coefficient, power, now) < _WEAK:
        until = (math.log(_WEAK) - math.log(coefficient)) / (power - 2.0)
        short = min(left, _time_to(coefficient, power, now, until))
        now, left = _averaged(coefficient, power, now, short), left - short
    if power > 2.0 and _creep_slope(coefficient, power, now) < _FLAT:
        return 2.0 * _crept(coefficient, power, now, left)
    if left > 0.0 and (power < 2.0 or _damping_ratio(coefficient, power, now) >= _WEAK):
        now, passed = _integrated(coefficient, power, (now, angle), left)
        left -= passed
    if left <= 0.0:
        return 2.0 * now
    goes_on = _crept if _creep_slope(coefficient, power, now) < _FLAT else _averaged
    return 2.0 * goes_on(coefficient, power, now, left)


def share_of_turn(power: float) -> float:
    """Return m_p, the mean of |sin|^p over a turn.

    Example:
        >>> round(share_of_turn(2.0), 12), round(share_of_turn(4.0), 12)
        (0.5, 0.375)
    """
    return math.exp(math.lgamma((power + 1.0) / 2.0) - math.lgamma(power / 2.0 + 1.0)) / math.sqrt(math.pi)


def _damping_ratio(coefficient: float, power: float, log_radius: float) -> float:
    """κ; as large as a number can be where it is larger."""
    return math.exp(min(math.log(coefficient) + (power - 2.0) * log_radius, 700.0))


def _creep_slope(coefficient: float, power: float, log_radius: float) -> float:
    """|φ/θ| of an orbit that creeps, where it is small."""
    return math.exp(-math.log(_damping_ratio(coefficient, power, log_radius)) / (power - 1.0))


def _linear(damping: float, time: float, angle: float) -> float:
    """Ln of r²(t)/r²(0) at p = 2: both roots of z² + 2kz + 1."""
    root = cmath.sqrt(damping * damping - 1.0) or 1e-8
    slow, fast = -1.0 / (damping + root), -(damping + root)
    # θ = A e^{slow t} + B e^{fast t}, the growth of the first taken out
    x, v = math.cos(angle), math.sin(angle)
    first, second = (v - fast * x) / (slow - fast), (slow * x - v) / (slow - fast)
    ratio = cmath.exp((fast - slow) * time)
    position, velocity = first + second * ratio, slow * first + fast * second * ratio
    square = abs(position) ** 2 + abs(velocity) ** 2
    return 2.0 * slow.real * time + math.log(max(square, _SHORTEST))


def _averaged(coefficient: float, power: float, log_radius: float, time: float) -> float:
    """Ln r after a time of turning: r^{2-p} changes linearly."""
    excess = power - 2.0
    change = excess * coefficient * share_of_turn(power) * time * math.exp(min(excess * log_radius, 700.0))
    return log_radius - math.log1p(max(change, -1.0 + 1e-16)) / excess


def _crept(coefficient: float, power: float, log_radius: float, time: float) -> float:
    """Ln r after a time of creeping: θ^s changes linearly, s = (p-2)/(p-1)."""
    excess = (power - 2.0) / (power - 1.0)
    change = -excess * time * math.exp(max(-math.log(coefficient) / (power - 1.0) - excess * log_radius, -700.0))
    return log_radius + math.log1p(max(change, -1.0 + 1e-16)) / excess


def _time_to(coefficient: float, power: float, log_radius: float, until: float) -> float:
    """How long the averaged equation takes from one ln r to a lower one."""
    excess = power - 2.0
    rate = excess * coefficient * share_of_turn(power) * math.exp(max(min(excess * log_radius, 700.0), -700.0))
    return math.expm1(min(-excess * (until - log_radius), 700.0)) / rate


def _integrated(coefficient: float, power: float, begun: tuple[float, float], time: float) -> tuple[float, float]:
    """Return ln r and the time passed, at most ``time``: less where the averaged equation takes over."""
    from scipy.integrate import solve_ivp  # noqa: PLC0415 - slow to import, and asked for here alone

    def motion(_: float, state: list[float]) -> tuple[float, float]:
        ratio, sine = _damping_ratio(coefficient, power, state[0]), math.sin(state[1])
        pull = ratio * abs(sine) ** (power - 1.0)
        return -pull * abs(sine), -1.0 - math.copysign(pull, sine) * math.cos(state[1])

    def weak(_: float, state: list[float]) -> float:
        return _damping_ratio(coefficient, power, state[0]) - _WEAK

    def flat(_: float, state: list[float]) -> float:
        return max(abs(math.sin(state[1])), _creep_slope(coefficient, power, state[0]) if power < 2.0 else 1.0) - _FLAT

    for each in (weak, flat):
        each.terminal, each.direction = True, -1  # type: ignore[attr-defined]
    state, past = list(begun), 0.0
    while past < time:
        end = min(time, past + _LONGEST)
        found = solve_ivp(motion, (past, end), state, method="LSODA", rtol=1e-9, atol=1e-9, events=(weak, flat))
        state, past = [float(found.y[0, -1]), float(found.y[1, -1])], float(found.t[-1])
        if any(map(len, found.t_events)) or not found.success or _damping_ratio(coefficient, power, state[0]) < _TURNS:
            break
    return state[0], past
