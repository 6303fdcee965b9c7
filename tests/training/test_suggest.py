"""A suggestion is what a run begins with, touches nothing, and trains as a loop of one's own."""

import copy
import io
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.blobs import blobs
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import thetadot
from thetadot.cli import main
from thetadot.errors import InadmissibleValue, TaskError
from thetadot.records import Choice, Epoch
from thetadot.training.setting import seed_all

SETTINGS = ("batch_size", "optimizer", "lr", "momentum")
G = torch.Generator().manual_seed(0)
X = torch.randn(200, 4, generator=G)
Y = (X[:, 0] > 0).long()


class Busy(nn.Module):
    """Statistics of batches, dropout, a generator and a count of its own."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
        self.calls, self.own = 0, torch.Generator().manual_seed(5)

    def forward(self, x):
        self.calls += 1
        return self.body(x + 0.01 * torch.randn(x.shape, generator=self.own))


class Rows(Dataset):
    """Samples that are dicts."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return {"x": X[i], "labels": Y[i]}


class Own(nn.Module):
    """A model that returns its own loss."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 2)

    def forward(self, x, labels):
        return {"loss": nn.functional.cross_entropy(self.body(x), labels)}


def begun(record):
    return {c.setting: (c.value, c.because) for c in record.of(Choice) if c.setting in SETTINGS}


@pytest.mark.parametrize("given", [{}, {"optimizer": "heavy-ball"}, {"lr": 0.1, "batch_size": 8}])
@pytest.mark.parametrize("seed", [0, 7])
def test_what_is_suggested_is_what_a_run_of_that_seed_begins_with(tmp_path, given, seed):
    record = thetadot.run(blobs, out=tmp_path / "run", epochs=2, seed=seed, page=False, **given).record
    seed_all(seed)
    task = blobs()
    found = thetadot.suggest(task.model, task.loss, task.train, epochs=2, seed=seed, **given)
    ours = {c.setting: (c.value, c.because) for c in found.settings if c.setting in SETTINGS}
    assert {name: value for name, (value, _) in ours.items()} == {n: v for n, (v, _) in begun(record).items()}
    result = record.result
    assert (found.optimizer, found.lr, found.batch_size) == (result.optimizer, result.lr, result.batch_size)


@pytest.mark.parametrize("mode", [True, False])
def test_nothing_is_touched(mode):
    model = Busy().train(mode)
    model.body[0].weight.requires_grad_(requires_grad=False)
    nn.functional.cross_entropy(model(X[:8]), Y[:8]).backward()
    before = copy.deepcopy(model.state_dict())
    kept = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    numpys = np.random.get_state()  # noqa: NPY002
    states = torch.get_rng_state(), random.getstate(), numpys, model.own.get_state(), model.calls
    thetadot.suggest(model, nn.functional.cross_entropy, (X, Y), optimizer="heavy-ball")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(
        (g is None and p.grad is None) or torch.equal(g, p.grad) for p, g in zip(model.parameters(), kept, strict=True)
    )
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[2], strict=True))  # noqa: NPY002
    assert torch.equal(model.own.get_state(), states[3])
    assert (model.calls, model.training, model.body[1].training) == (states[4], mode, mode)
    assert not model.body[0].weight.requires_grad


@pytest.mark.parametrize(
    "data", [(X, Y), TensorDataset(X, Y), DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True)]
)
def test_data_come_as_tensors_datasets_and_loaders(data):
    torch.manual_seed(0)
    found = thetadot.suggest(nn.Linear(4, 2), nn.functional.cross_entropy, data, epochs=3)
    assert (found.batch_size, found.samples, found.steps) == (16, 200, 39)


@pytest.mark.parametrize("data", [Rows(), DataLoader(Rows(), batch_size=4)])
def test_dict_batches_and_models_with_a_loss_of_their_own(data):
    found = thetadot.suggest(Own(), data=data)
    assert found.optimizer == "adam"
    assert found.loss[0] == pytest.approx(0.7, abs=0.4)


@pytest.mark.parametrize("budget", [22, 60, 300, None])
@pytest.mark.parametrize("samples", [3, 20, 200])
def test_the_price_is_said_and_kept_to(budget, samples):
    found = thetadot.suggest(nn.Linear(4, 2), nn.functional.cross_entropy, (X[:samples], Y[:samples]), budget=budget)
    assert 0 < found.price <= (budget or 0.05 * 60 * samples + 40)
    assert f"{round(found.price):,}" in repr(found)


def test_what_was_measured_has_its_interval():
    found = thetadot.suggest(nn.Linear(4, 2), nn.functional.cross_entropy, (X, Y), epochs=300, optimizer="heavy-ball")
    lr = next(c for c in found.settings if c.setting == "lr")
    assert lr.low <= lr.value <= lr.high
    assert lr.value == pytest.approx(0.1 / (8 * found.curvature.sharpness))
    assert lr.low == pytest.approx(0.1 / (8 * found.curvature.high))
    assert "95%" in repr(found)


def test_a_batch_by_the_noise_scale_has_the_interval_of_the_noise():
    found = thetadot.suggest(nn.Linear(4, 2), nn.functional.cross_entropy, (X, Y), epochs=1000)
    batch = next(c for c in found.settings if c.setting == "batch_size")
    assert batch.source == "measured"
    assert batch.low <= batch.value <= batch.high


@pytest.mark.parametrize("about", ["inputs", "targets"])
def test_bad_scales_are_said_as_a_run_says_them(tmp_path, about):
    x, y = X.clone(), X.sum(1, keepdim=True)
    if about == "inputs":
        x[:, 0] *= 1e4
    else:
        y = 1e3 * y + 1e5
    model, data = nn.Linear(4, 1), TensorDataset(x, y)
    found = thetadot.suggest(model, nn.functional.mse_loss, data)
    (remark,) = found.remarks
    assert remark.about == about
    assert "x.std(0)" in remark.says or "y.std(0)" in remark.says
    assert remark.says in repr(found)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"budget": 21}, InadmissibleValue, "budget=21 is below 22"),
        ({"budget": float("nan")}, InadmissibleValue, "budget"),
        ({"budget": 25, "optimizer": "heavy-ball"}, InadmissibleValue, "does not pay for the curvature"),
        ({"epochs": 0}, InadmissibleValue, "epochs=0"),
        ({"batch_size": 500}, InadmissibleValue, "larger than the training data"),
        ({"data": None}, TaskError, "data is missing"),
        ({"data": (X, Y[:5])}, TaskError, "200 inputs and 5 targets"),
        ({"data": 5}, TaskError, "data is a int"),
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, TaskError, "it is a sum"),
        ({"loss": nn.CrossEntropyLoss}, TaskError, r"Pass CrossEntropyLoss\(\)"),
        ({"model": nn.Flatten()}, TaskError, "no trainable parameter"),
        ({"model": nn.Linear(4, 2).double()}, TaskError, "float32"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(given, error, says):
    right = {"model": nn.Linear(4, 2), "loss": nn.functional.cross_entropy, "data": (X, Y)}
    with pytest.raises(error, match=says):
        thetadot.suggest(**(right | given))


# The schedule.


def suggested(**given):
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    return model, thetadot.suggest(model, nn.functional.cross_entropy, (X, Y), epochs=4, **given)


@pytest.mark.parametrize("annealing", ["linear", "cosine"])
def test_the_schedule_is_that_of_a_run(tmp_path, annealing):
    run = thetadot.run(blobs, out=tmp_path / "r", epochs=2, lr=0.01, optimizer="adam", annealing=annealing, page=False)
    del run
    model, found = suggested(annealing=annealing)
    optimizer = found.build(model.parameters())
    schedule = found.schedule(optimizer)
    rates = []
    for _ in range(found.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    wanted = [found.plan.at((k + 0.5) / found.steps).lr for k in range(found.steps)]
    assert rates == pytest.approx(wanted)
    if annealing == "linear":
        assert optimizer.param_groups[0]["lr"] == 0.0
        assert max(rates) == found.lr


def test_each_group_of_another_optimizer_keeps_its_own_rate():
    model, found = suggested()
    optimizer = torch.optim.AdamW([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.3}])
    schedule = found.schedule(optimizer, steps=100)
    for _ in range(80):
        optimizer.step()
        schedule.step()
    first, second = schedule.get_last_lr()
    assert second == pytest.approx(3 * first)
    assert first == pytest.approx(0.1 * (1 - 80.5 / 100) / 0.4)


@pytest.mark.parametrize("optimizer", ["adam", "heavy-ball"])
def test_a_saved_schedule_goes_on_as_if_it_had_not_been_saved(optimizer):
    def rates(cut):
        model, found = suggested(optimizer=optimizer)
        moved = found.build(model.parameters())
        schedule, seen = found.schedule(moved), []
        for step in range(found.steps):
            if step == cut:
                file = io.BytesIO()
                torch.save([moved.state_dict(), schedule.state_dict()], file)
                file.seek(0)
                moved = (
                    thetadot.optim.Adam(model.parameters()) if optimizer == "adam" else found.build(model.parameters())
                )
                schedule = found.schedule(moved, steps=3)
                for part, state in zip((moved, schedule), torch.load(file, weights_only=True), strict=True):
                    part.load_state_dict(state)
            seen.append({k: v for k, v in moved.param_groups[0].items() if k in ("lr", "momentum", "betas")})
            moved.step()
            schedule.step()
        return seen

    assert rates(None) == rates(20)


@pytest.mark.slow
def test_a_loop_by_the_suggestion_learns_as_a_run_does(tmp_path):
    run = thetadot.run(blobs, out=tmp_path / "r", epochs=12, page=False).record
    seed_all(0)
    task = blobs()
    found = thetadot.suggest(task.model, task.loss, task.train, epochs=12)
    optimizer = found.build(task.model.parameters())
    schedule = found.schedule(optimizer)
    for _ in range(found.epochs):
        for x, y in DataLoader(task.train, batch_size=found.batch_size, shuffle=True):
            optimizer.zero_grad()
            task.loss(task.model(x), y).backward()
            optimizer.step()
            schedule.step()
    x, y = task.valid.tensors
    task.model.eval()
    with torch.no_grad():
        last = float(task.loss(task.model(x), y))
    start = run.of(Epoch)[0].valid_loss
    assert last < 1.5 * run.result.final_valid_loss < start


FACTOR = 1.4
"""Most that the loop's best validation loss may be of the run's, on the geometric mean of two seeds."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits-mlp", "autoencoder"])
def test_on_tasks_of_the_table_the_loop_is_within_a_factor_of_the_run(name, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import suggested_loop

    ratios = [suggested_loop.looped(name, seed)[0] / suggested_loop.ran(name, seed)[0] for seed in (0, 1)]
    assert math.prod(ratios) ** 0.5 < FACTOR


# What it looks like.


def test_it_reads_as_text_and_as_a_table():
    _, found = suggested()
    text, table = repr(found), found._repr_html_()
    for word in ("batch size", "optimizer", "lr", "momentum", "annealing", "price", "gradient evaluations"):
        assert word in text
        assert word in table
    assert "<script" not in table


def test_the_command_prints_it_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch, thetadot\nfrom torch import nn\nfrom torch.utils.data import TensorDataset\n"
        "def make():\n    x = torch.randn(64, 4)\n    data = TensorDataset(x, x.sum(1, keepdim=True))\n"
        "    return thetadot.Task(nn.Linear(4, 1), nn.functional.mse_loss, data, data)\n"
    )
    assert main(["suggest", "mine.py:make", "--epochs", "5"]) == 0
    text = capsys.readouterr().out
    assert "batch size" in text
    assert main(["suggest", "mine.py:make", "--epochs", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"lr", "batch_size", "optimizer", "settings", "remarks", "price", "readings"} <= found.keys()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".py"] == ["mine.py"]
    assert not (tmp_path / "runs").exists()
    assert main(["suggest", "nothing"]) == 2
    assert main(["suggest", "mine.py:make", "--budget", "1"]) == 2
    assert "below 22" in capsys.readouterr().err
