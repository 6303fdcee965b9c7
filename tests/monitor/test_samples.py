"""Where the samples lie, against loops and references of every layout; never is a reference cut elsewhere."""

import pytest
import torch
from torch import nn

import thetadot
from thetadot.monitor.axes import ways
from thetadot.records import Motion, Noise, Remark

G = torch.Generator().manual_seed(0)
STEPS, B, F = 24, 64, 3
X = torch.randn(STEPS, 400, F, generator=G)


class Tagger(nn.Module):
    last = False

    def __init__(self):
        super().__init__()
        self.r, self.o = nn.GRU(F, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = self.r(x)[0]
        return self.o(h[-1] if self.last else h)


class Classifier(Tagger):
    last = True


class Columns(nn.Module):
    """(channels, batch)."""

    def __init__(self):
        super().__init__()
        self.o = nn.Linear(F, 2)

    def forward(self, x):
        return self.o(x.T)


class Graphs(nn.Module):
    def __init__(self):
        super().__init__()
        self.o = nn.Linear(F, 2)

    def forward(self, x, edges, graph):
        h = x.index_add(0, edges[1], x[edges[0]])
        return self.o(torch.zeros(int(graph.max()) + 1, F).index_add(0, graph, h))


class Masked(nn.Module):
    """Time-major, with a causal mask that is no batch."""

    def __init__(self):
        super().__init__()
        self.a, self.o = nn.MultiheadAttention(4, 1), nn.Linear(4, 2)
        self.e = nn.Embedding(11, 4)

    def forward(self, ids, mask):
        h = self.e(ids)
        return self.o(self.a(h, h, h, attn_mask=mask)[0])


def loss(output, target):
    return nn.functional.cross_entropy(output.flatten(0, -2), target.flatten())


def watched(model, make, loss_fn=loss, steps=3, **options):
    """The probe of a loop whose batches and reference come from make(samples)."""
    torch.manual_seed(0)
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with thetadot.watch(net, optimizer, loss_fn=loss_fn, reference=make(B), level="full", **options) as probe:
        for _ in range(steps):
            *inputs, target = make(32)
            optimizer.zero_grad()
            value = loss_fn(net(*inputs), target)
            probe.loss(value)
            value.backward()
            optimizer.step()
    return probe


def time_major(n):
    x = X[:, torch.randint(400, (n,), generator=G)]
    return x, (x.cumsum(0)[..., 0] > 0).long()


def sequences(n):
    x = X[:, torch.randint(400, (n,), generator=G)]
    return x, (x[-3:, :, 0].sum(0) > 0).long()


def columns(n):
    x = torch.randn(F, n, generator=G)
    return x, (x[0] > 0).long()


def masked(n):
    ids = torch.randint(11, (32, n), generator=G)  # as many steps as the loop has samples
    return ids, torch.triu(torch.full((32, 32), float("-inf")), 1), ids.roll(1, 0) % 2


@pytest.mark.parametrize(
    ("model", "make"), [(Tagger, time_major), (Classifier, sequences), (Columns, columns), (Masked, masked)]
)
def test_samples_are_found_by_agreement_with_the_target_and_the_losss_mean(model, make):
    probe = watched(model, make)
    assert [motion.batch_size for motion in probe.record.of(Motion)] == [32] * 3
    assert probe.record.header.watched.reference_samples == B
    assert {noise.samples for noise in probe.record.of(Noise)} == {B}


def test_noise_of_a_time_major_reference_is_that_of_sequences():
    probe = watched(Tagger, time_major, steps=1)
    found = probe.record.of(Noise)[0]
    model, (x, y) = probe.model, probe.reference.data
    rows = []
    for part in torch.arange(B).chunk(8):
        gradients = torch.autograd.grad(loss(model(x[:, part]), y[:, part]), model.parameters())
        rows.append(torch.cat([g.reshape(-1) for g in gradients]))
    assert found.gradient_variance == pytest.approx(8 * float(torch.stack(rows).var(0).sum()), rel=1e-3)


def test_graphs_are_counted_by_their_targets_and_never_cut():
    def graphs(n):
        graph = torch.arange(n).repeat_interleave(3)
        edges = torch.stack([torch.arange(3 * n), torch.arange(3 * n).roll(1)])
        x = torch.randn(3 * n, F, generator=G)
        return x, edges, graph, torch.randint(2, (n,), generator=G)

    with pytest.warns(UserWarning, match=r"x has sizes \(96, 3\) and the target 32 rows"):
        probe = watched(Graphs, graphs, loss_fn=nn.CrossEntropyLoss())
    assert [motion.batch_size for motion in probe.record.of(Motion)] == [32] * 3
    assert not probe.record.of(Noise)
    assert "along no axis" in probe.record.header.watched.lacks["noise"]


@pytest.mark.slow
def test_the_user_may_say_where_samples_lie():
    probe = watched(Tagger, time_major, batch_dim=1)
    assert probe.record.of(Motion)[-1].batch_size == 32
    with pytest.raises(thetadot.errors.InadmissibleValue, match="batch_dim=5 is no axis"):
        watched(Tagger, time_major, batch_dim=5)
    probe = watched(Tagger, time_major, samples=lambda x: 7)
    assert probe.record.of(Motion)[-1].batch_size == 7


@pytest.mark.parametrize("how", ["seen in the module", "told by the loss"])
def test_a_loss_that_is_a_sum_is_noticed_and_nothing_is_measured_by_it(how):
    module = nn.CrossEntropyLoss(reduction="sum")
    loss_fn = module if how == "seen in the module" else (lambda output, target: 1.0 * module(output, target))
    with pytest.warns(UserWarning, match="sum"):
        probe = watched(Columns, columns, loss_fn=loss_fn)
    assert not probe.record.of(Noise)
    assert "sum" in {remark.about: remark.says for remark in probe.record.of(Remark)}["loss"]


def test_sizes_are_told_of_packed_sequences_and_lists():
    packed = nn.utils.rnn.pack_sequence([torch.zeros(k, 2) for k in (4, 3, 1)])
    assert ways((packed, torch.zeros(3)), target=(1,))[0].count == 3
    images = [torch.zeros(3, k, k) for k in (4, 5, 6, 7)]
    assert ways((images, torch.zeros(4)), target=(1,))[0].of == {(0,): 0, (1,): 0}
