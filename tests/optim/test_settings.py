"""Settings: out of range."""

import math

import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.optim import Adam, GradientDescent, HeavyBall

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


# What is no number, no flag, no pair; and what was changed after the optimizer was built.


@pytest.mark.parametrize("bad", ["0.1", None, 1j, True, [0.1]])
def test_what_is_no_number_is_named_with_its_type(bad):
    p = torch.ones(2, requires_grad=True)
    for build in (
        lambda: HeavyBall([p], lr=bad),
        lambda: HeavyBall([p], lr=0.1, momentum=bad),
        lambda: HeavyBall([p], lr=0.1, weight_decay=bad),
        lambda: Adam([p], betas=(bad, 0.9)),
    ):
        with pytest.raises(InadmissibleValue, match=r"is not a number. Pass one"):
            build()


@pytest.mark.parametrize("bad", [0.9, (0.9,), (0.9, 0.9, 0.9), "ab c"])
def test_betas_are_a_pair(bad):
    with pytest.raises(InadmissibleValue, match=r"is not a pair\. Pass two numbers"):
        Adam([torch.ones(2, requires_grad=True)], betas=bad)


def test_flags_are_true_or_false():
    for option in ("maximize", "capturable", "differentiable"):
        with pytest.raises(InadmissibleValue, match="is neither True nor False"):
            HeavyBall([torch.ones(2, requires_grad=True)], 0.1, **{option: "no"})


def test_parameters_in_which_a_step_is_lost_are_refused():
    optimizer = HeavyBall([torch.ones(2, requires_grad=True)], 0.1)
    with pytest.raises(InadmissibleValue, match=r"dtype torch\.int64, in which a step is lost"):
        optimizer.add_param_group({"params": [torch.ones(2, dtype=torch.int64)]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(("word", "value"), [("lr", -1.0), ("lr", math.nan), ("momentum", 1.0), ("maximize", "no")])
def test_settings_changed_in_mid_run_are_checked_before_anything_moves(word, value):
    params = [torch.ones(3, requires_grad=True) for _ in range(2)]
    optimizer = HeavyBall([{"params": params[:1]}, {"params": params[1:]}], 0.1)
    for n in range(4):
        for p in params:
            p.grad = torch.ones(3)
        if n == 3:
            optimizer.param_groups[1][word] = value
            before = [p.detach().clone() for p in params]
            with pytest.raises(InadmissibleValue, match=f"{word}="):
                optimizer.step()
            assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
        else:
            optimizer.step()


def test_an_average_begun_in_mid_run_is_that_of_the_steps_since():
    p = torch.zeros(1, requires_grad=True)
    optimizer = GradientDescent([p], 1.0)
    for n in range(5):
        if n == 2:
            optimizer.param_groups[0]["averaging"] = 1.0
        p.grad = -torch.ones(1)
        optimizer.step()
    with optimizer.averaged():
        assert p.item() == 4.0  # of 3, 4, 5


def test_a_loss_in_the_closures_place_is_answered_with_the_way():
    optimizer = HeavyBall([torch.ones(1, requires_grad=True)], 0.1)
    with pytest.raises(InadmissibleValue, match=r"Pass step\(loss=loss\)"):
        optimizer.step(torch.tensor(1.0))
