"""What a run recorded, in TensorBoard: while it goes on or afterwards. `thetadot export RUN --tensorboard DIR` too."""

import tempfile

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import thetadot
from thetadot.integrations import tensorboard

torch.manual_seed(0)
torch.set_num_threads(1)
x = torch.randn(512, 4)
y = x.sum(1, keepdim=True) + x[:, :1] * x[:, 1:2]
model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
loss_fn = nn.MSELoss()
with tempfile.TemporaryDirectory() as folder:
    run, logs = f"{folder}/run", f"{folder}/logs"
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(x, y), out=run, level="full"):
        for rows in (part for _ in range(10) for part in torch.randperm(512).split(32)):
            optimizer.zero_grad()
            loss_fn(model(x[rows]), y[rows]).backward()
            optimizer.step()
    steps = tensorboard.export(run, logs)  # tensorboard --logdir logs
    events = EventAccumulator(logs)
    events.Reload()
    names = events.Tags()["scalars"]
    curve = events.Scalars("curvature/sharpness")
print(f"{steps} steps of {len(names)} series; curvature {curve[0].value:.2f} -> {curve[-1].value:.2f}")
assert steps == 160
assert {"motion/loss", "motion/gradient_norm", "noise/noise_scale", "curvature/limit"} <= set(names)
