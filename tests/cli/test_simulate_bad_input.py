"""Bad input gets one sentence and exit code 2, and no folder is lost."""

import contextlib
import json
import random
import zipfile

import msgspec
import numpy as np
import pytest

from thetadot.cli import main
from thetadot.core.files import sealed
from thetadot.errors import DamagedFile
from thetadot.scenes import storage
from thetadot.simulation import initial

from . import motions
from .test_bad_input import refused

FILE = motions.__file__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to simulate was named"),
        (["dirac_gan"], "did you mean 'dirac-gan'?"),
        (["dubble-well"], "did you mean 'double-well'?"),
        (["zzz"], "Pass one of double-well"),
        (["double-well", "--temperature", "-1"], "Pass T >= 0"),
        (["double-well", "--temperature", "nan"], "Pass T >= 0"),
        (["double-well", "--temperature", "0"], "leaves the paths at rest"),
        (["dirac-gan", "--temperature", "0.1"], "dirac-gan has no temperature"),
        (["dirac-gan", "--friction", "0.1"], "dirac-gan has no friction"),
        (["double-well", "--time", "1", "--step", "0.3"], "is not a whole number of steps. Pass --time 0.9"),
        (["double-well", "--time", "0.1", "--step", "0.3"], "Pass --time 0.3, or --step 0.1"),
        (["double-well", "--time", "inf"], "is not positive and finite"),
        (["double-well", "--time", "1e30"], "are more than 10⁹"),
        (["double-well", "--step", "0"], "is not positive and finite"),
        (["double-well", "--paths", "0"], "Pass --paths 1000"),
        (["double-well", "--save", "0"], "Pass --save 40"),
        (["double-well", "--seed", "-1"], "Pass --seed 0"),
        (["double-well", "--set", "barier=1"], "did you mean 'barrier'?"),
        (["double-well", "--set", "barrier"], "is not NAME=VALUE"),
        (["double-well", "--set", "barrier=high"], "is not a finite number"),
        (["double-well", "--set", "barrier=nan"], "is not a finite number"),
        (["double-well", "--set", "barrier=-1"], "Pass barrier > 0"),
        (["double-well", "--set", "barrier=1", "--set", "barrier=2"], "was given twice"),
        (["double-well", "--integrator", "rk5"], "Pass one of euler"),
        (["double-well", "--integrator", "rk4"], "draws no noise"),
        (["double-well", "--integrator", "BAOAB"], "steps a velocity against friction"),
        (["dirac-gan", "--set", "kind=gan"], "is unknown"),
        (["dirac-gan", "--set", "dim=3"], "is neither 1 nor 2"),
        (["descent-flows", "--set", "flow=up"], "is unknown"),
        (["jacobi", "--set", "energy=-2"], "Pass a higher energy"),
        (["mathieu", "--step", "0.001", "--time", "1"], "does not cut a period"),
        (["mathieu", "--paths", "1"], "are too few"),
        (["harmonic", "--step", "3", "--time", "3000", "--paths", "20"], "Pass --step 0.75, or less"),
        ([f"{FILE}:absent"], "has no function 'absent'"),
        (["absent.py:function"], "there is no file"),
        ([f"{FILE}:number"], "returned a float"),
        ([f"{FILE}:no_potential"], "Return Problem(Langevin(...), potential)"),
        ([f"{FILE}:strange_key"], "has 'speed'"),
        ([f"{FILE}:no_motion"], "lacks 'system'"),
        ([f"{FILE}:wrong_time"], "Return a number > 0"),
        ([f"{FILE}:wrong_integrator"], "as its integrator"),
        ([f"{FILE}:raises"], "KeyError: 'missing'"),
        ([f"{FILE}:needs_three"], "Return 'initial' too"),
        ([f"{FILE}:scalar"], "initial['position'] of shape () and torch.float32 is neither"),
        ([f"{FILE}:decay", "--temperature", "1"], "cannot be called with temperature"),
        ([f"{FILE}:decay", "--paths", "3"], "with an initial state of 2 paths"),
        ([f"{FILE}:explodes"], "is not finite after step"),
        (["harmonic", "--resume", "x"], "contradicts --resume"),
        (["--resume", "x", "--step", "1"], "--step contradicts --resume"),
        (["--resume", "absent"], "holds no simulation"),
    ],
)
def test_one_sentence(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, "simulate", *arguments)
    assert not list(tmp_path.glob("runs/*/*"))


def test_more_than_memory_is_told_before(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def full(needed, what):
        from thetadot.errors import TooLarge

        raise TooLarge(f"{what} takes {needed} bytes, and 1 is free. Save statistics.")

    monkeypatch.setattr(initial, "require_room", full)
    said = refused(capsys, "simulate", "harmonic", "--paths", "100")
    assert said.endswith("and 1 is free. Pass fewer --paths, or a smaller --save.")


def test_more_paths_than_memory_holds_are_not_begun(capsys, tmp_path, monkeypatch):
    from thetadot.simulation import memory

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    for name in ("harmonic", "competition"):
        assert "100,000,000 paths takes" in refused(capsys, "simulate", name, "--paths", "100000000")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    assert main(["simulate", "harmonic", "--paths", "10", "--out", str(folder)]) == 0
    return folder


def test_a_simulation_is_replaced_only_when_asked(capsys, run):
    before = (run / "trajectory.npz").read_bytes()
    assert "already holds a simulation" in refused(capsys, "simulate", "harmonic", "--out", run)
    assert (run / "trajectory.npz").read_bytes() == before
    assert main(["simulate", "harmonic", "--paths", "11", "--out", str(run), "--overwrite"]) == 0
    assert json.loads((run / "simulation.json").read_text())["asked"]["paths"] == 11


def test_what_is_not_a_simulation_is_never_replaced(capsys, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "holds no simulation" in refused(capsys, "simulate", "harmonic", "--out", tmp_path, "--overwrite")
    file = tmp_path / "file"
    file.write_text("mine")
    assert "cannot be written" in refused(capsys, "simulate", "harmonic", "--out", file)


def repacked(place, **changed):
    with np.load(place, allow_pickle=False) as content:
        found = {name: content[name] for name in content.files}
    for name, value in changed.items():
        found[name.replace("__", "/").replace("end_", "end.")] = value
    with sealed(place) as stream:
        np.savez(stream, **{name: value for name, value in found.items() if value is not None})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"end__position": np.zeros((11, 1))}, "has shape (11, 1), not (10, 1)"),
        ({"end__position": np.full((10, 1), np.nan)}, "is not of finite floating-point numbers"),
        ({"end__position": np.zeros((10, 1), dtype=np.int64)}, "is not of finite floating-point numbers"),
        ({"end__position": None}, "lacks the end of 'position'"),
        ({"end__evil": np.zeros((3, 3))}, "has shape (3, 3)"),
        ({"end_steps": np.int64(10**9)}, "which is not this simulation's"),
        ({"end_key": np.uint64(5)}, "which is not this simulation's"),
        ({"end_time": np.float64(np.nan)}, "which is not this simulation's"),
        ({"end_time": np.float64(41.0), "end_steps": np.int64(82)}, "which is not this simulation's"),
        ({"times": np.zeros(3)}, "has not one entry a time"),
        ({"times": None}, "cannot be read"),
        ({"times": np.linspace(0.0, 39.0, 41)}, "is of other times than this simulation's"),
        ({"end__position": np.array([object()] * 10, dtype=object)}, "cannot be read"),
    ],
)
def test_arrays_are_not_trusted(capsys, run, changed, said):
    repacked(run / "trajectory.npz", **changed)
    assert said in refused(capsys, "simulate", "--resume", run)


def test_arrays_that_unpack_to_too_much_are_not_unpacked(capsys, run):
    with sealed(run / "trajectory.npz") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb.npy", bytes(1 << 28))
    assert "more than this simulation saves" in refused(capsys, "simulate", "--resume", run)


def test_a_rule_that_is_not_ours_is_told_without_its_control_characters(capsys, run):
    repacked(run / "trajectory.npz", end_rule=np.str_("\x1b[2J" + "x" * 10**5), end_steps=10, end_time=5.0)
    said = refused(capsys, "simulate", "--resume", run)
    assert "was stepped by" in said
    assert "\x1b" not in said
    assert len(said) < 1500


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"])
def test_arrays_that_are_none(capsys, run, content):
    with sealed(run / "trajectory.npz") as stream:
        stream.write(content)
    assert "cannot be read" in refused(capsys, "simulate", "--resume", run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: text.replace('"thetadot.simulation"', '"other"'), "not thetadot.simulation 2"),
        (lambda text: text.replace('"harmonic"', '"nothing"', 1), "is unknown"),
        (lambda text: text.replace('"paths": 10', '"paths": 99999999999999'), "is not between 1 and 10⁹"),
        (lambda text: text.replace('"curvature"', '"curve"'), "is unknown to harmonic"),
        (lambda text: text.replace('"step": 0.5', '"step": "x"'), "cannot be read"),
        (lambda text: text + " " * (1 << 20), "more than a simulation's record"),
    ],
)
def test_the_record_is_not_trusted(capsys, run, change, said):
    place = run / "simulation.json"
    changed = change(place.read_text("utf-8"))
    assert changed != place.read_text("utf-8")
    with contextlib.suppress(msgspec.DecodeError):  # one that fits may have been made so
        record = msgspec.json.decode(changed.encode(), type=storage.Simulation)
        changed = changed.replace(record.digest, storage._digest(record))
    place.write_text(changed, "utf-8")
    assert said in refused(capsys, "simulate", "--resume", run)


@pytest.mark.parametrize("name", ["simulation.json", "trajectory.npz"])
def test_no_damage_is_gone_on_from(capsys, run, name):
    whole, rng = (run / name).read_bytes(), random.Random(7)
    record = storage.read(run)
    for _ in range(60):
        at = rng.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        (run / name).write_bytes(damaged)
        if name == "trajectory.npz":
            refused(capsys, "simulate", "--resume", run)
            continue
        try:
            found = storage.read(run)
        except DamagedFile:
            continue
        assert found == record  # white space
