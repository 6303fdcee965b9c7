"""``thetadot compare``: what it prints, and one sentence with exit code 2 for bad input."""

import json
import shlex
from pathlib import Path

import pytest
from comparing import tasks

from thetadot.cli import main

HERE = Path(tasks.__file__)
QUICK = ["--seeds", "2", "--choosing", "1", "--epochs", "1", "--batch-size", "8", "--jobs", "1"]


def compared(tmp_path, *arguments, task="line"):
    return main(["compare", f"{HERE}:{task}", *arguments, *QUICK, "--out", str(tmp_path / "c")])


def test_json_is_the_last_line_and_the_table_goes_to_stderr(tmp_path, capsys):
    assert compared(tmp_path, "--runs", "sgd:lr=0.03|0.3", "adamw:lr=0.1", "sgd:lr=1e9", "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out.strip())
    assert [run["name"] for run in found["runs"]] == ["sgd:lr=0.03|0.3", "adamw:lr=0.1", "sgd:lr=1e9"]
    assert [len(pairs) for pairs in found["differences"].values()] == [3, 3]
    assert set(found["differences"]["best"][0]) >= {"mean", "half", "resolved", "needed"}
    assert "diverged on 2 of 2" in captured.err
    assert "8 of 8" in captured.err  # progress: 2 points on 1 seed, 3 runs on 2


def test_the_command_on_the_page_repeats_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", f"{HERE}:line", *QUICK, "--by", "final", "--json", "--runs", "sgd:lr=0.03|0.3", "adamw"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["out"] == "runs/compare-line"
    said = shlex.split(first["command"])
    assert said[0] == "thetadot"
    assert main([*said[1:], "--out", "elsewhere", "--json", "--jobs", "1"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {**again, "out": ""} == {**first, "out": ""}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required: --runs"),
        (("--runs",), "expected at least one argument"),
        (("--runs", "sdg:lr=0.1"), "Did you mean sgd?"),
        (("--runs", "sgd:lrr=0.1"), "no setting 'lrr'"),
        (("--runs", "sgd:lr=-1"), "Invalid learning rate"),
        (("--runs", "sgd:lr=0.1", "--by", "worst"), "by='worst' is unknown"),
        (("--runs", "sgd:lr=0.1", "--seeds", "0"), "seeds=0 is below 1"),
        (("--runs", "sgd:lr=0.1", "--seeds", "many"), "'many' is no number of seeds"),
        (("--runs", "sgd:lr=0.1", "--seeds", "1:2:3"), "'1:2:3' is no number of seeds"),
        (("--runs", "sgd:lr=0.1", "--seeds", "5:5"), "the number of seeds=0 is below 1"),
        (("--runs", "sgd:lr=0.1", "--seeds=-2:5"), "is no range of whole seeds"),
        (("--runs", "sgd:lr=0.1|1", "--seeds", "3", "--choosing", "2:4"), "overlap"),
        (("--runs", "sgd:lr=0.1", "--colour", "red"), "unrecognized arguments"),
        (("--runs", "nonesuch_peer:Prodigy(lr=1.0)"), "cannot be imported"),
        (("--runs", "nofile.py:Lion(lr=1)"), "there is no file"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, arguments, said):
    assert main(["compare", f"{HERE}:line", *arguments, "--out", str(tmp_path / "c")]) == 2
    captured = capsys.readouterr()
    assert said in captured.err.strip().splitlines()[-1]
    assert "Traceback" not in captured.err
    assert not (tmp_path / "c").exists()
