"""A command that is asked to end keeps what was done, and its exit code says who asked. The library never listens."""

import importlib
import itertools
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from thetadot import cli
from thetadot.cli import main
from thetadot.cli.signals import SIGNALS, ending
from thetadot.scenes import folder
from thetadot.simulation import run

SMALL = ["simulate", "harmonic", "--paths", "40", "--time", "20", "--step", "0.5"]


def handlers():
    return [signal.getsignal(number) for number in (*SIGNALS, signal.SIGINT)]


def signalled(number, times=1):
    """An ``act`` that is sent a signal on its way."""

    def act(_):
        for _ in range(times):
            os.kill(os.getpid(), number)
        return 0

    return act


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda each: each.NAME)
def test_every_command_ends_with_128_and_the_signal(monkeypatch, capsys, command, number, code):
    action = importlib.import_module(f"thetadot.cli.actions.{command.NAME}")
    monkeypatch.setattr(action, "act", signalled(number))
    needed = {
        "convert": ["--lr", "1", "--momentum", "0", "--batch-size", "1", "--to-lr", "2"],
        "compare": ["x", "--runs", "adam"],
        "export": ["x", "--csv", "-"],
    }
    before = handlers()
    assert main([command.NAME, *needed.get(command.NAME, ["x"])]) == code
    assert capsys.readouterr().err == "thetadot: interrupted\n"
    assert handlers() == before


def test_a_second_signal_does_not_cut_short_what_the_first_one_saves(tmp_path, monkeypatch):
    real, calls = run.Run._march, itertools.count()

    def hasty(*arguments):
        if next(calls) == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(run.Run, "_march", hasty)
    write = folder.write

    def slowly(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        write(*arguments)

    monkeypatch.setattr(folder, "write", slowly)
    assert main([*SMALL, "--out", str(tmp_path / "cut")]) == 143
    record = msgspec.json.decode((tmp_path / "cut" / "simulation.json").read_bytes())
    assert not record["complete"]
    assert record["steps"] > 0
    assert "(interrupted)" in (tmp_path / "cut" / "report.html").read_text("utf-8")


def test_handlers_of_the_process_stay_and_are_put_back():
    ours = lambda *_: None
    before = signal.signal(signal.SIGTERM, ours)
    try:
        with ending() as asked:
            assert signal.getsignal(signal.SIGTERM) is ours
            os.kill(os.getpid(), signal.SIGTERM)
        assert asked.code is None
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_the_library_installs_no_handler():
    code = (
        "import signal; before = [signal.getsignal(n) for n in (15, 1, 2)]\n"
        "import thetadot, thetadot.cli, thetadot.training\n"
        "assert before == [signal.getsignal(n) for n in (15, 1, 2)]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
