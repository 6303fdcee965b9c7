"""transformers.Trainer, watched: one callback. The run is bit for bit the one without it.

The model is a GPT-2 of 9,000 parameters, the text is made, nothing is downloaded.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging

from thetadot.integrations.transformers import WatchCallback
from thetadot.records import Curvature, Motion

WORDS, STEPS = 16, 40
logging.set_verbosity_error()
torch.set_num_threads(1)  # small tensors
begin = torch.randint(WORDS, (512, 1), generator=torch.Generator().manual_seed(0))
text = [{"input_ids": sentence, "labels": sentence} for sentence in (begin + torch.arange(12)) % WORDS]


def train(callbacks) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = {"bos_token_id": 0, "eos_token_id": 0, "n_embd": 32, "n_head": 2, "n_positions": 16, "vocab_size": WORDS}
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_inner=32, **config))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=STEPS, per_device_train_batch_size=16, gradient_accumulation_steps=4, learning_rate=0.01,
            max_grad_norm=1.0, seed=1, use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no",
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=text, callbacks=callbacks)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model


watching = WatchCallback(level="full")  # WatchCallback("runs/a") writes a record to draw a report from
watched, plain = train([watching]), train([])
same = all(torch.equal(p, q) for p, q in zip(watched.parameters(), plain.parameters(), strict=True))

record = watching.probe.record
motions = record.of(Motion)
found = record.of(Curvature)[-1]
print(
    f"loss {motions[0].loss:.2f} -> {motions[-1].loss:.2f}, {motions[-1].batch_size} samples a step, same end: {same}"
)
print(f"preconditioned curvature {found.sharpness:.1f} of {found.limit:.1f} where AdamW's step turns unstable")
for verdict in watching.probe.verdicts():
    print(f"{verdict.name:12} {verdict.finding}: {verdict.says}")
assert same
assert motions[-1].batch_size == 64
