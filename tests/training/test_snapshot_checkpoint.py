"""A snapshot restores all that the next step depends on; a checkpoint is whole or not there."""

import random
import resource

import numpy as np
import pytest
import torch
from torch import nn

from thetadot.core.files import sealed
from thetadot.errors import DamagedFile, RunFolderError, TaskError
from thetadot.optim import Adam, HeavyBall
from thetadot.state import generators, restore_generators
from thetadot.training import checkpoint
from thetadot.training.folder import claim, fresh
from thetadot.training.snapshot import Snapshot, clone

HEAD = {"phase": "training", "arguments": {}, "threads": 1, "offset": 0, "data": {}, "plan": {}, "loop": {}}
SOUND = HEAD | {"format": checkpoint.FORMAT, "version": checkpoint.VERSION}
OPTIMIZERS = {"heavy ball": lambda params: HeavyBall(params, 0.1, 0.9), "adam": lambda params: Adam(params, 0.01)}


class Counting(nn.Module):
    """A buffer outside the state dict decides what comes out."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.calls += 1.0
        return x * (1.0 + 0.1 * self.calls)


class Versioned(nn.Linear):
    """Would convert a state dict that does not say its version."""

    _version = 2

    def _load_from_state_dict(self, state, prefix, metadata, *others):
        if metadata.get("version", 1) < 2:
            state[prefix + "weight"] = -state[prefix + "weight"]
        super()._load_from_state_dict(state, prefix, metadata, *others)


def network():
    torch.manual_seed(0)
    return nn.Sequential(Versioned(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.4), Counting(), nn.Linear(6, 2))


def steps(model, optimizer, count):
    """Train on data drawn from all three generators; the losses."""
    losses = []
    for _ in range(count):
        x = torch.randn(8, 4) * random.random() + np.random.rand()  # noqa: NPY002
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(params=OPTIMIZERS)
def build(request):
    def made():
        model = network()
        return model, OPTIMIZERS[request.param](model.parameters())

    return made


def test_a_restored_run_goes_on_bit_for_bit(build):
    model, optimizer = build()
    steps(model, optimizer, 5)
    snapshot = Snapshot.take(model, optimizer)
    ends = []
    for _ in range(3):  # a snapshot can be used again
        losses = steps(model, optimizer, 5)
        ends.append((losses, [p.tolist() for p in model.state_dict().values()]))
        snapshot.restore(model, optimizer)
    assert ends[0] == ends[1] == ends[2]


def test_so_does_another_process_from_the_file(build, tmp_path):
    model, optimizer = build()
    steps(model, optimizer, 5)
    checkpoint.save(tmp_path, HEAD | {"now": Snapshot.take(model, optimizer).pack()})
    expected = steps(model, optimizer, 5)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    model, optimizer = build()
    steps(model, optimizer, 2)
    Snapshot.unpack(checkpoint.load(tmp_path)["now"]).restore(model, optimizer)
    assert steps(model, optimizer, 5) == expected


def test_a_snapshot_shares_no_memory_with_the_run(build):
    model, optimizer = build()
    steps(model, optimizer, 3)
    snapshot = Snapshot.take(model, optimizer)
    before = clone(snapshot.pack())
    steps(model, optimizer, 3)
    snapshot.restore(model, optimizer)
    steps(model, optimizer, 3)
    for part in ("model",):
        assert all(torch.equal(before[part][name], value) for name, value in getattr(snapshot, part).items())
    kept = before["optimizer"]["state"]
    assert all(
        torch.equal(value, snapshot.optimizer["state"][i][name])
        for i, state in kept.items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    )


def test_all_three_generators_are_put_back():
    def draw():
        return float(torch.randn(())), np.random.randn(), random.gauss(0.0, 1.0)  # noqa: NPY002 - each keeps a second normal

    draw()
    state = generators()
    expected = [draw() for _ in range(3)]
    restore_generators(state)
    assert [draw() for _ in range(3)] == expected
    np.random.standard_normal(1)  # noqa: NPY002
    restore_generators(clone(state))
    assert [draw() for _ in range(3)] == expected


def test_clones_keep_their_types_and_copy_their_tensors():
    state = network().state_dict()
    copied = clone(state)
    assert type(copied) is type(state)
    assert copied._metadata == state._metadata
    tensor = torch.ones(2)
    nested = clone({"a": [tensor, (tensor, 1)], "b": None})
    tensor += 1.0
    assert nested["a"][0].tolist() == nested["a"][1][0].tolist() == [1.0, 1.0]
    assert nested["a"][1][1] == 1


# Checkpoints.


def test_a_checkpoint_comes_back_with_weights_only(tmp_path):
    content = HEAD | {"a": torch.arange(3), "b": {"c": [1, 2.5, None, "x", True], "d": float("inf")}}
    checkpoint.save(tmp_path, content)
    found = torch.load(tmp_path / checkpoint.NAME, weights_only=True)
    assert {name: found[name] for name in ("format", "version")} == {"format": checkpoint.FORMAT, "version": 4}
    again = checkpoint.load(tmp_path)
    assert torch.equal(again.pop("a"), content.pop("a"))
    assert again == content | {"format": checkpoint.FORMAT, "version": 4}
    assert [file.name for file in tmp_path.iterdir()] == [checkpoint.NAME]


class Unpicklable:
    def __reduce__(self):
        raise ZeroDivisionError


def test_a_failure_while_writing_leaves_the_old_one_and_no_other_file(tmp_path):
    checkpoint.save(tmp_path, HEAD | {"number": 1})
    with pytest.raises(ZeroDivisionError):
        checkpoint.save(tmp_path, HEAD | {"number": 2, "tensor": torch.ones(1000), "wrong": Unpicklable()})
    assert checkpoint.load(tmp_path)["number"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [checkpoint.NAME]


def test_a_full_disk_is_said_and_leaves_the_old_one(tmp_path):
    checkpoint.save(tmp_path, HEAD | {"number": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(RunFolderError, match=r"checkpoint.pt cannot be written .*Free space"):
            checkpoint.save(tmp_path, HEAD | {"number": 2, "tensor": torch.ones(200_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert checkpoint.load(tmp_path)["number"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [checkpoint.NAME]


def test_a_folder_that_is_none_is_said(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "absent", tmp_path / ("x" * 300)):
        with pytest.raises(RunFolderError, match="cannot be written"):
            checkpoint.save(folder, HEAD)
        with pytest.raises(RunFolderError, match="holds no run"):
            checkpoint.load(folder)


def test_a_model_whose_state_could_not_be_loaded_again_is_refused_at_the_start(tmp_path):
    with pytest.raises(TaskError, match=r"the model's state cannot be kept safely \(it holds a random.Random\)"):
        checkpoint.save(tmp_path, HEAD | {"extra": random.Random(0)})
    assert list(tmp_path.iterdir()) == []


def torn(tmp_path, change):
    checkpoint.save(tmp_path, HEAD | {"a": torch.arange(300)})
    path = tmp_path / checkpoint.NAME
    path.write_bytes(change(path.read_bytes()))
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda whole: whole[:100],
        lambda whole: whole[:-100],
        lambda _: b"not a checkpoint at all",
        lambda _: bytes(range(256)) * 40,
        lambda _: b"{}",
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path, change):
    with pytest.raises(DamagedFile, match=r"checkpoint.pt (has no digest|is damaged).*Start the run again"):
        checkpoint.load(torn(tmp_path, change))


def mutated(whole, rng):
    """Flipped bits, cuts, insertions, swapped and copied parts."""
    data, size = bytearray(whole), len(whole)
    kind = rng.randrange(6)
    at, to = sorted(rng.randrange(size) for _ in range(2))
    length = rng.choice([1, 4, 64, 1024])
    if kind == 0:
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = rng.randbytes(length)
    elif kind == 4:
        data[at : at + length], data[to : to + length] = data[to : to + length], data[at : at + length]
    else:
        data[at : at + length] = data[to : to + length]
    return bytes(data)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_damage_is_loaded(tmp_path, count):
    model = network()
    content = HEAD | {"loop": {"now": Snapshot.take(model, Adam(model.parameters(), 0.01)).pack()}}
    checkpoint.save(tmp_path, content)
    path = tmp_path / checkpoint.NAME
    whole, rng = path.read_bytes(), random.Random(count)
    for _ in range(count):
        damaged = mutated(whole, rng)
        if damaged == whole:
            continue
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile, match=r"Start the run again in a new folder\.$"):
            checkpoint.load(tmp_path)


def test_a_checkpoint_of_before_digests_is_refused_in_one_sentence(tmp_path):
    torch.save(SOUND | {"version": 1}, tmp_path / checkpoint.NAME)
    with pytest.raises(DamagedFile, match=r"has no digest at its end, by which damage would be seen\. Start the run"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "is not a thetadot checkpoint"),
        ({"model": torch.ones(2)}, "is not a thetadot checkpoint"),
        ({"format": "other"}, "is not a thetadot checkpoint"),
        ({"format": checkpoint.FORMAT}, "is not a thetadot checkpoint"),
        ({"format": checkpoint.FORMAT, "version": "1"}, "is not a thetadot checkpoint"),
        ({"format": checkpoint.FORMAT, "version": True}, "is not a thetadot checkpoint"),
        ({"format": checkpoint.FORMAT, "version": 10**70}, "has version 233 bits long, this thetadot reads 4. Upd"),
        ({"format": checkpoint.FORMAT, "version": 5}, "has version 5, this thetadot reads 4. Update"),
        ({"format": checkpoint.FORMAT, "version": 1}, "has version 1, this thetadot reads 4. Start the run again"),
        ({"format": checkpoint.FORMAT, "version": 4, "phase": "done"}, "missing required field `arguments`"),
        (SOUND | {"phase": "other"}, "Invalid enum value 'other'"),
        (SOUND | {"threads": 10**9}, "Expected `int` <= 1024"),
        (SOUND | {"threads": 1.5}, "Expected `int`, got `float`"),
        (SOUND | {"offset": -1}, "Expected `int` >= 0"),
        (SOUND | {"offset": 10**300}, "Expected `int`"),
        (SOUND | {"arguments": [1]}, "Expected `object`, got `array`"),
        (SOUND | {"phase": "done"}, "lacks best, final"),
        (random.Random(0), "is not a checkpoint that can be read"),  # would run code
    ],
)
def test_a_foreign_checkpoint_is_refused(tmp_path, content, said):
    with sealed(tmp_path / checkpoint.NAME) as stream:
        torch.save(content, stream)
    with pytest.raises(DamagedFile, match=said):
        checkpoint.load(tmp_path)


# Folders.


def test_a_folder_is_claimed_once_and_an_empty_one_may_exist(tmp_path):
    folder = claim(tmp_path / "a" / "b")
    assert claim(folder) == folder
    assert list(folder.iterdir()) == []
    (folder / "record.jsonl").touch()
    claim(folder)
    (folder / "record.jsonl").write_text("{}")
    with pytest.raises(RunFolderError, match=r"already holds a run\. Continue it with --resume"):
        claim(folder)
    checkpoint.save(claim(tmp_path / "c"), HEAD)
    with pytest.raises(RunFolderError, match="already holds a run"):
        claim(tmp_path / "c")


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(RunFolderError, match=r"cannot be written .*Name a folder that you may write to"):
            claim(place)


def test_fresh_folders_are_numbered_and_their_names_are_plain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(fresh("digits")) == "runs/digits"
    fresh("digits").mkdir(parents=True)
    assert str(fresh("digits")) == "runs/digits-2"
    assert fresh("../my task.py:make").parts == ("runs", "my-task-py-make")
    assert fresh("..").parts == ("runs", "run")
