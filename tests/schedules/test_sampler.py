"""Every sample comes once an epoch, under any schedule, ranks and passes, and whatever was resumed in between."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from thetadot.core.rng import derive
from thetadot.errors import InadmissibleValue
from thetadot.schedules import BatchSampler, BatchSchedule, Clock, Coupled, KeyedDataset, Linear, staircase
from thetadot.training.data import Source

SIZE = st.integers(1, 120)


@st.composite
def schedules(draw, least=1):
    """A number, thresholds, a coupled schedule, or a function."""
    kind = draw(st.sampled_from(["number", "thresholds", "coupled", "function"]))
    sizes = st.integers(least, 40)
    if kind == "number":
        return draw(sizes)
    if kind == "thresholds":
        times = sorted(draw(st.sets(st.integers(1, 300), max_size=4)))
        return BatchSchedule((0, *times), [draw(sizes) for _ in range(len(times) + 1)])
    if kind == "coupled":
        return Coupled(Linear(200, 1.0, 0.1), "temperature", lr=1.0, batch_size=draw(sizes), largest_batch=60).batch_at
    shift = draw(st.integers(0, 30))
    return lambda samples: least + (samples * 7 + shift) % 23


@st.composite
def samplers(draw):
    """What makes the sampler of a rank, with ranks and passes or without."""
    ranks = draw(st.integers(1, 5))
    size = draw(st.integers(ranks, 120))
    batch = draw(schedules(ranks))
    largest = draw(st.one_of(st.none(), st.integers(1, 9)))
    options = {"seed": draw(st.integers(0, 9)), "shuffle": draw(st.booleans())}

    def made(rank=0, ranks=ranks, largest=largest):
        return BatchSampler(size, batch, rank=rank, ranks=ranks, largest=largest, **options)

    return made


def epoch_of(sampler):
    """The draws of one epoch, each with its part."""
    return [(list(draw), sampler.advance()) for draw in sampler]


@settings(max_examples=60)
@given(samplers())
def test_every_sample_comes_once_an_epoch_and_passes_add_up_to_batches(made):
    ranks = made().ranks
    each = [made(rank) for rank in range(ranks)]
    for epoch in range(3):
        drawn = [epoch_of(sampler) for sampler in each]
        assert sorted(i for rank in drawn for draw, _ in rank for i in draw) == list(range(each[0].size))
        assert all(draw for rank in drawn for draw, _ in rank)
        sizes = {}
        for rank in drawn:
            for draw, part in rank:
                assert part.own == len(draw)
                assert part.epoch == epoch
                size, seen, share, lasts = sizes.get(part.step, (part.size, 0, 0.0, 0))
                assert size == part.size
                sizes[part.step] = size, seen + len(draw), share + part.share, lasts + part.last
        for size, seen, share, lasts in sizes.values():
            assert size == seen
            assert share == pytest.approx(ranks)  # averaged over ranks: 1
            assert lasts == ranks
        assert len({len([1 for _, part in rank if part.last]) for rank in drawn}) == 1
    assert all(sampler.epoch == 3 and sampler.samples == 3 * sampler.size for sampler in each)


@settings(max_examples=60)
@given(samplers())
def test_batches_do_not_depend_on_ranks_and_passes(made):
    def batches(ranks, largest):
        each = [made(rank, ranks, largest) for rank in range(ranks)]
        found = {}
        for sampler in each:
            for draw, part in epoch_of(sampler) + epoch_of(sampler):
                found.setdefault(part.step, set()).update(draw)
        return found

    ranks, largest = made().ranks, made().largest
    assert batches(ranks, largest) == batches(ranks, None) == batches(ranks, 1)


@settings(max_examples=25)
@given(samplers(), st.data())
def test_resumed_at_any_pass_it_goes_on_as_if_it_had_not_been(made, data):
    straight = made(0)
    whole = [step for _ in range(3) for step in epoch_of(straight)]
    cut = data.draw(st.integers(0, len(whole) - 1))
    first, again = made(0), made(0)
    done = []
    while len(done) < cut:
        for draw in first:
            done.append((list(draw), first.advance()))
            if len(done) == cut:
                break
    again.load_state_dict(first.state_dict())
    rest, before = [], 0
    while again.epoch < 3:
        left = len(again)
        rest += epoch_of(again)
        assert left == len(rest) - before
        before = len(rest)
    assert done + rest == whole


@settings(max_examples=40)
@given(samplers(), st.data())
def test_between_steps_it_goes_on_with_other_ranks_and_passes(made, data):
    first = made(0, 1, None)
    steps = data.draw(st.integers(0, len(first)))
    for _ in range(steps):
        first.advance()
    state = first.state_dict()
    rest = epoch_of(first) if first.step else []
    ranks = made().ranks
    seen = {}
    for rank in range(ranks if rest else 0):
        other = made(rank, ranks, 2)
        if ranks > 1:
            # the last batch may be another where ranks need more samples each, and then it is refused or the same
            try:
                other.load_state_dict(state)
            except InadmissibleValue:
                return
        else:
            other.load_state_dict(state)
        for draw, part in epoch_of(other):
            seen.setdefault(part.step, set()).update(draw)
    assert {i for batch in seen.values() for i in batch} == {i for draw, _ in rest for i in draw}


@settings(max_examples=40)
@given(st.integers(2, 100), st.integers(1, 30), st.integers(0, 5), st.integers(0, 3))
def test_its_order_and_batches_are_those_of_a_run(size, batch, seed, epoch):
    def sizes(taken):
        return batch + taken // 10

    sampler = BatchSampler(size, lambda samples: sizes(samples % size), seed=seed)
    sampler.set_epoch(epoch)
    source = Source(TensorDataset(torch.arange(size), torch.arange(size)), seed, torch.device("cpu"))
    assert [list(draw) for draw in sampler] == [request.indices for request in source.plan(epoch, sizes)]


@settings(max_examples=40)
@given(samplers(), st.integers(0, 200))
def test_samples_are_counted_as_they_are_drawn(made, steps):
    sampler = made()
    seen = [0]
    while len(seen) <= steps:
        part = sampler.advance()
        if part.last:
            seen.append(seen[-1] + part.size)
    again = made()
    assert [again.samples_at(k) for k in range(steps + 1)] == seen[: steps + 1]
    assert Clock("epochs", size=again.size, batches=again.samples_at)(steps) == pytest.approx(seen[steps] / again.size)


@given(st.integers(1, 64), st.integers(0, 6), st.integers(50, 5000), st.floats(0.0, 0.9))
def test_doublings_stand_where_the_staircase_has_them(first, doublings, samples, since):
    last = first * 2**doublings
    schedule = BatchSchedule.doubling(first, last, samples, since)
    for k in range(20):
        place = round(samples * (k + 0.37) / 20)
        if all(abs(place - threshold) > 1 for threshold in schedule.thresholds[1:]):
            assert schedule(place) == staircase(place / samples, first, last, since)


class Noisy(Dataset):
    """Samples with transforms that draw from all three generators."""

    def __len__(self):
        return 23

    def __getitem__(self, index):
        return index, torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002


@pytest.mark.parametrize("workers", [0, 2])
def test_transforms_do_not_depend_on_workers_ranks_passes_and_where_it_was_resumed(workers):
    def values(sampler, count):
        loader = DataLoader(KeyedDataset(Noisy()), batch_sampler=sampler, num_workers=count)
        return {
            int(i): float(x) for (index, noise), _ in sampler.over(loader) for i, x in zip(index, noise, strict=True)
        }

    before = torch.get_rng_state()
    reference = values(BatchSampler(23, 4), 0)
    assert values(BatchSampler(23, 4, largest=3), workers) == reference
    halves = [values(BatchSampler(23, 4, rank=rank, ranks=2), workers) for rank in range(2)]
    assert halves[0] | halves[1] == reference
    second = BatchSampler(23, 4)
    assert values(second, 0) == reference
    assert values(second, workers) != reference  # another epoch
    resumed = BatchSampler(23, 4)
    for _ in range(3):
        resumed.advance()
    rest = values(resumed, workers)
    assert rest == {i: reference[i] for i in rest}
    assert len(rest) == 11
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_counts_when_it_is_handed_out_whatever_workers_have_fetched(workers):
    sampler = BatchSampler(20, 4)
    loader = DataLoader(range(20), batch_sampler=sampler, num_workers=workers)
    seen = []
    for batch, part in sampler.over(loader):
        seen += batch.tolist()
        if part.step == 2:
            break
    assert (sampler.step, sampler.samples) == (3, 12)
    seen += [i for batch, _ in sampler.over(loader) for i in batch.tolist()]
    assert sorted(seen) == list(range(20))


def test_where_nobody_counts_each_pass_over_the_loader_is_an_epoch():
    loader = DataLoader(range(20), batch_sampler=BatchSampler(20, 4))
    counted = BatchSampler(20, 4)
    for epoch in range(3):
        few = itertools.islice(loader, len(loader))  # a frame that knows how many there are asks for no more
        assert [batch.tolist() for batch in few] == [draw for draw, _ in epoch_of(counted)], epoch


def test_accumulated_passes_make_the_gradient_of_the_whole_batch():
    data = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def gradients(ranks, largest):
        found = {}
        for rank in range(ranks):
            weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
            sampler = BatchSampler(50, BatchSchedule((0, 20), (8, 13)), largest=largest, rank=rank, ranks=ranks)
            for draw in sampler:
                part = sampler.advance()
                (part.share * (data[draw] @ weight - 1).square().mean()).backward()
                if part.last:
                    found[part.step] = found.get(part.step, 0) + weight.grad / ranks
                    weight.grad = None
        return found

    whole = gradients(1, None)
    for ranks, largest in ((1, 3), (2, None), (3, 2), (4, 1)):
        for step, gradient in gradients(ranks, largest).items():
            torch.testing.assert_close(gradient, whole[step], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: BatchSampler(0, 4), "size=0 is below 1"),
        (lambda: BatchSampler(10, 0), "batch_size=0 is below 1"),
        (lambda: BatchSampler(10, 2.5), "batch_size=2.5 is not a whole number"),
        (lambda: BatchSampler(10, lambda n: 2.5), r"batch_size\(0\)=2.5"),
        (lambda: BatchSampler(10, lambda n: float("nan")), r"batch_size\(0\)=nan"),
        (lambda: BatchSampler(10, 2, rank=0, ranks=3), "batch_size=2 after 0 samples is below ranks=3"),
        (lambda: BatchSampler(10, 4, rank=2, ranks=2), "rank=2 is not below"),
        (lambda: BatchSampler(2, 4, rank=0, ranks=3), "size=2 is below ranks=3"),
        (lambda: BatchSampler(10, 4, largest=0), "largest=0"),
        (lambda: next(BatchSampler(10, 4).over([1])), "does not draw by this sampler"),
        (lambda: BatchSchedule((1, 2), (1, 1)), "do not begin at 0"),
        (lambda: BatchSchedule((0, 5, 5), (1, 1, 1)), "do not rise"),
        (lambda: BatchSchedule((0,), (1, 2)), "2 sizes at 1 thresholds"),
        (lambda: BatchSchedule((0,), (0,)), "not all at least 1"),
        (lambda: BatchSchedule((0,), (8,))(-1), "samples=-1"),
    ],
)
def test_what_is_inadmissible_is_said(make, says):
    with pytest.raises(InadmissibleValue, match=says):
        make()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 31}, "size=30 is not that of the state, 31"),
        ({"seed": 5}, "seed=0 is not that"),
        ({"samples": 3}, "another batch schedule"),
        ({"step": 1000}, "another batch schedule"),
        ({"step": -1}, "step=-1 is negative"),
        ({"place": 9}, "in the middle of a batch"),
        ({"ranks": 2}, "in the middle of a batch"),
        ({"epoch": "1"}, "is not a sampler's"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(change, says):
    sampler = BatchSampler(30, 8, largest=3)
    for _ in range(4):
        sampler.advance()
    before = sampler.state_dict()
    with pytest.raises(InadmissibleValue, match=says):
        sampler.load_state_dict(before | change)
    assert sampler.state_dict() == before


def test_a_far_epoch_is_reached_without_counting_there():
    sampler = BatchSampler(30, 8)
    sampler.set_epoch(10**9)
    assert sampler.steps == 4 * 10**9
    assert sampler.samples_at(4 * 10**9 + 1) == 30 * 10**9 + 8
    assert derive(0, 1, 10**9) != derive(0, 1, 10**9 + 1)
