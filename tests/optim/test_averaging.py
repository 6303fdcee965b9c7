"""The running average a = Σ dᵏθ₋ₖ / Σ dᵏ: its closed forms, what it leaves alone, and what it is good for."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.errors import InadmissibleValue
from thetadot.optim import AdamW, GradientDescent, HeavyBall, Nesterov


def iterates(optimizer, params, steps=12):
    """Every parameter after every step, moved by gradients that never settle."""
    generator = torch.Generator().manual_seed(5)
    seen = []
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
        optimizer.step()
        seen.append([p.detach().clone() for p in params])
    return [torch.stack(path) for path in zip(*seen, strict=True)]


def averages(optimizer, params):
    with optimizer.averaged():
        return [p.detach().clone() for p in params]


# Closed forms.


@given(st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.9, 0.99, 1.0])), st.integers(1, 30))
@settings(max_examples=40)
def test_the_average_is_the_debiased_exponential_mean(d, steps):
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = GradientDescent([p], 0.3, averaging=d)
    (path,) = iterates(optimizer, [p], steps)
    weights = torch.tensor([d**k for k in range(steps)], dtype=torch.float64).flip(0)
    expected = (weights[:, None] * path).sum(0) / weights.sum()
    assert torch.allclose(averages(optimizer, [p])[0], expected, rtol=0, atol=1e-14)


def test_at_0_it_is_the_parameter_and_at_1_the_mean_of_all_iterates(lab, plain):
    for d, expected in ((0.0, lambda path: path[-1]), (1.0, lambda path: path.mean(0))):
        params = lab.tensors()
        optimizer = lab.build(plain, params, averaging=d)
        paths = iterates(optimizer, params)
        for found, path in zip(averages(optimizer, params), paths, strict=True):
            assert torch.allclose(found, expected(path), rtol=1e-14, atol=1e-14)


def test_keeping_an_average_changes_no_step(lab, every):
    with_average, without = lab.tensors(), lab.tensors()
    lab.run(lab.build(every, with_average, averaging=0.9), with_average)
    lab.run(lab.build(every, without), without)
    lab.assert_equal(with_average, without)


def test_memory_may_be_a_tensor_and_move():
    params = [torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    d = torch.tensor(0.9, dtype=torch.float64)
    one, other = GradientDescent(params[:1], 0.1, averaging=d), GradientDescent(params[1:], 0.1, averaging=0.9)
    for _ in range(3):
        iterates(one, params[:1], 2)
        iterates(other, params[1:], 2)
        d.mul_(0.5)
        other.param_groups[0]["averaging"] *= 0.5
    assert torch.allclose(averages(one, params[:1])[0], averages(other, params[1:])[0], rtol=1e-14)


def test_groups_have_their_own_memory_or_none():
    p, q = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = GradientDescent([{"params": [p], "averaging": 1.0}, {"params": [q]}], 0.1)
    paths = iterates(optimizer, [p, q])
    found = averages(optimizer, [p, q])
    assert torch.allclose(found[0], paths[0].mean(0), rtol=1e-14)
    assert torch.equal(found[1], paths[1][-1])


# What it leaves alone.


def test_parameters_come_back_bit_for_bit_whatever_happens_inside(lab, every):
    params = lab.tensors()
    optimizer = lab.build(every, params, averaging=0.9)
    lab.run(optimizer, params)
    before, places = lab.values(params), [p.data_ptr() for p in params]
    with optimizer.averaged():
        assert not torch.equal(params[0], before[0])
        with torch.no_grad():
            params[0].zero_()  # an evaluation that spoils them
    lab.assert_equal(params, before)
    with pytest.raises(ZeroDivisionError), optimizer.averaged():
        raise ZeroDivisionError
    lab.assert_equal(params, before)
    assert [p.data_ptr() for p in params] == places
    optimizer.step(lab.closure_of(optimizer, params))  # and it can step again


def test_the_state_dict_is_the_same_inside(lab, every):
    params = lab.tensors()
    optimizer = lab.build(every, params, averaging=0.9)
    lab.run(optimizer, params)
    outside = copy.deepcopy(optimizer.state_dict())
    with optimizer.averaged():
        inside = copy.deepcopy(optimizer.state_dict())
    assert inside["param_groups"] == outside["param_groups"]
    for index, state in outside["state"].items():
        assert inside["state"][index].keys() == state.keys()
        for word, value in state.items():
            assert torch.equal(torch.as_tensor(inside["state"][index][word]), torch.as_tensor(value))


def test_an_average_is_saved_and_goes_on(lab, every):
    params = lab.tensors()
    optimizer = lab.build(every, params, averaging=0.9)
    lab.run(optimizer, params)
    others = [p.detach().clone().requires_grad_() for p in params]
    resumed = lab.build(every, others, averaging=0.9)
    resumed.load_state_dict(lab.saved(optimizer))
    lab.run(optimizer, params)
    lab.run(resumed, others)
    lab.assert_equal(averages(optimizer, params), averages(resumed, others))


def test_inside_one_neither_steps_nor_averages_again():
    p = torch.ones(2, requires_grad=True)
    optimizer = GradientDescent([p], 0.1, averaging=0.5)
    iterates(optimizer, [p], 2)
    before = p.detach().clone()
    with optimizer.averaged():
        with pytest.raises(InadmissibleValue, match=r"step\(\) inside averaged\(\).* Step outside of it"):
            optimizer.step()
        with pytest.raises(InadmissibleValue, match=r"averaged\(\) inside averaged\(\)"), optimizer.averaged():
            pass
        assert not torch.equal(p, before)  # the inner one has changed nothing
    assert torch.equal(p, before)
    assert optimizer.steps == 2


def test_without_an_average_there_is_nothing_to_show():
    p = torch.ones(2, requires_grad=True)
    with pytest.raises(InadmissibleValue, match=r"Build with averaging"), GradientDescent([p], 0.1).averaged():
        pass


def test_what_has_not_moved_stays():
    p, q = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = HeavyBall([p, q], 0.1, averaging=1.0)
    optimizer.init_state()
    assert averages(optimizer, [p])[0].tolist() == [1.0, 1.0]
    p.grad = torch.ones(2)
    optimizer.step()
    assert averages(optimizer, [q])[0].tolist() == [1.0, 1.0]
    assert averages(optimizer, [p])[0].tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, math.inf])
def test_memories_out_of_range_are_refused(bad):
    with pytest.raises(InadmissibleValue, match=r"^averaging=.* is outside \[0, 1\]"):
        GradientDescent([torch.ones(1, requires_grad=True)], 0.1, averaging=bad)


# Other numbers.


def test_the_average_beside_bfloat16_is_float32_and_finer_than_any_iterate():
    p = torch.ones(4000, dtype=torch.bfloat16, requires_grad=True)
    optimizer = GradientDescent([p], 1e-4, averaging=1.0)
    for _ in range(300):
        p.grad = torch.ones_like(p)
        optimizer.step()
    average = optimizer.state[p]["average"]
    assert average.dtype is torch.float32
    with optimizer.averaged():
        assert p.dtype is torch.bfloat16
        assert torch.equal(p, average.to(torch.bfloat16))
    # the iterates are 1 - 1e-4·n in the mean: 1 - 1e-4·150.5. A walk of steps 2⁻⁸ taken with chance 1e-4/2⁻⁸ has
    # variance below 2⁻⁸·1e-4·n, its mean over n below that at the end
    error = math.sqrt(2**-8 * 1e-4 * 300 / 4000)
    assert average.mean().item() == pytest.approx(1 - 1e-4 * 150.5, abs=5 * error)


def test_a_complex_average_is_that_of_both_parts(lab, plain):
    parameter = torch.tensor([[1 + 2j, -1j], [0.5, 2 - 1j]], dtype=torch.complex128, requires_grad=True)
    twin = torch.view_as_real(parameter.detach()).clone().requires_grad_()
    one, other = (lab.build(plain, [p], averaging=0.8) for p in (parameter, twin))
    for n in range(6):
        parameter.grad = parameter.detach() * (n - 2 + 1j)
        twin.grad = torch.view_as_real(parameter.grad).clone()
        one.step()
        other.step()
        with torch.no_grad():
            twin.copy_(torch.view_as_real(parameter))
    average = averages(one, [parameter])[0]
    assert average.dtype is torch.complex128
    assert torch.allclose(torch.view_as_real(average), averages(other, [twin])[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("lookahead", [0.5, 1.0])
def test_of_a_look_ahead_the_parameter_is_averaged_which_is_where_its_gradient_is_taken(lookahead):
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = Nesterov([p], 0.1, 0.9, lookahead, averaging=1.0)
    (path,) = iterates(optimizer, [p])
    theta = optimizer.position()[p].clone()
    assert torch.allclose(averages(optimizer, [p])[0], path.mean(0), rtol=1e-14)
    assert torch.equal(optimizer.position()[p], theta)


def test_decay_is_part_of_what_is_averaged():
    p = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = AdamW([p], 0.1, weight_decay=1.0, averaging=1.0)
    for _ in range(3):
        p.grad = torch.zeros(1, dtype=torch.float64)
        optimizer.step()
    assert averages(optimizer, [p])[0].item() == pytest.approx((0.9 + 0.81 + 0.729) / 3)


# What it is good for.

RATE, CURVATURE, NOISE, STEPS, RUNS = 0.1, 2.0, 1.5, 200, 20_000


def mean_of(count, retain):
    """Variance of the mean of so many values of a stationary AR(1), in parts of that of one value."""
    return ((1 + retain) / (1 - retain) - 2 * retain * (1 - retain**count) / (count * (1 - retain) ** 2)) / count


def memory_of(d, count, retain):
    """Likewise of the debiased exponential mean: the quadratic form of its weights with the correlations."""
    weights = torch.tensor([d**k for k in range(count)], dtype=torch.float64)
    lags = torch.arange(count)
    correlation = retain ** (lags[:, None] - lags[None, :]).abs().double()
    return float(weights @ correlation @ weights / weights.sum() ** 2)


@pytest.mark.parametrize("d", [0.9, 0.99, 1.0])
def test_averaging_takes_the_predicted_noise_out_of_sgd(d):
    """SGD on a parabola is an AR(1) of variance αs²/(h(2-αh)); 20,000 of them, started in their stationary law.

    The relative standard error of a variance of n normal numbers is √(2/n) = 1%; five are granted.
    """
    generator = torch.Generator().manual_seed(4)
    retain = 1 - RATE * CURVATURE
    variance = RATE * NOISE**2 / (CURVATURE * (2 - RATE * CURVATURE))
    p = (variance**0.5 * torch.randn(RUNS, generator=generator, dtype=torch.float64)).requires_grad_()
    optimizer = GradientDescent([p], RATE, averaging=d)
    for _ in range(STEPS):
        p.grad = CURVATURE * p.detach() + NOISE * torch.randn(RUNS, generator=generator, dtype=torch.float64)
        optimizer.step()
    error = 5 * math.sqrt(2 / RUNS)
    assert float(p.detach().square().mean()) == pytest.approx(variance, rel=error)
    predicted = memory_of(d, STEPS, retain)
    if d == 1.0:
        assert predicted == pytest.approx(mean_of(STEPS, retain), rel=1e-10)
    assert float(averages(optimizer, [p])[0].square().mean()) == pytest.approx(variance * predicted, rel=error)
    assert predicted < (0.5 if d == 0.9 else 0.1)


# BatchNorm: its statistics are those of the average inside, and the run's own afterwards.


def normed():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1)
    )
    optimizer = GradientDescent(model.parameters(), 0.3, averaging=1.0)
    data = [torch.randn(32, 3) for _ in range(6)]
    for x in data:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return model, optimizer, data


def test_statistics_are_those_of_the_average_inside_and_the_runs_own_afterwards():
    """The mean over batches of the first layer's output at the averaged weights, whose own mean is linear."""
    model, optimizer, data = normed()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    drawn = torch.get_rng_state()
    with optimizer.averaged(model, [(x, None) for x in data]):
        with torch.no_grad():
            expected = torch.stack([model[0](x).mean(0) for x in data]).mean(0)
        assert torch.allclose(model[1].running_mean, expected, atol=1e-6)
        assert model.training
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    assert torch.equal(drawn, torch.get_rng_state())


def test_whatever_is_done_to_buffers_inside_is_put_back():
    model, optimizer, data = normed()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with pytest.warns(UserWarning, match="statistics are those of the last iterate"), optimizer.averaged(model):
        torch.optim.swa_utils.update_bn(data, model)
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


def test_data_that_cannot_be_used_leave_all_as_it_was():
    model, optimizer, _ = normed()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError), optimizer.averaged(model, [torch.ones(4, 99)]):
        pass
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with optimizer.averaged(model, [torch.ones(4, 3)]):
        pass


def test_data_without_a_model_are_refused():
    _, optimizer, data = normed()
    with pytest.raises(InadmissibleValue, match=r"Pass averaged\(model, data\)"), optimizer.averaged(data=data):
        pass
