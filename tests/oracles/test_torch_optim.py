"""torch.optim is the oracle: equality in float64 on real minibatches, through schedules, and mid-run both ways."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR

from thetadot.errors import InadmissibleValue
from thetadot.optim import Adam, AdamW, GradientDescent, HeavyBall, Nesterov, RMSprop

STEPS = 300


class Pair:
    """One network twice, and the same minibatches for both."""

    def __init__(self, steps=STEPS):
        torch.manual_seed(0)
        self.models = [self._model(), self._model()]
        self.models[1].load_state_dict(self.models[0].state_dict())
        inputs = torch.randn(512, 6, dtype=torch.float64)
        targets = torch.sin(inputs.sum(1, keepdim=True)) + 0.3 * torch.randn(512, 1, dtype=torch.float64)
        order = torch.randint(0, 512, (steps, 16))
        self.batches = [(inputs[rows], targets[rows]) for rows in order]

    @staticmethod
    def _model():
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def parameters(self, which):
        return self.models[which].parameters()

    def gradients(self, batch, which):
        model = self.models[which]
        model.zero_grad()
        x, y = batch
        (model(x) - y).square().mean().backward()

    def distance(self):
        pairs = zip(*map(nn.Module.parameters, self.models), strict=True)
        return max(float((p - q).detach().abs().max()) for p, q in pairs)

    def run(self, *optimizers, schedule=None, batches=None):
        worst = 0.0
        for n, batch in enumerate(self.batches if batches is None else batches):
            for which, optimizer in enumerate(optimizers):
                self.gradients(batch, which)
                optimizer.step()
                if schedule:
                    schedule(n, optimizer)
            worst = max(worst, self.distance())
        return worst


@pytest.fixture
def pair():
    return Pair()


L2 = {"weight_decay": 0.01, "weight_decay_mode": "l2"}
SGD, TORCH_ADAM, TORCH_ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
TORCH_RMSPROP = torch.optim.RMSprop


@pytest.mark.parametrize(
    ("ours", "oracle"),
    [
        (lambda p: GradientDescent(p, 0.1), lambda p: SGD(p, 0.1)),
        (lambda p: GradientDescent(p, 0.1, **L2), lambda p: SGD(p, 0.1, weight_decay=0.01)),
        (lambda p: HeavyBall(p, 0.05, 0.9), lambda p: SGD(p, 0.05, 0.9)),
        (lambda p: HeavyBall(p, 0.05, 0.0), lambda p: SGD(p, 0.05)),
        (lambda p: HeavyBall(p, 0.05, 0.9, **L2), lambda p: SGD(p, 0.05, 0.9, weight_decay=0.01)),
        (
            lambda p: HeavyBall(p, 0.05, 0.9, convention="torch", weight_decay=0.01),
            lambda p: SGD(p, 0.05, 0.9, weight_decay=0.01),
        ),
        (lambda p: HeavyBall(p, 0.05, 0.9, convention="displacement"), lambda p: SGD(p, 0.05, 0.9)),
        (lambda p: Nesterov(p, 0.05, 0.9), lambda p: SGD(p, 0.05, 0.9, nesterov=True)),
        (lambda p: Nesterov(p, 0.05, 0.9, **L2), lambda p: SGD(p, 0.05, 0.9, weight_decay=0.01, nesterov=True)),
        (
            lambda p: Nesterov(p, 0.05, 0.9, convention="torch", weight_decay=0.01),
            lambda p: SGD(p, 0.05, 0.9, weight_decay=0.01, nesterov=True),
        ),
        (lambda p: Adam(p, 0.01), lambda p: TORCH_ADAM(p, 0.01)),
        (lambda p: Adam(p, 0.01, weight_decay=0.01), lambda p: TORCH_ADAM(p, 0.01, weight_decay=0.01)),
        (
            lambda p: Adam(p, 0.01, (0.8, 0.95), 1e-4),
            lambda p: TORCH_ADAM(p, 0.01, (0.8, 0.95), 1e-4),
        ),
        (lambda p: AdamW(p, 0.01), lambda p: TORCH_ADAMW(p, 0.01)),
        (lambda p: AdamW(p, 0.01, weight_decay=0.1), lambda p: TORCH_ADAMW(p, 0.01, weight_decay=0.1)),
        (lambda p: Adam(p, 0.01, amsgrad=True), lambda p: TORCH_ADAM(p, 0.01, amsgrad=True)),
        (
            lambda p: AdamW(p, 0.01, (0.9, 0.95), amsgrad=True),
            lambda p: TORCH_ADAMW(p, 0.01, (0.9, 0.95), amsgrad=True),
        ),
        (
            lambda p: Adam(p, 0.01, tuple(torch.tensor((0.9, 0.999), dtype=torch.float64))),
            lambda p: TORCH_ADAM(p, 0.01),
        ),
        (lambda p: RMSprop(p, 0.01), lambda p: TORCH_RMSPROP(p, 0.01)),
        (lambda p: RMSprop(p, clock=True), TORCH_RMSPROP),
        (lambda p: RMSprop(p, 1e-3, 0.9, 1e-4), lambda p: TORCH_RMSPROP(p, 1e-3, 0.9, 1e-4)),
        (lambda p: RMSprop(p, 1e-3, weight_decay=0.1), lambda p: TORCH_RMSPROP(p, 1e-3, weight_decay=0.1)),
    ],
)
def test_three_hundred_minibatch_steps_are_torchs(pair, ours, oracle):
    assert pair.run(ours(pair.parameters(0)), oracle(pair.parameters(1))) < 1e-12


@pytest.mark.parametrize(
    ("ours", "oracle"),
    [
        (
            lambda p: HeavyBall(p, 1e-3, 0.9, maximize=True, **L2),
            lambda p: SGD(p, 1e-3, 0.9, maximize=True, weight_decay=0.01),
        ),
        (
            lambda p: Nesterov(p, 1e-3, 0.9, maximize=True, **L2),
            lambda p: SGD(p, 1e-3, 0.9, maximize=True, weight_decay=0.01, nesterov=True),
        ),
        (
            lambda p: RMSprop(p, 1e-3, maximize=True, weight_decay=0.01),
            lambda p: TORCH_RMSPROP(p, 1e-3, maximize=True, weight_decay=0.01),
        ),
        (
            lambda p: AdamW(p, 1e-3, maximize=True),
            lambda p: TORCH_ADAMW(p, 1e-3, maximize=True),
        ),
    ],
)
def test_climbing_is_torchs_climbing(pair, ours, oracle):
    assert pair.run(ours(pair.parameters(0)), oracle(pair.parameters(1)), batches=pair.batches[:60]) < 1e-11


def drops(optimizer):
    return MultiStepLR(optimizer, [60, 120, 200], 0.1)


def one_cycle(optimizer):
    return OneCycleLR(optimizer, 0.1, total_steps=STEPS + 1, cycle_momentum=True)


class SwingingMomentum:
    def __init__(self, optimizer):
        self.optimizer, self.n = optimizer, 0

    def step(self):
        self.n += 1
        for group in self.optimizer.param_groups:
            group["momentum"] = 0.7 + 0.25 * (self.n % 7) / 7


@pytest.mark.parametrize("schedule", [drops, one_cycle, SwingingMomentum])
@pytest.mark.parametrize("nesterov", [False, True])
def test_torchs_convention_is_torchs_through_schedules(pair, schedule, nesterov):
    build = Nesterov if nesterov else HeavyBall
    ours = build(pair.parameters(0), 0.05, 0.9, convention="torch", weight_decay=0.01)
    oracle = SGD(pair.parameters(1), 0.05, 0.9, weight_decay=0.01, nesterov=nesterov)
    schedulers = {ours: schedule(ours), oracle: schedule(oracle)}
    assert pair.run(ours, oracle, schedule=lambda _, optimizer: schedulers[optimizer].step()) < 1e-12


def test_rmsprop_is_torchs_through_lr_schedules(pair):
    ours, oracle = RMSprop(pair.parameters(0), 1e-3), TORCH_RMSPROP(pair.parameters(1), 1e-3)
    schedulers = {o: OneCycleLR(o, 2e-3, total_steps=STEPS + 1, cycle_momentum=False) for o in (ours, oracle)}
    assert pair.run(ours, oracle, schedule=lambda _, optimizer: schedulers[optimizer].step()) < 1e-12


@pytest.mark.parametrize("schedule", [drops, one_cycle])
def test_adam_is_torchs_through_lr_schedules(pair, schedule):
    ours, oracle = Adam(pair.parameters(0), 0.01), TORCH_ADAM(pair.parameters(1), 0.01)
    if schedule is one_cycle:  # torch debiases by the latest beta, ours by those used: lr alone is comparable
        schedulers = {o: OneCycleLR(o, 0.02, total_steps=STEPS + 1, cycle_momentum=False) for o in (ours, oracle)}
    else:
        schedulers = {o: drops(o) for o in (ours, oracle)}
    assert pair.run(ours, oracle, schedule=lambda _, optimizer: schedulers[optimizer].step()) < 1e-12


def test_the_physical_convention_parts_from_torchs_at_the_first_drop(pair):
    """The velocity is held, not v/lr: after the drop by r the displacement is √r of before, torch's is r."""
    ours, oracle = HeavyBall(pair.parameters(0), 0.05, 0.9), SGD(pair.parameters(1), 0.05, 0.9)
    assert pair.run(ours, oracle, batches=pair.batches[:50]) < 1e-12
    for optimizer in (ours, oracle):
        optimizer.param_groups[0]["lr"] *= 0.01
    before = [p.detach().clone() for p in pair.parameters(0)]
    velocity = [ours.state[p]["velocity"].clone() for p in pair.parameters(0)]
    last_step = (2 * 0.05 / 1.9) ** 0.5
    for p in (*pair.parameters(0), *pair.parameters(1)):
        p.grad = torch.zeros_like(p)
    ours.step()
    oracle.step()
    for p, start, eta in zip(pair.parameters(0), before, velocity, strict=True):
        assert torch.allclose(p - start, 0.9 * 0.1 * last_step * eta, rtol=1e-10, atol=1e-15)
    for p, start, eta in zip(pair.parameters(1), before, velocity, strict=True):
        assert torch.allclose(p - start, 0.9 * 0.01 * last_step * eta, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("convention", ["physical", "displacement", "torch"])
@pytest.mark.parametrize(
    ("build", "options"),
    [
        (HeavyBall, {"momentum": 0.9}),
        (HeavyBall, {"momentum": 0.9, "weight_decay": 0.01}),
        (HeavyBall, {"momentum": 0.9, "dampening": 0.3}),
        (HeavyBall, {"momentum": 0.0}),
        (Nesterov, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ],
)
def test_a_run_is_taken_over_from_torch_and_given_back(pair, build, options, convention):
    """One model is torch's throughout; the other changes hands at steps 100 and 200."""
    throughout = SGD(pair.parameters(1), 0.05, **options)
    before = SGD(pair.parameters(0), 0.05, **options)
    assert pair.run(before, throughout, batches=pair.batches[:100]) == 0.0
    ours = build.from_torch(before, convention=convention)
    assert pair.run(ours, throughout, batches=pair.batches[100:200]) < 1e-12
    after = ours.to_torch()
    assert pair.run(after, throughout, batches=pair.batches[200:]) < 1e-12


@pytest.mark.parametrize(
    ("build", "oracle", "options"),
    [
        (Adam, TORCH_ADAM, {}),
        (Adam, TORCH_ADAM, {"weight_decay": 0.01, "betas": (0.5, 0.9), "amsgrad": True}),
        (Adam, TORCH_ADAM, {"betas": (0.0, 0.9)}),
        (AdamW, TORCH_ADAMW, {"weight_decay": 0.1, "eps": 1e-4}),
        (RMSprop, TORCH_RMSPROP, {"weight_decay": 0.01, "alpha": 0.9}),
    ],
)
def test_an_adaptive_run_is_taken_over_from_torch_and_given_back(pair, build, oracle, options):
    throughout, before = (oracle(pair.parameters(which), 1e-3, **options) for which in (1, 0))
    assert pair.run(before, throughout, batches=pair.batches[:100]) == 0.0
    ours = build.from_torch(before)
    assert pair.run(ours, throughout, batches=pair.batches[100:200]) < 1e-12
    after = ours.to_torch()
    assert type(after) is oracle
    assert pair.run(after, throughout, batches=pair.batches[200:]) < 1e-12


def test_memories_that_are_full_change_hands_too(pair):
    """After so many steps that both weights are 1 to rounding."""
    ours = Adam(pair.parameters(0), 1e-3, (0.1, 0.2))
    oracle = TORCH_ADAM(pair.parameters(1), 1e-3, (0.1, 0.2))
    assert pair.run(ours, oracle, batches=pair.batches[:60]) < 1e-12
    assert pair.run(ours.to_torch(), oracle, batches=pair.batches[60:100]) < 1e-12


def test_betas_that_have_moved_are_not_torchs(pair):
    ours = Adam(pair.parameters(0), 1e-3)
    pair.gradients(pair.batches[0], 0)
    ours.step()
    ours.param_groups[0]["betas"] = (0.8, 0.999)
    with pytest.raises(InadmissibleValue, match="torch knows no others"):
        ours.to_torch()


@pytest.mark.parametrize("build", [TORCH_ADAM, TORCH_RMSPROP])
def test_memories_of_other_dtypes_change_hands_too(build):
    ends = []
    for hands in (1, 2):
        torch.manual_seed(0)
        p = torch.randn(4, 3, dtype=torch.complex128).requires_grad_()
        optimizer = build([p], 0.1)
        for n in range(9):
            if hands == 2 and n % 3 == 2:
                ours = Adam if build is TORCH_ADAM else RMSprop
                optimizer = optimizer.to_torch() if isinstance(optimizer, ours) else ours.from_torch(optimizer)
            p.grad = p.detach().clone()
            optimizer.step()
        ends.append(p.detach())
    assert torch.allclose(*ends, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.bfloat16])
def test_velocities_of_other_dtypes_change_hands_too(dtype):
    torch.manual_seed(0)
    p = torch.randn(4, 3, dtype=dtype).requires_grad_()
    q = p.detach().clone().requires_grad_()
    ours, oracle = SGD([p], 0.1, 0.5), SGD([q], 0.1, 0.5)

    def both():
        for x, optimizer in ((p, ours), (q, oracle)):
            x.grad = x.detach().clone()
            optimizer.step()

    both()
    ours = HeavyBall.from_torch(ours)
    both()
    ours = ours.to_torch()
    both()
    assert torch.allclose(p, q, atol=2e-2 if dtype is torch.bfloat16 else 1e-13)
    assert ours.state[p]["momentum_buffer"].dtype is dtype


def test_groups_keep_their_settings_in_both_directions(pair):
    weights = [p for p in pair.parameters(0) if p.dim() > 1]
    biases = [p for p in pair.parameters(0) if p.dim() == 1]
    sgd = SGD([{"params": weights, "weight_decay": 0.1}, {"params": biases, "lr": 0.3, "momentum": 0.5}], 0.1, 0.9)
    ours = HeavyBall.from_torch(sgd)
    found = [(group["lr"], group["momentum"], group["weight_decay"]) for group in ours.param_groups]
    assert found == [(0.1, 0.9, 0.1), (0.3, 0.5, 0.0)]
    back = ours.to_torch()
    assert [(g["lr"], g["momentum"], g["weight_decay"]) for g in back.param_groups] == found


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: HeavyBall.from_torch(SGD(p, 0.1, 0.9, nesterov=True)), "Use Nesterov.from_torch"),
        (lambda p: Nesterov.from_torch(SGD(p, 0.1, 0.9)), "Use HeavyBall.from_torch"),
        (lambda p: HeavyBall.from_torch(TORCH_ADAM(p, 0.1)), "sgd is of type Adam. Pass a torch.optim.SGD"),
        (
            lambda p: RMSprop.from_torch(TORCH_RMSPROP(p, momentum=0.9)),
            "momentum=0.9, centered=False have no counterpart",
        ),
        (lambda p: RMSprop.from_torch(TORCH_ADAM(p)), "Adam is another method. Pass a torch.optim.RMSprop"),
        (lambda p: AdamW.from_torch(SGD(p, 0.1)), "SGD is another method. Pass a torch.optim.Adam"),
        (lambda p: RMSprop(p, norm="global").to_torch(), "Only norm='coordinate' is"),
        (lambda p: AdamW(p, weight_decay_mode="l2").to_torch(), "Build with weight_decay_mode='decoupled'"),
        (lambda p: HeavyBall(p, 0.1, weight_decay=0.1).to_torch(), "Build with weight_decay_mode='l2'"),
        (lambda p: HeavyBall(p, 0.0).to_torch(), "lr=0"),
        (lambda p: Nesterov(p, 0.1, lookahead=0.5).to_torch(), "Only lookahead=1 is"),
        (lambda p: HeavyBall(p, 0.1, convention="torch", weight_decay_mode="decoupled"), "Leave weight_decay_mode out"),
    ],
)
def test_what_torch_has_not_is_refused(pair, call, message):
    with pytest.raises(InadmissibleValue, match=message):
        call(pair.parameters(0))


def test_a_standing_clock_gives_no_velocity(pair):
    sgd = SGD(pair.parameters(0), 0.1, 0.9)
    pair.gradients(pair.batches[0], 0)
    sgd.step()
    sgd.param_groups[0]["lr"] = 0.0
    with pytest.raises(InadmissibleValue, match="Switch at an lr > 0"):
        HeavyBall.from_torch(sgd)
