"""Amos: its recursion, its balance, and the size that it reads off a tensor."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thetadot.errors import InadmissibleValue
from thetadot.integrators import SemiImplicitEuler
from thetadot.integrators.base import initial_state
from thetadot.optim import Amos
from thetadot.schedules import amos_schedule, p_from_half_life
from thetadot.systems import Amos as PublishedAmos
from thetadot.systems import ScheduledAmos
from thetadot.systems.base import Beginning, PerStep

KINDS = pytest.mark.parametrize("kind", ["constant", "decaying"])


def matrix(size=2.0, shape=(20, 30), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (size * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()


def rms(x):
    return x.detach().square().mean().sqrt().item()


def approach(kind, rate, steps):
    """S after so many steps of the system, as the integrator makes them."""
    flow = ScheduledAmos(PerStep(rate), PerStep(0.1), kind)
    rule = SemiImplicitEuler()
    state = initial_state(flow, rule, torch.ones(1))
    scales = rule.prepare(flow, 0.0)
    still = torch.zeros(1)
    for _ in range(steps):
        state = rule.advance(scales, {**state, "tensor_square": 0.0}, still, None)
    return state


@pytest.mark.parametrize(
    ("kind", "of_state", "value", "continuous"),
    [
        ("constant", lambda s: s, 4.6153491, 4.6151205),
        ("decaying", lambda s: math.exp(-2 * s), 0.00497381, 0.00497512),
    ],
)
def test_the_recursion_has_its_known_values(kind, of_state, value, continuous):
    """S += a e^(-S), resp. a e^(-2S), a = .01, ten thousand steps; and the differential equation's."""
    assert of_state(approach(kind, 0.01, 10_000)["approach"]) == pytest.approx(value, rel=1e-6)
    factor = amos_schedule(10_000, 0.1, 0.1, kind).lr_factor
    assert of_state(-math.log(factor) / 2) == pytest.approx(continuous, rel=1e-6)


@KINDS
def test_the_recursion_follows_the_schedule_at_order_one(kind):
    """At a fixed a·t the difference halves with a."""
    apart = []
    for steps in (100, 200, 400):
        exact = -math.log(amos_schedule(steps, 1.0, 2.0 / steps, kind).lr_factor) / 2
        apart.append(approach(kind, 2.0 / steps, steps)["approach"] - exact)
    assert [math.log2(a / b) for a, b in pairwise(apart)] == pytest.approx([1.0] * 2, abs=0.05)


@KINDS
@given(st.floats(1, 1e6), st.floats(1e-4, 1.0))
def test_at_the_half_life_the_factor_is_one_half(kind, half_life, alpha0):
    p = p_from_half_life(half_life, alpha0, kind)
    factor, decay = amos_schedule(half_life, alpha0, p, kind)
    assert factor == pytest.approx(0.5, rel=1e-12)
    assert decay == pytest.approx(alpha0**2 / 4, rel=1e-12)


@KINDS
@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1), st.floats(0, 1))
def test_the_schedule_begins_at_one_and_falls(kind, one, other, alpha0, p):
    earlier, later = sorted((one, other))
    assert amos_schedule(0.0, alpha0, p, kind).lr_factor == 1.0
    assert amos_schedule(earlier, alpha0, p, kind) >= amos_schedule(later, alpha0, p, kind) > (0.0, -1.0)


def step(optimizer, p, gradient):
    p.grad = gradient
    optimizer.step()


@pytest.mark.parametrize("q", [1.0, 2.0])
def test_the_first_step_is_that_of_the_formula(q):
    """σ·α in units of the gradient's root mean square, and the decay α²/2q; d = 1."""
    p = matrix()
    before, g = p.detach().clone(), torch.randn(20, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step(Amos([p], 0.1, "constant", half_life=10, q=q), p, g)
    expected = before - 0.1 * rms(before) * g / rms(g) - 0.1**2 / (2 * q) * before
    assert torch.allclose(p, expected, rtol=0, atol=1e-14)


@KINDS
def test_step_and_decay_fall_by_the_factor(kind):
    """With a constant gradient: θ' - θ = -ασd - α²dθ/2 with d = e^(-2S) before S moves."""
    p = matrix()
    size, s, theta = rms(p), 0.0, p.detach().clone()
    optimizer = Amos([p], 0.1, kind, half_life=5)
    rate, power = (math.sqrt(2) - 1, 1) if kind == "constant" else (0.5, 2)
    for _ in range(30):
        d = math.exp(-2 * s)
        theta = theta - 0.1 * size * d - 0.005 * d * theta
        s += rate / 5 * math.exp(-power * s)
        step(optimizer, p, torch.full_like(p, 3.0))
        assert torch.allclose(p, theta, rtol=0, atol=1e-13)
    assert optimizer.state[p]["factor"] == pytest.approx(d, rel=1e-12)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_the_scale_of_loss_and_of_tensor_do_not_matter(scale, size):
    """L -> cL changes nothing; θ -> cθ is the same motion in another unit."""
    ends = []
    for by_loss, by_size in ((1.0, 1.0), (scale, size)):
        p = matrix(by_size, (3, 4))
        optimizer = Amos([p], 0.1, "constant", half_life=10)
        for _ in range(5):
            step(optimizer, p, by_loss * (p.detach() / by_size) ** 3)
        ends.append(p.detach() / by_size)
    assert torch.allclose(*ends, rtol=1e-9, atol=1e-12)


def test_decay_balances_what_random_steps_add():
    """Noise alone at right angles to the error: |θ|² stays where it began, since ‖ασu‖² = 2(α²/2)|θ|².

    |θ|²/k is a noisy recursion: its random part 2α⟨θ, u⟩/k has variance 4α²/k a step and is forgotten at the rate α²,
    so that the stationary variance is 2/k; five standard errors are granted.
    """
    p = matrix(1.0, (40, 50))
    before, generator = rms(p) ** 2, torch.Generator().manual_seed(2)
    optimizer = Amos([p], 0.2, "constant")
    for _ in range(200):
        step(optimizer, p, torch.randn(40, 50, dtype=torch.float64, generator=generator))
    # discretely: |θ'|² = (1-α²/2)²|θ|² + α²σ², whose fixed point is σ²/(1-α²/4)
    assert rms(p) ** 2 / before == pytest.approx(1 / (1 - 0.2**2 / 4), abs=5 * math.sqrt(2 / 2000))


# The published rule.


def published(theta, gradient_of, lr, beta, steps):
    """arXiv 2210.11693, algorithm 1, one v and one b for the tensor, written out by itself; (θ, b) after every step."""
    size, v, b, path = rms(theta), 0.0, 0.0, []
    for t in range(1, steps + 1):
        g = gradient_of(theta)
        square = float(g.square().mean())
        v = beta * v + (1 - beta) * square
        hat = v / (1 - beta**t)
        gamma = (1 + 0.25 * math.sqrt(lr) * b) ** -0.5 * lr**2 * square / hat
        fall = 1 / (1 + 0.25 * math.sqrt(lr * size) * b)
        theta = theta - fall * (lr * size / math.sqrt(hat) * g + 0.5 * gamma * theta)
        b = b + gamma * (1 + b)
        path.append((theta, b))
    return path


@pytest.mark.parametrize(("lr", "beta"), [(0.1, 0.9), (0.05, 0.0), (0.01, 0.999)])
def test_by_default_it_is_the_published_recursion(lr, beta):
    p = matrix()
    optimizer = Amos([p], lr, decay=beta)
    for theta, b in published(p.detach().clone(), lambda x: x**3 - 1.0, lr, beta, 40):
        step(optimizer, p, p.detach() ** 3 - 1.0)
        assert torch.allclose(p, theta, rtol=1e-12, atol=1e-12)
        assert optimizer.state[p]["taken"] == pytest.approx(b, rel=1e-11)


def test_what_decay_has_taken_grows_by_its_square_law():
    """b -> ξ^(7/2) t² where mean g² = v̂: the next order is 1/t, so it is .04% off after ten times 10⁵ steps' law."""
    flow, rule = PublishedAmos(PerStep(1.0)), SemiImplicitEuler()
    state, still = initial_state(flow, rule, torch.ones(1)), torch.zeros(1)
    xi, steps = 0.5, 20_000
    scales = rule.prepare(flow, xi)
    for _ in range(steps):
        state = rule.advance(scales, {**state, "tensor_square": 1.0}, still, None)
    assert state["taken"] == pytest.approx(xi**3.5 * steps**2, rel=2e-3)
    assert state["share"] == pytest.approx(2 / steps, rel=2e-3)
    assert state["factor"] == pytest.approx((1 + 0.5 * 0.5**0.25 * xi**2 * steps) ** -2, rel=2e-3)


def test_noise_is_annealed_by_itself():
    """About a minimum in noise a constant step keeps its floor (ασ)²/..., the published fall goes below it."""
    floors = {}
    for kind in ("published", "constant"):
        p = matrix(1.0, (30, 30))
        optimizer = Amos([p], 0.1, kind)
        goal, generator = p.detach().clone().roll(1, 0), torch.Generator().manual_seed(3)
        for _ in range(3000):
            noise = torch.randn(30, 30, dtype=torch.float64, generator=generator)
            step(optimizer, p, p.detach() - goal + noise)
        floors[kind] = float((p.detach() - goal).square().mean())
    assert floors["published"] < 0.2 * floors["constant"]


def test_a_gradient_that_is_zero_moves_nothing():
    p = matrix()
    before = p.detach().clone()
    optimizer = Amos([p], 0.1)
    for _ in range(3):
        step(optimizer, p, torch.zeros_like(p))
    assert torch.equal(p, before)
    assert optimizer.state[p]["taken"] == 0.0


# The size of a tensor.


@pytest.mark.parametrize(
    ("tensor", "size"),
    [
        (torch.full((2, 3), -0.3), 0.3),
        (torch.tensor([[3.0, 4.0]]), math.sqrt(12.5)),
        (torch.full((2, 3, 1, 1), 2.0), 2.0),
        (torch.full((5,), 7.0), 0.5),
        (torch.tensor(7.0), 0.5),
        (torch.zeros(3, 3), 0.5),
        (torch.empty(0, 3), 0.5),
        (torch.full((2, 2), 2.0, dtype=torch.bfloat16), 2.0),
    ],
)
def test_the_size_is_that_of_the_tensor_as_it_begins(tensor, size):
    p = tensor.requires_grad_()
    optimizer = Amos([p], 0.5)
    step(optimizer, p, torch.ones_like(p))
    step(optimizer, p, torch.ones_like(p))  # the tensor has moved, its size has not
    assert optimizer.state[p]["size"] == pytest.approx(size, rel=1e-6)


def test_beginnings_are_a_matter_of_the_system():
    assert isinstance(ScheduledAmos(0.0, 1.0), Beginning)
    state = initial_state(ScheduledAmos(0.0, 1.0), SemiImplicitEuler(), torch.full((2, 2), 3.0))
    assert state["size"] == 3.0
    assert (state["factor"], state["approach"], state["square"]) == (1.0, 0.0, 0.0)


def test_it_keeps_numbers_only_and_the_size_survives_saving():
    p = matrix()
    optimizer = Amos([p], 0.1)
    optimizer.init_state()
    size = rms(p)
    assert all(isinstance(value, float) for value in optimizer.state[p].values())
    step(optimizer, p, torch.ones_like(p))
    q = (p.detach() * 100).requires_grad_()
    other = Amos([q], 0.1)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[q]["size"] == pytest.approx(size, rel=1e-14)


@pytest.mark.parametrize("kind", ["published", "constant"])
def test_numbers_may_live_on_the_device(kind):
    ends = []
    for capturable in (False, True):
        p = matrix()
        optimizer = Amos([p], 0.1, kind, half_life=None if kind == "published" else 3, capturable=capturable)
        for _ in range(4):
            step(optimizer, p, p.detach() ** 3)
        assert all(isinstance(value, torch.Tensor) == capturable for value in optimizer.state[p].values())
        ends.append(p.detach())
    assert torch.allclose(*ends, rtol=1e-13)


def test_the_common_decay_acts_besides():
    p, q = matrix(), matrix()
    one, other = Amos([p], 0.1), Amos([q], 0.1, weight_decay=0.3)
    step(one, p, torch.ones_like(p))
    step(other, q, torch.ones_like(q))
    assert torch.allclose(q - p, -0.03 * (1 - 0.005) * matrix(), atol=1e-14)


# What is refused, and what is read.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "constant", "half_life": 0.0}, "half_life=0 is not positive"),
        ({"kind": "constant", "half_life": math.nan}, "half_life=nan is not positive"),
        ({"kind": "falling"}, "kind='falling' is unknown. Pass 'published', 'constant' or 'decaying'"),
        ({"kind": "decaying", "q": 0.0}, "q=0 is not positive"),
        ({"half_life": 10}, "half_life=10 and q=1.0 belong to a given fall"),
        ({"q": 2.0}, "half_life=None and q=2.0 belong to a given fall"),
        ({"decay": 1.0}, r"decay=1 is outside \[0, 1\)"),
    ],
)
def test_settings_out_of_range_are_refused(options, said):
    with pytest.raises(InadmissibleValue, match=said):
        Amos([torch.ones(1, requires_grad=True)], 0.1, **options)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: amos_schedule(-1, 0.1, 0.1), "t=-1 is negative"),
        (lambda: amos_schedule(1, math.inf, 0.1), "alpha0=inf"),
        (lambda: amos_schedule(1, 0.1, -0.1), "p=-0.1"),
        (lambda: amos_schedule(1, 0.1, 0.1, "cosine"), "kind='cosine' is (unknown|not)"),
        (lambda: p_from_half_life(0, 0.1), "half_life=0"),
        (lambda: p_from_half_life(10, 0.0), "alpha0=0"),
        (lambda: p_from_half_life(10, 0.1, "cosine"), "kind='cosine' is (unknown|not)"),
        (lambda: ScheduledAmos(1.0, 1.0, "cosine"), "kind='cosine' is (unknown|not)"),
        (lambda: ScheduledAmos(1.0, 1.0, q=-1.0), "q=-1 is not positive"),
    ],
)
def test_what_is_inadmissible_is_named(call, said):
    with pytest.raises(InadmissibleValue, match=f"^{said}"):
        call()


def test_the_preconditioner_that_is_read_is_the_one_that_acts():
    p = matrix()
    optimizer = Amos([p], 0.1)
    g = torch.randn(20, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = p.detach().clone()
    step(optimizer, p, g)
    reading = optimizer.reading(optimizer.param_groups[0])
    decayed = before * (1 - 0.005)
    assert torch.allclose(decayed - p, reading.step * g / reading.preconditioner[p], atol=1e-13)
    assert reading.limit == pytest.approx(20.0)
