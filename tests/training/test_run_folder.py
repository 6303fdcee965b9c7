"""A run writes into its folder and nowhere else, keeps it to itself, and is saved by counts."""

import itertools
import math
import os
import shutil

import pytest
from shared.blobs import blobs

import thetadot
from thetadot.core.files import Claim
from thetadot.errors import DamagedFile, RunFolderError
from thetadot.training import checkpoint

GIVEN = {"optimizer": "adam", "lr": 0.01, "batch_size": 20, "name": "it"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("done") / "run"
    thetadot.run(blobs, out=folder, epochs=1, **GIVEN)
    return folder


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A run that was killed on its way."""
    folder, seen = tmp_path_factory.mktemp("cut") / "run", 0

    def kill(_):
        nonlocal seen
        seen += 1
        if seen > 20:
            raise Killed

    with pytest.raises(Killed):
        thetadot.run(blobs, out=folder, epochs=1, show=kill, **GIVEN)
    return folder


def test_links_in_the_folder_are_not_written_through(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    folder.mkdir()
    outside.write_text("precious")
    for name in ("report.html", ".checkpoint.part", f".writable-{os.getpid()}"):
        (folder / name).symlink_to(outside)
    thetadot.run(blobs, out=folder, epochs=1, **GIVEN)
    assert outside.read_text() == "precious"
    assert {path.name for path in folder.iterdir()} >= {"record.jsonl", "checkpoint.pt", "report.html"}
    assert not (folder / "report.html").is_symlink()


@pytest.mark.parametrize("name", ["record.jsonl", "checkpoint.pt"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_folder_whose_record_or_checkpoint_is_a_link_is_refused(tmp_path, name, link):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    folder.mkdir()
    outside.write_text("precious")
    link(outside, folder / name)
    with pytest.raises(RunFolderError):
        thetadot.run(blobs, out=folder, epochs=1, **GIVEN)
    assert outside.read_text() == "precious"


def test_one_process_at_a_time_goes_on_with_a_run(done):
    with Claim(done), pytest.raises(RunFolderError, match="in use by another process"):
        thetadot.run(blobs, out=done, epochs=1, resume=True, **GIVEN)
    thetadot.run(blobs, out=done, epochs=1, resume=True, **GIVEN)


@pytest.mark.parametrize(("epochs", "batch"), [pytest.param(4, 8, marks=pytest.mark.slow), (12, 20), (3, 400)])
def test_a_kill_loses_a_fiftieth_of_the_steps_or_a_hundred(tmp_path, monkeypatch, epochs, batch):
    saved, save = [], checkpoint.save

    def counted(folder, content, **how):
        if content["phase"] == "training":
            saved.append((content["loop"]["progress"]["step"], how["durable"]))
        save(folder, content, **how)

    monkeypatch.setattr(checkpoint, "save", counted)
    run = thetadot.run(blobs, out=tmp_path / "run", epochs=epochs, **(GIVEN | {"batch_size": batch}))
    steps = run.record.result.steps
    most = max(100, steps // 50)
    places = [0, *(step for step, _ in saved), steps]
    assert max(b - a for a, b in itertools.pairwise(places)) <= most
    assert len(saved) <= 2 + epochs + math.ceil(steps / most)
    assert all(durable == (step % math.ceil(1200 / batch) == 0) for step, durable in saved)


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 10**12},
        {"offset": 2**49},
        {"threads": 10**9},
        {"arguments": {"task": "it", "epochs": "x"}},
        {"arguments": {"task": 3}},
        {"plan": {"optimizer": "adam", "lr": "x"}},
        {"plan": 3},
        {"loop": []},
        {"loop": {"now": 3}},
        {"data": {"train": {"size": "x"}}},
        {"data": {"train": 3}},
    ],
)
def test_a_checkpoint_with_fields_out_of_bounds_is_refused_in_one_sentence(cut, tmp_path, change):
    shutil.copytree(cut, tmp_path, dirs_exist_ok=True)
    checkpoint.save(tmp_path, checkpoint.load(tmp_path) | change)
    with pytest.raises((DamagedFile, RunFolderError)):
        thetadot.run(blobs, out=tmp_path, epochs=1, resume=True, **GIVEN)
