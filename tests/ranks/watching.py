"""What a probe must read on two ranks, run on all of them at once: the run unchanged, and the ranks' noise."""

import itertools

import torch
from ranks.common import Net, batch, clip, loss_of
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import thetadot
from thetadot.monitor.cadence import YOUNG
from thetadot.records import Curvature, Motion, Noise, Remark, read


def reference():
    return batch(99)


def part(number):
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    x, y = batch(number)
    return x[8 * rank // ranks : 8 * (rank + 1) // ranks], y[8 * rank // ranks : 8 * (rank + 1) // ranks]


def wrapped(kind):
    if kind == "ddp":
        return DistributedDataParallel(Net())
    model = Net()
    fully_shard(model.first)
    fully_shard(model)
    return model


def whole(model):
    return [p.full_tensor() if hasattr(p, "full_tensor") else p.detach().clone() for p in model.parameters()]


def trained(kind, folder, steps=24, passes=1, bound=None):
    """The end of a run, and its gradients of every rank at every step, taken without a probe if ``folder`` is None."""
    model = wrapped(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    options = {"loss_fn": nn.MSELoss(), "reference": reference(), "level": "full", "sampling": "replacement"}
    probe = None if folder is None else thetadot.watch(model, optimizer, out=folder, **options).start()
    for step in range(steps):
        optimizer.zero_grad()
        for k in range(passes):
            last = k == passes - 1
            if kind == "fsdp":
                model.set_requires_gradient_sync(last)
            else:
                model.require_backward_grad_sync = last
            loss = loss_of(model, *part(step * passes + k))
            if probe is not None:
                probe.loss(loss)
            (loss / passes).backward()
        if bound is not None:
            clip(model, bound)
        optimizer.step()
    if probe is not None:
        probe.close()
    return whole(model)


def unchanged(kind, passes):
    def check(folder):
        plain = trained(kind, None, passes=passes)
        seen = trained(kind, folder / f"unchanged-{kind}-{passes}", passes=passes)
        assert all(torch.equal(p, q) for p, q in zip(plain, seen, strict=True))

    return check


def noise(kind, passes, bound=None):
    """Σ|gᵢ|² and |G|² of ranks and passes, against the gradients of one process at the same parameters."""

    def check(folder):
        out = folder / f"noise-{kind}-{passes}-{bound}"
        trained(kind, out, passes=passes, bound=bound)
        distributed.barrier()
        if distributed.get_rank() != 0:
            assert not out.exists() or distributed.get_rank() == 0 or (out / "record.jsonl").exists()
            return
        record = read(out)
        assert record.damage == ()
        assert [r.about for r in record.of(Remark)] == []
        ranks = distributed.get_world_size()
        found = record.of(Noise)
        method = [n for n in found if n.method == "ranks"]
        assert method, "no noise from ranks"
        assert [m.batch_size for m in record.of(Motion)] == [8 * passes] * 24
        oracle = alone(passes, ranks, bound)[: method[0].pooled]
        scale = sum(v for v, _ in oracle) / sum(s for _, s in oracle)
        variance = sum(v for v, _ in oracle) / len(oracle)
        assert abs(method[0].gradient_variance / variance - 1) < 1e-6, (method[0], variance)
        if method[0].resolved:
            assert abs(method[0].noise_scale / scale - 1) < 1e-6

    return check


def alone(passes, ranks, bound):
    """trΣ and |G|² by hand, one process making every rank's passes."""
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    found = []
    for step in range(24):
        rows = []
        for k in range(passes):
            x, y = batch(step * passes + k)
            for xs, ys in zip(x.chunk(ranks), y.chunk(ranks), strict=True):
                gradients = torch.autograd.grad(loss_of(model, xs, ys), model.parameters())
                rows.append(torch.cat([g.reshape(-1) for g in gradients]))
        rows = torch.stack(rows)
        mean = rows.mean(0)
        factor = 1.0 if bound is None else min(1.0, bound / (float(mean.norm()) + 1e-6))
        count, samples = passes * ranks, 8 // ranks
        variance = samples * float((rows - mean).square().sum()) / (count - 1) * factor**2
        found.append((variance, float(mean.square().sum()) * factor**2 - variance / (count * samples)))
        optimizer.zero_grad()
        for p, g in zip(
            model.parameters(), torch.split(mean * factor, [p.numel() for p in model.parameters()]), strict=True
        ):
            p.grad = g.view_as(p).clone()
        optimizer.step()
    return found


def curvature(kind):
    """The first sharpness, in the metric that AdamW has by then, is that of one process."""

    def check(folder):
        out = folder / f"curvature-{kind}"
        trained(kind, out, steps=YOUNG)
        distributed.barrier()
        if distributed.get_rank() != 0:
            return
        model = Net()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        options = {"loss_fn": nn.MSELoss(), "reference": reference(), "level": "full", "sampling": "replacement"}
        with thetadot.watch(model, optimizer, **options) as probe:
            for step in range(YOUNG):
                optimizer.zero_grad()
                x, y = batch(step)
                loss = sum(loss_of(model, *pair) for pair in zip(x.chunk(2), y.chunk(2), strict=True)) / 2
                loss.backward()
                probe.loss(loss)
                optimizer.step()
        one, other = probe.record.of(Curvature)[0], read(out).of(Curvature)[0]
        assert one.step == other.step == YOUNG
        assert one.preconditioned
        assert abs(other.sharpness / one.sharpness - 1) < 1e-3, (one, other)

    return check


def alone_on_rank_0(kind):
    """A watch that others do not open leaves out what is taken together, says so, and waits for nobody."""

    def check(folder):
        model = wrapped(kind)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        options = {"loss_fn": nn.MSELoss(), "reference": reference(), "level": "full", "sampling": "replacement"}
        first = distributed.get_rank() == 0
        probe = thetadot.watch(model, optimizer, out=folder / f"alone-{kind}", **options).start() if first else None
        for step in range(YOUNG):
            optimizer.zero_grad()
            loss = loss_of(model, *part(step))
            if first:
                probe.loss(loss)
            loss.backward()
            optimizer.step()
        if first:
            probe.close()
            lacking = {remark.about for remark in probe.record.of(Remark)}
            assert "micro-batches" in lacking
            assert ("motion" in lacking) == (kind == "fsdp")
            assert bool(probe.record.of(Curvature)) == (kind == "ddp")

    return check


def uneven(folder):
    """Under torch's Join the second rank ends before the first: nobody waits, and what is not measured is said."""
    from torch.distributed.algorithms.join import Join

    rank = distributed.get_rank()
    ends = []
    for out in (None, folder / "uneven"):
        model = wrapped("ddp")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        options = {"loss_fn": nn.MSELoss(), "reference": reference(), "level": "full", "sampling": "replacement"}
        probe = None if out is None else thetadot.watch(model, optimizer, out=out, **options).start()
        for epoch in range(2):
            with Join([model]):
                for step in range(9 - 4 * rank):
                    optimizer.zero_grad()
                    loss = loss_of(model, *part(20 * epoch + step))
                    if probe is not None:
                        probe.loss(loss)
                    loss.backward()
                    optimizer.step()
        for step in range(3):  # afterwards ranks stand at different steps
            optimizer.zero_grad()
            loss_of(model, *part(50 + step)).backward()
            optimizer.step()
        if probe is not None:
            probe.close()
        ends.append(whole(model))
    assert all(torch.equal(p, q) for p, q in zip(*ends, strict=True))
    if rank == 0:
        record = read(folder / "uneven")
        assert "Join" in {remark.about: remark.says for remark in record.of(Remark)}["micro-batches"]
        assert len(record.of(Motion)) == 21
        assert record.of(Curvature)


class Counted(Net):
    """A network that draws from what cannot be put back, or only counts its passes."""

    def __init__(self, *, hidden):
        super().__init__()
        self.passes = 0
        self.draws = itertools.count() if hidden else None

    def forward(self, x):
        self.passes += 1
        if self.draws is not None:
            next(self.draws)
        return super().forward(x)


def state_of_shards(folder):
    """What a pass leaves in shards is put back; where it may not be, nothing is measured and one remark says so."""
    for hidden in (False, True):
        ends = []
        out = folder / f"state-{hidden}"
        for seen in (False, True):
            model = Counted(hidden=hidden)
            fully_shard(model.first)
            fully_shard(model)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            options = {"loss_fn": nn.MSELoss(), "reference": reference(), "level": "full", "sampling": "replacement"}
            probe = thetadot.watch(model, optimizer, out=out, **options).start() if seen else None
            for step in range(4):
                optimizer.zero_grad()
                loss = loss_of(model, *part(step))
                if probe is not None:
                    probe.loss(loss)
                loss.backward()
                optimizer.step()
            if probe is not None:
                probe.close()
            ends.append([*whole(model), torch.tensor([model.passes, next(model.draws) if hidden else 0])])
        assert all(torch.equal(p, q) for p, q in zip(*ends, strict=True))
        distributed.barrier()
        if distributed.get_rank() == 0:
            record = read(out)
            said = [remark.says for remark in record.of(Remark)]
            assert bool(record.of(Curvature)) == (not hidden)
            assert len(said) == hidden
            assert all("on shards that is not tried" in what and "draws" in what for what in said)


def watching(ranks):
    """Name -> check."""
    if ranks != 2:
        return {}
    found = {"uneven inputs under Join": uneven, "state of shards": state_of_shards}
    for kind in ("ddp", "fsdp"):
        for passes in (1, 3):
            found[f"watched run is the run-{kind}-{passes}"] = unchanged(kind, passes)
            found[f"noise of ranks-{kind}-{passes}"] = noise(kind, passes)
        found[f"noise of a clipped step-{kind}"] = noise(kind, 1, bound=0.05)
        found[f"curvature-{kind}"] = curvature(kind)
        found[f"one rank alone-{kind}"] = alone_on_rank_0(kind)
    return found
