# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Diagnose a training loop
# A network learns handwritten digits with a step that is ten times too small. Three lines watch the loop; the verdicts
# say what is wrong; the advice is followed, and the two losses are compared.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

import thetadot

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
loss_fn = nn.CrossEntropyLoss()


# %% [markdown]
# The loop, with its learning rate as an argument. `reference` is a fixed batch on which gradient noise and curvature
# are measured; `level="full"` measures as much as a short run needs.


# %%
def train(lr, steps=300, batch=64):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    reference = (images[:256], labels[:256])
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=reference, level="full") as probe:
        for _ in range(steps):
            rows = torch.randint(len(images), (batch,))
            optimizer.zero_grad()
            loss_fn(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    return probe, loss_fn(model(images), labels).item()


# %%
probe, loss = train(lr=0.003)
print(f"loss {loss:.3f}")
for verdict in probe.verdicts():
    if verdict.state != "unknown":
        print(f"{verdict.name:14s} {verdict.says}")

# %% [markdown]
# The first verdict is the advice. Its settings are numbers, so that it can be followed by a program.

# %%
advice = probe.verdicts()[0]
print(dict(advice.settings))
_, better = train(lr=dict(advice.settings)["lr"])
print(f"loss {loss:.3f} before, {better:.3f} after")
assert better < loss

# %% [markdown]
# What was measured is in the record, entry by entry.

# %%
from thetadot.records import Curvature, Noise  # noqa: E402 - where it is needed first

print([round(entry.sharpness, 2) for entry in probe.record.of(Curvature)][:8])
print([round(entry.noise_scale, 1) for entry in probe.record.of(Noise)][:8])
