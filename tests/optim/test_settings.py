"""Settings: zero, out of range, and moved by every scheduler of torch."""

import pytest
import torch
from torch.optim import lr_scheduler as sched

from thetadot.errors import InadmissibleValue
from thetadot.optim import HeavyBall

# Zero and bad settings.


@pytest.mark.parametrize("tensor", [False, True])
def test_a_step_at_lr_0_keeps_the_parameters(lab, every, tensor):
    params = lab.tensors()
    optimizer = lab.build(every, params, lr=torch.tensor(0.0) if tensor else 0.0, weight_decay=0.1)
    lab.run(optimizer, params, 3)
    lab.assert_equal(params, lab.tensors())
    optimizer.param_groups[0]["lr"] = lab.LR
    lab.run(optimizer, params, 3)
    assert all(torch.isfinite(p).all() for p in params)
    assert not torch.equal(params[0], lab.tensors()[0])


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("word", "bad"), [(word, bad) for word in ("lr", "weight_decay") for bad in (-0.1, NAN, INF, torch.tensor(-1.0))]
)
def test_settings_out_of_range_are_refused_with_a_remedy(lab, every, word, bad):
    with pytest.raises(InadmissibleValue, match=rf"^{word}=.* is negative or not finite\. Pass {word} >= 0"):
        lab.build(every, lab.tensors(), **{word: bad})


@pytest.mark.parametrize("bad", [1.0, 1.2, -0.1, NAN, INF, torch.tensor(1.5)])
def test_momentum_outside_0_to_1_is_refused_with_a_remedy(lab, momentous, bad):
    with pytest.raises(InadmissibleValue, match=r"^momentum=.* is outside \[0, 1\): .*Pass 0 <= momentum < 1.*<= 2"):
        lab.build(momentous, lab.tensors(), momentum=bad)


@pytest.mark.parametrize("bad", [-1.0, NAN, INF])
def test_temperatures_out_of_range_are_refused(lab, noisy, bad):
    with pytest.raises(InadmissibleValue, match=r"^temperature=.*Pass temperature >= 0"):
        lab.build(noisy, lab.tensors(), temperature=bad)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize(
    ("options", "said"),
    [({"betas": (1.0, 0.9)}, r"betas\[0\]"), ({"betas": (0.9, -0.1)}, r"betas\[1\]"), ({"eps": -1.0}, "eps=-1")],
)
def test_memories_out_of_range_are_refused(lab, name, options, said):
    with pytest.raises(InadmissibleValue, match=said):
        lab.build(name, lab.tensors(), **options)


def test_unknown_modes_are_refused(lab, plain):
    with pytest.raises(InadmissibleValue, match=r"weight_decay_mode|convention"):
        lab.build(plain, lab.tensors(), weight_decay_mode="L2")
    with pytest.raises(InadmissibleValue, match="start='half' is unknown"):
        HeavyBall(lab.tensors(), lab.LR, start="half")


# Schedulers.


SCHEDULERS = {
    "LambdaLR": lambda o: sched.LambdaLR(o, lambda n: 0.9**n),
    "MultiplicativeLR": lambda o: sched.MultiplicativeLR(o, lambda _: 0.95),
    "StepLR": lambda o: sched.StepLR(o, 2),
    "MultiStepLR": lambda o: sched.MultiStepLR(o, [2, 4]),
    "ConstantLR": lambda o: sched.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: sched.LinearLR(o, 0.1),
    "ExponentialLR": lambda o: sched.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: sched.CosineAnnealingLR(o, 6),
    "CosineAnnealingWarmRestarts": lambda o: sched.CosineAnnealingWarmRestarts(o, 3),
    "PolynomialLR": lambda o: sched.PolynomialLR(o, 6),
    "ReduceLROnPlateau": lambda o: sched.ReduceLROnPlateau(o, patience=0),
    "CyclicLR": lambda o: sched.CyclicLR(o, 0.01, 0.1, 2, cycle_momentum=cycles(o)),
    "OneCycleLR": lambda o: sched.OneCycleLR(o, 0.1, 8, cycle_momentum=cycles(o)),
    "SequentialLR": lambda o: sched.SequentialLR(
        o, [sched.LinearLR(o, 0.1, total_iters=2), sched.CosineAnnealingLR(o, 4)], [2]
    ),
    "ChainedScheduler": lambda o: sched.ChainedScheduler([sched.LinearLR(o, 0.1), sched.ExponentialLR(o, 0.9)]),
}


def cycles(optimizer):
    return not {"momentum", "betas"}.isdisjoint(optimizer.param_groups[0])


def test_no_scheduler_of_torch_is_missing_here():
    bases = {"LRScheduler"}
    theirs = {
        name
        for name, value in vars(sched).items()
        if isinstance(value, type) and issubclass(value, sched.LRScheduler) and not name.startswith("_")
    }
    assert theirs - bases == set(SCHEDULERS)


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_every_scheduler_of_torch_runs(lab, every, schedule):
    params = lab.tensors()
    optimizer = lab.build(every, params)
    scheduler = SCHEDULERS[schedule](optimizer)
    closure, seen = lab.closure_of(optimizer, params), []
    for _ in range(6):
        loss = optimizer.step(closure)
        seen.append(float(optimizer.param_groups[0]["lr"]))
        if schedule == "ReduceLROnPlateau":
            scheduler.step(float(loss.detach()) * 0 + 1.0)
        else:
            scheduler.step()
    assert len(set(seen)) > 1
    assert all(torch.isfinite(p).all() for p in params)
