"""ScheduleLR writes what a schedule says into any optimizer, beside torch's own schedulers, and can be resumed."""

import io
import math

import pytest
import torch
from torch.optim import lr_scheduler as torchs

from thetadot import optim
from thetadot.errors import InadmissibleValue
from thetadot.schedules import Clock, Constant, Cosine, Coupled, Linear, Piecewise, ScheduleLR

STEPS = 12


def parameters():
    return [torch.nn.Parameter(torch.linspace(-1, 1, 5)), torch.nn.Parameter(torch.ones(3))]


def groups():
    first, second = parameters()
    return [{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.02, "weight_decay": 0.3}]


OPTIMIZERS = {
    "torch SGD": lambda: torch.optim.SGD(groups(), 0.1, momentum=0.9, weight_decay=0.1),
    "torch AdamW": lambda: torch.optim.AdamW(groups(), 0.1, weight_decay=0.1),
    "HeavyBall": lambda: optim.HeavyBall(groups(), 0.1, 0.9, weight_decay=0.1),
    "Adam": lambda: optim.Adam(groups(), 0.1, weight_decay=0.1),
}
EACH = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def mean(optimizer):
    return "mean" if "betas" in optimizer.param_groups[0] else "sum"


def step(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = p.detach().clone()
    optimizer.step()


def momentum(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def settings(optimizer):
    return [(float(g["lr"]), momentum(g), g["weight_decay"]) for g in optimizer.param_groups]


@EACH
def test_each_group_gets_its_own_share_and_all_the_momentum(make):
    optimizer = make()
    before = settings(optimizer)
    curves = {"lr": Linear(STEPS), "momentum": Piecewise((0, 6), (0.5, 0.8)), "weight_decay": Cosine(STEPS, 1.0, 0.5)}
    schedule = ScheduleLR(optimizer, curves)
    for k in range(STEPS):
        for (lr, beta, decay), (lr0, _, decay0) in zip(settings(optimizer), before, strict=True):
            assert lr == pytest.approx(lr0 * curves["lr"](k + 0.5), rel=1e-12)
            assert beta == curves["momentum"](k + 0.5)
            assert decay == pytest.approx(decay0 * curves["weight_decay"](k + 0.5), rel=1e-12)
        step(optimizer)
        schedule.step()


@EACH
def test_an_invariant_is_held_in_every_group_at_every_step(make):
    optimizer = make()
    coupled = Coupled(
        Cosine(STEPS, 1.0, 0.01), "lr", ("friction", "decay time"), lr=0.1, momentum=0.9, weight_decay=0.1,
        velocity=mean(optimizer),
    )  # fmt: skip
    schedule = ScheduleLR(optimizer, coupled)

    def held():
        found = []
        for lr, beta, decay in settings(optimizer):
            alpha = lr * (1 - beta) if "betas" in optimizer.param_groups[0] else lr
            found += [(1 - beta) * math.sqrt(2 / (alpha * (1 + beta))), lr * decay]
        return found

    wanted = [
        value
        for lr, decay in ((0.1, 0.1), (0.02, 0.3))
        for value in (0.1 * math.sqrt(2 / (lr * (0.1 if mean(optimizer) == "mean" else 1.0) * 1.9)), lr * decay)
    ]
    for _ in range(STEPS):
        assert held() == pytest.approx(wanted, rel=1e-9)
        step(optimizer)
        schedule.step()
    assert settings(optimizer)[0][0] == pytest.approx(0.001)


@EACH
@pytest.mark.parametrize("unit", ["steps", "time", "epochs"])
def test_a_run_resumed_from_plain_numbers_goes_on_bit_for_bit(make, unit):
    def built():
        optimizer = make()
        coupled = Coupled(Cosine(3.0, 1.0, 0.01), holds="friction", lr=0.1, momentum=0.9, velocity=mean(optimizer))
        return optimizer, ScheduleLR(optimizer, coupled, Clock(unit, batch_size=8, size=20))

    optimizer, schedule = built()
    values = []
    for k in range(STEPS):
        if k == 5:
            file = io.BytesIO()
            torch.save((optimizer.state_dict(), schedule.state_dict()), file)
        step(optimizer)
        schedule.step()
        values.append(settings(optimizer))
    file.seek(0)
    again, schedule = built()
    for saved, part in zip(torch.load(file, weights_only=True), (again, schedule), strict=True):
        part.load_state_dict(saved)
    for k in range(5, STEPS):
        step(again)
        schedule.step()
        assert settings(again) == values[k]


def test_physical_time_is_the_sum_of_the_steps_that_were_made():
    optimizer = torch.optim.SGD(parameters(), 0.5, momentum=0.0)
    schedule = ScheduleLR(optimizer, Linear(10.0, 1.0, 0.1), "time")
    passed = 0.0
    for _ in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * Linear(10.0, 1.0, 0.1)(passed), rel=1e-12)
        passed += math.sqrt(2 * optimizer.param_groups[0]["lr"])
        step(optimizer)
        schedule.step()


def test_a_sequence_of_torchs_and_ours_is_each_in_its_own_time():
    def rates(make):
        optimizer = torch.optim.SGD(parameters(), 1.0)
        schedule = make(optimizer)
        found = []
        for _ in range(STEPS):
            found.append(optimizer.param_groups[0]["lr"])
            step(optimizer)
            schedule.step()
        return found

    first = rates(
        lambda o: torchs.SequentialLR(o, [torchs.LinearLR(o, 0.25, total_iters=4), ScheduleLR(o, Linear(8))], [4])
    )
    assert first == pytest.approx([0.25, 0.4375, 0.625, 0.8125, *(Linear(8)(k + 0.5) for k in range(8))])
    second = rates(
        lambda o: torchs.SequentialLR(o, [ScheduleLR(o, Linear(4, 0.0, 1.0)), torchs.ExponentialLR(o, 0.5)], [4])
    )
    assert second[:4] == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert second[5] == pytest.approx(second[4] / 2)


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_chain_multiplies_torchs_schedule_with_ours(ours_first):
    optimizer = torch.optim.SGD(parameters(), 1.0)
    made = [lambda: ScheduleLR(optimizer, Cosine(STEPS)), lambda: torchs.ExponentialLR(optimizer, 0.9)]
    chain = torchs.ChainedScheduler([make() for make in (made if ours_first else made[::-1])])
    for k in range(STEPS):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(Cosine(STEPS)(k + 0.5) * 0.9**k, rel=1e-9)
        step(optimizer)
        chain.step()


def test_a_learning_rate_in_a_tensor_is_moved_in_place():
    lr = torch.tensor(0.1)
    optimizer = torch.optim.AdamW(parameters(), lr, capturable=False, foreach=False)
    schedule = ScheduleLR(optimizer, Linear(STEPS))
    for k in range(STEPS):
        assert float(lr) == pytest.approx(0.1 * Linear(STEPS)(k + 0.5), rel=1e-6)
        step(optimizer)
        schedule.step()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda o: ScheduleLR(3, Linear(5)), "optimizer=3"),
        (lambda o: ScheduleLR(o, 0.1), "schedule=0.1"),
        (lambda o: ScheduleLR(o, {}), "is empty"),
        (lambda o: ScheduleLR(o, {"eps": Linear(5)}), "'eps' is unknown"),
        (lambda o: ScheduleLR(o, {"momentum": Constant(1.0)}), "momentum=1"),
        (lambda o: ScheduleLR(o, Linear(5, 1.0, -1.0), "hours"), "unit='hours'"),
        (lambda o: ScheduleLR(o, Linear(5, 0.0, 1.0), "time"), "does not pass"),
        (
            lambda o: ScheduleLR(o, Coupled(Linear(5, 1, 0.1), holds="friction", momentum=0.8)),
            "momentum=0.9 of group 0",
        ),
        (
            lambda o: ScheduleLR(o, Coupled(Linear(5, 1, 0.1), holds="friction", momentum=0.9, velocity="mean")),
            "velocity='mean'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_the_groups_stay(make, says):
    optimizer = torch.optim.SGD(parameters(), 0.1, momentum=0.9)
    before = settings(optimizer)
    with pytest.raises(InadmissibleValue, match=says):
        make(optimizer)
    assert settings(optimizer) == before
    assert "initial_lr" not in optimizer.param_groups[0]


def test_the_state_of_another_schedule_is_refused():
    optimizer = torch.optim.SGD(parameters(), 0.1)
    schedule, other = ScheduleLR(optimizer, Linear(5)), ScheduleLR(optimizer, Linear(6))
    before = schedule.state_dict()
    with pytest.raises(InadmissibleValue, match="Linear"):
        schedule.load_state_dict(other.state_dict())
    with pytest.raises(InadmissibleValue, match="as many groups"):
        schedule.load_state_dict({})
    for hidden in ("get_lr", "optimizer", "clock"):
        with pytest.raises(InadmissibleValue, match="as many groups"):
            schedule.load_state_dict(before | {hidden: 3})
    assert schedule.state_dict() == before
