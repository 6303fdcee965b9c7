"""Where a disk is full, what is whole stays whole, one sentence says so with what to do, and the exit code is 2."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import thetadot
from thetadot import records
from thetadot.cli import main
from thetadot.errors import RunFolderError
from thetadot.report import files as pages
from thetadot.scenes import folder, storage
from thetadot.simulation import keeping

TASKS = Path(__file__).parents[1] / "training" / "tasks.py"
RUN = ["run", f"{TASKS}:right", "--epochs", "1", "--threads", "1"]
SMALL = ["simulate", "harmonic", "--paths", "40", "--time", "20", "--step", "0.5"]


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return told.out, told.err.strip().splitlines()[-1]


def test_a_run_without_its_page_is_whole_and_drawn_later(capsys, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(pages, "place_text", full)
        out, said = refused(capsys, *RUN, "--out", tmp_path / "run")
    assert said.startswith("thetadot: the run is whole, but")
    assert "No space left on device" in said
    assert "validation loss" in out
    assert records.read(tmp_path / "run").result is not None
    assert main(said.rpartition("thetadot ")[2].split()) == 0
    assert (tmp_path / "run" / "report.html").exists()


def test_the_library_warns_and_returns_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "place_text", full)
    sys.path.insert(0, str(TASKS.parent))
    try:
        import tasks
    finally:
        sys.path.pop(0)
    with pytest.warns(RuntimeWarning, match="the run is whole"):
        result = thetadot.run(tasks.right, out=tmp_path / "run", epochs=1)
    assert "No space left" in result.unwritten
    assert result.final_state.keys() == result.model.state_dict().keys()


@pytest.mark.parametrize("owner", ["page", "arrays"])
def test_a_simulations_table_is_shown_all_the_same(capsys, tmp_path, monkeypatch, owner):
    with monkeypatch.context() as patched:
        if owner == "page":
            patched.setattr(folder, "place_text", full)
        else:
            patched.setattr(storage, "place_text", full)
        out, said = refused(capsys, *SMALL, "--out", tmp_path / "run")
    assert "quantity" in out
    assert "No space left on device" in said
    assert "look at" not in out


def test_a_simulation_whose_state_cannot_be_kept_on_the_way_says_so_once_and_goes_on(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "PAUSE", 0.0)
    monkeypatch.setattr(keeping, "WRITTEN", 0.0)
    real, calls = folder.write, []

    def write(*arguments):
        calls.append(arguments)
        if arguments[3] is None:
            raise RunFolderError("no room")
        real(*arguments)

    monkeypatch.setattr(folder, "write", write)
    assert main([*SMALL, "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err.count("no room") == 1
    assert len(calls) == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", [RUN, SMALL], ids=["run", "simulate"])
@pytest.mark.parametrize("room", [0, 1000, 20_000, 300_000, 1_200_000])
def test_a_limit_on_the_size_of_files_is_no_traceback(tmp_path, command, room):
    """RLIMIT_FSIZE for real, wherever in the files it strikes."""

    def narrow():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    said = subprocess.run(
        [sys.executable, "-m", "thetadot", *command, "--out", str(tmp_path / "run")],
        capture_output=True, preexec_fn=narrow, check=False,
    )  # fmt: skip
    assert said.returncode == 2
    assert b"Traceback" not in said.stderr
    assert said.stderr.strip().splitlines()[-1].startswith(b"thetadot: ")
    assert b"File too large" in said.stderr or b"No usable temporary directory" in said.stderr
    assert not list((tmp_path / "run").glob(".*"))


def test_what_is_kept_on_the_way_goes_on_to_the_bit(tmp_path, monkeypatch):
    """As after kill -9: nothing is done but what was written by then."""

    class Killed(BaseException):
        """Nothing of ours answers to it."""

    main([*SMALL, "--out", str(tmp_path / "whole")])
    monkeypatch.setattr(keeping, "PAUSE", 0.0)
    monkeypatch.setattr(keeping, "WRITTEN", 0.0)
    real, kept = folder.write, []

    def write(*arguments):
        real(*arguments)
        kept.append(arguments[2].end.time)
        if len(kept) == 17:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(folder, "write", write)
        with pytest.raises(Killed):
            main([*SMALL, "--out", str(tmp_path / "cut")])
    record = msgspec.json.decode((tmp_path / "cut" / "simulation.json").read_bytes())
    assert 0 < kept[-1] < 20
    assert not record["complete"]
    assert main(["simulate", "--resume", str(tmp_path / "cut")]) == 0
    one, other = (np.load(tmp_path / name / "trajectory.npz") for name in ("whole", "cut"))
    assert one.files == other.files
    assert all(np.array_equal(one[name], other[name]) for name in one.files)


def test_a_state_is_kept_by_counts_and_no_oftener_than_it_is_worth():
    kept = []
    due = keeping.Keeping(kept.append)
    for work in range(100):
        due.at(work * keeping.PAUSE / 4, lambda: work, 0)
    assert kept == list(range(4, 100, 4))
    kept.clear()
    due = keeping.Keeping(kept.append)
    for work in range(100):
        due.at(work * keeping.PAUSE / 4, lambda: work, int(keeping.PAUSE))
    assert kept == [80]
