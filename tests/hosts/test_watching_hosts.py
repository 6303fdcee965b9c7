"""Hosts that run the loop: the watched run is the run, and the record tells what the host did."""

import importlib
import logging
import random
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thetadot
from thetadot.cli import main
from thetadot.errors import InadmissibleValue, RunFolderError, ThetadotError
from thetadot.records import Curvature, End, Motion, Noise, Remark, read

pytestmark = pytest.mark.filterwarnings("ignore")  # what the hosts warn of

B, STEPS, K, WORDS = 16, 12, 2, 8
SENTENCES = (torch.arange(B * K * STEPS)[:, None] + torch.arange(6)) % WORDS
X = torch.randn(B * K * STEPS, 3, generator=torch.Generator().manual_seed(0))
Y = X.prod(1, keepdim=True)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def mse(model, batch):
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def ending(model):
    """All that comes after a run could depend on."""
    draws = (torch.rand(2).tolist(), random.random(), np.random.rand())  # noqa: NPY002
    return [v.clone() for v in model.state_dict().values()], draws


def assert_alike(one, other):
    assert one[1] == other[1]
    assert all(torch.equal(p, q) for p, q in zip(one[0], other[0], strict=True))


def assert_bare(model, optimizer):
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def assert_told(record, losses, batch, gradients=None, noise=frozenset()):
    motions = record.of(Motion)
    assert [motion.step for motion in motions] == list(range(1, len(losses) + 1))
    assert [motion.loss for motion in motions] == pytest.approx(losses, rel=1e-5)
    assert {motion.batch_size for motion in motions} == {batch}
    if gradients is not None:
        assert [motion.gradient_norm for motion in motions] == pytest.approx(gradients, rel=1e-4)
    assert {found.method for found in record.of(Curvature)} == {"lanczos"}
    assert {found.method for found in record.of(Noise)} == {"reference"} | noise
    assert [remark for remark in record.of(Remark) if remark.about != "sampling"] == []
    assert record.of(End)[-1].because == "closed"


# transformers.


def trainer(folder, callbacks, **changes):
    from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainingArguments
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()
    torch.manual_seed(0)
    shape = {"n_embd": 8, "n_head": 2, "n_layer": 1, "n_inner": 8, "n_positions": 8}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, bos_token_id=0, eos_token_id=0, **shape))
    options = {"gradient_accumulation_steps": K, "max_grad_norm": 0.5, "learning_rate": 0.01} | changes
    arguments = TrainingArguments(
        folder, max_steps=STEPS, logging_steps=1, per_device_train_batch_size=B, seed=1, use_cpu=True,
        disable_tqdm=True, report_to="none", save_strategy="no", **options,
    )  # fmt: skip
    texts = [{"input_ids": row, "labels": row.where(row > 1, -100)} for row in SENTENCES]  # targets vary in number
    made = Trainer(model, arguments, train_dataset=texts, callbacks=callbacks)
    made.remove_callback(PrinterCallback)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, K])
def test_transformers(tmp_path, accumulate):
    from thetadot.integrations.transformers import WatchCallback

    changes = {"gradient_accumulation_steps": accumulate}
    plain, callback = trainer(tmp_path, [], **changes), WatchCallback(tmp_path / "a", level="full")
    plain.train()
    end = ending(plain.model)
    watched = trainer(tmp_path, [callback], **changes)
    watched.train()
    assert_alike(end, ending(watched.model))
    assert_bare(watched.model, watched.optimizer.optimizer)
    logs = [entry for entry in watched.state.log_history if "loss" in entry]
    clipped = [min(float(entry["grad_norm"]), 0.5) for entry in logs]
    record = read(tmp_path / "a")
    noise = {"accumulation"} if accumulate > 1 else set()
    assert_told(record, [entry["loss"] for entry in logs], B * accumulate, clipped, noise)
    assert record.header.train_samples == len(SENTENCES)
    assert record.header.watched.reference_samples == B
    assert [motion.lr for motion in record.of(Motion)] == pytest.approx([entry["learning_rate"] for entry in logs])


@pytest.mark.slow
def test_transformers_compiled_says_what_it_does_not_see(tmp_path):
    from thetadot.integrations.transformers import WatchCallback

    callback = WatchCallback(reference={"input_ids": SENTENCES[:B], "labels": SENTENCES[:B]}, level="full")
    torch.compiler.reset()
    watched = trainer(tmp_path, [callback], torch_compile=True, torch_compile_backend="eager")
    watched.train()
    assert callback.probe.record.of(Curvature)[0].method == "lanczos"
    assert [r.about for r in callback.probe.record.of(Remark) if r.about != "sampling"] == ["samples"]
    assert_bare(watched.model, watched.optimizer.optimizer)


# Lightning.


def fit(folder, callbacks, *, accumulate=1, epochs=1, fail=None):
    from pytorch_lightning import LightningModule, Trainer, seed_everything

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Host(LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.losses, self.gradients = net(), [], []

        def training_step(self, batch, number):
            if number == fail:
                raise KeyError
            loss = mse(self.net, batch)
            self.log("loss", loss)
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch, _):
            self.log("validation", mse(self.net, batch))

        def on_before_optimizer_step(self, _):
            self.gradients.append(float(nn.utils.get_total_norm([p.grad for p in self.parameters()])))

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    seed_everything(1, verbose=False)
    host = Host()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    made = Trainer(
        accelerator="cpu", max_epochs=epochs, enable_checkpointing=False, default_root_dir=folder, callbacks=callbacks,
        accumulate_grad_batches=accumulate, gradient_clip_val=0.2, **quiet,
    )  # fmt: skip
    data = TensorDataset(X, Y)
    made.fit(host, DataLoader(data, batch_size=B, shuffle=True), DataLoader(data, batch_size=64))
    return host, made


@pytest.mark.parametrize("accumulate", [1, K])
def test_lightning(tmp_path, accumulate):
    from thetadot.integrations.lightning import WatchCallback

    host, _ = fit(tmp_path, [], accumulate=accumulate, epochs=2)
    end = ending(host)
    callback = WatchCallback(tmp_path / "a", loss=lambda host, batch: mse(host.net, batch), level="full")
    host, made = fit(tmp_path, [callback], accumulate=accumulate, epochs=2)
    assert_alike(end, ending(host))
    assert_bare(host, made.optimizers[0])
    losses = torch.tensor(host.losses).view(-1, accumulate).mean(1).tolist()
    record = read(tmp_path / "a")
    noise = {"accumulation"} if accumulate > 1 else set()
    assert_told(record, losses, B * accumulate, [min(g, 0.2) for g in host.gradients], noise)
    assert record.header.train_samples == len(X)


def test_lightning_ends_the_record_of_a_fit_that_raises(tmp_path):
    from thetadot.integrations.lightning import WatchCallback

    with pytest.raises(KeyError):
        fit(tmp_path, [WatchCallback(tmp_path / "a")], fail=3)
    assert read(tmp_path / "a").of(End)[0].because == "exception"
    assert set(read(tmp_path / "a").header.watched.lacks) == {"curvature", "barrier"}
    with pytest.raises(RunFolderError, match="holds the record of another run"):
        fit(tmp_path, [WatchCallback(tmp_path / "a")])


def test_lightning_with_two_optimizers_is_refused():
    from thetadot.integrations.lightning import WatchCallback

    class Two:
        optimizers = (1, 2)

    with pytest.raises(InadmissibleValue, match="has 2 optimizers; WatchCallback reads one"):
        WatchCallback().on_fit_start(Two(), net())


# accelerate.


def accelerated(watching):
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    from thetadot.integrations.accelerate import watch

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    set_seed(5)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=K)
    loader = DataLoader(TensorDataset(X, Y), batch_size=B, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    loss_fn, losses = nn.MSELoss(), []
    probe = watching and watch(accelerator, model, optimizer, loss_fn=loss_fn, reference=(X, Y), level="full").start()
    for x, y in loader:
        with accelerator.accumulate(model):
            loss = loss_fn(model(x), y)
            losses.append(loss.item())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 0.2)
            optimizer.step()
            optimizer.zero_grad()
    if watching:
        probe.close()
    return model, optimizer, losses, probe


def test_accelerate():
    end = ending(accelerated(watching=False)[0])
    model, optimizer, losses, probe = accelerated(watching=True)
    assert_alike(end, ending(model))
    assert_bare(model, optimizer.optimizer)
    assert_told(probe.record, torch.tensor(losses).view(-1, K).mean(1).tolist(), B * K, noise={"accumulation"})


def test_accelerate_wants_what_was_prepared():
    from thetadot.integrations.accelerate import watch

    model = net()
    with pytest.raises(InadmissibleValue, match=r"type SGD, not prepared. Pass what accelerator\.prepare"):
        watch(None, model, torch.optim.SGD(model.parameters(), lr=0.1))


# TensorBoard.


def short(folder):
    model, loss_fn = net(), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(X, Y), out=folder, level="full"):
        for _ in range(3):
            optimizer.zero_grad()
            loss_fn(model(X), Y).backward()
            optimizer.step()


def test_tensorboard_holds_every_number(tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    short(tmp_path / "a")
    assert main(["export", str(tmp_path / "a"), "--tensorboard", str(tmp_path / "logs")]) == 0
    assert "3 steps written" in capsys.readouterr().out
    events = EventAccumulator(str(tmp_path / "logs"), size_guidance={"scalars": 0})
    events.Reload()
    written = {(name, e.step): e.value for name in events.Tags()["scalars"] for e in events.Scalars(name)}
    expected = {}
    thetadot.records.export(
        read(tmp_path / "a"), lambda values, step: expected.update({(n, step): v for n, v in values.items()})
    )
    assert written == pytest.approx(expected, rel=1e-6)
    assert ("curvature/sharpness", 1) in written


def test_a_kind_and_tensorboard_contradict_each_other(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--tensorboard", str(tmp_path), "--kind", "noise"]) == 2
    assert "TensorBoard gets every number" in capsys.readouterr().err


def test_a_logdir_that_is_a_file_is_said(tmp_path, capsys):
    short(tmp_path / "a")
    (tmp_path / "logs").write_text("")
    assert main(["export", str(tmp_path / "a"), "--tensorboard", str(tmp_path / "logs")]) == 2
    assert "cannot be written" in capsys.readouterr().err


# Without the host.


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("lightning", ("lightning", "lightning.pytorch", "pytorch_lightning")),
        ("transformers", ("transformers",)),
        ("accelerate", ("accelerate", "accelerate.optimizer")),
        ("tensorboard", ("torch.utils.tensorboard",)),
    ],
)
def test_an_absent_host_is_one_sentence(monkeypatch, tmp_path, name, absent):
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"thetadot.integrations.{name}", raising=False)
    with pytest.raises(ThetadotError, match=rf"Run: pip install 'thetadot\[{name}\]'"):
        importlib.import_module(f"thetadot.integrations.{name}").export(tmp_path, tmp_path)
