"""Badly scaled data are trained in their own units and folded back exactly, refused where they cannot be, or said."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import thetadot
from thetadot import Task
from thetadot.errors import TaskError
from thetadot.probes.columns import Units, usual_units
from thetadot.records import Choice, Remark
from thetadot.training.cost import Cost
from thetadot.training.data import Source
from thetadot.training.scales import in_usual_units, is_residual, remarks, scales
from thetadot.training.units import Coordinates, UnitChange

CPU = torch.device("cpu")
X = torch.randn(256, 3, generator=torch.Generator().manual_seed(0))
FACTORS, OFFSETS = torch.tensor([1.0, 1e6, 1e-3]), torch.tensor([0.0, 3e6, 0.0])
RAW = X * FACTORS + OFFSETS
Y = (X[:, :1] - 2.0 * X[:, 1:2]).tanh()


def net(columns=3):
    return nn.Sequential(nn.Linear(columns, 8), nn.Tanh(), nn.Linear(8, 1))


class Wide(nn.Module):
    """Two branches from the data, one of them of some columns."""

    def __init__(self):
        super().__init__()
        self.deep, self.wide = net(), nn.Linear(2, 1, bias=False)

    def forward(self, x):
        return self.deep(x) + self.wide(x[:, 1:])


class Prepared(nn.Module):
    """A model that brings its inputs to size 1 by itself."""

    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return self.body((x - OFFSETS) / FACTORS)


class Product(nn.Module):
    """Takes its inputs by a product of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.ones(3, 1))

    def forward(self, x):
        return x @ self.weight


class Tied(nn.Module):
    """Uses its first layer twice: no folding is exact."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)

    def forward(self, x):
        return self.first(self.first(x).tanh())[:, :1]


def coordinates(model, x=RAW, y=Y, loss=nn.functional.mse_loss):
    task = Task(model, loss, TensorDataset(x, y), TensorDataset(x, y))
    source, written = Source(task.train, 0, CPU), []
    found = in_usual_units(task, source, scales(source, offset=True), residual=True, cost=Cost(), write=written.append)
    return found, written


@pytest.mark.parametrize("make", [net, Wide, lambda: nn.Linear(3, 1)])
def test_folding_gives_the_same_function_in_the_data_s_own_units(make):
    torch.manual_seed(0)
    model = make()
    found, written = coordinates(model)
    assert all("--no-cure" in choice.because for choice in written)
    assert len(written) == (2 if make is Wide else 1)
    with torch.no_grad(), found:
        inside = model(RAW)
        expected = make_expected(make, model)
    with torch.no_grad():
        assert torch.allclose(model(RAW), inside, atol=2e-3)
    assert torch.allclose(inside, expected, atol=1e-5)


def make_expected(make, model):
    """The plain model, its hooks left out, on standardised inputs."""
    plain = make()
    plain.load_state_dict(model.state_dict())
    z = (RAW - RAW.mean(0)) / RAW.std(0)
    if not isinstance(plain, Wide):
        return plain(z)
    size = (RAW.double().var(0) + RAW.double().mean(0).square()).sqrt().float()
    return plain.deep(z) + plain.wide((RAW / size)[:, 1:])


def test_targets_of_any_size_are_learned_in_their_units_whatever_the_layer_is():
    model = nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 3, padding=1))
    y = torch.randn(256, 2, 3, generator=torch.Generator().manual_seed(1)) * 1e4 + 1e5
    found, (choice,) = coordinates(model, X, y, nn.functional.l1_loss)
    assert choice.setting == "units of targets"
    with torch.no_grad(), found:
        inside = model(X)
    with torch.no_grad():
        assert torch.allclose(model(X), inside, rtol=1e-5)
    assert abs(float(inside.mean()) - 1e5) < 1e4


@pytest.mark.parametrize("model", [Prepared(), nn.Sequential(nn.BatchNorm1d(3), net())])
def test_what_brings_its_inputs_to_size_by_itself_is_left(model):
    found, written = coordinates(model)
    assert not found.changes
    assert not written


@pytest.mark.parametrize("model", [Product(), Tied()])
def test_what_cannot_be_folded_is_refused_with_the_remedy_and_the_way_out(model):
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(TaskError, match=r"(?s)differ .*-fold.*x\.mean\(0\).*--no-cure"):
        coordinates(model)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())


def test_a_column_that_is_seldom_other_than_0_is_not_blown_up():
    x = torch.zeros(4000, 1)
    x[:4] = 16.0
    z = (x - usual_units(x).mean) / usual_units(x).scale
    assert float(z.abs().max()) == pytest.approx(10.0, rel=0.01)


def test_a_loss_of_output_minus_target_is_known_by_its_values():
    o, t = torch.randn(8, 1), torch.randn(8, 1)
    for loss in (nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.SmoothL1Loss(), lambda a, b: ((a - b) ** 4).mean()):
        assert is_residual(loss, o, t)
    for loss in (nn.BCEWithLogitsLoss(), nn.PoissonNLLLoss(), lambda a, b: ((a - b) / b).abs().mean()):
        assert not is_residual(loss, o, t.sigmoid())


def test_coordinates_survive_a_checkpoint():
    model = net()
    change = UnitChange("0", "input", Units(OFFSETS.double(), FACTORS.double()))
    again = Coordinates.unpack(model, Coordinates(model, (change,)).pack())
    assert again.changes[0].layer == "0"
    assert torch.equal(again.changes[0].units.scale, change.units.scale)


def table(x=RAW, y=Y, make=net):
    def ugly():
        torch.manual_seed(0)
        return Task(make(x.shape[1]), nn.MSELoss(), TensorDataset(x[:200], y[:200]), TensorDataset(x[200:], y[200:]))

    return ugly


def test_a_raw_table_is_trained_as_well_as_the_same_standardised_and_the_result_takes_it_raw(tmp_path):
    raw = thetadot.run(table(), out=tmp_path / "a", epochs=10, page=False)
    learned = RAW[:200]
    tidy = thetadot.run(table((RAW - learned.mean(0)) / learned.std(0)), out=tmp_path / "b", epochs=10, page=False)
    best = raw.record.result.valid_loss
    assert best == pytest.approx(tidy.record.result.valid_loss, rel=1e-3)
    with torch.no_grad():
        assert float(nn.functional.mse_loss(raw.model(RAW[200:]), Y[200:])) == pytest.approx(best, rel=1e-2)
    loaded = thetadot.load(tmp_path / "a", table()).model
    with torch.no_grad():
        assert torch.equal(loaded(RAW[200:]), raw.model(RAW[200:]))
    assert not raw.model[0]._forward_pre_hooks


def test_no_cure_goes_on_with_it_said(tmp_path):
    record = thetadot.run(table(make=lambda _: Product()), out=tmp_path / "a", epochs=1, cure=False, page=False).record
    assert any(r.about == "inputs" for r in record.of(Remark))
    assert not [c for c in record.of(Choice) if c.setting.startswith("units")]


def test_a_run_in_other_units_that_is_interrupted_and_resumed_is_the_same_run(tmp_path):
    whole = thetadot.run(table(), out=tmp_path / "a", epochs=4, page=False)

    def stop(entry):
        if getattr(entry, "epoch", 0) == 2:
            raise KeyboardInterrupt

    task = table()()
    with pytest.raises(KeyboardInterrupt):
        thetadot.run(table(), out=tmp_path / "b", epochs=4, page=False, show=stop)
    early = thetadot.load(tmp_path / "b", task).model
    with torch.no_grad():
        assert float(nn.functional.mse_loss(early(RAW[200:]), Y[200:])) < float(Y.var())
    resumed = thetadot.run(table(), out=tmp_path / "b", epochs=4, page=False, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.final_state.values(), resumed.final_state.values(), strict=True))


def test_a_finished_run_in_other_units_is_read_again_and_extended(tmp_path):
    first = thetadot.run(table(), out=tmp_path / "a", epochs=2, page=False)
    again = thetadot.run(table(), out=tmp_path / "a", epochs=2, page=False, resume=True)
    assert all(torch.equal(first.best_state[name], again.best_state[name]) for name in first.best_state)
    more = thetadot.run(table(), out=tmp_path / "a", epochs=2, page=False, resume=True, extend=4)
    result = more.record.result
    assert result.valid_loss < first.record.result.valid_loss
    with torch.no_grad():
        assert float(nn.functional.mse_loss(more.model(RAW[200:]), Y[200:])) == pytest.approx(
            result.valid_loss, rel=1e-2
        )


def test_a_model_that_knows_the_data_already_keeps_its_units(tmp_path):
    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)
            with torch.no_grad():
                self.layer.weight.copy_(torch.tensor([[0.5, -1e-6, 0.0]]))
                self.layer.bias.copy_(3.0)

        def forward(self, x):
            return self.layer(x)

    record = thetadot.run(table(make=lambda _: Trained()), out=tmp_path / "a", epochs=1, lr=1e-12, page=False).record
    assert any(r.about == "inputs" for r in record.of(Remark))
    assert not [c for c in record.of(Choice) if c.setting.startswith("units")]


COLUMNS = {
    "columns of very different size": (X * torch.tensor([1.0, 1.0, 1e4]), "differ 1"),
    "a column far from 0": (X + torch.tensor([0.0, 500.0, 0.0]), "column 1 of the inputs lies at 500"),
    "all of them large": (X * 300.0, "deviation is"),
}


class Rows(Dataset):
    """Samples of a data set that holds no tensors."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, at):
        return self.x[at], Y[at]


@pytest.mark.parametrize("held", [lambda x: TensorDataset(x, Y), Rows])
@pytest.mark.parametrize("kind", COLUMNS)
def test_badly_scaled_inputs_are_said_with_the_remedy(kind, held):
    x, said = COLUMNS[kind]
    (remark,) = remarks(scales(Source(held(x), 0, CPU), offset=True), residual=True)
    assert said in remark.says
    assert "x.mean(0)) / x.std(0)" in remark.says


@pytest.mark.parametrize(
    "x",
    [
        X,
        X + 5.0,
        torch.cat([X, torch.zeros(256, 2), torch.full((256, 1), 7.0)], 1),
        (X > 0).float(),
        torch.randint(9, (256, 3)),
        torch.randn(64, 1, 8, 8),
    ],
)
def test_ordinary_inputs_are_passed_over(x):
    assert not scales(Source(TensorDataset(x, torch.zeros(len(x), 1)), 0, CPU), offset=True).any
