"""A run goes on with the data that it was begun with, or says what is another."""

import os
import random

import numpy as np
import pytest
import torch
from shared.blobs import blobs
from torch.utils.data import Dataset, Subset, TensorDataset

import thetadot
from thetadot.errors import RunFolderError
from thetadot.training.fingerprint import fingerprint, require_same_data

X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(200) % 3


def prints(train, seed=0):
    return fingerprint(blobs(train=train), seed)


def changed(what, place):
    x, y = X.clone(), Y.clone()
    (x if what == "input" else y)[place] = (y[place] + 1) % 3 if what == "target" else x[place] + 1e-3
    return TensorDataset(x, y)


class Transformed(Dataset):
    """Random transforms by global generators, and by one of its own."""

    def __init__(self, *, hidden=False, x=X, y=Y):
        self.generator, self.hidden, self.x, self.y = np.random.default_rng(1), hidden, x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        noise = torch.randn(4) * random.random() + self.generator.random() + np.random.rand()  # noqa: NPY002
        if self.hidden:
            noise = noise + int.from_bytes(os.urandom(2)) / 1e5
        return {"x": self.x[i] + noise, "i": i}, self.y[i]


@pytest.mark.parametrize("make", [lambda: TensorDataset(X, Y), Transformed, lambda: Subset(Transformed(), range(150))])
def test_the_same_data_have_the_same_print_and_reading_moves_no_generator(make, tmp_path):
    data = make()
    task = blobs(train=data)
    inner = getattr(getattr(data, "dataset", data), "generator", np.random.default_rng(0))
    before = torch.get_rng_state(), random.getstate(), inner.bit_generator.state
    first = fingerprint(task, 0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), inner.bit_generator.state)
    require_same_data(prints(make()), first, tmp_path)


@pytest.mark.parametrize("what", ["input", "target"])
@pytest.mark.parametrize("place", [0, -1])
def test_a_changed_sample_is_named(what, place, tmp_path):
    with pytest.raises(
        RunFolderError, match=rf"the {what} of training sample {place % 200} has changed\. .*--new-data"
    ):
        require_same_data(prints(changed(what, place)), prints(TensorDataset(X, Y)), tmp_path)


def test_another_number_of_samples_is_said(tmp_path):
    with pytest.raises(RunFolderError, match="199 training samples, not 200"):
        require_same_data(prints(TensorDataset(X[1:], Y[1:])), prints(TensorDataset(X, Y)), tmp_path)


def test_what_varies_between_two_reads_is_left_out_and_the_rest_compared(tmp_path):
    first = prints(Transformed(hidden=True))
    assert {part for parts in first["train"]["samples"].values() for part in parts} == {"input.i", "target"}
    require_same_data(prints(Transformed(hidden=True)), first, tmp_path)
    with pytest.raises(RunFolderError, match="the target of training sample"):
        require_same_data(prints(Transformed(hidden=True, y=(Y + 1) % 3)), first, tmp_path)


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_a_resume_asks_and_new_data_insist(tmp_path):
    seen = 0

    def kill(_):
        nonlocal seen
        seen += 1
        if seen > 20:
            raise Killed

    options = {"out": tmp_path / "run", "epochs": 3, "optimizer": "adam", "lr": 0.01, "name": "it"}
    with pytest.raises(Killed):
        thetadot.run(lambda: blobs(train=TensorDataset(X, Y)), show=kill, **options)
    other = lambda: blobs(train=changed("target", 0))
    with pytest.raises(RunFolderError, match="begun with other data"):
        thetadot.run(other, resume=True, **options)
    assert thetadot.run(other, resume=True, new_data=True, **options).record.result.epochs == 3
