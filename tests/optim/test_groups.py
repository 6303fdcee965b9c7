"""Groups are separate optimizers: what one is set to is no other's; numpy's numbers are numbers."""

import copy
import functools
import io

import numpy as np
import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.optim import Adam, Amos, GradientDescent, HeavyBall, Kramers, Langevin, NormalizedDescent, Polyak, RMSprop

TENSORS = {
    "HeavyBall": (HeavyBall, {"momentum": 0.5, "weight_decay": 0.25, "averaging": 0.5}),
    "Kramers": (Kramers, {"momentum": 0.5, "temperature": 0.25}),
    "Adam": (Adam, {"betas": (0.5, 0.75), "eps": 0.125}),
    "RMSprop": (RMSprop, {"decay": 0.5, "eps": 0.125}),
    "Polyak": (Polyak, {"floor": -0.5, "bound": 0.25}),
    "Amos": (Amos, {"kind": "constant", "q": 0.5, "decay": 0.75}),
}


def tensor(value):
    if isinstance(value, tuple):
        return tuple(map(tensor, value))
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, float) else value


def leaves(group):
    """Tensors among a group's settings."""
    values = [value for name, value in group.items() if name != "params"]
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return [value for value in flat if torch.is_tensor(value)]


def pair():
    return [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]


def build(name, **more):
    make, settings = TENSORS[name]
    return make, {"lr": tensor(0.1), **{word: tensor(value) for word, value in settings.items()}, **more}


def assert_apart(optimizer):
    held = [id(value) for group in optimizer.param_groups for value in leaves(group)]
    assert len(held) == len(set(held)) > 0


# A tensor that is given once is no two groups'.


@pytest.mark.parametrize("name", TENSORS)
def test_no_two_groups_share_a_tensor(name):
    make, settings = build(name)
    a, b = pair()
    optimizer = make([{"params": [a]}, {"params": [b]}], **settings)
    optimizer.add_param_group({"params": pair()})
    optimizer.add_param_group({"params": pair(), "lr": settings["lr"]})
    assert_apart(optimizer)
    assert optimizer.param_groups[0]["lr"] is settings["lr"]


@pytest.mark.parametrize("name", TENSORS)
def test_no_two_groups_share_a_tensor_after_loading(name):
    make, settings = build(name)
    optimizer = make([{"params": [p]} for p in pair()], **settings)
    saved = copy.copy(optimizer.state_dict())
    shared = saved["param_groups"][0]["lr"]
    saved["param_groups"] = [group | {"lr": shared} for group in saved["param_groups"]]
    for given in (saved, through_a_file(saved)):
        other = make([{"params": [p]} for p in pair()], **build(name)[1])
        other.load_state_dict(given)
        assert_apart(other)
        assert [float(group["lr"]) for group in other.param_groups] == [0.1, 0.1]


def through_a_file(saved):
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_a_schedule_moves_the_group_that_it_is_for():
    for made in (tensor(0.1), [tensor(0.1)] * 2):
        given = made if isinstance(made, list) else [made, made]
        groups = [{"params": [p], "lr": lr} for p, lr in zip(pair(), given, strict=True)]
        for optimizer in (HeavyBall(groups, lr=1.0), HeavyBall([{"params": [p]} for p in pair()], lr=given[0])):
            torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda _: 1.0, lambda _: 0.5])
            assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.1, 0.05])


def test_a_group_that_comes_late_begins_with_what_was_given_first():
    optimizer = HeavyBall([pair()[0]], lr=tensor(0.1))
    optimizer.param_groups[0]["lr"].fill_(0.01)
    optimizer.add_param_group({"params": pair()})
    assert float(optimizer.param_groups[1]["lr"]) == 0.1


def test_a_tensor_that_is_differentiated_stays_itself():
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    a, b = (torch.ones(2, dtype=torch.float64, requires_grad=True) * 1.0 for _ in range(2))
    optimizer = GradientDescent([{"params": [a]}, {"params": [b]}], lr=lr, differentiable=True)
    a.grad, b.grad = (torch.ones(2, dtype=torch.float64) for _ in range(2))
    optimizer.step()
    (a.sum() + b.sum()).backward()
    assert float(lr.grad) == -4.0


# numpy's numbers.

NUMPY = (np.float32, np.float64, np.float16, np.array, functools.partial(np.array, dtype=np.float32))


def numbers(kind, value):
    if isinstance(value, tuple):
        return tuple(kind(part) for part in value)
    return kind(value) if isinstance(value, float) else value


def step(optimizer, params, steps=3):
    for _ in range(steps):
        for p in params:
            p.grad = 0.5 * p.detach()
        optimizer.step(**({"loss": np.float32(1.0)} if isinstance(optimizer, Polyak) else {}))


@pytest.mark.parametrize("kind", NUMPY)
@pytest.mark.parametrize("name", [*TENSORS, "Langevin"])
def test_numpys_numbers_are_pythons_of_the_same_value(name, kind):
    """Every value is one that float16 holds."""
    make, settings = (Langevin, {"temperature": 0.25}) if name == "Langevin" else TENSORS[name]
    settings = {"lr": 0.125, **settings}
    finals = []
    for numpys in (False, True):
        torch.manual_seed(3)
        params = pair()
        given = {word: numbers(kind, value) if numpys else value for word, value in settings.items()}
        optimizer = make(params, **given)
        step(optimizer, params)
        for word, value in settings.items():  # as a schedule of numpy's sets it
            halved = numbers(lambda x: x / 2, value)
            optimizer.param_groups[0][word] = numbers(kind, halved) if numpys else halved
        optimizer.position()
        step(optimizer, params)
        assert all(type(v) is not kind for v in optimizer.param_groups[0].values())
        torch.load(io.BytesIO(through(optimizer.state_dict())), weights_only=True)
        finals.append(torch.cat([p.detach() for p in params]))
    assert torch.equal(*finals)


def through(saved):
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    return buffer.getvalue()


def test_a_table_of_numpys_serves_as_a_schedule():
    """It moves as the same table of Python's numbers does, and lr follows it."""
    warm = np.linspace(0.1, 1, 10, dtype=np.float32)
    for make in (HeavyBall, Adam, NormalizedDescent):
        ends = []
        for table in (warm, [float(each) for each in warm]):
            params = pair()
            optimizer = make(params, lr=0.1)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n, table=table: table[min(n, 9)])
            for n in range(5):
                assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * float(warm[n]), rel=1e-6)
                step(optimizer, params, steps=1)
                schedule.step()
            ends.append(torch.cat([p.detach().flatten() for p in params]))
        torch.testing.assert_close(*ends)


def test_whole_numbers_and_truth_values_of_numpys_are_taken():
    params = pair()
    optimizer = HeavyBall(params, lr=np.int64(1), momentum=np.int32(0), maximize=np.bool_(False))  # noqa: FBT003
    step(optimizer, params, steps=1)
    assert params[0].tolist() == [0.5] * 3


@pytest.mark.parametrize("bad", [np.float32(-1), np.array(np.nan), np.array([0.1, 0.2]), np.array("a")])
def test_numpys_numbers_out_of_range_are_refused(bad):
    with pytest.raises(InadmissibleValue, match="lr"):
        HeavyBall(pair(), lr=bad)
    optimizer = HeavyBall(pair(), lr=0.1)
    optimizer.param_groups[0]["lr"] = bad
    with pytest.raises(InadmissibleValue, match="lr"):
        step(optimizer, optimizer.param_groups[0]["params"], steps=1)


# Kinds at the door.


@pytest.mark.parametrize("bad", [3, 0, True, object(), 1.5, ("bias", 3), [None], b"bias", {"bias": 1}, np.array([1])])
def test_no_decay_is_parts_of_names(bad):
    with pytest.raises(InadmissibleValue, match=r"no_decay=.* is neither a part of parameter names nor several\."):
        HeavyBall(torch.nn.Linear(2, 1).named_parameters(), lr=0.1, no_decay=bad)


@pytest.mark.parametrize("params", [3, [3], [torch.ones(1)], [(1, torch.ones(1))], [{"lr": 1.0}], [{"params": 3}]])
def test_no_decay_needs_named_parameters(params):
    with pytest.raises(InadmissibleValue, match=r"Pass model\.named_parameters\(\)"):
        HeavyBall(params, lr=0.1, no_decay="bias")


@pytest.mark.parametrize("bad", [3, "cpu", True, torch.Generator, np.random.default_rng(0), torch.device("cpu")])
def test_generator_is_torchs(bad):
    for make in (HeavyBall, functools.partial(Langevin, temperature=0.1)):
        with pytest.raises(InadmissibleValue, match=r"generator.*Pass a Generator\."):
            make(pair(), lr=0.1, generator=bad)


@pytest.mark.parametrize("bad", [3, None, [1], {}, {"lr": 1.0}])
def test_a_group_is_a_dictionary_with_parameters(bad):
    optimizer = HeavyBall(pair(), lr=0.1)
    with pytest.raises(InadmissibleValue, match="is no group"):
        optimizer.add_param_group(bad)
    assert len(optimizer.param_groups) == 1
