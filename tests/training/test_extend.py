"""A finished run goes on for more epochs, exactly, wherever that is cut; and nothing else of it may change."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shared.blobs import blobs

import thetadot
from thetadot.cli import main
from thetadot.errors import InadmissibleValue, RunFolderError
from thetadot.records import Epoch, Extension, Motion, Result

GIVEN = {"epochs": 4, "seed": 3, "name": "blobs", "page": False}


class Killed(BaseException):
    """Not an Exception, so that nothing in between catches it."""


def lines(folder):
    """The record without its time fields."""
    found = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k not in ("seconds", "started")} for entry in found]


def same_states(a, b):
    return all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


def killed_after(entries):
    seen = 0

    def show(_):
        nonlocal seen
        seen += 1
        if seen > entries:
            raise Killed

    return show


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first") / "run"
    return folder, thetadot.run(blobs, out=folder, **GIVEN)


@pytest.fixture(scope="module")
def twice(first, tmp_path_factory):
    """Extended by 3, then by 2."""
    folder = tmp_path_factory.mktemp("twice") / "run"
    shutil.copytree(first[0], folder)
    once = thetadot.run(blobs, out=folder, resume=True, extend=3, **GIVEN)
    return folder, once, thetadot.run(blobs, out=folder, resume=True, extend=2, **GIVEN)


def test_both_plans_and_all_epochs_are_in_the_record(first, twice):
    folder, once, again = twice
    record = again.record
    assert lines(folder)[: len(lines(first[0]))] == lines(first[0])
    assert [e.epoch for e in record.of(Epoch)] == list(range(10))
    assert [(e.epoch, e.epochs) for e in record.of(Extension)] == [(4, 3), (7, 2)]
    assert [r.epochs for r in record.of(Result)] == [4, 7, 9]
    assert record.epochs == 9
    assert once.record.result.epochs == 7
    assert again.record.result.cost > once.record.result.cost > first[1].record.result.cost


def test_the_rate_is_warmed_up_and_annealed_again(twice):
    record = twice[2].record
    begin = record.of(Extension)[0]
    before = [m.lr for m in record.of(Motion) if m.step <= begin.step]
    after = [m.lr for m in record.of(Motion) if begin.step < m.step <= record.of(Extension)[1].step]
    assert before[-1] < 0.1 * max(before)
    assert max(after) >= 0.9 * begin.lr
    assert after[-1] < 0.1 * max(after)


def test_the_best_validated_state_is_that_of_all_plans(twice):
    _, _, run = twice
    result, epochs = run.record.result, run.record.of(Epoch)
    best = min(epochs, key=lambda e: e.valid_loss)
    assert result.valid_loss <= best.valid_loss * (1 + 1e-9)
    x, y = blobs().valid.tensors
    run.model.eval()
    with torch.no_grad():
        assert float(torch.nn.functional.cross_entropy(run.model(x), y)) == pytest.approx(result.valid_loss, rel=1e-5)


@pytest.mark.parametrize(
    "share", [0.0, 0.02, 0.3, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.05, 0.5, 0.7, 0.95))]
)
def test_an_extension_that_is_killed_and_resumed_is_the_same(first, twice, tmp_path, share):
    shutil.copytree(first[0], tmp_path / "run")
    before = len(lines(first[0]))
    added = [entry["kind"] for entry in lines(twice[0])[before:]].index("result")
    stop = int(share * added)
    with pytest.raises(Killed):
        thetadot.run(blobs, out=tmp_path / "run", resume=True, extend=3, show=killed_after(stop), **GIVEN)
    torch.manual_seed(99)
    again = {} if stop else {"extend": 3}  # before anything was saved the folder is that of the finished run
    resumed = thetadot.run(blobs, out=tmp_path / "run", resume=True, **again, **GIVEN)
    assert same_states(resumed.final_state, twice[1].final_state)
    assert same_states(resumed.best_state, twice[1].best_state)
    assert lines(tmp_path / "run") == lines(twice[0])[: before + added + 1]


def test_a_finished_extension_resumes_to_its_result(twice):
    folder, _, run = twice
    before = lines(folder)
    assert same_states(thetadot.run(blobs, out=folder, resume=True, **GIVEN).final_state, run.final_state)
    assert same_states(thetadot.load(folder, blobs).best_state, run.best_state)
    assert lines(folder) == before


def test_an_unfinished_folder_is_refused_and_left_as_it_was(tmp_path):
    with pytest.raises(Killed):
        thetadot.run(blobs, out=tmp_path / "run", show=killed_after(20), **GIVEN)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    with pytest.raises(RunFolderError, match=r"has not finished.*thetadot run --resume"):
        thetadot.run(blobs, out=tmp_path / "run", resume=True, extend=3, **GIVEN)
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_it_is_the_one_change_that_a_finished_folder_accepts(first):
    with pytest.raises(RunFolderError, match="was begun with seed=3, not 4"):
        thetadot.run(blobs, out=first[0], resume=True, extend=3, **(GIVEN | {"seed": 4}))


@pytest.mark.parametrize("given", [{"extend": 3}, {"extend": 0, "resume": True}, {"extend": -1, "resume": True}])
def test_bad_input_is_refused_with_the_remedy(first, given, tmp_path):
    shutil.copytree(first[0], tmp_path / "run")
    with pytest.raises(InadmissibleValue, match=r"Pass"):
        thetadot.run(blobs, out=tmp_path / "run", **given, **GIVEN)


def test_a_given_rate_and_a_coupled_wave_are_extended_too(tmp_path):
    given = GIVEN | {"optimizer": "heavy-ball", "lr": 0.02, "epochs": 2}
    thetadot.run(blobs, out=tmp_path / "run", **given)
    run = thetadot.run(blobs, out=tmp_path / "run", resume=True, extend=2, **given)
    (entry,) = run.record.of(Extension)
    assert (entry.lr, entry.optimizer, entry.annealing) == (0.02, "heavy-ball", "coupled")
    assert run.record.result.epochs == 4


TASK = """
import os, signal, thetadot
from shared.blobs import blobs
from torch import nn

class Mortal(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.seen = nn.Linear(4, 3), 0

    def forward(self, x):
        self.seen += self.training
        if os.environ.get("DIES") and self.seen > int(os.environ["DIES"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.body(x)

def make():
    return blobs(model=Mortal())
"""


@pytest.mark.slow
def test_the_command_extends_and_survives_a_kill(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)

    def command(*words, dies=""):
        paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        environment = os.environ | {"DIES": dies, "PYTHONPATH": paths}
        line = [sys.executable, "-m", "thetadot", "run", *words]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for out in ("a", "b"):
        assert command("mine.py:make", "--epochs", "2", "--out", out).returncode == 0
    assert command("--resume", "a", "--extend", "4").returncode == 0
    steps = json.loads((tmp_path / "a" / "record.jsonl").read_text().splitlines()[-1])["steps"]
    died = command("--resume", "b", "--extend", "4", dies=str(int(0.8 * steps)))
    assert died.returncode == -signal.SIGKILL, died.stderr
    refused = command("--resume", "b", "--extend", "4")
    assert refused.returncode == 2
    assert "has not finished" in refused.stderr
    assert command("--resume", "b").returncode == 0
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    page = (tmp_path / "a" / "report.html").read_text()
    assert "extended at epoch 2" in page
    assert "it was extended by 4 epochs after epoch 2" in page
    assert "--extend 4" in page


def test_the_command_says_what_extend_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "digits", "--extend", "3"]) == 2
    assert "--resume DIR" in capsys.readouterr().err
