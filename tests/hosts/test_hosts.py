"""Frames that step optimizers for their users: they move ours as they move torch's."""

import copy
import logging
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thetadot.integrators import Splitting
from thetadot.optim import AdamW, Flow, Kramers
from thetadot.systems import Kramers as KramersDynamics

BATCHES = [(torch.randn(8, 3, generator=torch.Generator().manual_seed(n)), torch.ones(8, 1)) for n in range(6)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 1))


def mse(model, batch):
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def kramers(model):
    generator = torch.Generator().manual_seed(1)
    return Kramers(model.parameters(), lr=0.1, temperature=1e-3, generator=generator)


def two_gradients(model):
    """A scheme of two gradients a step."""
    system = KramersDynamics(1.0, 1e-3)
    return Flow(model.parameters(), system, Splitting("BAOBAB"), 0.1, generator=torch.Generator().manual_seed(1))


def plainly(model, build):
    optimizer = build(model)
    torch.manual_seed(5)
    for batch in BATCHES:

        def closure():
            optimizer.zero_grad()
            loss = mse(model, batch)
            loss.backward()
            return loss

        optimizer.step(closure)
    return model


def assert_same(model, other):
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("build", [kramers, lambda model: AdamW(model.parameters(), averaging=0.9)])
def test_accelerate_steps_as_we_do(build):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from accelerate import Accelerator

    model = net()
    accelerator = Accelerator(cpu=True)
    prepared, optimizer = accelerator.prepare(model, build(model))
    torch.manual_seed(5)
    for number, batch in enumerate(BATCHES):
        optimizer.zero_grad()
        accelerator.backward(mse(prepared, batch))
        optimizer.step()
        assert not optimizer.step_was_skipped
        assert optimizer.optimizer.steps == number + 1
    assert_same(model, plainly(net(), build))
    resumed = accelerator.prepare(build(net()))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert resumed.optimizer.steps == len(BATCHES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("build", "gradients"), [(kramers, 1), (two_gradients, 2)])
def test_lightning_calls_its_closure_as_often_as_a_step_needs_gradients(build, gradients, tmp_path):
    from pytorch_lightning import LightningModule, Trainer

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Host(LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.seen = net(), []

        def training_step(self, batch, number):
            self.seen.append(number)
            return mse(self.net, batch)

        def configure_optimizers(self):
            return build(self.net)

        def on_train_start(self):
            torch.manual_seed(5)

    host = Host()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, enable_checkpointing=False, default_root_dir=tmp_path, **quiet)
    everything = TensorDataset(*(torch.cat(part) for part in zip(*BATCHES, strict=True)))
    trainer.fit(host, DataLoader(everything, batch_size=8))
    assert host.seen == [number for number in range(len(BATCHES)) for _ in range(gradients)]
    assert trainer.global_step == len(BATCHES)  # a step is one step, however many gradients it took
    assert_same(host.net, plainly(net(), build))
