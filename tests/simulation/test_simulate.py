"""simulate: closed forms, laws, schedules, continuation, and what it refuses."""

import itertools
import math

import pytest
import torch

import thetadot
from thetadot.analysis import stationary_variance
from thetadot.errors import Diverged, InadmissibleValue, IncompatiblePair, TooLarge
from thetadot.fusion.compiler import compiler
from thetadot.integrators import BogackiShampine, DormandPrince, Euler, EulerMaruyama, Leapfrog, Splitting
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.simulation import Save, Trajectory, simulate
from thetadot.systems import ODE, SDE, AdaptiveFlow, DampedNewton, GradientFlow, Kramers, Langevin, Problem
from thetadot.systems.base import PerStep

WELL = Problem(Langevin(0.245), DoubleWell())
COMPILE = [False, pytest.param(True, marks=pytest.mark.skipif(compiler() is None, reason="no C++ compiler"))]
START = {
    "position": torch.tensor([[2.0]], dtype=torch.float64),
    "velocity": torch.tensor([[0.3]], dtype=torch.float64),
}


def test_euler_is_its_closed_form():
    run = simulate(ODE(lambda x: -x), Euler(), torch.ones(3, 2, dtype=torch.float64), time=1.0, step=0.1, save=2)
    assert run.times.tolist() == [0.0, 0.5, 1.0]
    assert torch.allclose(run.states[:, 0, 0], torch.tensor([1.0, 0.9**5, 0.9**10], dtype=torch.float64), rtol=1e-14)


@pytest.mark.parametrize("compiled", COMPILE)
@pytest.mark.parametrize("word", ["BAOAB", "OBABO", "ABOBA", "BABOBAB"])
def test_a_word_run_as_it_is_written_has_order_2_from_any_velocity(word, compiled):
    problem = Problem(Kramers(0.5, 0.0), DoubleWell())
    ends = [
        float(simulate(problem, Splitting(word), START, time=2.0, step=2.0 / n, compile=compiled).final)
        for n in (100, 200, 400)
    ]
    assert abs(math.log2((ends[0] - ends[1]) / (ends[1] - ends[2])) - 2) < 0.02


def test_leapfrog_from_a_velocity_has_order_2_and_ends_where_the_words_end():
    problem = Problem(DampedNewton(0.5), DoubleWell())
    ends = [float(simulate(problem, Leapfrog(), START, time=2.0, step=2.0 / n).final) for n in (100, 200, 400)]
    assert abs(math.log2((ends[0] - ends[1]) / (ends[1] - ends[2])) - 2) < 0.02
    word = simulate(Problem(Kramers(0.5, 0.0), DoubleWell()), Splitting("BAOAB"), START, time=2.0, step=0.0005)
    assert abs(float(word.final) - ends[-1]) < 5e-5


@pytest.mark.parametrize("compiled", COMPILE)
@pytest.mark.parametrize(
    ("system", "integrator", "step"),
    [
        (Langevin(0.7), EulerMaruyama(), 0.3),
        (Kramers(0.6, 0.7), Leapfrog(), 0.5),
        (Kramers(0.6, 0.7), Splitting("BAOAB"), 0.9),
        (Kramers(0.6, 0.7), Splitting("OBABO"), 0.5),
        (Kramers(0.6, 0.7), Splitting("ABOBA"), 0.9),
    ],
)
def test_the_stationary_law_is_that_of_the_lyapunov_equation(system, integrator, step, compiled):
    paths = 40_000
    run = simulate(
        Problem(system, Harmonic(2.0)),
        integrator,
        torch.zeros(paths, 1),
        time=60 * step,
        step=step,
        compile=compiled,
        key=11,
    )
    exact = stationary_variance(system, integrator, step=step, curvature=2.0)
    assert abs(float(run.final.var()) / exact - 1) < 4 * math.sqrt(2 / paths) + 1e-4


@pytest.mark.parametrize("compiled", COMPILE)
def test_an_ensemble_in_the_double_well_has_the_moments_of_its_law(compiled):
    run = simulate(WELL, EulerMaruyama(), torch.zeros(1), paths=50_000, time=10.0, step=0.01, compile=compiled, key=2)
    x = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    weight = torch.exp(-DoubleWell()(x.unsqueeze(-1)) / 0.245)
    moment = float((x**2 * weight).sum() / weight.sum())
    assert abs(float(run.final.square().mean()) - moment) < 0.015  # Euler-Maruyama's own error is .006


def test_one_key_is_one_ensemble_however_it_is_saved_interrupted_or_continued():
    whole = simulate(WELL, EulerMaruyama(), torch.zeros(200, 1), time=1.0, step=0.01, key=5)
    saved = simulate(WELL, EulerMaruyama(), torch.zeros(200, 1), time=1.0, step=0.01, key=5, save=[0.03, 0.5, 1.0])
    half = simulate(WELL, EulerMaruyama(), torch.zeros(200, 1), time=0.37, step=0.01, key=5)
    rest = simulate(WELL, EulerMaruyama(), half, time=0.63, step=0.01)
    other = simulate(WELL, EulerMaruyama(), torch.zeros(200, 1), time=1.0, step=0.01, key=6)
    assert torch.equal(whole.final, saved.final)
    assert torch.equal(whole.final, rest.final)
    assert rest.end.time == pytest.approx(1.0)
    assert rest.times.tolist() == pytest.approx([0.37, 1.0])
    assert not torch.equal(whole.final, other.final)


def test_a_velocity_and_a_clock_are_continued_too():
    problem, rule = Problem(Kramers(0.5, 0.2), DoubleWell()), Splitting("BAOAB")
    whole = simulate(problem, rule, START, time=1.0, step=0.05, key=1)
    half = simulate(problem, rule, START, time=0.5, step=0.05, key=1)
    assert torch.equal(whole.final, simulate(problem, rule, half, time=0.5, step=0.05).final)
    forced = ODE(lambda t, x: torch.cos(t) * x)
    whole = simulate(forced, Euler(), torch.ones(1, 1), time=1.0, step=0.1)
    half = simulate(forced, Euler(), torch.ones(1, 1), time=0.5, step=0.1)
    assert torch.equal(whole.final, simulate(forced, Euler(), half, time=0.5, step=0.1).final)


def test_the_global_generators_are_left_alone():
    before = torch.get_rng_state()
    simulate(WELL, EulerMaruyama(), torch.zeros(10, 1), time=0.1, step=0.01, key=0)
    simulate(ODE(lambda x: -x), Euler(), torch.zeros(10, 1), time=0.1, step=0.01)  # without noise there is no key
    with pytest.raises(IncompatiblePair):
        simulate(ODE(lambda x: x - x.mean(0)), Euler(), torch.zeros(10, 1), time=0.1, step=0.01, compile=True)
    with pytest.raises(InadmissibleValue):
        simulate(SDE(lambda x: x.sum(-1), 1.0), EulerMaruyama(), torch.zeros(10, 2), time=0.1, step=0.01)
    assert torch.equal(before, torch.get_rng_state())


def test_several_schedules_are_saved_at_once():
    run = simulate(
        WELL,
        EulerMaruyama(),
        torch.zeros(100, 2),
        time=1.0,
        step=0.01,
        save={
            "second moment": Save(lambda t, s: s["position"].square().mean(0), count=10),
            "states": [0.5],
            "end": None,
        },
    )
    assert run["second moment"].values.shape == (11, 2)
    assert run["states"].values.shape == (1, 100, 2)
    assert torch.allclose(run["end"].values[-1].square().mean(0), run["second moment"].values[-1])
    with pytest.raises(InadmissibleValue, match="no series 'x'"):
        run["x"]


def test_statistics_of_velocities_and_the_time_are_given():
    run = simulate(
        Problem(Kramers(1.0, 0.4), Harmonic()),
        Splitting("BAOAB"),
        torch.zeros(20_000, 1),
        time=20.0,
        step=0.5,
        save=Save(lambda t, s: torch.tensor([t, float(s["velocity"].var())]), times=[20.0]),
    )
    assert run.states[0, 0] == 20.0
    # right after O the velocity's law is exact at every stable step
    assert abs(float(run.states[0, 1]) / 0.4 - 1) < 0.05


def test_divergence_is_told_at_its_step_with_the_last_good_state_kept():
    explosive = ODE(lambda x: x * x)
    with pytest.raises(Diverged, match="path 1 is not finite after step") as told:
        simulate(explosive, Euler(), torch.tensor([[0.0], [3.0]]), time=100.0, step=0.1, save=10)
    last = told.value.last
    assert isinstance(last, Trajectory)
    x = torch.tensor([3.0])
    for _ in range(last.end.steps):
        x = x + 0.1 * (x * x)
    assert torch.allclose(last.end.state["position"][1], x, rtol=1e-4)
    assert not (x + 0.1 * (x * x)).isfinite()


def test_an_interrupt_keeps_what_was_saved():
    def stop(t, state):
        if t >= 0.5:
            raise KeyboardInterrupt
        return state["position"].mean()

    with pytest.raises(KeyboardInterrupt):
        simulate(WELL, EulerMaruyama(), torch.zeros(10, 1), time=1.0, step=0.1, save=Save(stop, count=10))


def test_paths_that_see_each_other_are_simulated_plainly():
    run = simulate(ODE(lambda x: x.mean(0) - x), Euler(), torch.tensor([[0.0], [2.0]]), time=1.0, step=0.1)
    assert run.engine == "plain"
    assert "see each other" in run.remark
    assert torch.allclose(run.final.flatten(), torch.tensor([1 - 0.9**10, 1 + 0.9**10]))
    with pytest.raises(IncompatiblePair, match="see each other"):
        simulate(ODE(lambda x: x.mean(0) - x), Euler(), torch.ones(2, 1), time=1.0, step=0.1, compile=True)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_a_long_job_is_compiled_unasked_and_a_short_one_is_not():
    long = simulate(WELL, EulerMaruyama(), torch.zeros(400_000, 1), time=10.0, step=0.01)
    short = simulate(WELL, EulerMaruyama(), torch.zeros(1000, 1), time=10.0, step=0.01)
    assert (long.engine, short.engine) == ("compiled", "in place")


def test_without_a_compiler_a_long_job_is_simulated_in_place_and_it_is_said(monkeypatch):
    monkeypatch.setattr("thetadot.simulation.choice.PAYS", 1.0)
    monkeypatch.setattr("thetadot.fusion.compiler.compiler", lambda: None)
    run = simulate(WELL, EulerMaruyama(), torch.zeros(10, 1), time=0.1, step=0.01)
    assert run.engine == "in place"
    assert "no C++ compiler" in run.remark


@pytest.mark.parametrize("compiled", COMPILE)
def test_adam_of_an_ensemble_is_adam_of_every_path(compiled):
    flow = AdaptiveFlow(PerStep(0.1), PerStep(0.01))
    x = torch.tensor([[2.0, 0.3], [-1.5, 1.2]], dtype=torch.float64)
    both = simulate(Problem(flow, DoubleWell()), Euler(), x, time=2.0, step=0.1, compile=compiled).final
    for row in range(2):
        alone = simulate(Problem(flow, DoubleWell()), Euler(), x[row], time=2.0, step=0.1).final
        assert torch.allclose(both[row], alone[0], atol=1e-12)


def test_it_is_on_the_package():
    assert thetadot.simulate is simulate


def test_a_progress_bar_is_drawn_only_when_asked_for(capfd):
    for progress in (False, True):
        simulate(WELL, EulerMaruyama(), torch.zeros(10, 1), time=0.1, step=0.01, progress=progress)
        assert capfd.readouterr().out == ""


BAD = {
    "no whole steps": ({"time": 1.0, "step": 0.3}, "not a whole number of steps"),
    "no step": ({"time": 1.0}, "needs a step"),
    "backwards": ({"time": -1.0, "step": 0.1}, "not positive"),
    "a time between steps": ({"time": 1.0, "step": 0.1, "save": [0.05]}, "not a whole number"),
    "a time beyond": ({"time": 1.0, "step": 0.1, "save": [2.0]}, "not increasing and in"),
    "a word": ({"time": 1.0, "step": 0.1, "save": "all"}, "no schedule"),
    "a number": ({"time": 1.0, "step": 0.1, "save": lambda t, s: 3}, "return a tensor"),
    "compile": ({"time": 1.0, "step": 0.1, "compile": "yes"}, "unknown"),
    "paths": ({"time": 1.0, "step": 0.1, "paths": 0}, "paths=0"),
}


@pytest.mark.parametrize(("given", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(given, said):
    with pytest.raises(InadmissibleValue, match=said):
        simulate(WELL, EulerMaruyama(), torch.zeros(1), **given)


@pytest.mark.parametrize(
    ("initial", "said"),
    [
        (torch.zeros(2, 2, 2), "neither"),
        (torch.zeros(2, 2, dtype=torch.int64), "neither"),
        (torch.tensor([[math.nan]]), "not finite"),
        ({"velocity": torch.zeros(1, 1)}, "no tensor 'position'"),
        ({"position": torch.zeros(2, 1), "velocity": torch.zeros(3, 1)}, "Give both the same"),
        ({"position": torch.zeros(2, 1), "speed": torch.zeros(2, 1)}, "has 'speed'"),
    ],
)
def test_a_bad_start_is_refused(initial, said):
    with pytest.raises(InadmissibleValue, match=said):
        simulate(Problem(Kramers(1.0, 0.1), DoubleWell()), Splitting("BAOAB"), initial, time=1.0, step=0.1)


def test_pairs_that_cannot_be_are_refused():
    with pytest.raises(IncompatiblePair, match="none was given"):
        simulate(Langevin(0.1), EulerMaruyama(), torch.zeros(1, 1), time=1.0, step=0.1)
    with pytest.raises(IncompatiblePair, match="velocity"):
        simulate(WELL, Splitting("BAOAB"), torch.zeros(1, 1), time=1.0, step=0.1)
    noise = SDE(lambda x: -x, lambda x: x, calculus="stratonovich")
    with pytest.raises(IncompatiblePair, match="stratonovich"):
        simulate(noise, EulerMaruyama(), torch.ones(1, 1), time=1.0, step=0.1)
    with pytest.raises(IncompatiblePair, match="drift of its own"):
        Problem(ODE(lambda x: -x), DoubleWell())
    with pytest.raises(InadmissibleValue, match="loss= was given too"):
        simulate(WELL, Euler(), torch.zeros(1, 1), time=1.0, step=0.1, loss=DoubleWell())


def test_what_does_not_fit_is_told_before_it_is_tried(monkeypatch):
    monkeypatch.setattr("thetadot.simulation.memory.available", lambda: 1 << 27)
    with pytest.raises(TooLarge, match="Save statistics"):
        simulate(WELL, EulerMaruyama(), torch.zeros(200_000, 1), time=1.0, step=0.01, save=100)


def test_a_loss_alone_is_enough():
    run = simulate(
        GradientFlow(),
        Euler(),
        torch.ones(1, 1, dtype=torch.float64),
        time=1.0,
        step=0.5,
        loss=lambda x: x.square().sum(-1),
    )
    assert float(run.final) == 0.0


def test_an_adaptive_method_keeps_its_tolerance_at_the_times_asked_for():
    x = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    run = simulate(ODE(lambda x: -x), DormandPrince(rtol=1e-10, atol=1e-12), x, time=2.0, save=[0.3, 1.0, 2.0])
    assert run.times.tolist() == [0.3, 1.0, 2.0]
    assert torch.allclose(run.states[..., 0], torch.exp(-run.times).unsqueeze(1) * x.T, rtol=1e-8)
    assert run.engine == ("compiled" if compiler() else "plain")
    assert (run.counts["accepted"] > 3).all()


def test_adaptive_steps_follow_forces_velocities_and_clocks():
    spring = simulate(Problem(DampedNewton(0.0), Harmonic(1.0)), DormandPrince(), START, time=1.5, save=3)
    assert abs(float(spring.final) - (2 * math.cos(1.5) + 0.3 * math.sin(1.5))) < 1e-5
    assert set(spring.variables) == {"velocity"}
    clock = ODE(lambda t, x: torch.cos(t) * x)
    half = simulate(clock, DormandPrince(), torch.ones(1, 1, dtype=torch.float64), time=0.7)
    rest = simulate(clock, DormandPrince(), half, time=0.8)
    assert abs(float(rest.final) - math.exp(math.sin(1.5))) < 1e-5
    assert rest.times.tolist() == pytest.approx([0.7, 1.5])


@pytest.mark.parametrize("rule", [DormandPrince(), BogackiShampine()], ids=repr)
def test_an_adaptive_method_goes_on_with_the_steps_it_meant(rule):
    """To the bit, where the times that are asked for are the same."""
    field = ODE(lambda t, x: torch.cos(t) * x.flip(-1) * (1.0 + x.abs()).log())
    start = torch.tensor([[1.0, 2.0], [3.0, -0.2]], dtype=torch.float64)
    whole = simulate(field, rule, start, time=4.0, save=[0.5, 1.5, 4.0])
    half = simulate(field, rule, start, time=0.5)
    rest = simulate(field, rule, half, time=3.5, save=[1.0, 3.5])
    assert torch.equal(rest.states, whole.states[1:])
    for name, count in whole.counts.items():
        assert torch.equal(count, rest.counts[name])


def test_an_interrupted_adaptive_motion_stands_where_all_paths_have_met():
    calls, until = itertools.count(), math.inf

    def field(x):
        if next(calls) > until:
            raise KeyboardInterrupt
        return -x * torch.tensor([[1.0], [30.0]])

    simulate(ODE(field), DormandPrince(), torch.ones(2, 1), time=0.25)
    until = 2 * next(calls) + 3
    with pytest.raises(KeyboardInterrupt) as told:
        simulate(ODE(field), DormandPrince(), torch.ones(2, 1), time=20.0, save=[0.25, 20.0])
    last = told.value.last
    assert last.end.time == 0.25
    assert torch.equal(last.end.state["position"], last.final)


def test_a_motion_that_ends_is_told_with_what_was_saved():
    with pytest.raises(Diverged, match=r"gets no further than time (0\.99|1\.00)") as told:
        simulate(
            ODE(lambda x: x * x), DormandPrince(), torch.ones(1, 1, dtype=torch.float64), time=2.0, save=[0.5, 2.0]
        )
    assert told.value.last.times.tolist() == [0.5]
    assert float(told.value.last.final) == pytest.approx(2.0)


def test_an_adaptive_method_takes_no_step_and_no_noise():
    with pytest.raises(InadmissibleValue, match="finds its own"):
        simulate(ODE(lambda x: -x), DormandPrince(), torch.ones(1, 1), time=1.0, step=0.1)
    with pytest.raises(IncompatiblePair, match="temperature"):
        simulate(WELL, DormandPrince(), torch.ones(1, 1), time=1.0)


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (ODE(lambda x: -x[:, 0]), r"drift of position of ODE gave shape \(6,\) for positions \(6, 1\)"),
        (SDE(lambda x: -x, lambda x: x[:, 0]), r"noise on position of SDE gave shape \(6,\)"),
        (Problem(Langevin(0.1), lambda x: (x * x).mean()), r"gave shape \(\) .* not one value a path, \(6,\)"),
        (Problem(Langevin(0.1), lambda x: x * x), r"gave shape \(6, 1\)"),
    ],
    ids=["drift", "noise", "mean over paths", "not summed"],
)
def test_what_would_be_broadcast_to_something_else_is_refused(system, said):
    with pytest.raises(InadmissibleValue, match=said):
        simulate(system, EulerMaruyama(), torch.ones(6, 1), time=1.0, step=0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"noise": "gaussian"}, "'normal' or 'rademacher'"),
        ({"key": 1.5}, "no whole number"),
        ({"initial": "x"}, r"initial\['position'\] is a str"),
        ({"integrator": Euler}, "the class Euler"),
        ({"system": lambda x: -x}, r"ODE\(f\)"),
    ],
)
def test_what_is_of_another_kind_is_refused(given, said):
    given = {"system": ODE(lambda x: -x), "integrator": Euler(), "initial": torch.ones(3, 1)} | given
    with pytest.raises(InadmissibleValue, match=said):
        simulate(**given, time=1.0, step=0.5)


def test_a_problem_of_a_potential_and_a_system_is_refused():
    with pytest.raises(InadmissibleValue, match="Pass first what moves"):
        Problem(DoubleWell(), Langevin(0.1))


@pytest.mark.parametrize("integrator", [Euler(), DormandPrince()])
def test_constants_of_another_dtype_leave_the_paths_theirs(integrator):
    wide = torch.tensor([2.0, 3.0], dtype=torch.float64)
    step = {} if isinstance(integrator, DormandPrince) else {"step": 0.5}
    done = simulate(ODE(lambda x: -x * wide), integrator, torch.ones(3, 2), time=1.0, **step)
    assert done.final.dtype == torch.float32


@pytest.mark.parametrize("compile_", [False, *([True] if compiler() else [])])
def test_a_velocity_is_taken_in_the_positions_dtype_and_shape(compile_):
    problem, start = Problem(Kramers(1.0, 0.2), DoubleWell()), torch.ones(4, 1)
    run = {"time": 1.0, "step": 0.25, "compile": compile_, "key": 3}
    wanted = simulate(problem, Splitting("BAOAB"), {"position": start, "velocity": torch.full((4, 1), 0.5)}, **run)
    for velocity in (torch.full((4, 1), 0.5, dtype=torch.float64), torch.tensor(0.5), torch.full((1, 1), 0.5)):
        found = simulate(problem, Splitting("BAOAB"), {"position": start, "velocity": velocity}, **run)
        assert found.final.dtype == torch.float32
        assert torch.equal(found.final, wanted.final)


def test_a_trajectory_is_gone_on_with_by_its_own_rule_and_system():
    problem, start = Problem(Kramers(1.0, 0.2), DoubleWell()), torch.ones(4, 1)
    half = simulate(problem, Splitting("ABOBA"), start, time=1.0, step=0.25)
    with pytest.raises(InadmissibleValue, match="velocities belong to other times"):
        simulate(problem, Splitting("BAOAB"), half, time=1.0, step=0.25)
    damped = Problem(DampedNewton(1.0), DoubleWell())
    staggered = simulate(damped, Leapfrog(), start, time=1.0, step=0.25)
    with pytest.raises(InadmissibleValue, match="velocities belong to other times"):
        simulate(damped, DormandPrince(), staggered, time=1.0)
    fall = simulate(Problem(GradientFlow(), DoubleWell()), Euler(), start, time=1.0, step=0.25)
    with pytest.raises(InadmissibleValue, match="has no 'velocity', which Kramers moves"):
        simulate(problem, Splitting("BAOAB"), fall, time=1.0, step=0.25)


def test_a_function_that_holds_the_number_of_paths_is_called_as_it_is():
    start = torch.ones(5, 1)
    done = simulate(ODE(lambda x: x / len(x)), Euler(), start, time=0.5, step=0.5)
    assert done.engine == "plain"
    assert torch.allclose(done.final, start * 1.1)


def test_a_function_that_changes_between_calls_is_called_every_time():
    drawn = iter(range(1, 100))
    done = simulate(ODE(lambda x: 0.0 * x + float(next(drawn))), Euler(), torch.zeros(3, 1), time=1.0, step=0.25)
    assert done.engine == "plain"
    assert "changes between calls" in done.remark


def test_nothing_is_recorded_of_a_networks_parameters():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    for integrator, step in ((Euler(), {"step": 0.25}), (DormandPrince(), {})):
        done = simulate(ODE(network), integrator, torch.ones(3, 2), time=1.0, **step)
        assert not done.final.requires_grad
        assert not done.end.state["position"].requires_grad


def test_a_velocity_that_diverges_alone_is_told():
    problem = Problem(Kramers(1.0, 0.0), lambda x: (x**4).sum(-1) * 1e30)
    with pytest.raises(Diverged, match="path 0"):
        simulate(problem, Splitting("AOB"), torch.full((3, 1), 1e4), time=1.0, step=0.5)


@pytest.mark.parametrize("field", [
    lambda t, x: x * torch.abs(torch.sin(t)),
    lambda t, x: x * torch.where(t < 0.55, t, -t),
    lambda t, x: x * (t < 0.55),
    lambda t, x: torch.where((t < 0.55) & (x > 0.2), x, -x),
    lambda t, x: x * torch.sign(torch.cos(7 * t)) + torch.floor(3.3 * t),
    lambda t, x: x * torch.exp(-1000 * torch.exp(10 * t)) + (t + 0.05) % 0.3,
], ids=["size", "choice", "truth", "both", "sign", "remainder"])  # fmt: skip
def test_functions_of_time_are_those_of_a_plain_loop(field):
    start = torch.linspace(0.1, 1.0, 5, dtype=torch.float64)[:, None]
    x, time = start, torch.zeros((), dtype=torch.float64)
    for _ in range(10):
        x, time = x + 0.1 * field(time, x), time + 0.1
    for compile_ in (False, *([True] if compiler() else [])):
        done = simulate(ODE(field), Euler(), start, time=1.0, step=0.1, compile=compile_)
        assert done.engine != "plain"
        assert torch.allclose(done.final, x, rtol=1e-12)
