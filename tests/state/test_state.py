"""What a pass may write is put back bit for bit, wherever it lies; what cannot be is found beforehand."""

import functools
import itertools
import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from thetadot.state import Kept, changes_of, kept, pack, unpack
from thetadot.state.leaves import same_bits

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x):
        return self.body(x * self.factor())


class Centred(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("hidden", torch.zeros(()), persistent=False)

    def factor(self):
        self.centre.add_(1.0)
        self.hidden = self.hidden + 0.5  # another tensor
        return 1.0 + self.centre + self.hidden


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(5, 4, max_norm=0.3)

    def forward(self, x):
        return x @ self.rows(torch.arange(5)).T


class OwnGenerator(Base):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def factor(self):
        return torch.rand((), generator=self.generator)


class LaterGenerator(Base):
    generator = None

    def factor(self):
        self.generator = self.generator or torch.Generator().manual_seed(0)
        return torch.rand((), generator=self.generator)


class OtherGenerators(Base):
    def __init__(self):
        super().__init__()
        self.python, self.numpy, self.old = random.Random(0), np.random.default_rng(0), np.random.RandomState(0)

    def factor(self):
        return self.python.random() + self.numpy.random() + self.old.standard_normal() + random.random()


class Counting(Base):
    def __init__(self):
        super().__init__()
        self.calls, self.last, self.seen = 0, None, {"count": np.int64(0)}

    def factor(self):
        self.calls += 1
        self.seen["count"] += 1
        self.last = torch.tensor(float(self.calls))
        return 1.0 + self.calls + int(self.seen["count"])


class Containers(Base):
    def __init__(self):
        super().__init__()
        self.history, self.window, self.names = [torch.zeros(())], deque(maxlen=3), set()
        self.array = np.zeros(2)

    def factor(self):
        self.history[0] += 1.0
        self.history.append(self.history[0] * 2.0)
        self.window.append(len(self.history))
        self.names.add(len(self.names))
        self.array[0] += 1.0
        return float(sum(self.history)) + sum(self.window) + len(self.names) + self.array[0]


class Schedule:
    def __init__(self):
        self.rate = 1.0

    def next(self):
        self.rate *= 0.9
        return self.rate


class Object(Base):
    def __init__(self):
        super().__init__()
        self.schedule = Schedule()

    def factor(self):
        return self.schedule.next()


class Statistics(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

    def forward(self, x):
        return self.body(x)


MODELS = [Centred, Normed, OwnGenerator, LaterGenerator, OtherGenerators, Counting, Containers, Object, Statistics]


def closure():
    centred, count = Centred(), 0

    def loss(output):
        nonlocal count
        count += 1
        return (output * count).sum() + centred(X).sum()

    return loss


def around(inner):
    return lambda output: inner(output) * 2.0


GLOBAL = Centred()


def by_name(output):
    return output.sum() + GLOBAL(X).sum()


class Callable:
    def __init__(self):
        self.inner, self.calls = Centred(), 0

    def __call__(self, output):
        self.calls += 1
        return output.sum() * self.calls + self.inner(X).sum()

    def method(self, output):
        return self(output)


LOSSES = {
    "a closure": closure,
    "a function of a global module": lambda: by_name,
    "a lambda around a closure": lambda: around(closure()),
    "an object": Callable,
    "a method": lambda: Callable().method,
    "a partial": lambda: functools.partial(lambda inner, output: inner(output), closure()),
}


def values(model, loss, count=3):
    found = []
    for _ in range(count):
        value = loss(model(X))
        gradients = torch.autograd.grad(value, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
        found.append([value, *(g for g in gradients if g is not None)])
    return found


def summed(output):
    return output.sum()


CASES = [(made, lambda: summed) for made in MODELS] + [(lambda: nn.Linear(4, 3), made) for made in LOSSES.values()]
NAMES = [made.__name__ for made in MODELS] + list(LOSSES)
cases = pytest.mark.parametrize(("make_model", "make_loss"), CASES, ids=NAMES)


@cases
@pytest.mark.parametrize("later", [0, 2])
def test_what_passes_write_is_put_back_bit_for_bit(make_model, make_loss, later):
    torch.manual_seed(0)
    model, loss = make_model(), make_loss()
    values(model, loss, later)
    state = Kept({"model": model, "loss": loss})
    first = values(model, loss)
    assert state.changes() or later
    state.restore()
    assert state.changes() == []
    assert same_bits(first, values(model, loss))


@cases
def test_the_packed_state_goes_on_in_other_objects(make_model, make_loss, tmp_path):
    if make_loss() is by_name:
        pytest.skip("one global object")
    torch.manual_seed(0)
    model, loss = make_model(), make_loss()
    values(model, loss, 2)
    torch.save([pack({"model": model, "loss": loss}), model.state_dict()], tmp_path / "state.pt")
    random.seed(5)
    drawn = random.getstate()
    expected = values(model, loss)
    other, another = make_model(), make_loss()
    packed, parameters = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(parameters)
    unpack(packed, {"model": other, "loss": another})
    random.setstate(drawn)
    assert same_bits(expected, values(other, another))
    unpack(packed, {"model": other, "loss": another})  # and again where it has gone on
    random.setstate(drawn)
    assert same_bits(expected, values(other, another))


@cases
def test_what_a_pass_changes_is_named_and_nothing_is_changed(make_model, make_loss):
    torch.manual_seed(0)
    model, loss = make_model(), make_loss()
    before = Kept({"model": model, "loss": loss})
    found = changes_of(lambda roots: roots["loss"](roots["model"](X)), {"model": model, "loss": loss})
    assert before.changes() == []
    assert found
    assert all(change.kept for change in found)


def test_changes_carry_module_attribute_and_kind():
    roots = {
        "model": nn.Sequential(
            Normed(), nn.BatchNorm1d(5), nn.Linear(5, 4), Counting(), nn.Linear(3, 4), OwnGenerator()
        )
    }
    found = {change.place: change for change in changes_of(lambda roots: roots["model"](X).sum(), roots)}
    kinds = {place: (change.kind, change.owner) for place, change in found.items()}
    assert kinds["model.0.rows.weight"] == ("parameter", "Embedding")
    assert kinds["model.1.running_mean"] == ("buffer", "BatchNorm1d")
    assert kinds["model.3.calls"] == ("attribute", "Counting")
    assert kinds["model.5.generator"] == ("generator", "OwnGenerator")


COUNT = 0


class Elsewhere(Base):
    def factor(self):
        global COUNT  # noqa: PLW0603
        COUNT += 1
        return float(COUNT)


class Iterating(Base):
    def __init__(self):
        super().__init__()
        self.numbers = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    def factor(self):
        return next(self.numbers)


class Numbered(Base):
    def __init__(self):
        super().__init__()
        self.numbers = itertools.count()

    def factor(self):
        return float(next(self.numbers))


class Slotted:
    __slots__ = ("count",)

    def __init__(self):
        self.count = 0


class InSlots(Base):
    def __init__(self):
        super().__init__()
        self.slots = Slotted()

    def factor(self):
        self.slots.count += 1
        return float(self.slots.count)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Elsewhere, "something outside the modules' attributes"),
        (Iterating, "model.numbers (attribute of Iterating)"),
        (Numbered, "model.numbers (attribute of Numbered)"),
        (InSlots, "model.slots (attribute of InSlots)"),
    ],
)
def test_what_cannot_be_put_back_is_found(make, said):
    found = changes_of(lambda roots: roots["model"](X).sum(), {"model": make()})
    assert [str(change) for change in found if not change.kept] == [said]


def test_gradients_that_a_loss_adds_up_itself_are_found_and_put_back():
    model = nn.Linear(4, 3)
    model(X).sum().backward()
    before = model.weight.grad.clone()

    def run(roots):
        roots["model"](X).square().sum().backward()
        return roots["model"](X).sum()

    found = changes_of(run, {"model": model})
    assert [change.kind for change in found if not change.kept] == ["gradient"]
    assert torch.equal(model.weight.grad, before)


def test_a_model_that_has_no_copy_is_tried_in_place():
    class Stubborn(Counting):
        def __deepcopy__(self, memo):
            raise TypeError("no copy")

    model = Stubborn()
    state = Kept({"model": model})
    assert "model.calls" in [c.place for c in changes_of(lambda roots: roots["model"](X).sum(), {"model": model})]
    assert state.changes() == []


def test_a_pass_that_raises_leaves_everything_as_it_was():
    model = Counting()
    state = Kept({"model": model})

    def run(roots):
        roots["model"](X)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        changes_of(run, {"model": model})
    assert state.changes() == []


def test_a_file_cannot_hide_a_method_or_name_a_class():
    model = Counting()
    packed = pack({"model": model})
    packed["model|"] |= {"forward": 1, "calls": ("subprocess.Popen", 1)}
    with pytest.raises(ValueError, match="no kind of value"):
        unpack(packed, {"model": model})
    packed["model|"]["calls"] = 7
    unpack(packed, {"model": model})
    assert model.calls == 7
    assert callable(model.forward)


def test_unkept_parameters_are_not_copied_and_chosen_ones_are():
    model = nn.Sequential(Normed(), nn.Linear(5, 5))
    state = Kept({"model": model}, parameters={"model.0.rows.weight"})
    assert sum(isinstance(leaf, nn.Parameter) for _, _, leaf, _ in state.leaves) == 1
    with kept(parameters={"model.0.rows.weight"}, model=model):
        model(X)
    assert state.changes() == []


def test_a_graph_that_waits_for_its_backward_pass_stays_valid():
    """Its gradients are those of a pass with nothing in between."""
    gradients = []
    for between in (False, True):
        torch.manual_seed(0)
        model = Statistics()
        value = model(X).square().sum()
        if between:
            with kept(model=model):
                model(X)
        value.backward()
        gradients.append([p.grad for p in model.parameters()])
    alone, interrupted = gradients
    assert alone
    assert all(torch.equal(a, b) for a, b in zip(alone, interrupted, strict=True))
