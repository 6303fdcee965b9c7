"""The law and the path do not depend on how many ranks carry the parameters, nor on how these are spread."""

import pytest
import torch
from ranks.checks import checks, resume
from ranks.common import NARROW, Net, assert_same, build, train
from torch.distributed import checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ranks")]  # four processes, started once


def verdict(ranks, count, name):
    _, said, output = ranks
    failed = [f"rank {rank}: {found[name]}" for rank, found in enumerate(said[count]) if found.get(name)]
    assert not failed, "\n".join(failed)
    assert all(name in found for found in said[count]), f"not reached: {output[-2000:]}"


@pytest.mark.parametrize("name", checks(4))
def test_on_four_ranks(ranks, name):
    verdict(ranks, 4, name)


@pytest.mark.parametrize("name", checks(2))
def test_on_two_ranks(ranks, name):
    verdict(ranks, 2, name)


@pytest.mark.filterwarnings("ignore::UserWarning:torch.distributed")
@pytest.mark.parametrize(
    ("kind", "flatten"), [("AdamW", False), ("AdamW", True), ("Kramers", True), ("HeavyBall-kahan", False)]
)
def test_what_was_saved_on_four_resumes_in_one_process(ranks, kind, flatten):
    folder, *_ = ranks
    verdict(ranks, 4, f"saved for later-{kind}-{flatten}")
    dtype = NARROW.get(kind, torch.float64)
    model, end = Net(dtype), Net(dtype)
    optimizer = build(kind, model, seed=7)
    resume(model, optimizer, kind, flatten, folder, begin=True)
    train(model, optimizer, range(2, 4), dtype=dtype)
    checkpoint.load({"model": end.state_dict()}, checkpoint_id=folder / f"ended-{kind}-{flatten}")
    assert_same(model, end)
    assert optimizer.steps == 4
