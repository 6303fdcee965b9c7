"""What a probe writes down, against what was done."""

import gc
import json
import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import thetadot
from thetadot.errors import InadmissibleValue, RunFolderError
from thetadot.monitor.measurements import MEASUREMENTS, Moment
from thetadot.records import Curvature, End, Layers, Motion, Noise, Remark, Setting, read

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(64, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
MSE = nn.MSELoss()


def linear():
    torch.manual_seed(3)
    return nn.Linear(5, 1, bias=False, dtype=torch.float64)


def train(model, optimizer, steps, batch=8, loss_fn=MSE, accumulate=1):
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(accumulate):
            rows = torch.arange(batch) + batch * ((step * accumulate + part) % (64 // batch))
            (loss_fn(model(X[rows]), Y[rows]) / accumulate).backward()
        optimizer.step()


def test_one_step_of_heavy_ball_in_closed_form():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    start = model.weight.detach().clone()
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), dataset_size=64) as probe:
        train(model, optimizer, 1)
    gradient = model.weight.grad
    (motion,) = probe.record.of(Motion)
    assert motion.loss == pytest.approx(float(MSE(X[:8] @ start.T, Y[:8])))
    assert motion.gradient_norm == pytest.approx(float(gradient.norm()))
    assert motion.update_norm == pytest.approx(0.1 * motion.gradient_norm)
    assert motion.update_angle == pytest.approx(1.0)
    assert motion.time_step == pytest.approx(math.sqrt(2 * 0.1 / 1.5))
    assert motion.friction == pytest.approx(0.5 * math.sqrt(2 / (0.1 * 1.5)))
    assert motion.kinetic == pytest.approx((motion.update_norm / motion.time_step) ** 2 / 5)
    assert (motion.batch_size, motion.lr, motion.momentum, motion.epoch) == (8, 0.1, 0.5, 0.125)


def test_curvature_is_the_hessians_and_limit_the_optimizers():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y)) as probe:
        train(model, optimizer, 1)
    found = probe.record.of(Curvature)[0]
    assert found.sharpness == pytest.approx(float(torch.linalg.eigvalsh(2 * X.T @ X / 64)[-1]), rel=1e-2)
    assert found.low * (1 - 1e-14) <= float(torch.linalg.eigvalsh(2 * X.T @ X / 64)[-1]) <= found.high
    assert found.limit == pytest.approx(2 * 1.9 / 0.1 - 0.5)
    assert found.damping[0] == pytest.approx(0.1 * math.sqrt(2 / (0.1 * 1.9)) / (2 * math.sqrt(found.sharpness)))


def test_noise_is_that_of_the_reference_in_eight_parts():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y)) as probe:
        train(model, optimizer, 1)
    rows = []
    for k in range(8):
        x, y = X[8 * k : 8 * k + 8], Y[8 * k : 8 * k + 8]
        rows.append(2 * (x @ model.weight.detach().T - y).T @ x / 8)
    rows = torch.cat(rows)
    variance = 8 * float((rows - rows.mean(0)).square().sum()) / 7
    found = probe.record.of(Noise)[0]
    assert found.gradient_variance == pytest.approx(variance)
    assert sum(found.layers) == pytest.approx(variance)


def test_adaptive_optimizers_are_read_in_their_own_metric():
    model = linear()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, eps=1e-3)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), level="full") as probe:
        train(model, optimizer, 3)
    state = optimizer.state[model.weight]
    weight = 1 / ((state["exp_avg_sq"] / (1 - 0.999**3)).sqrt() + 1e-3).sqrt().squeeze(0)
    dense = weight[:, None] * (2 * X.T @ X / 64) * weight[None]
    with torch.no_grad():
        probe.monitor.state.vectors.clear()
        (entry,) = probe.monitor.readings.measurements["curvature"].measure(
            Moment(4, probe.monitor.settings.reading(), 8, 0.0)
        )
    assert entry.preconditioned
    assert entry.sharpness == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-6)
    assert entry.limit == pytest.approx(38 / 0.01 * (1 - 0.01 * 0.01 / 2))  # decay .01 beside the gradient


def test_accumulated_passes_are_one_step():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thetadot.watch(model, optimizer, loss_fn=MSE, level="full") as probe:
        train(model, optimizer, 3, batch=4, accumulate=4)
    assert [motion.batch_size for motion in probe.record.of(Motion)] == [16, 16, 16]


def test_validation_passes_are_not_counted():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thetadot.watch(model, optimizer, loss_fn=MSE, level="full") as probe:
        train(model, optimizer, 1)
        model.eval()
        with torch.no_grad():
            MSE(model(X), Y)
        model.train()
        train(model, optimizer, 1)
    motions = probe.record.of(Motion)
    assert [motion.batch_size for motion in motions] == [8, 8]


def test_without_any_second_derivative_losses_alone_tell_the_curvature(monkeypatch):
    def none(*_, **__):
        raise RuntimeError("derivative for this operation is not implemented")

    monkeypatch.setattr("thetadot.monitor.measurements.curvature.sharpness", none)
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X[:8], Y[:8])) as probe:
        train(model, optimizer, 1)
    (found,) = probe.record.of(Curvature)
    gradient, hessian = model.weight.grad[0], 2 * X[:8].T @ X[:8] / 8
    moved = 2 * (X[:8] @ model.weight.detach().T - Y[:8]).T @ X[:8] / 8  # at the end of the step
    along = float(gradient @ hessian @ gradient) / float(gradient @ moved[0])  # λ_c = uᵀHu/u·∇L
    assert found.method == "forward"
    assert found.sharpness == pytest.approx(along, rel=0.02)


def test_an_optimizer_without_a_limit_says_what_it_lacks():
    model = linear()
    optimizer = torch.optim.Rprop(model.parameters())
    with thetadot.watch(model, optimizer, sampling="replacement", loss_fn=MSE, reference=(X, Y)) as probe:
        train(model, optimizer, 1)
    lacking = {remark.about: remark.says for remark in probe.record.of(Remark)}
    assert set(lacking) == {"limit", "friction", "temperature", "damping"}
    assert "no curvature makes it diverge" in lacking["limit"]
    assert probe.record.of(Curvature)[0].limit is None
    assert probe.record.of(Motion)[0].update_norm > 0


def test_a_subclass_with_a_rule_of_its_own_is_unknown():
    class Mine(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    from thetadot.probes.readings import read as reading_of

    p = torch.zeros(1, requires_grad=True)
    assert reading_of(Mine([p], lr=0.1), {"lr": 0.1}).lacks
    sgd = torch.optim.SGD([p], lr=0.1)
    assert not reading_of(sgd, sgd.param_groups[0]).lacks


def test_the_loss_may_be_told_or_carried_by_the_output():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thetadot.watch(model, optimizer, level="full") as probe:
        loss = ((model(X) - Y) ** 2).mean()
        loss.backward()
        probe.loss(loss)
        optimizer.step()
    assert probe.record.of(Motion)[0].loss == pytest.approx(float(loss.detach()))

    class Carrying(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = linear()

        def forward(self, x, y):
            return {"loss": MSE(self.body(x), y)}

    model = Carrying()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thetadot.watch(model, optimizer, reference={"x": X, "y": Y}) as probe:
        loss = model(X, Y)["loss"]
        loss.backward()
        optimizer.step()
    assert probe.record.of(Motion)[0].loss == pytest.approx(float(loss.detach()))
    assert probe.record.of(Curvature)


def test_a_loss_that_ends_infinite_is_said():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e200)
    with thetadot.watch(model, optimizer, loss_fn=MSE, level="full") as probe:
        train(model, optimizer, 5)
    (alarm,) = [remark for remark in probe.record.of(Remark) if remark.alarm]
    assert "not finite" in alarm.says


def test_settings_are_written_when_they_are_first_seen():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with thetadot.watch(model, optimizer, loss_fn=MSE, level="full") as probe:
        train(model, optimizer, 2)
        optimizer.param_groups[0]["nesterov"] = True
        train(model, optimizer, 2)
    settings = probe.record.of(Setting)
    assert [(s.step, s.values["nesterov"]) for s in settings] == [(1, False), (3, True)]


# Files.


def test_a_record_in_a_folder_reads_as_it_was_written(tmp_path):
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), out=tmp_path / "a") as probe:
        train(model, optimizer, 40)
    record = read(tmp_path / "a")
    assert record.damage == ()
    assert record.entries == probe.record.entries
    assert record.layers == ("model",)
    (end,) = record.of(End)
    assert (end.step, end.because, end.work) == (40, "closed", 320.0)
    assert end.extra == pytest.approx(probe.monitor.state.spent)


def test_a_used_folder_is_refused_and_left_as_it_is(tmp_path):
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thetadot.watch(model, optimizer, loss_fn=MSE, out=tmp_path):
        train(model, optimizer, 2)
    before = (tmp_path / "record.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match=r"holds the record of another run.*resume=True"):
        thetadot.watch(model, optimizer, loss_fn=MSE, out=tmp_path)
    assert (tmp_path / "record.jsonl").read_bytes() == before
    assert not optimizer._optimizer_step_pre_hooks
    assert not model._forward_hooks


def test_a_continued_record_goes_on_where_it_ended_without_its_torn_line(tmp_path):
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), out=tmp_path, level="full").start()
    train(model, optimizer, 3)
    probe.close()
    with (tmp_path / "record.jsonl").open("ab") as file:
        file.write(b'{"kind":"motion","st')
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), out=tmp_path, level="full", resume=True):
        train(model, optimizer, 2)
    record = read(tmp_path)
    assert record.damage == ()
    assert [motion.step for motion in record.of(Motion)] == [1, 2, 3, 4, 5]
    assert [end.step for end in record.of(End)] == [3, 5]


def test_a_run_that_raises_ends_its_record(tmp_path):
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def training():
        with thetadot.watch(model, optimizer, loss_fn=MSE, out=tmp_path):
            train(model, optimizer, 2)
            raise KeyError

    with pytest.raises(KeyError):
        training()
    assert read(tmp_path).of(End)[0].because == "exception"


def test_no_number_of_a_record_is_nan(tmp_path):
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e160)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), out=tmp_path, level="full"):
        train(model, optimizer, 6)
    lines = (tmp_path / "record.jsonl").read_text().splitlines()
    assert '"kind":"motion"' in lines[-2] + lines[-3] + lines[-4] + lines[1]
    for line in lines:
        json.loads(line, parse_constant=pytest.fail)


# Bad input.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "much"}, "level='much' is unknown. Pass 'light', 'default' or 'full'"),
        ({"out": 3}, "out=3 is no folder"),
        ({"dataset_size": "a"}, "dataset_size='a' is not a whole number"),
        ({"reference": 3, "loss_fn": MSE}, "reference is of type int. Pass"),
        ({"reference": (X, Y)}, "needs loss_fn"),
    ],
)
def test_a_wrong_argument_is_said(options, message):
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InadmissibleValue, match=message.replace("(", r"\(").replace(")", r"\)")):
        thetadot.watch(model, optimizer, **options)
    assert not model._forward_hooks


def test_another_models_optimizer_is_said():
    with pytest.raises(InadmissibleValue, match="model is of type NoneType"):
        thetadot.watch(None, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))
    with pytest.raises(InadmissibleValue, match="holds no parameter of model"):
        thetadot.watch(linear(), torch.optim.SGD(linear().parameters(), lr=0.1))


def test_a_loss_that_is_no_number_costs_the_readings_only():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    each = nn.MSELoss(reduction="none")
    with (
        pytest.warns(UserWarning, match="no longer measures|does not see the training loss") as said,
        thetadot.watch(model, optimizer, sampling="replacement", loss_fn=each, reference=(X, Y)) as probe,
    ):
        train(model, optimizer, 3, loss_fn=MSE)
    assert len(said) == 3
    about = {remark.about: remark.says for remark in probe.record.of(Remark)}
    assert set(about) == {"training loss", "noise", "curvature"}
    assert "Return a mean over the batch" in about["noise"]
    assert probe.record.of(Layers)


# Cost.


class Waiting(TorchDispatchMode):
    """Counts what a host would have to wait for."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device_unless_something_is_due(monkeypatch):
    monkeypatch.setattr("thetadot.monitor.hooks.at_hand", lambda loss: False)
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y)) as probe:
        train(model, optimizer, 1)
        waits = {}
        for _ in range(100):
            quiet = not probe.monitor.measuring and not any(e.due(probe.step + 1) for e in probe.every.values())
            with Waiting() as counted:
                train(model, optimizer, 1)
            waits.setdefault(quiet, set()).add(counted.count)
    assert waits[True] == {0}


def test_the_cadence_keeps_its_share_of_counted_work():
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X[:8], Y[:8])) as probe:
        train(model, optimizer, 1000)
        early = probe.monitor.state.spent
        train(model, optimizer, 2000)
    share = (probe.monitor.state.spent - early) / (2000 * 8)
    plan = probe.plan
    assert share <= sum(plan.share(name, kind.shares) for name, kind in MEASUREMENTS.items())


def test_two_watches_of_one_folder_end_in_one_sentence(tmp_path):
    def watched(**more):
        model = linear()
        return thetadot.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), loss_fn=MSE, out=tmp_path, **more)

    for options in ({}, {"resume": True}):
        with watched(**options):
            for more in ({}, {"resume": True}):
                with pytest.raises(RunFolderError, match=r"written by another watch or run\. Close that one first"):
                    watched(**more)
    with pytest.raises(RunFolderError, match="resume=True"):
        watched()


def test_a_watch_that_nobody_holds_lets_its_folder_go(tmp_path):
    def watched():
        model = linear()
        return thetadot.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), loss_fn=MSE, out=tmp_path)

    held = watched()
    with pytest.raises(RunFolderError, match="another watch or run"):
        watched()
    del held
    gc.collect()
    probe = watched().start()
    probe.close()
    assert read(tmp_path).header.watched is not None


def test_a_folder_that_another_process_watches_is_refused(tmp_path):
    source = (
        "import sys, torch, thetadot\n"
        "model = torch.nn.Linear(1, 1)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "try:\n"
        "    thetadot.watch(model, optimizer, out=sys.argv[1])\n"
        "except thetadot.errors.RunFolderError as error:\n"
        "    print(error)\n"
    )
    model = linear()
    with thetadot.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), out=tmp_path):
        done = subprocess.run([sys.executable, "-c", source, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "is being written by another watch or run" in done.stdout


class Weighed(nn.Module):
    """One parameter."""

    def __init__(self, shape):
        super().__init__()
        self.w = nn.Parameter(torch.ones(shape, dtype=torch.float64))

    def forward(self, x):
        return x[:, :1] * self.w


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("build", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("passes", [1, 2])
def test_a_model_of_one_parameter_is_measured(shape, build, passes):
    model = Weighed(shape)
    optimizer = build(model.parameters(), lr=0.01)
    with thetadot.watch(
        model, optimizer, sampling="replacement", loss_fn=MSE, reference=(X, Y), level="full", dataset_size=64
    ) as probe:
        train(model, optimizer, 30, accumulate=passes)
    assert not [remark for remark in probe.record.of(Remark) if remark.about != "micro-batches"]
    assert probe.record.of(Noise)
    if build is torch.optim.SGD:
        assert probe.record.of(Curvature)[0].sharpness == pytest.approx(float(2 * X[:, 0].square().mean()))
    probe.verdicts()
