"""Any loop, watched: three lines more. The digits are learned at a step far too small, and the verdicts say so."""

import pathlib
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn

import thetadot
from thetadot import report

EPOCHS, BATCH = 60, 64
torch.manual_seed(0)
torch.set_num_threads(1)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
y = torch.tensor(digits.target)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.5)
loss_fn = nn.CrossEntropyLoss()

with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / "digits"
    watching = thetadot.watch(
        model, optimizer, loss_fn=loss_fn, reference=(x[:256], y[:256]), out=out, dataset_size=len(x)
    )
    with watching as probe:
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                loss_fn(model(x[rows]), y[rows]).backward()
                optimizer.step()
    verdicts = {verdict.name: verdict for verdict in probe.verdicts()}
    for verdict in verdicts.values():
        print(f"{verdict.name:12} {verdict.finding}: {verdict.says}")
    page = report.write(out)
    print(f"a report of {page.stat().st_size // 1000} kB; measuring took {probe.extra / probe.work:.1%} of the work")
assert verdicts["pace"].finding == "too slow"
assert verdicts["stationarity"].finding == "descending"
