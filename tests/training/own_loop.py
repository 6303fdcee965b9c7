"""A loop of one's own that may be killed: dropout, batch statistics, a loss with a state, random transforms."""

import hashlib
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import thetadot
from thetadot.optim import Kramers
from thetadot.schedules import BatchSampler, BatchSchedule, Cosine, Coupled, KeyedDataset, ScheduleLR

STEPS = 24


class Noisy(Dataset):
    def __len__(self):
        return 30

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, generator=generator) + 0.1 * torch.randn(3) + 0.1 * random.random()


class Centred(nn.Module):
    """A loss with a parameter, a buffer and a count."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("centre", torch.zeros(2), persistent=False)
        self.passes = 0

    def forward(self, output):
        self.passes += 1
        self.centre.lerp_(output.detach().mean(0), 0.1)
        return (output - self.scale).square().mean() + self.centre.square().sum() / self.passes


class Loop:
    def __init__(self, kind="SGD", workers=0, largest=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
        self.loss = Centred()
        params = [*self.model.parameters(), *self.loss.parameters()]
        made = {
            "SGD": lambda: torch.optim.SGD(params, 0.05, momentum=0.9, weight_decay=0.01),
            "Kramers": lambda: Kramers(params, 0.05, 0.9, weight_decay=0.01, temperature=1e-4),
            "AdamW": lambda: torch.optim.AdamW(params, 0.05, weight_decay=0.01),
        }
        self.optimizer = made[kind]()
        velocity = "mean" if kind == "AdamW" else "sum"
        coupled = Coupled(Cosine(STEPS, 1.0, 0.1), holds="friction", lr=0.05, momentum=0.9, velocity=velocity)
        self.schedule = ScheduleLR(self.optimizer, coupled)
        self.sampler = BatchSampler(30, BatchSchedule((0, 40), (4, 7)), largest=largest)
        self.loader = DataLoader(KeyedDataset(Noisy()), batch_sampler=self.sampler, num_workers=workers)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=5)
        self.average = torch.optim.swa_utils.AveragedModel(self.model)
        self.state = thetadot.checkpoint(
            self.model, self.optimizer, self.schedule, self.sampler, loss=self.loss, scaler=self.scaler,
            average=self.average,
        )  # fmt: skip
        random.seed(0)  # last: what the first of these imports draws from it
        np.random.seed(0)  # noqa: NPY002
        self.losses = []

    def passes(self, until):
        """Passes up to a step; nothing is kept outside of what is saved but for the losses."""
        while self.sampler.steps < until:
            for x, part in self.sampler.over(self.loader):
                value = self.loss(self.model(x)) * (1 + 0.01 * np.random.rand())  # noqa: NPY002
                self.scaler.scale(part.share * value).backward()
                self.losses.append(float(value.detach()))
                if part.last:
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    self.optimizer.zero_grad()
                    self.schedule.step()
                    self.average.update_parameters(self.model)
                yield part
                if self.sampler.steps >= until:
                    return

    def digest(self):
        found = hashlib.sha256()
        roots = (self.model.state_dict(), self.loss.state_dict(), self.average.state_dict())
        values = [value for root in roots for value in root.values()]
        values += [value for state in self.optimizer.state.values() for value in state.values()]
        values += [self.loss.centre, torch.get_rng_state()]
        for value in values:
            if isinstance(value, torch.Tensor):
                found.update(value.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        settings = [(g["lr"], g.get("momentum"), g.get("betas")) for g in self.optimizer.param_groups]
        rest = (settings, self.loss.passes, random.random(), np.random.rand(), self.scaler.get_scale())  # noqa: NPY002
        found.update(repr(rest).encode())
        return found.hexdigest()


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder, kind, at, how):
    """Go on from the file where there is one; be killed after the save of a step, or in its middle."""
    torch.set_num_threads(1)
    loop, path = Loop(kind, largest=3), Path(folder) / "loop.pt"
    if path.exists():
        loop.state.load(path)
    for part in loop.passes(STEPS):
        if part.step == int(at) and how == "writing":
            os.replace = killed
        loop.state.save(path, durable=False)
        if part.step == int(at) and how == "step":
            killed()
    print(loop.digest())  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
