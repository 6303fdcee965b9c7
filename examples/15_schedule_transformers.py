"""transformers.Trainer with a batch that grows and a schedule at fixed friction, in samples; nothing is downloaded."""

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from thetadot.schedules import BatchSampler, BatchSchedule, Clock, Coupled, ScheduleLR, warmup_stable_decay

SAMPLES, EPOCHS, WORDS = 256, 3, 16
begin = torch.randint(WORDS, (SAMPLES, 1), generator=torch.Generator().manual_seed(0))
data = [{"input_ids": text, "labels": text} for text in (begin + torch.arange(12)) % WORDS]
torch.manual_seed(0)
shape = {"vocab_size": WORDS, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2}
model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0))
sampler = BatchSampler(SAMPLES, BatchSchedule((0, SAMPLES, 2 * SAMPLES), (8, 16, 32)))
optimizer = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9)
falling = warmup_stable_decay(EPOCHS * SAMPLES, warmup=60, decay=200, first=0.1, last=0.1)
coupled = Coupled(falling, "lr", "friction", lr=0.2, momentum=0.9)
schedule = ScheduleLR(optimizer, coupled, Clock("samples", batches=sampler.samples_at))


class Growing(Trainer):
    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(data, batch_sampler=sampler, collate_fn=self.data_collator)


with tempfile.TemporaryDirectory() as folder:
    options = {"num_train_epochs": EPOCHS, "logging_steps": 8, "report_to": "none", "use_cpu": True}
    trainer = Growing(model, TrainingArguments(folder, **options), optimizers=(optimizer, schedule))
    trainer.train()
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
print(f"loss {losses[0]:.2f} -> {losses[-1]:.3f}; momentum 0.9 -> {optimizer.param_groups[0]['momentum']:.4f}")
assert losses[-1] < losses[0] / 2
