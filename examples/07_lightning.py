"""lightning.Trainer takes our optimizers as it takes torch's, checkpoints, clipping, schedules and averages included.

A small regression on made data. The run is saved half-way and resumed from there: it ends where the straight run ends,
bit for bit. Validation is done at the running average of the weights, in one `with`.
"""

import logging
import tempfile
import warnings

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thetadot.optim import HeavyBall

EPOCHS = 10
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")  # few workers, no checkpoint folder


class Regression(LightningModule):
    """Its validation is at the average, its training is not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
        self.at_average, self.gradients = [], 0

    def loss(self, batch) -> torch.Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def training_step(self, batch, _) -> torch.Tensor:
        self.gradients += 1
        return self.loss(batch)

    def validation_step(self, batch, _) -> None:
        with self.optimizers(use_pl_optimizer=False).averaged():
            self.at_average.append(self.loss(batch).item())

    def configure_optimizers(self) -> tuple[list, list]:
        optimizer = HeavyBall(self.parameters(), lr=0.1, momentum=0.9, averaging=0.95)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)]


def data(seed, size) -> TensorDataset:
    x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x.sum(1, keepdim=True) + x[:, :1] * x[:, 1:2])


def fit(folder, epochs, resume=None) -> Regression:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    seed_everything(1, verbose=False)
    model = Regression()
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, gradient_clip_val=1.0, default_root_dir=folder,
        enable_checkpointing=False, **quiet,
    )  # fmt: skip
    batches = DataLoader(data(0, 256), batch_size=32)
    trainer.fit(model, batches, DataLoader(data(1, 256), batch_size=256), ckpt_path=resume)
    trainer.save_checkpoint(f"{folder}/epoch-{epochs}.ckpt", weights_only=False)
    return model


with tempfile.TemporaryDirectory() as folder:
    straight = fit(folder, EPOCHS)
    assert straight.gradients == EPOCHS * 8  # a step asks for one gradient
    fit(folder, EPOCHS // 2)
    resumed = fit(folder, EPOCHS, resume=f"{folder}/epoch-{EPOCHS // 2}.ckpt")
same = all(torch.equal(p, q) for p, q in zip(straight.parameters(), resumed.parameters(), strict=True))
print(f"validation loss {straight.at_average[0]:.3f} -> {straight.at_average[-1]:.3f}; resumed, same end: {same}")
assert straight.at_average[-1] < straight.at_average[0] / 2
assert same
