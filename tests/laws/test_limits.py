"""Limit cases: every optimizer becomes its simpler neighbour where one of its settings reaches its end."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thetadot.optim import (
    Adam,
    AdamW,
    Amos,
    GradientDescent,
    HeavyBall,
    ImplicitHeavyBall,
    Kramers,
    Langevin,
    Nesterov,
    NormalizedDescent,
    Polyak,
    RMSprop,
    SignDescent,
)

LR = 0.05
SHAPES = ((3, 2), (4,), ())
ROUNDING = {"rtol": 1e-15, "atol": 1e-15}


def tensors(seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in SHAPES]


def value(params):
    """Σ|p-1|²/2 + Σp⁴/4."""
    return sum(((p - 1).square() / 2 + p**4 / 4).sum() for p in params)


def paths(one, other, steps, *, before=None, stays_together=False):
    """Both optimizers' parameters after every step, each on its own path.

    ``stays_together`` puts the second where the first is before each step, so that rounding does not add up.
    """
    params, others = tensors(), tensors()
    first, second = one(params), other(others)
    for n in range(steps):
        if stays_together:
            for p, q in zip(params, others, strict=True):
                q.data.copy_(p)
        for optimizer, group in ((first, params), (second, others)):
            optimizer.zero_grad()
            loss = value(group)
            loss.backward()
            if before is not None:
                before(n, optimizer, float(loss.detach()), group)
            optimizer.step(loss=loss)
        yield params, others


def assert_one(one, other, steps=10, **how):
    for params, others in paths(one, other, steps, **how):
        for p, q in zip(params, others, strict=True):
            assert torch.equal(p, q)


def assert_same(one, other, steps=10, *, rtol=1e-15, **how):
    for params, others in paths(one, other, steps, stays_together=True, **how):
        for p, q in zip(params, others, strict=True):
            assert torch.allclose(p, q, rtol=rtol, atol=rtol)


def seeded():
    return torch.Generator().manual_seed(7)


# Temperature 0.


def test_without_temperature_langevin_is_gradient_descent():
    assert_one(lambda p: Langevin(p, LR, 0.0, generator=seeded()), lambda p: GradientDescent(p, LR))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_without_temperature_kramers_is_heavy_ball(momentum):
    def kramers(p):
        return Kramers(p, LR, momentum, temperature=0.0, generator=seeded())

    assert_same(kramers, lambda p: HeavyBall(p, LR, momentum), rtol=1e-14)


# Momentum 0, look-ahead 0, the ends of friction.


@pytest.mark.parametrize("convention", ["physical", "displacement", "torch"])
def test_without_momentum_heavy_ball_is_gradient_descent(convention):
    def heavy_ball(p):
        return HeavyBall(p, LR, 0.0, convention=convention)

    assert_same(heavy_ball, lambda p: GradientDescent(p, LR))


@pytest.mark.slow
@given(lookahead=st.floats(0, 1))
def test_without_momentum_look_ahead_sees_nothing(lookahead):
    # lookahead is no number that moves: every one would be compiled for
    assert_same(lambda p: Nesterov(p, LR, 0.0, lookahead, compile=False), lambda p: GradientDescent(p, LR), steps=4)


@pytest.mark.parametrize("convention", ["physical", "displacement", "torch"])
@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_without_look_ahead_nesterov_is_heavy_ball(momentum, convention):
    assert_same(
        lambda p: Nesterov(p, LR, momentum, 0.0, convention=convention),
        lambda p: HeavyBall(p, LR, momentum, convention=convention),
    )


@given(step=st.floats(1e-3, 0.5))
def test_at_the_friction_of_no_memory_leapfrog_is_gradient_descent_of_half_its_step_squared(step):
    assert_same(
        lambda p: HeavyBall.from_physical(p, step=step, friction=2.0 / step),
        lambda p: GradientDescent(p, step * step / 2),
        steps=4,
        rtol=1e-14,
    )


def test_without_memory_kramers_is_overdamped_with_the_mean_of_two_noises():
    """θ' = θ - α∇L + √(2αT)(ξ + ξ')/2: the limit of BAOAB at high friction."""
    p = torch.full((50,), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = Kramers([p], LR, 0.0, temperature=0.7, generator=seeded())
    noise = torch.zeros_like(p)
    for _ in range(6):
        before, last = p.detach().clone(), noise
        p.grad = before**3
        optimizer.step()
        noise = optimizer.state[p]["velocity"] / math.sqrt(0.7)
        expected = before - LR * before**3 + math.sqrt(2 * LR * 0.7) * (last + noise) / 2
        assert torch.allclose(p, expected, rtol=0, atol=1e-14)
    assert noise.std().item() == pytest.approx(1.0, abs=5 / math.sqrt(2 * 50))


# Memories of the gradient.


@pytest.mark.parametrize("eps", [0.0, 1e-8, 0.1])
def test_without_memory_of_the_mean_adam_is_rmsprop_debiased(eps):
    """m̂ = ∇L and v̂ = G/w, w = 1-β₂ⁿ: the step is RMSprop's at lr·√w and ε·√w."""

    def debias(n, optimizer, *_):
        if isinstance(optimizer, RMSprop):
            root = math.sqrt(1 - 0.99 ** (n + 1))
            optimizer.param_groups[0].update(lr=LR * root, eps=eps * root)

    assert_same(lambda p: Adam(p, LR, (0.0, 0.99), eps), lambda p: RMSprop(p, LR, 0.99, eps), rtol=1e-14, before=debias)


def test_without_any_memory_adam_and_rmsprop_are_sign_descent():
    for build in (
        lambda p: Adam(p, LR, (0.0, 0.0), 0.0),
        lambda p: AdamW(p, LR, (0.0, 0.0), 0.0, weight_decay=0.0),
        lambda p: RMSprop(p, LR, 0.0, 0.0),
    ):
        assert_same(build, lambda p: SignDescent(p, LR))


def test_without_memory_global_rmsprop_is_normalized_descent():
    assert_same(lambda p: RMSprop(p, LR, 0.0, 0.0, norm="global"), lambda p: NormalizedDescent(p, LR))


def test_of_one_element_normalized_descent_is_sign_descent():
    for slope in (-3.0, 0.0, 1e-5):
        ends = []
        for build in (NormalizedDescent, SignDescent):
            p = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
            p.grad = torch.tensor([slope], dtype=torch.float64)
            build([p], LR).step()
            ends.append(p.item())
        assert ends[0] == pytest.approx(ends[1], rel=1e-15)


def test_amsgrad_changes_nothing_while_gradients_grow():
    ends = []
    for amsgrad in (False, True):
        p = torch.ones(3, dtype=torch.float64, requires_grad=True)
        optimizer = Adam([p], LR, (0.9, 0.5), amsgrad=amsgrad)
        for n in range(8):
            p.grad = torch.full_like(p, 1.5**n)
            optimizer.step()
        ends.append(p.detach())
    assert torch.allclose(*ends, **ROUNDING)


# The loss.


def square_of(group):
    return float(sum(p.grad.square().sum() for p in group))


def test_unclipped_polyak_is_gradient_descent_whose_lr_is_the_loss_over_the_gradients_square():
    def follow(_, optimizer, loss, group):
        if isinstance(optimizer, GradientDescent):
            optimizer.param_groups[0]["lr"] = 0.3 * (loss - 0.2) / square_of(group)

    assert_same(lambda p: Polyak(p, 0.3, floor=0.2), lambda p: GradientDescent(p, LR), rtol=1e-14, before=follow)


def test_wholly_clipped_polyak_is_normalized_descent_whose_lr_is_the_loss():
    def follow(_, optimizer, loss, __):
        if isinstance(optimizer, NormalizedDescent):
            optimizer.param_groups[0]["lr"] = 0.3 * 1e-3 * (loss - 0.2)

    assert_same(
        lambda p: Polyak(p, 0.3, floor=0.2, bound=1e-3), lambda p: NormalizedDescent(p, LR), rtol=1e-14, before=follow
    )


# Amos.


@pytest.mark.parametrize("kind", ["constant", "decaying"])
def test_amos_without_approach_is_that_of_an_endless_half_life(kind):
    assert_one(lambda p: Amos(p, LR, kind), lambda p: Amos(p, LR, kind, half_life=1e300))


def test_amos_without_approach_memory_and_decay_is_normalized_descent_of_each_tensor():
    """Of length ασ√k: groups of one tensor each."""

    def normalized(params):
        sizes = [p.detach().square().mean().sqrt().item() if p.ndim > 1 else 0.5 for p in params]
        return NormalizedDescent(
            [{"params": [p], "lr": LR * s * math.sqrt(p.numel())} for p, s in zip(params, sizes, strict=True)], LR
        )

    assert_same(lambda p: Amos(p, LR, "constant", q=1e300, decay=0.0), normalized, rtol=1e-14)


# Weight decay 0, lr -> 0.

EVERY = {
    "GradientDescent": GradientDescent,
    "HeavyBall": HeavyBall,
    "Nesterov": Nesterov,
    "Langevin": lambda p, lr, **o: Langevin(p, lr, 0.0, generator=seeded(), **o),
    "Kramers": lambda p, lr, **o: Kramers(p, lr, temperature=0.0, generator=seeded(), **o),
    "ImplicitHeavyBall": ImplicitHeavyBall,
    "Adam": Adam,
    "Adam-amsgrad": lambda p, lr, **o: Adam(p, lr, amsgrad=True, **o),
    "RMSprop": RMSprop,
    "RMSprop-global": lambda p, lr, **o: RMSprop(p, lr, norm="global", **o),
    "SignDescent": SignDescent,
    "NormalizedDescent": NormalizedDescent,
    "Polyak": Polyak,
    "Amos": Amos,
}


def run(build, lr, steps, **options):
    params = tensors()
    optimizer = build(params, lr, **options)

    def closure():
        optimizer.zero_grad()
        loss = value(params)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return [p.detach() for p in params], optimizer


@pytest.mark.parametrize("mode", ["decoupled", "l2"])
@pytest.mark.parametrize("name", EVERY)
def test_weight_decay_0_is_none_and_small_decay_changes_little(name, mode):
    without, _ = run(EVERY[name], LR, 3)
    with_zero, _ = run(EVERY[name], LR, 3, weight_decay=0.0, weight_decay_mode=mode)
    with_some, _ = run(EVERY[name], LR, 3, weight_decay=1e-6, weight_decay_mode=mode)
    for a, b, c in zip(without, with_zero, with_some, strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a, c, rtol=0, atol=1e-4)


def whole(tensor_list):
    return torch.cat([x.reshape(-1) for x in tensor_list])


def expansions(theta, g, loss, shapes):
    """dθ/dα of the first step, at α = 0, θ all parameters in a row."""
    size = [p.square().mean().sqrt() if p.ndim > 1 else 0.5 for p in shapes]
    parts = g.split([p.numel() for p in shapes])
    norm = g.norm()
    return {
        "GradientDescent": -g,
        "HeavyBall": -g,
        "Nesterov": -1.9 * g,  # of Θ = θ + βv
        "Langevin": -g,
        "Kramers": -g,
        "ImplicitHeavyBall": -g,
        "Adam": -g / (g.abs() + 1e-8),
        "Adam-amsgrad": -g / (g.abs() + 1e-8),
        "RMSprop": -g / (0.1 * g.abs() + 1e-8),
        "RMSprop-global": -g / (0.1 * norm + 1e-8),
        "SignDescent": -g.sign(),
        "NormalizedDescent": -g / norm,
        "Polyak": -loss / norm**2 * g,
        "Amos": whole([-s * part / part.square().mean().sqrt() for s, part in zip(size, parts, strict=True)]),
    }


@pytest.mark.parametrize("name", EVERY)
def test_as_lr_vanishes_the_first_step_is_lr_times_the_velocity_of_the_start(name):
    start = tensors()
    loss = value(start)
    loss.backward()
    theta, g = whole([p.detach() for p in start]), whole([p.grad for p in start])
    velocity = expansions(theta, g, float(loss.detach()), [p.detach() for p in start])[name]
    apart = []
    for lr in (1e-3, 1e-5):
        moved, _ = run(EVERY[name], lr, 1)
        apart.append(float(((whole(moved) - theta) / lr - velocity).abs().max()))
    assert apart[0] < 0.2
    assert apart[1] < max(apart[0] / 50, 1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_at_lr_0_nothing_moves_and_clocks_stand(name):
    moved, optimizer = run(EVERY[name], 0.0, 3, weight_decay=0.1)
    for p, q in zip(moved, tensors(), strict=True):
        assert torch.equal(p, q)
    if name == "RMSprop-global":
        assert set(optimizer.clock().values()) == {0.0}
