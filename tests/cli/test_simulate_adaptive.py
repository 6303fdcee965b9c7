"""``thetadot simulate`` by methods that find their own steps: closed forms, tolerances, and going on to the bit."""

import html
import re
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thetadot.cli import main
from thetadot.scenes import ensemble
from thetadot.scenes.time_grid import AdaptiveGrid
from thetadot.simulation import Save
from thetadot.simulation.controlled import Marched

from . import motions
from .test_bad_input import refused
from .test_simulate import arrays, goes_on_as, interrupt, page, record, rows, same, simulate
from .test_simulate_bad_input import repacked

FILE = motions.__file__
STILL = {
    "dirac-gan": ["--time", 10],
    "wgan-div": ["--time", 40],
    "competition": ["--paths", 10],
    "mathieu": ["--paths", 2, "--time", 1],
    "jacobi": ["--paths", 3],
    "descent-flows": ["--paths", 3, "--time", 10, "--set", "flow=gradient"],
    "harmonic": ["--paths", 3, "--temperature", 0],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STILL)
def test_every_scene_without_noise_agrees_with_its_closed_forms(tmp_path, name):
    simulate(name, *STILL[name], "--integrator", "dormand-prince", "--out", tmp_path / "run")
    found = rows(tmp_path / "run")
    assert all(row["agrees"] is not False for row in found.values()), found
    assert any(row["agrees"] for row in found.values())
    assert found["steps accepted by a path"]["measured"] >= 400
    assert 0 < found["shortest step"]["measured"] <= found["longest step"]["measured"]
    asked = record(tmp_path / "run")["asked"]
    assert asked["step"] is None
    assert asked["tolerance"] == 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tolerances"), [("dormand-prince", (1e-3, 1e-5, 1e-7)), ("bogacki-shampine", (1e-2, 1e-3, 1e-4))]
)
def test_a_smaller_tolerance_takes_more_steps_and_errs_less(tmp_path, name, tolerances):
    """By r² of the linear game, which is conserved."""
    found = []
    for tolerance in tolerances:
        folder = tmp_path / str(tolerance)
        simulate("dirac-gan", "--set", "kind=linear", "--time", 400, "--save", 4, "--integrator", name,
                 "--tolerance", tolerance, "--out", folder)  # fmt: skip
        said = rows(folder)
        found.append((said["steps accepted by a path"]["measured"], said["largest change of r²"]["measured"]))
    steps, errors = zip(*found, strict=True)
    assert steps[0] < steps[1] < steps[2]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1 * errors[0]


def test_a_method_of_ones_own_function_keeps_its_tolerance_unless_told(tmp_path):
    simulate(f"{FILE}:finds_its_own_steps", "--out", tmp_path / "a")
    assert "relative tolerance 1e-06, absolute 1e-09" in page(tmp_path / "a")
    simulate(f"{FILE}:finds_its_own_steps", "--tolerance", 1e-4, "--out", tmp_path / "b")
    assert "relative tolerance 0.0001, absolute 1e-07" in page(tmp_path / "b")


GAME = ["dirac-gan", "--time", "30", "--integrator", "dormand-prince"]


@pytest.mark.parametrize("when", [0, 1, 77, 300])
def test_what_was_interrupted_goes_on_to_the_bit(tmp_path, monkeypatch, when):
    simulate(*GAME, "--out", tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt(patched, Marched, "_try", when)
        assert main(["simulate", *GAME, "--out", str(tmp_path / "cut")]) == 130
    goes_on_as(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 57, 200])
def test_half_a_frame_is_none(tmp_path, monkeypatch, when):
    simulate(*GAME, "--out", tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt(patched, ensemble, "_band", when)
        assert main(["simulate", *GAME, "--out", str(tmp_path / "cut")]) == 130
    assert len(arrays(tmp_path / "cut")["band/times"]) == when
    goes_on_as(tmp_path / "whole", tmp_path / "cut")


def test_a_complete_simulation_is_drawn_anew_with_its_counts(tmp_path):
    simulate(*GAME, "--out", tmp_path / "run")
    before = rows(tmp_path / "run")
    simulate("--resume", tmp_path / "run")
    assert rows(tmp_path / "run") == before


def test_the_command_on_the_page_repeats_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulate(*GAME, "--tolerance", 1e-4, "--out", "a")
    command = html.unescape(re.search(r"<code>(thetadot simulate .*?)</code>", page(tmp_path / "a"))[1])
    assert "--step" not in command
    assert main([*shlex.split(command)[1:], "--out", "b"]) == 0
    same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*GAME, "--step", "0.1"], "step=0.1: DormandPrince finds its own steps, by --tolerance. Leave --step out"),
        (["dirac-gan", "--tolerance", "1e-4"], "takes steps of one length. Leave --tolerance out"),
        ([*GAME, "--tolerance", "0"], "is not between 0 and 1. Pass --tolerance 1e-6"),
        ([*GAME, "--tolerance", "nan"], "is not between 0 and 1"),
        (["double-well", "--integrator", "bogacki-shampine"], "BogackiShampine draws no noise"),
        (["geometric-brownian", "--integrator", "dormand-prince"], "DormandPrince draws no noise"),
        (["descent-flows", "--integrator", "dormand-prince"], "PolyakFlow has loss"),
        ([f"{FILE}:explodes", "--integrator", "dormand-prince"], "Pass a smaller --time, or a larger --tolerance."),
        ([f"{FILE}:step_of_its_own_and_another"], "returned a step beside DormandPrince"),
        (["mathieu", "--integrator", "dormand-prince", "--time", "0.01"], "is less than a period"),
        (["--resume", "x", "--tolerance", "1"], "--tolerance contradicts --resume"),
    ],
)
def test_one_sentence(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, "simulate", *arguments)
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", np.full((12, 1), np.nan)),
        ("length", np.ones((11, 1))),
        ("accepted", np.ones((12, 1))),
        ("held_back", np.ones((12, 1))),
    ],
)
def test_what_is_remembered_is_not_trusted(capsys, tmp_path, name, value):
    simulate(*GAME, "--out", tmp_path / "run")
    repacked(tmp_path / "run" / "trajectory.npz", **{f"memory__{name}": value})
    assert f"memory/{name} is not one number a path" in refused(capsys, "simulate", "--resume", tmp_path / "run")


@given(st.floats(1e-3, 1e6), st.integers(1, 500))
def test_what_passed_and_what_is_left_are_the_whole_to_the_bit(time, count):
    times = AdaptiveGrid(time).times(Save(count=count))
    assert times == pytest.approx(Save(count=count).at(time), rel=0, abs=1e-15 * time)
    assert times[-1] == time
    for passed in times[:: max(1, count // 7)]:
        assert [passed + (later - passed) for later in times] == list(times)
