"""Small networks of every kind that a probe must leave alone."""

import pytest
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.mix = nn.Linear(8, 24)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        q, k, v = self.mix(self.embedding(tokens)).unflatten(-1, (3, 1, 8)).permute(2, 0, 3, 1, 4)
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0].mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind=nn.GRU):
        super().__init__()
        self.body = kind(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


class Counting(nn.Module):
    """A buffer replaced, not overwritten, at every call; one outside the state dict."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("trace", torch.zeros(3), persistent=False)

    def forward(self, x):
        self.calls = self.calls + 1.0
        y = self.layer(x)
        self.trace.mul_(0.9).add_(y.detach().mean(0))
        return y


def convolutional():
    return nn.Sequential(
        nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(9, 3)
    )


def spectral():
    """Its buffers move at every forward pass in training, and the loss depends on them."""
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(3, 3))


def unused():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    model.extra = nn.Parameter(torch.ones(7))
    model[0].bias.requires_grad_(requires_grad=False)
    return model


INPUTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(0, 11, (6, 5), generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(6) % 3

NETS = {
    "batch norm and dropout": (convolutional, INPUTS[:, None]),
    "attention and embedding": (Attention, TOKENS),
    "a GRU": (Recurrent, INPUTS[:, None].expand(6, 5, 4)),
    "an LSTM": (lambda: Recurrent(nn.LSTM), INPUTS[:, None].expand(6, 5, 4)),
    "buffers replaced": (Counting, INPUTS),
    "spectral norm": (spectral, INPUTS),
    "unused and frozen": (unused, INPUTS),
    "sparse": (lambda: nn.Sequential(nn.EmbeddingBag(11, 4, sparse=True), nn.Linear(4, 3)), TOKENS),
}


@pytest.fixture(params=NETS)
def net(request):
    return request.param


@pytest.fixture
def build():
    """Name and dtype -> (model, the loss as a function of nothing)."""

    def made(name, dtype=torch.float32):
        torch.manual_seed(1)
        make, inputs = NETS[name]
        model = make().to(dtype)
        inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
        return model, lambda: nn.functional.cross_entropy(model(inputs), TARGETS)

    return made
