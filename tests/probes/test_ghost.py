"""Ghost norms against a gradient per sample, by torch.func."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap

from thetadot.errors import InadmissibleValue
from thetadot.probes import Objective, ghost_norms, gradient_noise

B = 5


def by_sample(model, inputs, loss):
    """name -> (B, *) gradients of single samples."""
    values = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def one(parameters, x):
        return loss(functional_call(model, parameters, (x.unsqueeze(0),)))

    return vmap(grad(one), in_dims=(None, 0), randomness="error")(values, inputs)


def square(y):
    """A mean over samples that is not linear in what comes out."""
    return (y.flatten(1) + 0.3).square().sum(1).mean()


def compared(model, inputs, *, covered=None):
    found = ghost_norms(Objective(model, lambda: square(model(inputs))), len(inputs))
    expected = by_sample(model, inputs, square)
    names = set(expected) if covered is None else covered
    assert names
    assert set(found.squares) == names
    assert set(found.uncovered) == set(expected) - names
    for name in names:
        torch.testing.assert_close(
            found.squares[name], expected[name].flatten(1).square().sum(1), rtol=1e-8, atol=1e-10
        )
        assert found.mean_squares[name] == pytest.approx(
            float(expected[name].mean(0).square().sum()), rel=1e-8, abs=1e-12
        )
    return found, expected


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tokens(*shape):
    return torch.randint(0, 7, shape, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.b(torch.relu_(self.a(x)))


NETS = {
    "linear": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2, bias=False)), numbers(B, 4)),
    "sequence": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)), numbers(B, 3, 4)),
    "long sequence": (lambda: nn.Linear(2, 2), numbers(B, 30, 2)),
    "two sequence dimensions": (lambda: nn.Linear(4, 3), numbers(B, 2, 3, 4)),
    "norms": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.RMSNorm(6, eps=1e-3), nn.LayerNorm((3, 6))),
        numbers(B, 3, 4),
    ),
    "embedding": (lambda: nn.Sequential(nn.Embedding(7, 4), nn.Tanh(), nn.Linear(4, 2)), tokens(B, 9)),
    "embedding of one": (lambda: nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2)), tokens(B)),
    "padding": (lambda: nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.Linear(4, 2)), tokens(B, 9)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), numbers(B, 4, 11)),
    "same": (lambda: nn.Conv2d(4, 6, (3, 5), padding="same", dilation=2), numbers(B, 4, 9, 6)),
    "conv2d": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, (3, 2), padding=(2, 1)), nn.Tanh(), nn.Conv2d(4, 4, 2, groups=4)),
        numbers(B, 2, 6, 5),
    ),
    "twice": (Twice, numbers(B, 4)),
    "in place": (InPlace, numbers(B, 4)),
}


@pytest.mark.parametrize("name", NETS)
def test_they_are_those_of_a_gradient_per_sample(name):
    make, inputs = NETS[name]
    torch.manual_seed(0)
    model = make().double()
    found, _ = compared(model, inputs)
    assert set(found.squares) == {name for name, _ in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_same_padding_of_an_even_kernel_is_one_longer_at_the_end():
    torch.manual_seed(0)
    found, _ = compared(nn.Conv1d(4, 6, 4, padding="same").double(), numbers(B, 4, 9))
    assert set(found.squares) == {"weight", "bias"}


@settings(max_examples=40)
@given(
    batch=st.integers(2, 5),
    length=st.integers(1, 9),
    groups=st.integers(1, 3),
    width=st.integers(1, 3),
    out=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_whatever_the_shapes(batch, length, groups, width, out, kernel, stride, dilation, bias):
    torch.manual_seed(0)
    options = {
        "stride": stride,
        "dilation": dilation,
        "groups": groups,
        "bias": bias,
        "padding": dilation * (kernel - 1),
    }
    layer = nn.Conv1d(groups * width, groups * out, kernel, **options).double()
    own = {"weight", "bias"} if bias else {"weight"}
    for module, inputs in (
        (layer, numbers(batch, groups * width, length)),
        (nn.Linear(width, out, bias=bias).double(), numbers(batch, length, width)),
    ):
        found, _ = compared(module, inputs)
        assert set(found.squares) == own


def test_the_noise_is_that_of_all_gradients_and_parts_add_up():
    make, inputs = NETS["sequence"]
    torch.manual_seed(0)
    found, expected = compared(make().double(), inputs)
    rows = torch.cat([g.flatten(1) for g in expected.values()], dim=1)
    whole = gradient_noise(rows, samples=1)
    parts = list(found.noise().values())
    assert sum(v for v, _ in parts) == pytest.approx(whole.variance, rel=1e-9)
    assert sum(s for _, s in parts) == pytest.approx(whole.square, rel=1e-9)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.mix, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(torch.tanh(self.mix(self.embedding(x))))


class Behind(nn.Module):
    """A weight that is also used without its layer, and one that is never used as a layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.own = nn.Linear(4, 4), nn.Linear(4, 4), nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.a(x) * self.own + nn.functional.linear(torch.tanh(x), self.a.weight) + x @ self.b.weight


class Folded(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x.reshape(-1, 4)).reshape(x.shape)))


@pytest.mark.parametrize(
    ("make", "inputs", "covered", "missing", "reason"),
    [
        (Tied, tokens(B, 3), {"mix.weight", "mix.bias"}, "embedding.weight", "is shared between layers"),
        (Behind, numbers(B, 4), {"a.bias", "b.bias"}, "a.weight", "is used outside its layer as well"),
        (Behind, numbers(B, 4), {"a.bias", "b.bias"}, "b.weight", "was not called as a layer"),
        (Behind, numbers(B, 4), {"a.bias", "b.bias"}, "own", "of a kind that is not covered"),
        (Folded, numbers(B, 3, 4), {"b.weight", "b.bias"}, "a.weight", "does not see the samples along the first"),
        (
            lambda: nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular", bias=False),
            numbers(B, 2, 6),
            set(),
            "weight",
            "of a kind that is not covered",
        ),
    ],
)
def test_what_is_not_covered_is_named_and_the_rest_is_right(make, inputs, covered, missing, reason):
    torch.manual_seed(0)
    model = make().double()
    found = ghost_norms(Objective(model, lambda: square(model(inputs))), B)
    assert reason in found.uncovered[missing]
    assert covered == set(found.squares)
    values = {name: p.detach() for name, p in model.named_parameters() if name in found.squares and name != "b.bias"}
    if make is not Behind:
        expected = by_sample(model, inputs, square)
        for name in values:
            torch.testing.assert_close(found.squares[name], expected[name].flatten(1).square().sum(1))


def test_a_parameter_that_the_loss_does_not_know_has_no_noise():
    torch.manual_seed(0)
    model = Behind().double()
    inputs = numbers(B, 4)
    found = ghost_norms(Objective(model, lambda: square(model(inputs))), B)
    assert found.squares["b.bias"].tolist() == [0.0] * B
    assert found.mean_squares["b.bias"] == 0.0


def test_before_batch_normalization_in_training_there_are_no_gradients_of_samples():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()
    inputs = numbers(B, 4)
    found = ghost_norms(Objective(model, lambda: square(model(inputs))), B)
    assert set(found.squares) == {"3.weight", "3.bias"}
    assert "lies before batch normalization" in found.uncovered["0.weight"]
    assert "batch normalization is not covered" in found.uncovered["1.weight"]
    model.eval()
    found, _ = compared(model, inputs, covered={"0.weight", "0.bias", "3.weight", "3.bias"})
    assert "batch normalization" in found.uncovered["1.bias"]


def test_under_checkpointing_a_layer_is_counted_once():
    torch.manual_seed(0)
    body, head = nn.Linear(4, 6).double(), nn.Linear(6, 2).double()
    model, inputs = nn.Sequential(body, head), numbers(B, 4)

    def loss():
        return square(
            head(torch.utils.checkpoint.checkpoint(lambda x: torch.tanh(body(x)), inputs, use_reentrant=False))
        )

    found = ghost_norms(Objective(model, loss), B)
    plain = ghost_norms(Objective(model, lambda: square(head(torch.tanh(body(inputs))))), B)
    for name in plain.squares:
        torch.testing.assert_close(found.squares[name], plain.squares[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_narrower_numbers_it_covers_the_same(dtype):
    torch.manual_seed(0)
    make, inputs = NETS["sequence"]
    model = make().to(dtype)
    found = ghost_norms(Objective(model, lambda: square(model(inputs.to(dtype)).float())), B)
    assert found.uncovered == {}
    expected = ghost_norms(Objective(model.double(), lambda: square(model(inputs))), B)
    for name in expected.squares:
        torch.testing.assert_close(found.squares[name], expected.squares[name], rtol=0.1, atol=1e-3)


def test_no_hook_is_left_behind_also_when_the_loss_raises():
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))

    def failing():
        model(torch.ones(3, 4))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ghost_norms(Objective(model, failing), 3)
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 0, 0]


def test_one_sample_has_no_variance():
    with pytest.raises(InadmissibleValue, match="samples=1 is below 2"):
        ghost_norms(Objective(nn.Linear(2, 1), lambda: torch.zeros(())), 1)
