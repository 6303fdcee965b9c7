"""A loop of one's own goes on bit for bit from wherever it was saved, and a file that does not fit changes nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training.own_loop import STEPS, Loop

import thetadot
from thetadot.core.files import sealed
from thetadot.errors import DamagedFile, InadmissibleValue, RunFolderError, TaskError
from thetadot.schedules import BatchSampler, Linear, ScheduleLR

KINDS = ("SGD", "Kramers", "AdamW")


def ended(loop):
    for _ in loop.passes(STEPS):
        pass
    return loop.digest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("largest", [None, 3])
def test_saved_at_any_pass_it_ends_as_if_it_had_not_been(kind, largest, tmp_path):
    whole = Loop(kind, largest=largest)
    expected = ended(whole)
    for cut in (1, 7, 14, 23):
        first = Loop(kind, largest=largest)
        for done, _ in enumerate(first.passes(STEPS), 1):
            if done == cut:
                break
        first.state.save(tmp_path / "a.pt", cut=cut)
        torch.manual_seed(99)
        again = Loop(kind, largest=largest)
        for _ in again.passes(2):  # an object that has lived goes on as well as a new one
            pass
        again.losses.clear()
        assert again.state.load(tmp_path / "a.pt") == {"cut": cut}
        assert ended(again) == expected
        assert first.losses + again.losses == whole.losses


def test_it_may_go_back_in_its_own_process(tmp_path):
    loop = Loop()
    for _ in loop.passes(5):
        pass
    loop.state.save(tmp_path / "a.pt")
    ends = []
    for _ in range(2):
        ends.append(ended(loop))
        loop.state.load(tmp_path / "a.pt")
        assert loop.sampler.steps == 5
    assert ends[0] == ends[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(0, 2), (2, 0)])
def test_workers_do_not_matter(workers, tmp_path):
    expected = ended(Loop())
    before, after = workers
    first, again = Loop(workers=before), Loop(workers=after)
    for _ in first.passes(7):
        pass
    first.state.save(tmp_path / "a.pt")
    again.state.load(tmp_path / "a.pt")
    assert ended(again) == expected


@pytest.mark.slow
def test_killed_twice_it_ends_as_if_it_had_not_been(tmp_path):
    def process(folder, at, how):
        script = Path(__file__).with_name("own_loop.py")
        command = [sys.executable, script, tmp_path / folder, "Kramers", str(at), how]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    (tmp_path / "straight").mkdir()
    (tmp_path / "killed").mkdir()
    straight = process("straight", -1, "never")
    assert straight.returncode == 0, straight.stderr
    for at, how in ((9, "step"), (15, "writing")):
        assert process("killed", at, how).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed").iterdir())) == 2  # what was half written
    last = process("killed", -1, "never")
    assert last.returncode == 0, last.stderr
    assert last.stdout == straight.stdout
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["loop.pt"]


def everything(loop):
    """All that could be changed, compared by bits."""
    state = torch.random.get_rng_state()
    found = loop.digest()
    loop_state = (loop.sampler.state_dict(), loop.schedule.state_dict(), loop.scaler.state_dict())
    torch.random.set_rng_state(state)
    grads = [None if p.grad is None else p.grad.tolist() for p in loop.model.parameters()]
    return found, loop_state, grads


def damages(path):
    """Each way to damage a good file."""
    good = path.read_bytes()
    middle = len(good) // 2
    other = {"format": "thetadot.checkpoint", "version": 3}
    yield "cut", lambda: path.write_bytes(good[:-100])
    yield "half", lambda: path.write_bytes(good[:middle])
    yield "empty", lambda: path.write_bytes(b"")
    yield "a bit", lambda: path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    yield "no seal", lambda: torch.save({"format": "thetadot.loop", "version": 1}, path)
    yield "foreign", lambda: sealed_file(path, other)
    yield "later", lambda: sealed_file(path, {"format": "thetadot.loop", "version": 2})
    yield "a list", lambda: sealed_file(path, [1, 2])
    yield "poor", lambda: sealed_file(path, {"format": "thetadot.loop", "version": 1})
    yield (
        "odd",
        lambda: sealed_file(path, {"format": "thetadot.loop", "version": 1, "threads": -1, "kinds": {}, "noted": {}}),
    )


def sealed_file(path, content):
    with sealed(path) as stream:
        torch.save(content, stream)


def test_a_damaged_file_is_refused_and_nothing_changes(tmp_path):
    path = tmp_path / "a.pt"
    loop = Loop()
    for _ in loop.passes(3):
        pass
    loop.state.save(path)
    for _ in loop.passes(5):
        pass
    good = path.read_bytes()
    for name, damage in damages(path):
        damage()
        start = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
        with pytest.raises(DamagedFile, match=r"\. [A-Z]"):
            loop.state.load(path)
        assert torch.equal(torch.get_rng_state(), start[0]), name
        path.write_bytes(good)
    assert loop.sampler.steps == 5
    loop.state.load(path)
    assert loop.sampler.steps == 3


def mismatches():
    """Loops that the file of a plain one does not fit, each with what is said."""
    for name, says in (
        ("model", "size mismatch"),
        ("optimizer", "holds SGD for optimizer, and the loop has AdamW"),
        ("scheduler", "the state is of"),
        ("sampler", "seed=1 is not that of the state, 0"),
        ("no scheduler", "for scheduler, and the loop has none"),
        ("a group more", "as many groups"),
    ):
        yield pytest.param(name, says, id=name)


def simple(change=""):
    torch.manual_seed(0)
    model = nn.Linear(3, 5 if change == "model" else 2)
    groups = [{"params": [model.weight]}, {"params": [model.bias]}] if change == "a group more" else model.parameters()
    made = torch.optim.AdamW if change == "optimizer" else torch.optim.SGD
    optimizer = made(groups, 0.1)
    schedule = ScheduleLR(optimizer, Linear(9 if change == "scheduler" else 8))
    sampler = BatchSampler(16, 4, seed=1 if change == "sampler" else 0)
    for part in range(2):
        model(torch.randn(4, 3)).square().mean().backward()
        optimizer.step()
        schedule.step()
        sampler.advance()
        assert part >= 0
    parts = [optimizer, None if change == "no scheduler" else schedule, sampler]
    return thetadot.checkpoint(model, *parts), (model, optimizer, schedule, sampler)


@pytest.mark.parametrize(("change", "says"), [*mismatches()])
def test_a_file_of_another_loop_is_refused_and_nothing_changes(change, says, tmp_path):
    saved, _ = simple()
    saved.save(tmp_path / "a.pt")
    other, parts = simple(change)
    state = [part.state_dict() for part in parts]
    before = [torch.get_rng_state(), [p.detach().clone() for p in parts[0].parameters()], repr(state)]
    gradients = [p.grad.clone() for p in parts[0].parameters()]
    with pytest.raises(DamagedFile, match=says) as refused:
        other.load(tmp_path / "a.pt")
    assert "a.pt" in str(refused.value)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(torch.equal(p, q) for p, q in zip(parts[0].parameters(), before[1], strict=True))
    assert all(torch.equal(p.grad, q) for p, q in zip(parts[0].parameters(), gradients, strict=True))
    assert repr([part.state_dict() for part in parts]) == before[2]


def test_gradients_that_wait_are_kept_where_it_is_asked(tmp_path):
    saved, (model, *_) = simple()
    expected = model.weight.grad.clone()
    saved.save(tmp_path / "a.pt", gradients=True, best=torch.arange(3))
    saved.save(tmp_path / "b.pt")
    model.weight.grad.zero_()
    assert saved.load(tmp_path / "a.pt")["best"].tolist() == [0, 1, 2]
    assert torch.equal(model.weight.grad, expected)
    saved.load(tmp_path / "b.pt")
    assert model.weight.grad is None


def test_what_cannot_be_kept_is_said(tmp_path):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(InadmissibleValue, match="model=3"):
        thetadot.checkpoint(3)
    with pytest.raises(InadmissibleValue, match="optimizer='sgd'"):
        thetadot.checkpoint(model, "sgd")
    with pytest.raises(InadmissibleValue, match=r"sampler of type SequentialSampler.*BatchSampler"):
        thetadot.checkpoint(model, optimizer, None, torch.utils.data.SequentialSampler(range(3)))
    with pytest.raises(InadmissibleValue, match="average of type int"):
        thetadot.checkpoint(model, optimizer, average=3)
    saved = thetadot.checkpoint(model, optimizer)
    with pytest.raises(TaskError, match="cannot be kept safely"):
        saved.save(tmp_path / "a.pt", path_of_data=Path("a"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunFolderError, match=r"no file .*a\.pt"):
        saved.load(tmp_path / "a.pt")
    with pytest.raises(RunFolderError, match="cannot be written"):
        saved.save(tmp_path / "none" / "a.pt")
    with pytest.raises(InadmissibleValue, match="path=3"):
        saved.save(3)
