"""What a user's functions return, and what is said where it is not what they must."""

import math

import numpy as np
import pytest
import torch

from thetadot.errors import InadmissibleValue, TooLarge
from thetadot.integrators import DormandPrince, Euler, EulerMaruyama
from thetadot.simulation import Save, simulate
from thetadot.systems import ODE, SDE, GradientFlow, Problem


def run(motion, initial=None, rule=None):
    return simulate(motion, rule or Euler(), torch.ones(3, 3) if initial is None else initial, time=0.2, step=0.1)


@pytest.mark.parametrize("paths", [1, 2, 3, 4])
@pytest.mark.parametrize("noisy", [False, True])
def test_one_number_a_path_is_never_taken_for_one_a_component(paths, noisy):
    def each(x):
        return x.sum(-1)

    motion = SDE(lambda x: -x, each) if noisy else ODE(each)
    with pytest.raises(InadmissibleValue, match=r"gave shape \(.*\) for positions .* does not broadcast"):
        run(motion, torch.ones(paths, 3), EulerMaruyama())


def test_a_constant_vector_is_one_a_component():
    speed = torch.tensor([1.0, 2.0, 3.0])
    assert torch.allclose(run(ODE(lambda _: speed)).final, 1.0 + 0.2 * speed)


@pytest.mark.parametrize(
    "potential",
    [
        lambda x: (x.detach() ** 2).sum(-1),
        lambda x: torch.from_numpy(x.detach().numpy() ** 2).sum(-1),
        torch.no_grad()(lambda x: (x**2).sum(-1)),
    ],
    ids=["detach", "numpy", "no_grad"],
)
def test_a_potential_that_hides_its_position_is_no_free_motion(potential):
    with pytest.raises(InadmissibleValue, match="its force would be 0 everywhere"):
        run(Problem(GradientFlow(), potential))


def test_a_flat_potential_is_one():
    assert torch.equal(run(Problem(GradientFlow(), lambda x: 0 * x.sum(-1))).final, torch.ones(3, 3))


@pytest.mark.parametrize("returned", [None, (1.0, 2.0), "x"], ids=["nothing", "a tuple", "a string"])
def test_a_field_that_returns_no_tensor_is_named(returned):
    with pytest.raises(InadmissibleValue, match=rf"a field returned a {type(returned).__name__}"):
        run(ODE(lambda _: returned))


@pytest.mark.parametrize("statistic", [lambda variables: variables, lambda: 0, 3.0, lambda a, b, c: a])
def test_a_statistic_takes_two_arguments(statistic):
    with pytest.raises(InadmissibleValue, match=r"is no statistic\. Pass a function of two arguments"):
        Save(statistic, count=2)


@pytest.mark.parametrize("kind", [np.array, list, tuple])
def test_initial_points_may_be_an_array_or_numbers(kind):
    found = run(ODE(lambda x: -x), kind([1.0, 2.0])).final
    assert torch.allclose(found, 0.81 * torch.tensor([[1.0, 2.0]], dtype=found.dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_narrow_numbers_would_lose_small_steps(dtype):
    with pytest.raises(InadmissibleValue, match=r"is neither .* of float32 or float64"):
        run(ODE(lambda x: -x), torch.ones(2, 2, dtype=dtype))


@pytest.mark.parametrize("paths", [2.5, True, 0, "3"])
def test_paths_are_counted(paths):
    with pytest.raises(InadmissibleValue, match=r"is not a whole number|is below 1"):
        simulate(ODE(lambda x: -x), Euler(), torch.ones(2), time=0.2, step=0.1, paths=paths)


def test_more_paths_than_memory_holds_are_refused_before_there_are_any():
    with pytest.raises(TooLarge, match="saving 2 times 100000000000 paths"):
        simulate(ODE(lambda x: -x), Euler(), torch.ones(2), time=0.2, step=0.1, paths=10**11)


@pytest.mark.parametrize("time", ["1", None, -1.0, math.nan, math.inf])
def test_a_time_is_positive_and_finite(time):
    with pytest.raises(InadmissibleValue, match=r"is not (positive and finite|a number|finite)"):
        simulate(ODE(lambda x: -x), Euler(), torch.ones(2), time=time, step=0.1)


def test_a_number_may_be_a_tensor():
    one = simulate(ODE(lambda x: -x), Euler(), torch.ones(2), time=torch.tensor(1.0), step=np.float64(0.5))
    assert one.times.tolist() == [0.0, 1.0]


def test_another_engine_is_one_of_three_or_an_object_that_builds_one():
    run = {"time": 1.0, "step": 0.1}
    for engine in ("fast", 3, object):
        with pytest.raises(InadmissibleValue, match=r"engine=.* is none\. Pass 'plain', 'in place', 'compiled'"):
            simulate(ODE(lambda x: -x), Euler(), torch.ones(2), **run, engine=engine)
    with pytest.raises(InadmissibleValue, match="engine='plain' contradicts compile=True"):
        simulate(ODE(lambda x: -x), Euler(), torch.ones(2), **run, engine="plain", compile=True)


def test_a_class_is_no_integrator():
    with pytest.raises(InadmissibleValue, match=r"integrator=the class DormandPrince is none"):
        simulate(ODE(lambda x: -x), DormandPrince, torch.ones(2), time=1.0)


def test_a_statistic_of_a_variable_that_there_is_not_is_told_those_there_are():
    with pytest.raises(InadmissibleValue, match=r"asks for 'velocity', and the variables are 'position'"):
        simulate(ODE(lambda x: -x), Euler(), torch.ones(2), time=1.0, step=0.1, save=lambda t, s: s["velocity"])


@pytest.mark.parametrize("given", [{"rtol": "a"}, {"first_step": "a"}, {"most_steps": 2.5}, {"controller": "pid"}])
def test_settings_of_an_adaptive_method_are_of_their_kind(given):
    with pytest.raises(InadmissibleValue, match=next(iter(given))):
        DormandPrince(**given)


def test_narrow_positions_do_not_narrow_the_clock():
    """x = sin t at t = 1000, from f(t, x) = cos t in float32."""
    asked = []

    def f(t, x):
        asked.append(float(t.max()))
        return torch.cos(t) + 0 * x

    found = simulate(ODE(f), DormandPrince(1e-6, 1e-6), torch.zeros(1, 1), time=1000.0)
    assert abs(max(asked) - 1000.0) < 1e-9
    assert abs(float(found.final) - math.sin(1000.0)) < 2e-3
    exact = simulate(ODE(f), DormandPrince(1e-8, 1e-8), torch.zeros(1, 1, dtype=torch.float64), time=20.0)
    assert abs(float(exact.final) - math.sin(20.0)) < 1e-6


def test_a_module_is_asked_with_times_of_its_own_precision():
    """ẋ = t by a linear layer of (x, t) in float32: its weights would refuse float64."""
    layer = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 1.0]]))
    found = simulate(ODE(lambda t, x: layer(torch.cat([x, t], -1))), DormandPrince(), torch.zeros(3, 1), time=2.0)
    assert torch.allclose(found.final, torch.full((3, 1), 2.0), atol=1e-5)


def test_adaptive_times_are_the_paths_own_and_that_is_said():
    """f(t, x) that takes t as one number runs with a step of its own and not with each path's."""
    forced = ODE(lambda t, x: torch.stack([x[:, 1], torch.cos(t) - x[:, 0]], -1))
    assert run(forced, torch.ones(3, 2)).final.shape == (3, 2)
    with pytest.raises(InadmissibleValue, match=r"at t of shape \(3, 1\).* gives every path its own time"):
        simulate(forced, DormandPrince(), torch.ones(3, 2), time=1.0)
