"""lightning.Trainer with temperature lowered by the batch first and the step after it, in samples; data are made."""

import logging
import warnings

import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from thetadot.schedules import BatchSampler, Clock, Cosine, Coupled, ScheduleLR

EPOCHS, SAMPLES = 8, 256
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")
wave, start = Cosine(EPOCHS * SAMPLES, 1.0, 0.01), {"lr": 0.01, "momentum": 0.9}
cooling = Coupled(wave, "temperature", "friction", batch_size=8, largest_batch=64, **start)
sampler = BatchSampler(SAMPLES, cooling.batch_at)
model, losses = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)), []


class Regression(LightningModule):
    def training_step(self, batch, _) -> torch.Tensor:
        losses.append(torch.nn.functional.mse_loss(model(batch[0]), batch[1]))
        return losses[-1]

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.SGD(model.parameters(), **start)
        schedule = ScheduleLR(optimizer, cooling, Clock("samples", batches=sampler.samples_at))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


x = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(0))
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True) + x[:, :1] * x[:, 1:2]), batch_sampler=sampler)
quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
Trainer(accelerator="cpu", max_epochs=EPOCHS, **quiet).fit(Regression(), loader)
first, last = (sum(map(torch.Tensor.item, losses[end])) / 8 for end in (slice(8), slice(-8, None)))
print(f"{len(losses)} steps, the last of {cooling(wave.duration).batch_size} samples; loss {first:.3f} -> {last:.3f}")
assert last < first / 4
