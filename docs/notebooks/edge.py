# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # The edge of stability
# Gradient descent on a quadratic of curvature h is stable while lr·h < 2. On a network, trained with its whole data,
# the largest curvature λmax rises by itself until it meets 2/lr, and stays about there.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

import thetadot
from thetadot.records import Curvature

digits = load_digits()
images = torch.tensor(digits.data[:500], dtype=torch.float32) / 16
targets = nn.functional.one_hot(torch.tensor(digits.target[:500]), 10).float()
loss_fn = nn.MSELoss()


# %%
def sharpness(lr, time=400.0):
    """λmax along a run of full-batch descent over the same physical time lr·steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    every = {"steps": 10, "curvature": 10}
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(images, targets), every=every) as probe:
        for _ in range(int(time / lr)):
            optimizer.zero_grad()
            loss_fn(model(images), targets).backward()
            optimizer.step()
    return [(entry.step * lr, entry.sharpness, entry.limit) for entry in probe.record.of(Curvature)]


# %%
runs = {lr: sharpness(lr) for lr in (0.8, 1.4)}
for lr, readings in runs.items():
    over = [value / limit for _, value, limit in readings]
    print(f"lr {lr}: limit {readings[0][2]:.2f}, λmax/limit {over[0]:.2f} at first, {max(over):.2f} at most")

# %% [markdown]
# A picture, where matplotlib is there: curvature over physical time, and each run's limit.

# %%
from matplotlib import pyplot as plt  # noqa: E402 - an extra

figure, ax = plt.subplots(layout="constrained")
for lr, readings in runs.items():
    (line,) = ax.plot([time for time, *_ in readings], [value for _, value, _ in readings], label=f"lr {lr}")
    ax.axhline(readings[0][2], color=line.get_color(), linestyle="--")
ax.set(xlabel="lr · steps", ylabel="λmax, and 2/lr")
ax.legend()
