"""Scenes in Python: what they measure is what the command measures, and known; what was cut goes on to the bit."""

import inspect
import itertools
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import thetadot
from thetadot import scenes
from thetadot.cli import main
from thetadot.errors import DamagedFile, InadmissibleValue, RunFolderError, TaskError, TooLarge
from thetadot.scenes import folder
from thetadot.simulation import run
from thetadot.systems import ODE, SDE, Langevin

SMALL = {
    "harmonic": {"paths": 60, "time": 10.0, "curvature": 2.0, "friction": 0.7},
    "dirac-gan": {"time": 5.0, "kind": "linear", "integrator": "dormand-prince", "tolerance": 1e-5},
    "geometric-brownian": {"paths": 200, "step": 0.02, "seed": 5},
    "descent-flows": {"paths": 3, "time": 1.0, "save": 7},
}
COMMON = ("paths", "time", "step", "integrator", "tolerance", "temperature", "friction", "seed", "save")


def call(name):
    return getattr(scenes, name.replace("-", "_"))


def same(one, other):
    assert list(one.series) == list(other.series)
    for name, series in one.series.items():
        assert torch.equal(series.times, other[name].times)
        assert torch.equal(series.values, other[name].values)


def arguments(settings):
    said = []
    for name, value in settings.items():
        said += [f"--{name}", str(value)] if name in COMMON else ["--set", f"{name}={value}"]
    return said


# the command is the oracle of the function, file by file


@pytest.mark.parametrize("name", SMALL)
def test_a_result_that_is_written_is_what_the_command_writes(tmp_path, name):
    assert main(["simulate", name, *arguments(SMALL[name]), "--out", str(tmp_path / "command")]) == 0
    result = call(name)(**SMALL[name]).run()
    page = result.write(tmp_path / "function")
    assert page == tmp_path / "function" / "report.html"
    records = [json.loads((tmp_path / each / "simulation.json").read_text("utf-8")) for each in ("command", "function")]
    for record in records:
        del record["seconds"], record["digest"]
    assert records[0] == records[1]
    one, other = (np.load(tmp_path / each / "trajectory.npz") for each in ("command", "function"))
    assert one.files == other.files
    assert all(np.array_equal(one[each], other[each]) for each in one.files)
    assert result.to_dict()["rows"] == records[0]["rows"]


@pytest.mark.parametrize("name", scenes.SCENES)
def test_every_scene_is_called_by_its_name_with_its_defaults(name):
    scene = call(name)
    assert scene.scene is scenes.SCENES[name]
    assert name.replace("-", "_") in scenes.__all__
    asked = scene().request
    found = {each: parameter.default for each, parameter in inspect.signature(scene).parameters.items()}
    assert found == {**asked.values, **{each: getattr(asked, {"seed": "key", "save": "frames"}.get(each, each))
                                        for each in COMMON if each in found}}  # fmt: skip


# what is known


def test_a_table_is_of_closed_forms_and_says_whether_they_hold():
    result = scenes.harmonic(paths=4000, time=30.0, curvature=2.0).run()
    row = result.table["the same, of the equation"]
    assert row.expected == pytest.approx(0.5 / 2.0)
    assert result.table.agrees
    assert abs(row.measured - 0.25) < 4 * row.error + row.tolerance
    assert len(result.table) == 3
    assert result.table[0] in result.table
    assert result.table.verdict in repr(result)
    assert "<td>mean of x² at the end</td>" in result.table._repr_html_()


def test_a_step_that_is_too_coarse_is_said():
    result = scenes.dirac_gan(kind="linear", integrator="heun", step=0.5).run()
    assert result.table.agrees is False
    assert "largest change of r²" in result.table.verdict


def test_a_motion_of_ones_own_ends_where_its_equation_says():
    motion, start = ODE(lambda x: -x), torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    for given in ({}, {"integrator": "dormand-prince", "tolerance": 1e-8}, {"integrator": thetadot.integrators.Heun()}):
        result = scenes.own(motion, initial=start, time=1.0, **given).run()
        assert result.trajectory.states[-1].flatten().tolist() == pytest.approx(
            [math.exp(-1), 2 * math.exp(-1)], rel=1e-4
        )


# pictures and page


@pytest.mark.parametrize("name", SMALL)
def test_every_picture_is_drawn_and_found_by_its_name(name):
    from bokeh.embed import file_html

    result = call(name)(**SMALL[name]).run()
    names = [picture.name for picture in result.pictures]
    assert names
    assert len(set(names)) == len(names)
    text = file_html(result.plot())
    assert len(file_html(result.plot(names[0]))) <= len(text)
    assert all(picture.heading in result.page() for picture in result.pictures)
    with pytest.raises(InadmissibleValue, match=f"'nothing' is no picture of this result. Pass one of {names[0]}"):
        result.plot("nothing")


def test_a_slider_moves_every_frame():
    result = scenes.harmonic(paths=20, time=5.0, save=10).run()
    from bokeh.models import Slider

    layout = result.plot("law")
    (slider,) = layout.select({"type": Slider})
    assert (slider.start, slider.end) == (0, 10)
    (call,) = slider.js_property_callbacks["change:value"]
    (source,), (names,) = call.args["sources"], call.args["names"]
    assert all(f"{name}@{at}" in source.data for name in names for at in range(11))


# saving, and going on


def interrupted(experiment, monkeypatch, when, **given):
    real, calls = run.Run._march, itertools.count()

    def hasty(*given):
        if next(calls) == when:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patched:
        patched.setattr(run.Run, "_march", hasty)
        with pytest.raises(KeyboardInterrupt) as caught:
            experiment.run(**given)
    return caught.value


@pytest.mark.parametrize("way", ["resume", "run"])
def test_what_was_cut_goes_on_to_the_bit(tmp_path, monkeypatch, way):
    experiment = scenes.harmonic(paths=40, time=20.0)
    whole = experiment.run()
    cut = interrupted(experiment, monkeypatch, 13, out=tmp_path / "cut")
    assert "resume exactly here" in cut.__notes__[0]
    assert "(interrupted)" in (tmp_path / "cut" / "report.html").read_text("utf-8")
    again = {"resume": scenes.resume, "run": lambda out: experiment.run(out=out, resume=True)}
    result = again[way](tmp_path / "cut")
    same(whole.trajectory, result.trajectory)
    assert list(whole.table) == list(result.table)
    assert result.out == tmp_path / "cut"
    same(whole.trajectory, scenes.resume(tmp_path / "cut").trajectory)


def test_a_run_that_may_resume_begins_where_there_is_nothing_yet(tmp_path, monkeypatch):
    """The same script, started again and again, for a motion that has no name."""
    experiment = scenes.own(SDE(lambda x: -x, 0.5), paths=30, time=2.0, name="mine")
    whole = experiment.run()
    interrupted(experiment, monkeypatch, 13, out=tmp_path / "cut", resume=True)
    same(whole.trajectory, experiment.run(out=tmp_path / "cut", resume=True).trajectory)
    with pytest.raises(InadmissibleValue, match="'mine' is unknown"):
        scenes.resume(tmp_path / "cut")


def test_another_experiment_does_not_go_on_with_a_folder(tmp_path):
    scenes.harmonic(paths=20).run(out=tmp_path / "run")
    before = (tmp_path / "run" / "simulation.json").read_bytes()
    with pytest.raises(InadmissibleValue, match=r"begun with other settings \(paths 20, not 21\)"):
        scenes.harmonic(paths=21).run(out=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "simulation.json").read_bytes() == before


def test_a_folder_is_replaced_only_on_request(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    result = scenes.harmonic(paths=20).run(out=tmp_path / "run")
    for act in (result.write, lambda out: scenes.harmonic(paths=20).run(out=out)):
        with pytest.raises(RunFolderError, match="Replace it with overwrite=True, or name another folder"):
            act(tmp_path / "run")
        with pytest.raises(RunFolderError, match=r"holds no simulation\. Name another folder"):
            act(tmp_path / "other")
    result.write(tmp_path / "run", overwrite=True)
    with pytest.raises(DamagedFile, match="holds no simulation"):
        scenes.resume(tmp_path / "other")


def test_what_cannot_be_written_is_told_and_the_result_is_whole(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "place_text", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        result = scenes.harmonic(paths=20).run(out=tmp_path / "run")
    assert "No space left" in result.unwritten
    assert len(result.table) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scenes.harmonic(paths=20).run(out=tmp_path / "again", notify=print).unwritten


# errors name arguments of Python, those of the command its options


@pytest.mark.parametrize(
    ("name", "wrong", "remedy"),
    [
        ("harmonic", {"paths": 0}, "Pass paths=1000."),
        ("harmonic", {"time": 0.7}, "Pass time=0.5, or step=0.7."),
        ("harmonic", {"save": 0}, "Pass save=40."),
        ("harmonic", {"seed": -1}, "Pass seed=0."),
        ("harmonic", {"curvature": -1.0}, "Pass curvature=1."),
        ("harmonic", {"curvature": "a"}, "curvature='a' is not a finite number"),
        ("harmonic", {"temprature": 1.0}, "did you mean 'temperature'"),
        ("harmonic", {"tolerance": 1e-3}, "Leave tolerance out, or pass integrator='dormand-prince' or"),
        ("dirac-gan", {"integrator": "dormand-prince", "step": 0.1}, "by tolerance. Leave step out."),
        ("dirac-gan", {"temperature": 1.0}, "Leave temperature out."),
        ("double-well", {"temperature": 0.0}, "Pass temperature=0.2."),
        ("mathieu", {"paths": 1}, "Pass paths=2."),
        ("harmonic", {"paths": 2.5}, "paths=2.5 is not a whole number"),
    ],
)
def test_an_error_names_arguments_and_never_options(name, wrong, remedy):
    with pytest.raises(InadmissibleValue) as caught:
        call(name)(**wrong).run()
    assert remedy in str(caught.value)
    assert "--" not in str(caught.value)


def test_what_does_not_fit_into_memory_says_which_arguments_to_change():
    with pytest.raises(TooLarge, match="Pass fewer paths, or a smaller save"):
        scenes.harmonic(paths=10**9, save=10**5).run()


def test_a_motion_that_cannot_be_simulated_is_refused():
    with pytest.raises(InadmissibleValue, match="without a potential"):
        scenes.own(Langevin(0.1))
    with pytest.raises(TaskError, match="fail at positions"):
        scenes.own(ODE(lambda x: x[:, 5]))


def test_a_list_of_scenes_loads_no_torch():
    code = "import sys, thetadot; list(thetadot.scenes.SCENES); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
