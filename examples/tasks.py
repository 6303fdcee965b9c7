"""Tasks of one's own: a function that returns thetadot.Task, and nothing about how to train.

thetadot run examples/tasks.py:regression --epochs 20
"""

import inspect
import json

import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot


def regression() -> thetadot.Task:
    """Friedman's impedance of an electrical circuit: targets between 0 and 1800, left as they are."""
    generator = torch.Generator().manual_seed(1)
    low = torch.tensor([0.0, 40 * torch.pi, 0.0, 1.0])
    high = torch.tensor([100.0, 560 * torch.pi, 1.0, 11.0])
    x = torch.rand(5000, 4, generator=generator)
    r, w, c, inductance = (low + (high - low) * x).unbind(1)
    z = torch.sqrt(r**2 + (w * c - 1 / (w * inductance)) ** 2) + 20 * torch.randn(5000, generator=generator)
    model = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    data = [TensorDataset(2 * x[part] - 1, z[part, None]) for part in (slice(0, 4000), slice(4000, 5000))]
    return thetadot.Task(model, nn.functional.mse_loss, *data)


def convolution() -> thetadot.Task:
    """A convolutional network with batch normalisation and augmentation, on the digits."""
    task = thetadot.tasks.digits()

    class Shifted(torch.utils.data.Dataset):
        """Training images, each shifted by up to one pixel at random."""

        def __len__(self) -> int:
            return len(task.train)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            image, label = task.train[index]
            down, right = torch.randint(-1, 2, (2,)).tolist()
            return image.roll((down, right), (1, 2)), label

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    layers = [*block(1, 16), *block(16, 32), nn.MaxPool2d(2), *block(32, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return thetadot.Task(nn.Sequential(*layers, nn.Linear(32, 10)), nn.functional.cross_entropy, Shifted(), task.valid)


class CharacterModel(nn.Module):
    """A two-layer transformer that predicts the next character."""

    def __init__(self, symbols: int, context: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.place = nn.Parameter(torch.zeros(context, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, symbols)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(self.embedding(x) + self.place, mask=self.mask, is_causal=True)
        return self.head(hidden).transpose(1, 2)  # classes on axis 1


def characters() -> thetadot.Task:
    """Python's own json and inspect modules, read character by character."""
    context = 64
    text = inspect.getsource(inspect) + inspect.getsource(json)
    symbols = sorted(set(text))
    codes = torch.tensor([symbols.index(c) for c in text])
    windows = codes[: len(codes) // (context + 1) * (context + 1)].view(-1, context + 1)
    cut = int(0.9 * len(windows))
    data = [TensorDataset(part[:, :-1], part[:, 1:]) for part in (windows[:cut], windows[cut:])]
    return thetadot.Task(CharacterModel(len(symbols), context), nn.functional.cross_entropy, *data)
