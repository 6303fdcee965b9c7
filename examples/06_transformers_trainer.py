"""transformers.Trainer takes our optimizers as it takes torch's: either built, or as a class with its arguments.

The model is a GPT-2 of 22,000 parameters, the text is made, nothing is downloaded. The run is saved half-way and
resumed from there: it ends where the straight run ends, bit for bit.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import tempfile

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
)
from transformers.utils import logging

from thetadot.optim import AdamW, Kramers

STEPS, WORDS = 24, 16
logging.set_verbosity_error()
logging.disable_progress_bar()


def text() -> list[dict[str, torch.Tensor]]:
    """Sentences that count on from a word: every word but the first can be known."""
    begin = torch.randint(WORDS, (256, 1), generator=torch.Generator().manual_seed(0))
    sentences = (begin + torch.arange(12)) % WORDS
    return [{"input_ids": sentence, "labels": sentence} for sentence in sentences]


def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = {"bos_token_id": 0, "eos_token_id": 0, "n_embd": 32, "n_head": 2, "n_positions": 16, "vocab_size": WORDS}
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_inner=32, **config))


def arguments(folder) -> TrainingArguments:
    return TrainingArguments(
        folder, max_steps=STEPS, save_steps=STEPS // 2, logging_steps=1, per_device_train_batch_size=16, seed=1,
        max_grad_norm=1.0, learning_rate=0.02, weight_decay=0.01, use_cpu=True, disable_tqdm=True, report_to="none",
    )  # fmt: skip


def built(net, folder) -> Trainer:
    """The optimizer and its schedule, built."""
    optimizer = Kramers(net.named_parameters(), lr=0.2, momentum=0.9, temperature=1e-6, no_decay=("bias", "ln_"))
    schedule = get_cosine_schedule_with_warmup(optimizer, 4, STEPS)
    return Trainer(net, arguments(folder), train_dataset=text(), optimizers=(optimizer, schedule))


def named(net, folder) -> Trainer:
    """Its class and arguments; the trainer makes groups without weight decay for biases and norms."""
    kind = AdamW, {"lr": 0.02, "betas": (0.9, 0.99), "averaging": 0.9}
    return Trainer(net, arguments(folder), train_dataset=text(), optimizer_cls_and_kwargs=kind)


for make in (built, named):
    with tempfile.TemporaryDirectory() as folder:
        straight, resumed = model(), model()
        trainer = make(straight, folder)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        later = make(resumed, folder)
        later.remove_callback(PrinterCallback)
        later.train(resume_from_checkpoint=f"{folder}/checkpoint-{STEPS // 2}")
        same = all(torch.equal(p, q) for p, q in zip(straight.parameters(), resumed.parameters(), strict=True))
    print(f"{make.__name__}: loss {losses[0]:.2f} -> {losses[-1]:.2f}; resumed at step {STEPS // 2}, same end: {same}")
    assert losses[-1] < losses[0] / 2
    assert same
