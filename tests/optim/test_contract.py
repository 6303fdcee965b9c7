"""What every optimizer of torch promises, held by every named optimizer of ours."""

import pytest
import torch
from torch import nn

from thetadot.errors import InadmissibleValue

# Groups.


def test_groups_are_separate_optimizers(lab, quiet):
    together, first, second = lab.tensors(), lab.tensors(), lab.tensors()
    one = lab.build(quiet, [{"params": together[:1]}, {"params": together[1:], "lr": 0.01, "weight_decay": 0.3}])
    lab.run(one, together)
    lab.run(lab.build(quiet, first[:1]), first[:1])
    lab.run(lab.build(quiet, second[1:], lr=0.01, weight_decay=0.3), second[1:])
    close = {"rtol": 0, "atol": 1e-11 if quiet == "ImplicitHeavyBall" else 0.0}  # one solve for all groups
    for p, q in zip(together, first[:1] + second[1:], strict=True):
        assert torch.allclose(p, q, **close)


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


def test_a_group_added_in_mid_run_starts_from_there(lab, plain):
    params, late = lab.tensors(), lab.tensors(shapes=((5,),))
    alone = lab.tensors(shapes=((5,),))
    optimizer = lab.build(plain, params)
    lab.run(optimizer, params)
    optimizer.add_param_group({"params": late, "lr": 0.02})
    lab.run(optimizer, params + late)
    assert not torch.equal(late[0], alone[0])
    if plain not in lab.NOISY:
        lab.run(lab.build(plain, alone, lr=0.02), alone)
        lab.assert_equal(late, alone)


def test_a_group_is_checked_before_it_is_added(lab, plain):
    optimizer = lab.build(plain, lab.tensors())
    for bad in ({"lr": -1.0}, {"weight_decay": float("nan")}, {"weight_decay_mode": "keras"}):
        with pytest.raises(InadmissibleValue):
            optimizer.add_param_group({"params": lab.tensors(shapes=((2,),)), **bad})
    assert len(optimizer.param_groups) == 1


# Hyperparameters that are tensors.


def test_lr_may_be_a_tensor(lab, every):
    params, others = lab.tensors(), lab.tensors()
    lab.run(lab.build(every, params), params)
    lab.run(lab.build(every, others, lr=torch.tensor(lab.LR, dtype=torch.float64)), others)
    for p, q in zip(params, others, strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-12)
        assert q.dtype is torch.float64


def test_momentum_may_be_a_tensor_and_move(lab, momentous):
    params, others = lab.tensors(), lab.tensors()
    moving = torch.tensor(0.9, dtype=torch.float64)
    one = lab.build(momentous, params)
    other = lab.build(momentous, others, lr=torch.tensor(lab.LR, dtype=torch.float64), momentum=moving)
    for n in range(6):
        one.param_groups[0]["momentum"] = 0.9 - 0.1 * n
        moving.fill_(0.9 - 0.1 * n)
        lab.run(one, params, 1)
        lab.run(other, others, 1)
    for p, q in zip(params, others, strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-12)


def test_wide_tensors_of_settings_do_not_widen_the_state(lab, plain):
    params = lab.tensors(torch.bfloat16)
    optimizer = lab.build(plain, params, lr=torch.tensor(lab.LR, dtype=torch.float64))
    lab.run(optimizer, params)
    system, _ = optimizer.motion(optimizer.param_groups[0])
    for p in params:
        assert p.dtype is torch.bfloat16
        for variable in set(system.variables) - set(system.scalars):
            assert optimizer.state[p][variable].dtype is torch.float32


# Gradients.


def test_maximize_is_descent_on_the_negative(lab, every):
    params, others = lab.tensors(), lab.tensors()
    up, down = lab.build(every, params, lr=1e-3, maximize=True), lab.build(every, others, lr=1e-3)
    for _ in range(4):

        def negative():
            down.zero_grad()
            loss = -sum((p**2).sum() for p in others)
            loss.backward()
            return loss

        def positive():
            up.zero_grad()
            loss = sum((p**2).sum() for p in params)
            loss.backward()
            return loss

        up.step(positive)
        down.step(negative)
    lab.assert_equal(params, others)


def test_a_complex_parameter_is_two_real_ones(lab, every):
    parameter = lab.tensors(torch.complex128, shapes=((3, 2),))[0]
    with torch.no_grad():
        parameter.imag.copy_(torch.arange(6.0).reshape(3, 2) / 10)
    twin = torch.view_as_real(parameter.detach()).clone().requires_grad_()
    one, other = lab.build(every, [parameter]), lab.build(every, [twin])

    def closure_one():
        one.zero_grad()
        loss = ((parameter - (1 + 2j)).abs() ** 2).sum()
        loss.backward()
        return loss

    def closure_other():
        other.zero_grad()
        loss = ((twin - torch.tensor([1.0, 2.0], dtype=torch.float64)) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(5):
        one.step(closure_one)
        other.step(closure_other)
    assert torch.allclose(torch.view_as_real(parameter), twin, rtol=0, atol=1e-12)
    theta = one.position()[parameter]
    assert theta.dtype is torch.complex128
    assert torch.allclose(torch.view_as_real(theta), other.position()[twin], rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["decoupled", "l2"])
def test_a_gradient_is_never_changed(lab, plain, mode):
    params = lab.tensors()
    optimizer = lab.build(plain, params, weight_decay=0.1, maximize=True)
    optimizer.param_groups[0]["weight_decay_mode"] = mode
    for _ in range(3):
        for p in params:
            p.grad = torch.randn_like(p)
        before, owners = lab.values([p.grad for p in params]), [p.grad for p in params]
        optimizer.step()
        lab.assert_equal(before, [p.grad for p in params])
        assert all(p.grad is owner for p, owner in zip(params, owners, strict=True))


def test_parameters_without_gradient_are_left_alone(lab, plain):
    params = lab.tensors()
    optimizer = lab.build(plain, params)
    optimizer.step()  # none has one
    lab.assert_equal(params, lab.tensors())
    params[1].grad = torch.ones_like(params[1])
    optimizer.step()
    assert torch.equal(params[0], lab.tensors()[0])
    assert not torch.equal(params[1], lab.tensors()[1])
    assert params[0] not in optimizer.state


def test_storage_and_identity_of_parameters_stay(lab, plain):
    params = lab.tensors()
    places = [p.data_ptr() for p in params]
    lab.run(lab.build(plain, params), params)
    assert [p.data_ptr() for p in params] == places
    assert all(p.requires_grad and p.is_leaf for p in params)


def test_empty_and_strided_parameters(lab, plain):
    empty = torch.empty(0, 3, dtype=torch.float64, requires_grad=True)
    strided = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).T.requires_grad_()
    dense = strided.detach().contiguous().requires_grad_()
    assert not strided.is_contiguous()
    for group in ([empty, strided], [torch.empty(0, dtype=torch.float64, requires_grad=True), dense]):
        lab.run(lab.build(plain, group), group)
    summed = plain in lab.MEASURING  # in the order of memory
    assert torch.allclose(strided, dense, rtol=0, atol=1e-14 if summed else 0)
    assert not strided.is_contiguous()


def test_a_sparse_gradient_is_one_clear_error(lab, every):
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = lab.build(every, embedding.parameters())

    def closure():
        optimizer.zero_grad()
        loss = embedding(torch.tensor([1, 3])).sum()
        loss.backward()
        return loss

    before = embedding.weight.detach().clone()
    with pytest.raises(InadmissibleValue, match=r"sparse gradient.*sparse=False"):
        optimizer.step(closure)
    assert torch.equal(embedding.weight, before)
    assert not optimizer.state


# The closure.


def test_the_closure_is_called_once_with_grad_enabled_and_its_loss_returned(lab, plain):
    params = lab.tensors()
    optimizer = lab.build(plain, params)
    inner, calls = lab.closure_of(optimizer, params), []

    def closure():
        calls.append(torch.is_grad_enabled())
        return inner()

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert calls == [True]
    assert loss.item() == pytest.approx(
        sum(((p - 1) ** 2 / 2 + p**4 / 4).sum().item() for p in lab.tensors()), abs=1e-12
    )
    assert optimizer.step() is None


def test_hooks_of_torch_run(lab, plain):
    params, calls = lab.tensors(), []
    optimizer = lab.build(plain, params)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    lab.run(optimizer, params, 1)
    assert calls == ["before", "after"]
