"""``thetadot simulate``: its rows against closed forms, its files, and how it goes on."""

import itertools
import json
import math
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from thetadot.cli import main
from thetadot.scenes import SCENES, SceneRow, ensemble, storage
from thetadot.scenes.ensemble import FEW, OFTEN
from thetadot.scenes.integrators import PLAIN, integrator
from thetadot.scenes.library import harmonic
from thetadot.scenes.table import row_in_words, verdict
from thetadot.simulation import run
from thetadot.systems import Kramers, Problem

from . import motions

FILE = motions.__file__

SMALL = {
    "double-well": ["--paths", "2000", "--time", "12", "--step", "0.02"],
    "quartic-2d": ["--paths", "1500", "--time", "4", "--step", "0.02"],
    "harmonic": ["--paths", "2000"],
    "dirac-gan": ["--time", "10"],
    "wgan-div": ["--time", "40"],
    "simsiam": ["--paths", "100", "--time", "150", "--step", "0.05"],
    "competition": ["--paths", "20"],
    "mathieu": ["--paths", "2", "--time", str(64 * 2 * math.pi / 500), "--step", str(2 * math.pi / 500 / 32)],
    "geometric-brownian": ["--paths", "4000", "--step", "0.02"],
    "jacobi": ["--paths", "5", "--step", "0.02"],
    "descent-flows": ["--paths", "4", "--time", "3"],
}


def simulate(*arguments):
    assert main(["simulate", *map(str, arguments)]) == 0


def record(folder):
    return json.loads((folder / "simulation.json").read_text("utf-8"))


def rows(folder):
    return {row["quantity"]: row for row in record(folder)["rows"]}


def test_every_scene_has_a_small_version():
    assert set(SMALL) == set(SCENES)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each scene, simulated once."""
    place, done = tmp_path_factory.mktemp("scenes"), {}

    def make(name):
        if name not in done:
            done[name] = place / name
            simulate(name, *SMALL[name], "--out", done[name])
        return done[name]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_row_of_every_scene_agrees_with_its_closed_form(made, name):
    found = rows(made(name))
    judged = {quantity: row["agrees"] for quantity, row in found.items() if row["agrees"] is not None}
    assert len(judged) >= 2
    assert all(judged.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_scene_has_a_page_below_three_megabytes_and_arrays(made, name):
    folder = made(name)
    page = (folder / "report.html").read_text("utf-8")
    assert len(page.encode()) < 3e6
    assert page.count('<figure class="card picture"') >= 1
    assert "https://" not in page.split('<script type="application/json"')[0]
    with np.load(folder / "trajectory.npz", allow_pickle=False) as arrays:
        assert arrays["times"].shape == arrays["states"].shape[:1]
        assert arrays["states"].ndim == 3
        assert arrays["states"].shape[1] == record(folder)["asked"]["paths"]
        assert len(arrays["paths/times"]) <= OFTEN + 1
        assert arrays["paths/values"].shape[1] <= FEW


# rows are not vacuous: a wrong step or a wrong number is seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "quantity"),
    [
        (["geometric-brownian", "--paths", 20000, "--step", 0.25, "--set", "volatility=1"], None),
        (["double-well", "--paths", 4000, "--time", 20, "--step", 0.25], "mean of U at the end"),
        (["dirac-gan", "--set", "kind=linear", "--step", 0.5, "--integrator", "heun"], "largest change of r²"),
        (["jacobi", "--step", 1.0], "furthest apart at the end"),
    ],
)
def test_a_step_that_is_too_coarse_is_seen_in_the_table(tmp_path, arguments, quantity):
    simulate(*arguments, "--out", tmp_path / "run")
    wrong = [name for name, row in rows(tmp_path / "run").items() if row["agrees"] is False]
    assert wrong
    assert quantity is None or quantity in wrong
    assert "came out otherwise" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_a_row_agrees_within_four_errors_and_its_tolerance():
    assert SceneRow("x", 1.39, 1.0, error=0.1).agrees
    assert not SceneRow("x", 1.41, 1.0, error=0.1).agrees
    assert SceneRow("x", 1.41, 1.0, error=0.1, tolerance=0.02).agrees
    assert not SceneRow("x", 1e200, 1.0, error=math.inf).agrees
    assert SceneRow("x", math.nan, 1.0, error=0.1).agrees is False
    assert SceneRow("x", 1.0).agrees is None


# closed forms beside the defaults


def test_euler_steps_of_the_linear_game_grow_as_one_plus_the_square_of_the_step(tmp_path):
    simulate("dirac-gan", "--set", "kind=linear", "--integrator", "euler", "--time", 5, "--out", tmp_path / "run")
    row = rows(tmp_path / "run")["growth of r²"]
    assert row["expected"] == pytest.approx((1 + 0.05**2) ** 100)
    assert row["measured"] == pytest.approx(row["expected"], rel=1e-10)


@pytest.mark.parametrize("kind", ["non-saturating", "min-max", "linear"])
def test_angular_momentum_is_conserved_in_the_plane_whatever_the_game(tmp_path, kind):
    simulate("dirac-gan", "--set", f"kind={kind}", "--set", "dim=2", "--time", 10, "--out", tmp_path / "run")
    assert rows(tmp_path / "run")["largest error of J"]["agrees"]


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["stop", "full", "second"])
def test_simsiam_ends_where_it_is_foretold(tmp_path, kept):
    simulate("simsiam", "--set", f"kept={kept}", *SMALL["simsiam"], "--out", tmp_path / "run")
    found = rows(tmp_path / "run")
    assert all(row["agrees"] is not False for row in found.values()), found


@pytest.mark.slow
def test_rivals_that_harm_each_other_end_alone(tmp_path):
    simulate("competition", "--set", "harm1=1e-3", "--set", "harm2=2e-3", "--time", 600, "--out", tmp_path / "run")
    found = rows(tmp_path / "run")
    assert all(row["agrees"] is not False for row in found.values()), found
    assert found["both: slowest eigenvalue"]["expected"] > 0  # a saddle


@pytest.mark.slow
@pytest.mark.parametrize("friction", [0.1, 1, 8])
def test_friction_makes_the_double_well_kramers(tmp_path, friction):
    """Weak, middling and strong: the kinetic equation tells of all three what the paths do."""
    simulate("double-well", "--friction", friction, "--step", 0.1, "--time", 25, "--paths", 20000, "--seed", 1,
             "--out", tmp_path / "run")  # fmt: skip
    found = record(tmp_path / "run")
    assert found["asked"]["integrator"] == "BAOAB"
    assert all(row["agrees"] is not False for row in found["rows"]), found["rows"]
    by = [row["quantity"] for row in found["rows"] if row["source"].startswith("kinetic equation")]
    assert by == ["mean of x at the end", "mean of U at the end", "share of paths on the left", "escapes per time"]
    assert "kinetic equation at this time" in page(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.slow
def test_the_kinetic_equation_sees_another_friction(tmp_path, monkeypatch):
    """Rows are not vacuous: with half the friction they would say no."""
    from thetadot.scenes.library import double_well

    made = double_well.laws

    def wrong(problem, *arguments):
        halved = Kramers(problem.system.friction / 2, problem.system.temperature)
        return made(Problem(halved, problem.potential), *arguments)

    monkeypatch.setattr(double_well, "laws", wrong)
    simulate("double-well", "--friction", 1, "--step", 0.1, "--time", 25, "--paths", 20000, "--out", tmp_path / "run")
    found = rows(tmp_path / "run")
    assert [found[name]["agrees"] for name in ("mean of x at the end", "escapes per time")] == [False, False]


@pytest.mark.parametrize("arguments", [("--friction", 0), ("--friction", 300), ("--friction", 1, "--time", 400)])
def test_where_the_kinetic_equation_is_too_much_gibbs_law_is_left(tmp_path, arguments):
    simulate("double-well", *arguments, "--step", 0.1, "--paths", 20, "--out", tmp_path / "run")
    assert not any("kinetic" in row["source"] for row in record(tmp_path / "run")["rows"])
    assert "Gibbs&#39; law" in page(tmp_path / "run")


def test_a_harmonic_step_has_its_own_law(tmp_path):
    """Euler-Maruyama: T/(h(1-γh/2)), which is a third above T/h here, and the table says both."""
    arguments = ("--friction", 0, "--integrator", "leapfrog")
    assert main(["simulate", "harmonic", *map(str, arguments), "--out", str(tmp_path / "free")]) == 0
    assert "mean of x² at the end" not in rows(tmp_path / "free")  # without friction nothing comes to rest
    simulate("harmonic", "--integrator", "leapfrog", "--step", 1.0, "--paths", 20000, "--out", tmp_path / "run")
    row = rows(tmp_path / "run")["mean of x² at the end"]
    assert row["expected"] == pytest.approx(0.5 / (1 - 0.25))  # T/(h(1-γ²h/4))
    assert row["agrees"]


# the same key, the same paths; interrupted or not


def arrays(folder):
    with np.load(folder / "trajectory.npz", allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


def same(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def test_same_seed_same_arrays_and_another_seed_others(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        simulate("harmonic", "--paths", 50, "--seed", seed, "--out", tmp_path / name)
    same(tmp_path / "a", tmp_path / "b")
    assert not np.array_equal(arrays(tmp_path / "a")["states"], arrays(tmp_path / "c")["states"])


CUTS = [
    ("harmonic", ["--paths", 40, "--time", 20, "--step", 0.5], 1),
    ("harmonic", ["--paths", 40, "--time", 20, "--step", 0.5], 13),
    ("double-well", ["--paths", 300, "--time", 2], 13),
    ("mathieu", SMALL["mathieu"], 13),
    ("dirac-gan", ["--time", 5], 1),
    (f"{FILE}:heated", ["--paths", 30, "--time", 2], 13),
]


def interrupt(monkeypatch, owner, name, when):
    """Interrupt a function at its call number ``when``, the first being 0; the next one goes through."""
    real, calls = getattr(owner, name), itertools.count()

    def hasty(*arguments):
        if next(calls) == when:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(owner, name, hasty)


def page(folder):
    return (folder / "report.html").read_text("utf-8")


def goes_on_as(whole, cut):
    """An interrupted simulation says so on its page, and becomes the whole one."""
    assert not record(cut)["complete"]
    assert "(interrupted)" in page(cut)
    assert f"--resume</span> <bdi>{cut}</bdi>" in page(cut)
    simulate("--resume", cut)
    same(whole, cut)
    assert record(whole)["rows"] == record(cut)["rows"]
    assert record(cut)["complete"]
    assert "(interrupted)" not in page(cut)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "when"), CUTS)
def test_what_was_interrupted_goes_on_exactly(tmp_path, monkeypatch, capsys, name, arguments, when):
    simulate(name, *arguments, "--out", tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt(patched, run.Run, "_march", when)
        assert main(["simulate", name, *map(str, arguments), "--out", str(tmp_path / "cut")]) == 130
    assert f"--resume {tmp_path / 'cut'}" in capsys.readouterr().err
    assert 0 < record(tmp_path / "cut")["steps"] < record(tmp_path / "whole")["steps"]
    goes_on_as(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("when", [0, 1])
@pytest.mark.parametrize("name", SMALL)
def test_every_scene_has_a_page_of_hardly_anything(tmp_path, monkeypatch, name, when):
    interrupt(monkeypatch, run.Run, "_march", when)
    assert main(["simulate", name, *SMALL[name], "--out", str(tmp_path / "cut")]) == 130
    began = record(tmp_path / "cut")["steps"] > 0  # a word is opened by its first step
    assert began is (when > 0 or name == "harmonic")
    assert ("Interrupted before its first step" in page(tmp_path / "cut")) is not began
    assert 'id="table"' not in page(tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 57, 200])
def test_half_a_frame_is_none(tmp_path, monkeypatch, when):
    """Interrupted between two schedules of one time, after the start, on the way and at the end."""
    simulate("harmonic", "--paths", 20, "--step", 0.1, "--out", tmp_path / "whole")
    assert len(arrays(tmp_path / "whole")["band/times"]) == 201
    with monkeypatch.context() as patched:
        interrupt(patched, ensemble, "_band", when)
        assert main(["simulate", "harmonic", "--paths", "20", "--step", "0.1", "--out", str(tmp_path / "cut")]) == 130
    found = arrays(tmp_path / "cut")
    assert len(found["band/times"]) == len(found["band/values"]) == when < len(found["paths/times"])
    goes_on_as(tmp_path / "whole", tmp_path / "cut")


def test_interrupted_at_its_table_a_simulation_is_kept(tmp_path, monkeypatch):
    simulate("harmonic", "--paths", 20, "--out", tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt(patched, harmonic, "_rows", 0)
        assert main(["simulate", "harmonic", "--paths", "20", "--out", str(tmp_path / "cut")]) == 130
    assert "only its table is missing" in page(tmp_path / "cut")
    goes_on_as(tmp_path / "whole", tmp_path / "cut")


def test_interrupted_before_the_first_step_nothing_is_written(tmp_path, monkeypatch, capsys):
    interrupt(monkeypatch, run.Run, "through", 0)
    assert main(["simulate", "harmonic", "--out", str(tmp_path / "cut")]) == 130
    assert "is as it was" in capsys.readouterr().err
    assert not list((tmp_path / "cut").iterdir())


def test_interrupted_at_its_page_no_older_page_stays(tmp_path, monkeypatch):
    simulate("harmonic", "--paths", 20, "--out", tmp_path / "run")
    interrupt(monkeypatch, harmonic, "_pictures", 0)
    again = ["simulate", "harmonic", "--paths", "30", "--out", str(tmp_path / "run"), "--overwrite"]
    assert main(again) == 130
    assert record(tmp_path / "run")["complete"]
    assert not (tmp_path / "run" / "report.html").exists()
    simulate("--resume", tmp_path / "run")
    assert "30" in page(tmp_path / "run")


@pytest.mark.slow
def test_a_signal_leaves_a_page_and_the_motion_goes_on(tmp_path):
    """Ctrl-C for real, once the program is known to be inside."""
    inside = tmp_path / "inside"
    arguments = [f"{FILE}:slow", "--set", f"marker={inside}", "--set", "delay=0.02", "--out", str(tmp_path / "cut")]
    process = subprocess.Popen([sys.executable, "-m", "thetadot", "simulate", *arguments], stderr=subprocess.PIPE)
    try:
        while not inside.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"--resume {tmp_path / 'cut'}" in said.decode()
    assert "(interrupted)" in page(tmp_path / "cut")
    assert 0 < record(tmp_path / "cut")["steps"] < 10_000


def test_a_complete_simulation_is_drawn_anew(tmp_path, capsys):
    simulate("harmonic", "--paths", 20, "--out", tmp_path / "run")
    took = record(tmp_path / "run")["seconds"]
    (tmp_path / "run" / "report.html").unlink()
    simulate("--resume", tmp_path / "run")
    assert "is complete" in capsys.readouterr().err
    assert record(tmp_path / "run")["seconds"] >= took
    assert (tmp_path / "run" / "report.html").exists()


# one's own


def test_a_field_of_ones_own_is_solved(tmp_path):
    simulate(f"{FILE}:decay", "--out", tmp_path / "run")
    found = arrays(tmp_path / "run")
    assert found["states"][-1].ravel() == pytest.approx([math.exp(-1), 2 * math.exp(-1)], rel=1e-6)
    assert record(tmp_path / "run")["asked"]["integrator"] == ""


def test_a_ball_of_ones_own_keeps_its_energy(tmp_path):
    simulate(f"{FILE}:ball", "--out", tmp_path / "run")
    row = rows(tmp_path / "run")["mean energy at the end"]
    assert row["expected"] == pytest.approx(1.0, rel=1e-9)
    assert row["agrees"]


def test_energies_of_velocities_of_another_time_are_not_judged(tmp_path):
    simulate(f"{FILE}:ball", "--integrator", "BAB", "--out", tmp_path / "run")
    row = rows(tmp_path / "run")["mean energy at the end"]
    assert (row["expected"], row["agrees"]) == (None, None)
    assert "of another time" in row["source"]


def test_initial_points_of_ones_own_may_be_numbers_or_arrays(tmp_path):
    simulate(f"{FILE}:swing", "--out", tmp_path / "run")
    assert arrays(tmp_path / "run")["states"][-1].ravel() == pytest.approx([math.cos(2.0)], abs=1e-5)


def test_sources_of_ones_own_are_mixed_in_the_calculus_that_is_meant(tmp_path):
    simulate(f"{FILE}:turned", "--time", 1, "--out", tmp_path / "turned")
    square = np.square(arrays(tmp_path / "turned")["states"][-1]).sum(-1).mean()
    assert square == pytest.approx((1 + 0.75 * 0.01**2) ** 100, abs=1e-3)  # Heun's: 1 + 3γ²/4 a step, for 1
    simulate(f"{FILE}:correlated", "--time", 1, "--out", tmp_path / "correlated")
    assert record(tmp_path / "correlated")["complete"]


def test_what_is_set_is_handed_to_ones_own_function(tmp_path):
    simulate(f"{FILE}:heated", "--temperature", 0.7, "--set", "barrier=2", "--time", 1, "--out", tmp_path / "run")
    asked = record(tmp_path / "run")["asked"]
    assert asked["temperature"] == 0.7
    assert asked["values"] == {"barrier": 2}
    assert asked["integrator"] == "BAOAB"


def test_the_law_of_a_heated_motion_of_ones_own_is_drawn(tmp_path):
    simulate(f"{FILE}:heated", "--time", 2, "--step", 0.1, "--paths", 200, "--out", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Gibbs&#39; law, exp(-U/T)" in page


@pytest.mark.parametrize("function", ["noise", "gradient"])
def test_a_motion_alone_has_defaults(tmp_path, function):
    simulate(f"{FILE}:{function}", "--time", 1, "--out", tmp_path / "run")
    assert record(tmp_path / "run")["complete"]


# what is printed


def test_the_list_names_every_scene_and_what_it_is_set_by(capsys):
    assert main(["simulate", "--list"]) == 0
    said = capsys.readouterr().out
    for name, scene in SCENES.items():
        assert f"\n{name}  " in f"\n{said}"
        assert all(f"--set {parameter}=" in said for parameter in scene.parameters)
    assert main(["simulate", "--list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(SCENES)


def test_json_is_one_object(tmp_path, capsys):
    simulate("harmonic", "--paths", 20, "--json", "--out", tmp_path / "run")
    said = json.loads(capsys.readouterr().out)
    assert said["asked"]["paths"] == 20
    assert [row["quantity"] for row in said["rows"]] == list(rows(tmp_path / "run"))


def test_the_command_on_the_page_repeats_it(tmp_path, monkeypatch):
    import html
    import re
    import shlex

    monkeypatch.chdir(tmp_path)
    simulate("harmonic", "--paths", 30, "--set", "curvature=2.5", "--friction", 0.7, "--seed", 3, "--out", "a")
    command = html.unescape(
        re.search(r"<code>(thetadot simulate .*?)</code>", (tmp_path / "a/report.html").read_text())[1]
    )
    assert main([*shlex.split(command)[1:], "--out", "b"]) == 0
    same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("name", [*PLAIN, "BAOAB", "OBABO"])
def test_every_integrator_has_a_name(name):
    assert integrator(name).stages >= 1


def test_a_plane_has_no_network_and_escapes_names(tmp_path):
    file = tmp_path / "<script>alert(1).py"
    file.write_text((tmp_path / FILE).read_text("utf-8"), "utf-8")
    simulate(f"{file}:decay", "--out", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_arrays_hold_the_end_from_which_the_motion_goes_on(tmp_path):
    simulate("harmonic", "--paths", 20, "--out", tmp_path / "run")
    found = storage.read(tmp_path / "run")
    shape = torch.Size((20, 1))
    with np.load(tmp_path / "run" / "trajectory.npz") as content:
        places = {name.rpartition("/")[0] or "states": content[name] for name in content if name.endswith("times")}
    shapes = {"position": shape, "velocity": shape}
    end = storage.load_trajectory(tmp_path / "run", found, shapes, places, expected=1 << 30).end
    assert end.steps == found.steps
    assert set(end.state) == {"position", "velocity"}


def test_bands_are_numpys_quantiles():
    for count in (1, 2, 7, 200):
        position = torch.randn(count, 3, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
        found = ensemble._band(0.0, {"position": position})
        wanted = np.quantile(position.numpy(), [0.05, 0.25, 0.5, 0.75, 0.95], axis=0).T
        assert np.allclose(found[:, :5].numpy(), wanted, rtol=1e-14, atol=1e-14)
        assert torch.equal(found[:, 5], position.mean(0))


def test_of_paths_that_were_given_the_mean_is_no_estimate(tmp_path):
    """x(1) = x(0)/e of two starts: nothing was drawn, so nothing has an error; of drawn paths σ/√n."""
    simulate(f"{FILE}:decay", "--out", tmp_path / "given")
    mean = rows(tmp_path / "given")["mean of x1 at the end"]
    assert (mean["measured"], mean["error"]) == (pytest.approx(1.5 / math.e, rel=1e-6), 0.0)
    simulate(f"{FILE}:noise", "--paths", 400, "--time", 1, "--out", tmp_path / "drawn")
    found = rows(tmp_path / "drawn")
    error = found["its standard deviation, x1"]["measured"] / 20
    assert found["mean of x1 at the end"]["error"] == pytest.approx(error, rel=1e-6)


def test_a_module_in_float32_is_simulated_and_drawn(tmp_path):
    simulate(f"{FILE}:net", "--out", tmp_path / "net")
    assert "The motion in its plane" in (tmp_path / "net" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("friction", [0.0, 0.01])
def test_gibbs_law_is_held_against_only_where_heat_came_in(friction, tmp_path):
    """Without friction there is none, and with little not yet: 30 · .01 is far below 7."""
    simulate("double-well", "--paths", 50, "--friction", friction, "--out", tmp_path / "run")
    found = record(tmp_path / "run")["rows"]
    assert not [row for row in found if row["expected"] is not None and row["quantity"] != "furthest from the start"]
    stayed = [row["measured"] for row in found if row["quantity"] == "furthest from the start"]
    assert stayed == ([0.0] if friction == 0 else [])


def test_the_verdict_says_how_each_quantity_is_known():
    some = [SceneRow("x", 1.0, 1.0), SceneRow("y", 1.0, 1.0, reference="grid solution"), SceneRow("z", 1.0)]
    assert verdict(some)[0] == (
        "All 2 quantities that are known (closed form: 1, grid solution: 1) came out as they should."
    )
    assert row_in_words(some[1]).source.startswith("grid solution")
