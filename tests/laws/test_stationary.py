"""The law that noise keeps up: closed forms, the Lyapunov equation of the rule, and the optimizers themselves."""

import itertools
import math

import pytest
import torch

from thetadot.analysis import linearize, stationary_variance
from thetadot.errors import InadmissibleValue, IncompatiblePair, ThetadotError
from thetadot.integrators import Euler, EulerMaruyama, ImplicitMidpoint, Leapfrog, LookAhead, Splitting
from thetadot.optim import Flow, GradientDescent, HeavyBall, Kramers, Langevin, Nesterov
from thetadot.systems import DampedNewton, GradientFlow
from thetadot.systems import Kramers as KramersDynamics
from thetadot.systems import Langevin as LangevinDynamics
from thetadot.translation import temperature, to_physical

COPIES = 200_000  # independent coordinates: the variance's relative standard error is √(2/N) = 0.32%
T_LEAPFROG = 1.1**2 / (2 * 0.6)  # σ²/(2λ)


def sampled_variance(build, *, curvature, steps, noise=0.0):
    """Variance over independent coordinates of L = hθ²/2 after ``steps`` steps, gradient noise of variance noise²."""
    generator = torch.Generator().manual_seed(20240601)
    p = torch.zeros(COPIES, dtype=torch.float64, requires_grad=True)
    optimizer = build([p], generator)
    for _ in range(steps):
        p.grad = curvature * p.detach()
        if noise:
            p.grad += noise * torch.randn(COPIES, dtype=torch.float64, generator=generator)
        optimizer.step()
    return float(p.detach().var())


def assert_sampled(found, exact):
    assert abs(found / exact - 1) < 0.01
    assert abs(found / exact - 1) < 3.5 * math.sqrt(2 / COPIES)


def momentum_variance(rule, lr, momentum, curvature, **noise):
    step, friction = to_physical(lr, momentum)
    return stationary_variance(DampedNewton(friction), rule, step=step, curvature=curvature, **noise)


def test_gradient_descent_under_gradient_noise():
    exact = stationary_variance(GradientFlow(), Euler(), step=0.3, curvature=2.0, gradient_variance=1.0)
    assert exact == pytest.approx(0.1071429, abs=1e-6)
    assert_sampled(sampled_variance(lambda p, _: GradientDescent(p, 0.3), curvature=2.0, steps=40, noise=1.0), exact)


def test_momentum_under_gradient_noise():
    exact = momentum_variance(Leapfrog(), 0.3, 0.8, 2.0, gradient_variance=1.0)
    assert exact == pytest.approx(0.45, abs=1e-6)
    assert_sampled(sampled_variance(lambda p, _: HeavyBall(p, 0.3, 0.8), curvature=2.0, steps=60, noise=1.0), exact)


@pytest.mark.parametrize("lookahead", [0.5, 1.0])
def test_look_ahead_under_gradient_noise(lookahead):
    """Of the point that the parameter holds: an AR(2) process with coefficients from the characteristic polynomial."""
    lr, beta, h, c = 0.3, 0.8, 2.0, lookahead
    x = lr * h
    a1, a2 = 1 - x + beta * (1 - c * x), -beta * (1 - c * x)
    # Θ' = a1 Θ + a2 Θ_ - α(1+cβ) ζ + αcβ ζ_: an ARMA(2,1)
    m0, m1 = -lr * (1 + c * beta), lr * c * beta
    # variance by summing the impulse response
    response, weights = [m0, a1 * m0 + m1], 0.0
    while len(response) < 400:
        response.append(a1 * response[-1] + a2 * response[-2])
    weights = sum(r * r for r in response)
    exact = momentum_variance(LookAhead(lookahead=c), lr, beta, h, gradient_variance=1.0, of="evaluated")
    assert exact == pytest.approx(weights, rel=1e-9)
    sampled = sampled_variance(lambda p, _: Nesterov(p, lr, beta, lookahead=c), curvature=h, steps=60, noise=1.0)
    assert_sampled(sampled, exact)


def test_leapfrog_at_a_temperature():
    system = KramersDynamics(0.6, T_LEAPFROG)
    exact = stationary_variance(system, Leapfrog(), step=0.5, curvature=2.0)
    assert exact == pytest.approx(0.576190, abs=1e-6)
    sampled = sampled_variance(
        lambda p, generator: Flow(p, system, Leapfrog(), 0.5, generator=generator), curvature=2.0, steps=60
    )
    assert_sampled(sampled, exact)


@pytest.mark.parametrize("step", [0.1, 0.5, 1.0, 1.3])
@pytest.mark.parametrize("friction", [0.1, 0.6, 3.0])
def test_leapfrogs_half_step_velocity_is_in_equipartition_with_its_positions(step, friction):
    """Var η_{n+1/2} = h Var θ, both T/(1-γ²h/4)."""
    h, t = 2.0, 0.7
    covariance = linearize(KramersDynamics(friction, t), Leapfrog(), step=step, curvature=h).stationary_covariance()
    assert float(covariance[1, 1]) == pytest.approx(h * float(covariance[0, 0]), rel=1e-12)
    assert float(covariance[1, 1]) == pytest.approx(t / (1 - step**2 * h / 4), rel=1e-12)


@pytest.mark.parametrize("step", [0.1, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5])
@pytest.mark.parametrize("word", ["BAOAB", "BAOA"])
def test_baoab_has_the_exact_position_variance_at_every_stable_step(word, step):
    t = 0.7
    for h in (0.3, 1.0, 1.7):
        for friction in (0.2, 1.0, 5.0):
            system = KramersDynamics(friction, t)
            found = stationary_variance(system, Splitting(word), step=step, curvature=h)
            assert abs(found - t / h) < 1e-12 * max(1, t / h)


@pytest.mark.parametrize("step", [0.1, 0.5, 1.0, 1.3])
def test_kinetic_temperature_is_exact_at_baoabs_half_step_and_too_cold_on_the_step(step):
    h, t = 2.0, 0.7
    covariance = linearize(KramersDynamics(0.6, t), Splitting("BAOAB"), step=step, curvature=h).stationary_covariance()
    half_step = float(covariance[1, 1])
    assert half_step == pytest.approx(t, rel=1e-12)
    # on the step the velocity is half a kick further
    half_kick = torch.tensor([-step * h / 2, 1.0], dtype=torch.float64)
    assert float(half_kick @ covariance @ half_kick) == pytest.approx(t * (1 - step**2 * h / 4), rel=1e-12)


def test_named_kramers_has_exactly_the_variance_t_over_h():
    lr, beta, h, t = 0.6, 0.9, 2.0, 0.25
    build = lambda p, generator: Kramers(p, lr, beta, temperature=t, generator=generator)
    probe = build([torch.zeros(1, requires_grad=True)], None)
    system, step = probe.motion(probe.param_groups[0])
    assert stationary_variance(system, probe.integrator, step=step, curvature=h) == pytest.approx(t / h, abs=1e-13)
    assert_sampled(sampled_variance(build, curvature=h, steps=120), t / h)


def test_langevin_has_the_variance_of_euler_maruyama():
    lr, h, t = 0.3, 2.0, 0.25
    exact = t / (h * (1 - lr * h / 2))
    found = stationary_variance(LangevinDynamics(t), EulerMaruyama(), step=lr, curvature=h)
    assert found == pytest.approx(exact, rel=1e-12)
    build = lambda p, generator: Langevin(p, lr, temperature=t, generator=generator)
    assert_sampled(sampled_variance(build, curvature=h, steps=30), exact)


def test_kramers_at_temperature_zero_is_heavy_ball():
    torch.manual_seed(0)
    p, q = (torch.ones(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    cold, heavy = Kramers([p], 0.2, 0.9, temperature=0.0), HeavyBall([q], 0.2, 0.9)
    for _ in range(200):
        noise = torch.randn(5, dtype=torch.float64)
        p.grad, q.grad = 2 * p.detach() + noise, 2 * q.detach() + noise
        cold.step()
        heavy.step()
        assert torch.allclose(p, q, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_gradient_noise_keeps_the_temperature_that_translation_says(batch_size):
    """As lr -> 0: Var θ -> T/h."""
    lr, beta, h, s2 = 1e-5, 0.9, 2.0, 3.0
    found = momentum_variance(Leapfrog(), lr, beta, h, gradient_variance=s2, batch_size=batch_size)
    assert found == pytest.approx(temperature(lr, beta, s2, batch_size) / h, rel=1e-4)


def test_the_implicit_step_under_noise_agrees_with_its_own_recursion():
    """z² - (1-a+b)z + b, noise α/(1+x/2): Var = α̃²(1+b)/((1-b)((1+b)²-(1-a+b)²))."""
    lr, beta, h = 0.7, 0.8, 2.0
    x = lr * h
    a, b = x / (1 + x / 2), beta / (1 + x / 2)
    exact = (lr / (1 + x / 2)) ** 2 * (1 + b) / ((1 - b) * ((1 + b) ** 2 - (1 - a + b) ** 2))
    found = momentum_variance(ImplicitMidpoint(), lr, beta, h, gradient_variance=1.0)
    assert found == pytest.approx(exact, rel=1e-10)


def test_thermal_noise_enters_the_implicit_steps_own_midpoint():
    """θ' of the linear step solves the midpoint equation with its noise in it."""
    h, step, friction, t = 2.0, 0.5, 0.6, 0.7
    linear = linearize(KramersDynamics(friction, t), ImplicitMidpoint(), step=step, curvature=h)
    beta = (1 - friction * step / 2) / (1 + friction * step / 2)
    kick, heat = step * (1 + beta) / 2, math.sqrt(t * (1 - beta**2))
    # from zero: η = -kick·h·γη/2 + heat
    velocity = heat / (1 + kick * h * step / 2)
    assert linear.thermal_noise.squeeze().tolist() == pytest.approx([step * velocity, velocity], rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 1.1, "curvature": 2.0}, "is not stable"),
        ({"step": 0.1, "curvature": -1.0}, "is not stable"),
        ({"step": 0.1, "curvature": 2.0, "gradient_variance": -1.0}, "gradient_variance=-1 is negative"),
        ({"step": 0.1, "curvature": 2.0, "gradient_variance": 1.0, "batch_size": 0}, "batch_size=0 is below 1"),
    ],
)
def test_there_is_no_law_without_stability(arguments, message):
    with pytest.raises(InadmissibleValue, match=message):
        stationary_variance(GradientFlow(), Euler(), **arguments)


def test_without_friction_noise_heats_for_ever():
    with pytest.raises(InadmissibleValue, match="friction > 0"):
        stationary_variance(DampedNewton(0.0), Leapfrog(), step=0.1, curvature=1.0, gradient_variance=1.0)


def words():
    """Every word of three to five letters that can be stepped, has friction, and shows its positions."""
    for count in (3, 4, 5):
        for letters in itertools.product("ABO", repeat=count):
            word = "".join(letters)
            try:
                rule = Splitting(word)
                rule.open(KramersDynamics(0.7, 0.5), 0.4, start(), torch.zeros_like, lambda: torch.zeros(1))
            except ThetadotError:
                continue
            if "O" in word:
                yield word


def start():
    return {"position": torch.zeros(1, dtype=torch.float64), "velocity": torch.zeros(1, dtype=torch.float64)}


def by_hand(word, friction, temperature, step, curvature):
    """The covariance of (θ, η) after whole words, letter by letter until nothing changes."""
    covariance = torch.zeros(2, 2, dtype=torch.float64)
    for _ in range(20_000):
        before = covariance
        for letter in word:
            share = step / word.count(letter)
            matrix, heat = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
            if letter == "A":
                matrix[0, 1] = share
            elif letter == "B":
                matrix[1, 0] = -share * curvature
            else:
                matrix[1, 1] = math.exp(-friction * share)
                heat[1, 1] = temperature * (1 - math.exp(-2 * friction * share))
            covariance = matrix @ covariance @ matrix.T + heat
        if torch.equal(before, covariance) or float((before - covariance).abs().max()) < 1e-15:
            break
    return float(covariance[0, 0])


@pytest.mark.parametrize("word", list(words()))
def test_a_words_shown_positions_have_the_variance_of_a_recursion_letter_by_letter(word):
    friction, temperature, step, curvature = 0.7, 0.5, 0.4, 2.0
    system = KramersDynamics(friction, temperature)
    found = stationary_variance(system, Splitting(word), step=step, curvature=curvature)
    assert found == pytest.approx(by_hand(word, friction, temperature, step, curvature), rel=1e-10)


def test_where_gradients_are_taken_the_variance_of_a_word_is_another():
    """ABOBA is BAOAB read from elsewhere: T/(h(1-γ²h/4)) at its forces, T/h between its halves of A."""
    system, given = KramersDynamics(1.0, 0.5), {"step": 1.0, "curvature": 2.0}
    shown = stationary_variance(system, Splitting("ABOBA"), **given)
    assert shown == pytest.approx(by_hand("ABOBA", 1.0, 0.5, 1.0, 2.0), rel=1e-10)
    assert stationary_variance(system, Splitting("ABOBA"), **given, of="evaluated") > 1.1 * shown
    for of in ("shown", "evaluated"):
        assert stationary_variance(system, Splitting("BAOAB"), **given, of=of) == pytest.approx(0.25, rel=1e-12)
    with pytest.raises(InadmissibleValue, match="of='velocity'"):
        stationary_variance(system, Splitting("BAOAB"), **given, of="velocity")


def test_a_word_that_loses_its_positions_has_a_variance_at_its_forces_alone():
    system, given = KramersDynamics(1.0, 0.5), {"step": 0.5, "curvature": 2.0}
    with pytest.raises(IncompatiblePair, match="loses its positions"):
        stationary_variance(system, Splitting("AOABA"), **given)
    assert stationary_variance(system, Splitting("AOABA"), **given, of="evaluated") > 0
