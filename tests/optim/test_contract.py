"""The contract of torch.optim, every law on every optimizer of the house, and what only ours promise."""

import pytest
import torch
from torch import nn

from thetadot.errors import InadmissibleValue
from thetadot.testing import laws
from thetadot.testing.law import BrokenLaw

SCHEDULES = ("every_scheduler_of_torch_moves_the_run", "a_run_resumes_in_the_middle_of_a_schedule")
QUICK = [
    pytest.param(law, marks=[pytest.mark.slow] * (law.name in SCHEDULES), id=law.name) for law in laws() if not law.slow
]


# A loss has one gradient, of all groups together; and where it is climbed, it is below every floor.
POLYAK = (
    "groups_are_separate_optimizers",
    "a_group_added_in_mid_run_starts_from_there",
    "maximize_is_descent_on_the_negative",
)


@pytest.mark.parametrize("law", QUICK)
def test_contract(lab, every, law):
    subject = lab.subject(every)
    if every == "HeavyBall-rest" and law.name == "state_allocated_ahead_is_the_state":
        with pytest.raises(InadmissibleValue, match="Take a step instead"):  # it needs the first gradient
            law(subject)
    elif every == "Polyak" and law.name in POLYAK:
        with pytest.raises(BrokenLaw):
            law(subject)
    elif law.applies(subject.traits):
        law(subject)


# Groups.


def test_groups_of_noisy_optimizers_have_their_own_settings_and_noise(lab, noisy):
    cold, warm = (torch.zeros(2000, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = lab.build(noisy, [{"params": [cold], "temperature": 0.0}, {"params": [warm], "temperature": 4.0}])
    for p in (cold, warm):
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert cold.abs().max() == 0
    assert warm.detach().std() > 0.1
    again = torch.zeros(2000, dtype=torch.float64, requires_grad=True)
    again.grad = torch.zeros_like(again)
    lab.build(noisy, [again], temperature=4.0).step()
    assert abs(torch.corrcoef(torch.stack((again.detach(), warm.detach())))[0, 1]) < 0.1


def test_a_group_of_unknown_mode_is_refused(lab, plain):
    optimizer = lab.build(plain, lab.tensors())
    with pytest.raises(InadmissibleValue, match="weight_decay_mode='keras' is unknown"):
        optimizer.add_param_group({"params": lab.tensors(shapes=((2,),)), "weight_decay_mode": "keras"})
    assert len(optimizer.param_groups) == 1


# Dtypes.


def test_wide_tensors_of_settings_do_not_widen_the_state(lab, plain):
    params = lab.tensors(torch.bfloat16)
    optimizer = lab.build(plain, params, lr=torch.tensor(lab.LR, dtype=torch.float64))
    lab.run(optimizer, params)
    system, _ = optimizer.motion(optimizer.param_groups[0])
    for p in params:
        assert p.dtype is torch.bfloat16
        for variable in set(system.variables) - set(system.scalars):
            assert optimizer.state[p][variable].dtype is torch.float32


def test_the_position_of_a_complex_parameter_is_that_of_its_real_view(lab, every):
    parameter = lab.tensors(torch.complex128, shapes=((3, 2),))[0]
    twin = torch.view_as_real(parameter.detach()).clone().requires_grad_()
    one, other = lab.build(every, [parameter]), lab.build(every, [twin])
    for optimizer, p in ((one, parameter), (other, twin)):

        def closure():
            optimizer.zero_grad()
            loss = (p.abs() ** 2).sum() if p.is_complex() else (p**2).sum()
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
    theta = one.position()[parameter]
    assert theta.dtype is torch.complex128
    assert torch.allclose(torch.view_as_real(theta), other.position()[twin], rtol=0, atol=1e-12)


# Gradients.


@pytest.mark.parametrize("mode", ["decoupled", "l2"])
def test_a_gradient_is_never_changed_by_either_decay(lab, plain, mode):
    params = lab.tensors()
    optimizer = lab.build(plain, params, weight_decay=0.1, maximize=True)
    optimizer.param_groups[0]["weight_decay_mode"] = mode

    def closure():
        for p in params:
            p.grad = torch.full_like(p, 0.5)
        return torch.tensor(1.0)

    optimizer.step(closure)
    assert all((p.grad == 0.5).all() for p in params)


def test_a_sparse_gradient_is_answered_with_a_remedy(lab, every):
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = lab.build(every, embedding.parameters())

    def closure():
        optimizer.zero_grad()
        loss = embedding(torch.tensor([1, 3])).sum()
        loss.backward()
        return loss

    with pytest.raises(InadmissibleValue, match=r"sparse gradient.*sparse=False"):
        optimizer.step(closure)
