"""The law and the path do not depend on how many ranks carry the parameters, nor on how these are spread."""

import pytest
from ranks.checks import checks, resume
from ranks.common import Net, assert_same, build, train
from torch.distributed import checkpoint


def verdict(said, name):
    failed = [f"rank {rank}: {found[name]}" for rank, found in enumerate(said) if found.get(name)]
    missing = [str(found) for found in said if name not in found]
    assert not failed, "\n".join(failed)
    assert not missing, f"not reached: {missing[0][-3000:]}"


@pytest.mark.parametrize("name", checks(4))
def test_on_four_ranks(four, name):
    verdict(four[1], name)


@pytest.mark.parametrize("name", checks(2))
def test_on_two_ranks(two, name):
    verdict(two[1], name)


@pytest.mark.filterwarnings("ignore::UserWarning:torch.distributed")
@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("kind", ["AdamW", "Kramers"])
def test_what_was_saved_on_four_resumes_in_one_process(four, kind, flatten):
    folder, said = four
    verdict(said, f"saved for later-{kind}-{flatten}")
    model, end = Net(), Net()
    optimizer = build(kind, model, seed=7)
    resume(model, optimizer, kind, flatten, folder, begin=True)
    train(model, optimizer, range(2, 4))
    checkpoint.load({"model": (named := end.state_dict())}, checkpoint_id=folder / f"ended-{kind}-{flatten}")
    assert_same(model, end)
    assert optimizer.steps == 4
