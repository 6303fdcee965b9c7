"""Batches are a function of (seed, epoch, place), whoever loads them."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset, Subset, TensorDataset

from thetadot.errors import TaskError
from thetadot.training.data import BatchRequest, Source, to_device

CPU = torch.device("cpu")


class Random(Dataset):
    """Transforms at random, by all three generators."""

    def __init__(self, size=23):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        noise = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])  # noqa: NPY002
        return i + noise, i % 3


class Structured(Random):
    """Inputs in a dict that holds a tuple."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return {"x": x, "more": (x[0], {"i": i}), "name": f"sample {i}"}, (y, x[:1])


class Whole(Random):
    """Fetches whole batches itself, as Hugging Face's datasets do."""

    def __getitems__(self, indices):
        return [self[i] for i in indices]


class Failing(Random):
    def __getitem__(self, i):
        if i == 7:
            raise LookupError("no such thing")
        return super().__getitem__(i)


def source(data, seed=5, workers=0):
    return Source(data, seed, CPU, workers)


def loaded(from_source, requests):
    return [(batch.inputs, batch.target, batch.size) for batch in from_source.load(requests)]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other


SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.integers(-1, 2**32), st.integers(1, 60))
@settings(max_examples=40)
def test_the_order_is_a_permutation_keyed_by_seed_and_epoch(seed, epoch, size):
    data = TensorDataset(torch.zeros(size), torch.zeros(size))
    order = source(data, seed).order(epoch)
    assert sorted(order) == list(range(size))
    assert order == source(data, seed).order(epoch)
    if size > 12:
        assert order != source(data, seed).order(epoch + 1)
        assert order != source(data, (seed + 1) % 2**63).order(epoch)
    some = list(range(0, size, 2))
    assert sorted(source(data, seed).order(epoch, some)) == some


@given(SEEDS, st.integers(1, 200), st.lists(st.integers(-2, 50), min_size=1, max_size=9))
@settings(max_examples=60)
def test_an_epoch_takes_every_sample_once_whatever_the_batch_sizes(seed, size, wanted):
    plan = source(Random(size), seed).plan(3, lambda place: wanted[place % len(wanted)])
    taken = [i for request in plan for i in request.indices]
    assert sorted(taken) == list(range(size))
    assert taken == source(Random(size), seed).order(3)
    assert all(request.indices for request in plan)
    assert len(plan[-1].indices) > 1 or size == 1
    assert len({request.key for request in plan}) == len(plan)
    place = 0
    for request in plan[:-1]:
        assert len(request.indices) == max(1, wanted[place % len(wanted)])
        place += len(request.indices)


@pytest.mark.parametrize(("size", "batches"), [(17, [8, 9]), (16, [8, 8]), (18, [8, 8, 2]), (9, [9]), (1, [1])])
def test_a_last_batch_of_one_is_merged_into_the_one_before(size, batches):
    plan = source(Random(size)).plan(0, lambda _: 8)
    assert [len(request.indices) for request in plan] == batches


@pytest.mark.parametrize("data", [Random(), Structured(), Whole(), Subset(Random(), range(3, 20))])
def test_batches_do_not_depend_on_the_number_of_workers(data):
    plan = source(data).plan(0, lambda place: 4 if place < 8 else 6)
    alone, helped = (loaded(source(data, workers=workers), plan) for workers in (0, 2))
    assert same(alone, helped)
    assert same(alone, loaded(source(data), plan))


def test_transforms_differ_between_epochs_and_batches_and_follow_the_seed():
    def noise(seed, epoch):
        from_source = source(Random(), seed)
        found = torch.cat([x for x, _, _ in loaded(from_source, from_source.plan(epoch, lambda _: 4))])
        return {round(float(value) % 1, 4) for value in found.flatten()}

    assert len(noise(5, 0)) > 60  # of 69
    assert len(noise(5, 0) & noise(5, 1)) < 5  # of 4 digits: a few fall together
    assert len(noise(5, 0) & noise(6, 0)) < 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_plan_resumed_in_the_middle_gives_the_same_batches(workers):
    plan = source(Random()).plan(2, lambda _: 5)
    again = source(Random()).plan(2, lambda _: 5)
    assert again == plan
    assert same(loaded(source(Random()), plan)[2:], loaded(source(Random(), workers=workers), again[2:]))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data", [Random(), TensorDataset(torch.rand(9, 2), torch.rand(9))])
def test_global_generators_are_untouched(data, workers):
    def states():
        name, words, *rest = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), (name, tuple(words), *rest), random.getstate()

    before = states()
    from_source = source(data, workers=workers)
    loaded(from_source, from_source.plan(0, lambda _: 3))
    assert from_source.not_finite() is None
    assert states() == before


def test_global_generators_are_untouched_when_a_sample_fails_or_the_reader_stops_early():
    state = random.getstate(), torch.get_rng_state()
    plan = source(Random()).plan(0, lambda _: 4)
    for workers in (0, 2):
        next(iter(source(Random(), workers=workers).load(plan)))
        with pytest.raises((LookupError, TaskError)):
            loaded(source(Failing(), workers=workers), plan)
    assert random.getstate() == state[0]
    assert torch.equal(torch.get_rng_state(), state[1])


def test_a_dataset_that_fails_in_a_worker_is_told_with_its_file_and_line():
    with pytest.raises(TaskError, match=r"^[^\n]*test_data.py, line \d+, in __getitem__: LookupError: no such thing$"):
        loaded(source(Failing(), workers=2), source(Failing()).plan(0, lambda _: 4))


def test_the_short_way_of_a_tensor_dataset_is_the_long_way():
    class Same(TensorDataset):
        pass

    tensors = torch.rand(19, 3), torch.arange(19)
    plan = source(TensorDataset(*tensors)).plan(1, lambda _: 4)
    assert same(loaded(source(TensorDataset(*tensors)), plan), loaded(source(Same(*tensors)), plan))


def test_inputs_may_be_tuples_and_dicts_of_anything():
    (x, y, size), *_ = loaded(source(Structured(4)), source(Structured(4)).whole(4))
    assert size == 4
    assert x["x"].shape == (4, 3)
    assert isinstance(x["more"], tuple)
    assert torch.equal(x["more"][1]["i"], torch.arange(4))
    assert x["name"] == tuple(f"sample {i}" for i in range(4))
    assert isinstance(y, tuple)
    assert to_device({"a": [torch.ones(1), "b"]}, CPU)["a"][1] == "b"


def test_judging_takes_all_in_their_own_order():
    requests = source(Random(10)).whole(4)
    assert [request.indices for request in requests] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [request.indices for request in source(Random(10)).whole(2, [7, 3, 5])] == [[7, 3], [5]]
    assert requests == source(Random(10)).whole(4)
    assert isinstance(requests[0], BatchRequest)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TensorDataset(torch.ones(4)), "a list|a tuple of 1 parts"),
        (TensorDataset(*[torch.ones(4)] * 3), "of 3 parts"),
        ([torch.ones(2)] * 4, "a Tensor"),
    ],
)
def test_a_sample_that_is_no_pair_is_refused(data, said):
    with pytest.raises(TaskError, match=rf"a sample is .*({said}).* Make dataset\[i\] return \(input, target\)"):
        loaded(source(data), [BatchRequest(0, [0, 1])])


@pytest.mark.parametrize("where", ["input", "target"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_sample_that_is_not_finite_is_named(where, value):
    x, y = torch.ones(9, 2), torch.ones(9)
    (x if where == "input" else y)[4] = value
    assert source(TensorDataset(x, y)).not_finite() == f"the {where} of sample 4 has NaN or infinite values"
    assert source(TensorDataset(x, y)).not_finite([0, 1, 8]) is None


class Ending(Dataset):
    def __init__(self, error, at=0):
        self.error, self.at = error, at

    def __len__(self):
        return 64

    def __getitem__(self, i):
        if i >= self.at:
            raise self.error
        return torch.zeros(4), 0


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(0), SystemExit("over"), RuntimeError("x")])
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_whatever_a_dataset_raises_is_its_own_error_by_name(error, workers):
    source = Source(Ending(error), 0, torch.device("cpu"), workers)
    with pytest.raises(TaskError, match=rf"test_data.py, line \d+, in __getitem__: {type(error).__name__}"):
        list(source.load(source.whole(8)))
