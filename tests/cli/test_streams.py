"""Streams that are closed, full, gone or of ASCII alone end no work and raise no traceback."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thetadot.cli import main
from thetadot.cli.streams import Enduring, enduring

CONVERT = ["convert", "--lr", "0.1", "--momentum", "0.9", "--batch-size", "64", "--to-lr", "0.2", "--json"]
COMMAND = [sys.executable, "-m", "thetadot"]
ASCII = {**os.environ, "PYTHONIOENCODING": "ascii"}
C = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(line, env=None):
    said = subprocess.run(["bash", "-c", line, "bash", *COMMAND], capture_output=True, check=False, env=env)
    assert b"Traceback" not in said.stderr
    assert b"Exception ignored" not in said.stderr
    return said


@pytest.mark.parametrize("arguments", [" ".join(CONVERT), "run --help", "--version", ""])
def test_a_reader_that_has_gone_is_told_by_the_exit_code_alone(arguments):
    said = shell(f'"$@" {arguments} | true; exit ${{PIPESTATUS[0]}}')
    assert said.returncode in (0, 141)  # 0: all of it was in the pipe before the reader went
    assert said.stderr == b""
    said = shell(f'"$@" {arguments} > >(exec true); exit $?')
    assert said.returncode in (0, 141)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed):
    assert shell(f'"$@" {" ".join(CONVERT)} {closed}').returncode == 0
    assert shell(f'"$@" convert --lr nan --momentum 0 --batch-size 1 --to-lr 1 {closed}').returncode == 2


def test_no_file_of_ours_takes_the_place_of_a_closed_stream(tmp_path):
    """The first file that is opened would become descriptor 1, and get what anybody prints."""
    code = (
        "import sys, os; from thetadot.cli import main; sys.exit(main(['--version']) or os.open(sys.argv[1], 64|1) < 3)"
    )
    line = f'exec {sys.executable} -c "{code}" {tmp_path / "file"} >&- 2>&-'
    assert subprocess.run(["bash", "-c", line], check=False).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_one_sentence():
    said = shell(f'"$@" {" ".join(CONVERT)} > /dev/full')
    assert said.returncode == 2
    assert said.stderr.startswith(b"thetadot: standard output cannot be written (No space left on device).")
    assert shell('"$@" convert --lr nan --momentum 0 --batch-size 1 --to-lr 1 2> /dev/full').returncode == 2


@pytest.mark.parametrize("environment", [ASCII, C], ids=["PYTHONIOENCODING=ascii", "LC_ALL=C"])
@pytest.mark.parametrize(
    "arguments", ["run --help", "simulate --help", "convert --help", "report --help", "compare --help", "--help"]
)
def test_letters_that_a_terminal_lacks_are_spelled(arguments, environment):
    said = shell(f'"$@" {arguments}', environment)
    assert said.returncode == 0
    said.stdout.decode("ascii")
    if arguments == "run --help":
        assert b"beta1 of adam" in said.stdout


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def test_a_stream_that_fails_is_given_up_once_and_the_work_goes_on():
    stream = Enduring(Full())
    assert stream.write("a") == 1
    assert stream.lost.errno == 28
    stream.flush()
    stream.writelines(["b", "c"])
    assert stream.lost.errno == 28


def test_streams_are_put_back_as_they_were():
    before = sys.stdout, sys.stderr, sys.stdout.errors
    with enduring():
        assert sys.stdout is not before[0]
        assert sys.stdout.errors == "thetadot.spelled"
    assert (sys.stdout, sys.stderr, sys.stdout.errors) == before


def test_without_streams_a_command_still_tells_by_its_exit_code(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(CONVERT) == 0
    assert main(["convert", "--lr", "nan"]) == 2
