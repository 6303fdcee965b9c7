"""Live logging against the export of the finished record; an error of the logger leaves the run alone."""

import pytest
import torch
from torch import nn

import thetadot
from thetadot.errors import InadmissibleValue
from thetadot.records import export


def trained(steps, **watching):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = torch.randn(64, 4)
    y, loss = x.sum(dim=1, keepdim=True), nn.MSELoss()
    with thetadot.watch(model, optimizer, loss_fn=loss, reference=(x, y), level="full", **watching) as probe:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return probe, torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_what_is_logged_live_is_what_is_exported_afterwards():
    live, later = [], []
    probe, _ = trained(30, log=lambda values, step: live.append((step, values)))
    export(probe.record, lambda values, step: later.append((step, values)))
    merged: dict[int, dict[str, float]] = {}
    for step, values in live:
        merged.setdefault(step, {}).update(values)
    assert [step for step, _ in live] == sorted(step for step, _ in live)
    assert {"motion/loss", "curvature/sharpness", "noise/noise_scale", "layers/gradient/0"} <= set().union(
        *(values for _, values in live)
    )
    for step, values in later:
        values.pop("losses/loss", None)
        assert merged.get(step, {}) == pytest.approx(values)


def test_an_error_of_the_logger_ends_the_logging_and_not_the_run():
    def broken(values, step):
        raise OSError("no network")

    with pytest.warns(UserWarning, match="no longer measures log"):
        probe, moved = trained(20, log=broken)
    _, alone = trained(20)
    assert torch.equal(moved, alone)
    assert probe.step == 20
    assert any(e.about == "log" for e in probe.record.of(thetadot.records.Remark))


def test_a_log_that_cannot_be_called_is_refused():
    with pytest.raises(InadmissibleValue, match="log is of type str"):
        trained(1, log="wandb")
