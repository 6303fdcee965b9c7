"""A loop under accelerate, watched: gradients are accumulated, and the noise is that of the passes, for nothing."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thetadot import records
from thetadot.integrations.accelerate import watch

torch.manual_seed(0)
torch.set_num_threads(1)
x = torch.randn(2048, 4)
y = x.sum(1, keepdim=True) + x[:, :1] * x[:, 1:2] + torch.randn(2048, 1)
model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
loss_fn = nn.MSELoss()
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

reference = (x[:256], y[:256])
with watch(accelerator, model, optimizer, loss_fn=loss_fn, reference=reference, level="full") as probe:
    for _ in range(3):
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                accelerator.backward(loss_fn(model(inputs), targets))
                optimizer.step()
                optimizer.zero_grad()

motions, noise = probe.record.of(records.Motion), probe.record.of(records.Noise)[-1]
print(f"loss {motions[0].loss:.3f} -> {motions[-1].loss:.3f}, {motions[-1].batch_size} samples a step")
print(f"noise scale {noise.low:.0f} to {noise.high:.0f} samples, from {noise.pooled} steps by {noise.method}")
steps = records.export(probe.record, lambda values, step: accelerator.log(values, step=step))  # to its trackers
print(f"{steps} steps logged")
assert len(motions) == 3 * 2048 // 32
assert motions[-1].batch_size == 32
assert noise.method == "accumulation"
