"""What a user's functions return, and what is said where it is not what they must."""

import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler, EulerMaruyama
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
