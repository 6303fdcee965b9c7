"""Whoever does the runs, and whoever dies: the numbers are those of one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comparing import tasks

import thetadot
from thetadot.cli import main
from thetadot.errors import InadmissibleValue, TaskError, ThetadotError

HERE = Path(tasks.__file__)
RUNS = ["sgd:lr=0.03", "adamw:lr=0.01|0.1", f"{HERE}:Sign(lr=0.01)", "sgd:lr=1e9"]
PATIENCE = 600  # seconds before what should come is called missing: neighbours may take the processors for minutes
SETTINGS = {"seeds": 2, "choosing": 1, "epochs": 3, "batch_size": 8}


def numbers(found):
    return {name: value for name, value in found.to_dict().items() if name not in ("out", "command", "task")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return numbers(thetadot.compare(f"{HERE}:line", RUNS, out=tmp_path_factory.mktemp("alone") / "c", **SETTINGS))


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """For tasks that kill their worker."""
    monkeypatch.setenv("THETADOT_TEST_MARKER", str(tmp_path / "died"))
    monkeypatch.setenv("THETADOT_TEST_DRIVER", str(os.getpid()))
    return tmp_path / "died"


@pytest.mark.slow
def test_processes_give_the_numbers_of_one_and_a_killed_worker_loses_nothing(alone, tmp_path, marker):
    found = thetadot.compare(f"{HERE}:deadly", RUNS, out=tmp_path / "c", jobs=2, **SETTINGS)
    assert marker.exists()
    assert numbers(found) == alone


@pytest.mark.slow
def test_a_run_that_kills_every_worker_is_given_up_and_named(tmp_path, marker, monkeypatch):
    monkeypatch.setattr("thetadot.comparing.workers.LIVES", 2)
    with pytest.raises(ThetadotError, match="run 'sgd', seed 0, was lost with its worker 2 times"):
        thetadot.compare(f"{HERE}:always_deadly", ["sgd"], out=tmp_path / "c", jobs=2, seeds=1, epochs=1)


def test_a_task_that_cannot_be_sent_is_refused_with_more_than_one_process(tmp_path):
    def local():
        return tasks.line()

    with pytest.raises(InadmissibleValue, match="cannot be sent to other processes"):
        thetadot.compare(local, ["sgd"], out=tmp_path / "c", jobs=2, seeds=1, epochs=1)


@pytest.mark.slow
def test_what_a_worker_says_of_the_task_is_said_here(tmp_path):
    place = tmp_path / "later.py"
    place.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(HERE.parent)!r})\n"
        "import tasks\n"
        "def made():\n"
        f"    if os.getpid() != {os.getpid()}:\n"
        "        raise KeyError('gone')\n"
        "    return tasks.line()\n"
    )
    with pytest.raises(TaskError, match=r"later.py, line 6, in made: KeyError: 'gone'"):
        thetadot.compare(f"{place}:made", ["sgd"], out=tmp_path / "c", jobs=2, seeds=1, epochs=1)


COMMAND = [sys.executable, "-m", "thetadot", "compare", f"{HERE}:slow", "--seeds", "3", "--choosing", "1"]
COMMAND += ["--epochs", "10", "--runs", "sgd:lr=0.03", "adamw:lr=0.01|0.1"]


def ended(folder):
    return len(list((folder / "runs").glob("*.json")))


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def wait_for_the_end(pids):
    until = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until, "a worker goes on"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_with_the_same_numbers(tmp_path, capsys):
    assert main([*COMMAND[3:], "--out", str(tmp_path / "whole"), "--json", "--jobs", "1"]) == 0
    whole = capsys.readouterr().out
    cut = tmp_path / "cut"
    command = [*COMMAND, "--out", str(cut), "--jobs", "2", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    while ended(cut) < 2:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < until
        time.sleep(0.02)
    workers = children(process.pid)
    process.kill()
    process.wait()
    before = ended(cut)
    assert before < 8
    wait_for_the_end(workers)  # nothing goes on behind a parent that was killed
    assert main([*command[3:-3], "--json", "--jobs", "1"]) == 0
    again = capsys.readouterr()
    assert f"{before} of 8 runs were there already" in again.err
    one, other = (json.loads(text.strip().splitlines()[-1]) for text in (whole, again.out))
    assert one["runs"] == other["runs"]
    assert one["differences"] == other["differences"]


@pytest.mark.slow
def test_an_interrupt_ends_the_workers_and_says_how_to_go_on(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "--out", str(tmp_path / "c"), "--jobs", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    until = time.monotonic() + PATIENCE
    while ended(tmp_path / "c") < 1:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 143
    assert "the same command continues" in said
    assert "Traceback" not in said
    wait_for_the_end(workers)


# A Ray cluster.


@pytest.mark.slow
def test_a_ray_cluster_gives_the_numbers_of_one_process_and_a_killed_worker_loses_nothing(alone, tmp_path, marker):
    ray = pytest.importorskip("ray")
    found = thetadot.compare(f"{HERE}:deadly", RUNS, out=tmp_path / "c", ray="local", jobs=2, **SETTINGS)
    assert marker.exists()
    assert numbers(found) == alone
    assert not ray.is_initialized()
    again = thetadot.compare(f"{HERE}:deadly", RUNS, out=tmp_path / "c", **SETTINGS)  # and the folder is the same
    assert numbers(again) == alone


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_a_cluster_that_does_not_answer_is_told(address, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ThetadotError, match=f"Ray cluster at '{address}' cannot be reached"):
        thetadot.compare(f"{HERE}:line", ["sgd"], out=tmp_path / "c", ray=address, seeds=1, epochs=1)


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ThetadotError, match=r"pip install 'thetadot\[ray\]'"):
        thetadot.compare(f"{HERE}:line", ["sgd"], out=tmp_path / "c", ray="local", seeds=1, epochs=1)
