"""lightning.Trainer, watched: one callback, and the loss as a function of the module and a batch."""

import logging
import tempfile
import warnings

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thetadot.integrations.lightning import WatchCallback
from thetadot.records import Motion

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")  # few workers
torch.set_num_threads(1)


class Regression(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))

    def loss(self, batch) -> torch.Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def training_step(self, batch, _) -> torch.Tensor:
        loss = self.loss(batch)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


x = torch.randn(1024, 4, generator=torch.Generator().manual_seed(1))
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True) + x[:, :1] * x[:, 1:2]), batch_size=32, shuffle=True)
with tempfile.TemporaryDirectory() as folder:
    watching = WatchCallback(
        f"{folder}/record", loss=Regression.loss, reference=next(iter(DataLoader(loader.dataset, 256)))
    )
    trainer = Trainer(
        accelerator="cpu", max_epochs=20, gradient_clip_val=5.0, callbacks=[watching], default_root_dir=folder,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Regression(), loader)
    motions = watching.probe.record.of(Motion)
    print(f"loss {motions[0].loss:.3f} -> {motions[-1].loss:.3f} in {motions[-1].step} steps")
    for verdict in watching.probe.verdicts():
        print(f"{verdict.name:12} {verdict.finding}: {verdict.says}")
assert motions[-1].loss < motions[0].loss / 5
assert motions[-1].epoch == motions[-1].step / 32  # 1024 samples in batches of 32
