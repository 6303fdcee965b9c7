"""What single and sharded runs have in common: the model, its batches, the optimizers."""

import functools

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

from thetadot.optim import Adam, AdamW, GradientDescent, HeavyBall, Kramers, Langevin, Nesterov

KINDS = {
    "GradientDescent": functools.partial(GradientDescent, lr=0.05),
    "HeavyBall": functools.partial(HeavyBall, lr=0.05),
    "HeavyBall-rest": functools.partial(HeavyBall, lr=0.05, start="rest"),
    "HeavyBall-kahan": functools.partial(HeavyBall, lr=0.001, low_precision="kahan"),
    "HeavyBall-stochastic": functools.partial(HeavyBall, lr=0.001),
    "Nesterov": functools.partial(Nesterov, lr=0.05, weight_decay=0.1, weight_decay_mode="l2"),
    "Nesterov-capturable": functools.partial(Nesterov, lr=torch.tensor(0.05, dtype=torch.float64), capturable=True),
    "Adam": functools.partial(Adam, lr=0.05),
    "AdamW": functools.partial(AdamW, lr=0.05, averaging=0.9, no_decay=("bias",)),
    "Langevin": functools.partial(Langevin, lr=0.05, temperature=0.01),
    "Kramers": functools.partial(Kramers, lr=0.05, temperature=0.01, averaging=1.0),
}
NOISY = ("Langevin", "Kramers")
NARROW = {"HeavyBall-kahan": torch.bfloat16, "HeavyBall-stochastic": torch.bfloat16}
SEED = 100  # of rank 0; others seed with what follows


class Net(nn.Module):
    """Uneven on 2 and on 4 ranks: rows 5, 2 and 1, so that some ranks hold nothing of some parameters."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5, dtype=dtype), nn.Linear(5, 2, dtype=dtype)
        self.scale = nn.Parameter(torch.ones(1, dtype=dtype))
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2)

    def forward(self, x):
        return self.scale * self.last(torch.tanh(self.first(x)))


def batch(number, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1000 + number)
    x = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    return x.to(dtype), torch.stack((x.sum(1), x.prod(1)), dim=1).to(dtype)


def loss_of(model, x, y):
    return ((model(x) - y) ** 2).mean()


def train(model, optimizer, numbers, part=slice(None), dtype=torch.float64):
    for number in numbers:
        optimizer.zero_grad()
        x, y = batch(number, dtype)
        loss_of(model, x[part], y[part]).backward()
        optimizer.step()
    return model


def drift(model, optimizer, steps):
    """Steps at zero force: the path of the noise alone."""
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
    return model


def build(kind, model, seed=None, **options):
    """The optimizer; its key from the default generator, which ranks seed differently unless told."""
    torch.manual_seed(SEED + distributed.get_rank() if seed is None else seed)
    return KINDS[kind](model.named_parameters(), **options)


def sharded(mesh, dtype=torch.float64, along=0, **options):
    """FSDP2; the one parameter whose second dimension is even may be spread along it."""
    from torch.distributed.tensor import Shard

    model = Net(dtype)
    fully_shard(model, mesh=mesh, shard_placement_fn=lambda p: Shard(along) if p.shape == (5, 4) else None, **options)
    return model


def full(x):
    return (x.full_tensor() if hasattr(x, "full_tensor") else x).detach()


def clip(model, bound):
    """torch's clip_grad_norm_, the norm made whole first: torch 2.9 adds its 1e-6 to what each rank has of it."""
    parameters = list(model.parameters())
    norm = full(nn.utils.get_total_norm([p.grad for p in parameters]))
    nn.utils.clip_grads_with_norm_(parameters, bound, norm)


def assert_same(model, other, within=0.0):
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        gap = (full(p).to(torch.float64) - full(q).to(torch.float64)).abs().max().item()
        assert gap <= within, f"{name} differs by {gap:.3g}"


def assert_same_state(optimizer, other, within=0.0):
    pairs = zip(optimizer.param_groups, other.param_groups, strict=True)
    for p, q in ((p, q) for mine, theirs in pairs for p, q in zip(mine["params"], theirs["params"], strict=True)):
        assert optimizer.state[p].keys() == other.state[q].keys()
        for name, value in optimizer.state[p].items():
            one, two = (
                torch.as_tensor(full(v) if isinstance(v, torch.Tensor) else v) for v in (value, other.state[q][name])
            )
            assert one.dtype is two.dtype
            assert (one - two).abs().max().item() <= within, name
    assert (optimizer.steps, optimizer.key) == (other.steps, other.key)
