"""A small language model in one file, as such scripts are written: gradient accumulation, clipping, warm-up, AdamW."""

import math

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
text = "the loss is a potential and an optimizer is a differential equation with a rule for stepping it. " * 40
letters = sorted(set(text))
data = torch.tensor([letters.index(letter) for letter in text])
block, batch, accumulate, steps = 32, 8, 2, 40


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.ln1(x)).split(c, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.out(mixed)
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class Model(nn.Module):
    def __init__(self, width=32, heads=4, depth=2):
        super().__init__()
        self.token, self.place = nn.Embedding(len(letters), width), nn.Embedding(block, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(letters)))

    def forward(self, tokens, targets=None):
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        for layer in self.blocks:
            x = layer(x)
        logits = self.head(x)
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


def get_batch():
    at = torch.randint(len(data) - block - 1, (batch,))
    return torch.stack([data[i : i + block] for i in at]), torch.stack([data[i + 1 : i + block + 1] for i in at])


model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)

for step in range(steps):
    for group in optimizer.param_groups:
        group["lr"] = 3e-3 * min(1.0, (step + 1) / 10) * 0.5 * (1 + math.cos(math.pi * step / steps))
    for _ in range(accumulate):
        x, y = get_batch()
        logits, loss = model(x, y)
        (loss / accumulate).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if step % 10 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
