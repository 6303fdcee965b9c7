"""The loss of every step: four bytes each, in the order of the run, and what was undone apart."""

import math

import msgspec
import numpy as np
import pytest
import torch

from thetadot import records
from thetadot.records import SCHEMA, VERSION, Header, Losses, Motion, Record, Rollback, StepLosses, Writer, loss_curve
from thetadot.records.step_losses import BLOCK, MOST

HEADER = Header(SCHEMA, VERSION, "task", 0, 1, 1, 1, 1, "cpu", 1, {}, {})


def collected(losses, first=1, collector=None):
    """The lines of a run with these losses, its end among them."""
    collector = collector or StepLosses()
    lines = [collector.add(step, loss) for step, loss in enumerate(losses, first)]
    return [line for line in (*lines, collector.end()) if line is not None]


def of(*entries):
    return loss_curve(Record(HEADER, entries))


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_every_step_comes_back_to_float32_and_takes_six_bytes(tmp_path, count):
    losses = np.random.default_rng(count).lognormal(size=count)
    with Writer(tmp_path / "record.jsonl") as writer:
        writer.write(HEADER)
        begun = writer.offset
        for line in collected(losses.tolist()):
            writer.write(line)
        assert writer.offset - begun < 6 * count + 70
    curve = loss_curve(records.read(tmp_path))
    assert curve.every
    assert curve.steps.tolist() == list(range(1, count + 1))
    assert (curve.losses == losses.astype(np.float32)).all()


def test_a_loss_that_was_not_seen_or_ran_away_keeps_its_place():
    curve = of(*collected([None, None, 2.0, None, math.inf, 1e300, math.nan, Away(math.nan), 1.0, None]))
    assert curve.steps.tolist() == [3, 4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(curve.losses, [2.0, math.nan, *[math.inf] * 4, 1.0])
    assert collected([None] * 1000) == []


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("ran", "back"), [(5, 3), (BLOCK + 9, BLOCK - 4), (3 * BLOCK, 10), (7, 0)])
def test_what_a_rollback_undid_is_replaced_and_kept_apart(ran, back, announced):
    """Whether or not the rollback stands behind the losses that it undid."""
    collector = StepLosses()
    wild = [collector.add(step, 100.0 + step) for step in range(1, ran + 1)]
    rollback = [Rollback(ran, back, "lost", 0.5)]
    told = [collector.end(), *rollback] if announced else rollback
    again = [collector.add(step, float(step)) for step in range(back + 1, ran + 50)]
    curve = of(*(e for e in (*wild, *told, *again, collector.end()) if e is not None))
    assert curve.every
    assert curve.steps.tolist() == list(range(1, ran + 50))
    assert curve.losses.tolist() == [100.0 + s if s <= back else s for s in range(1, ran + 50)]
    steps, losses = (np.concatenate(parts) for parts in zip(*curve.undone, strict=True))
    assert sorted(steps.tolist()) == list(range(back + 1, ran + 1))
    assert (losses == 100.0 + steps).all()


def test_a_run_that_ends_by_going_back_ends_there():
    curve = of(*collected([3.0, 2.0, 9.0]), Rollback(3, 2, "the run ended above its start", 0.5))
    assert curve.losses.tolist() == [3.0, 2.0]
    assert curve.undone[0][1].tolist() == [9.0]


def test_a_resumed_run_writes_the_lines_of_one_that_was_not_interrupted():
    losses = np.random.default_rng(0).normal(size=900).tolist()
    for cut in (1, 255, 256, 257, 700):
        one, two = StepLosses(), StepLosses()
        lines = [one.add(step, loss) for step, loss in enumerate(losses[:cut], 1)]
        two.state = msgspec.json.decode(msgspec.json.encode(one.state))
        lines += collected(losses[cut:], first=cut + 1, collector=two)
        assert [line for line in lines if line is not None] == collected(losses)


class Away:
    """A loss on an accelerator, which counts the times that it is fetched alone."""

    is_cpu = False
    alone = 0

    def __init__(self, value):
        self.value = value

    def detach(self):
        return self

    reshape = lambda self, _: self
    clone = detach

    def __float__(self):
        Away.alone += 1
        return self.value


def test_losses_of_an_accelerator_are_fetched_together(monkeypatch):
    monkeypatch.setattr(Away, "alone", 0)
    calls = []
    collector = StepLosses(lambda away: calls.append(len(away)) or [loss.value for loss in away])
    lines = collected([Away(float(i)) if i % 2 else float(i) for i in range(2 * BLOCK)], collector=collector)
    assert np.concatenate([line.numbers for line in lines]).tolist() == list(range(2 * BLOCK))
    assert calls == [BLOCK // 2, BLOCK // 2]
    assert Away.alone == 0


def test_a_tensor_is_read_as_it_was():
    loss = torch.ones((), requires_grad=True) * 2
    collector = StepLosses()
    collector.add(1, loss)
    loss.detach().mul_(5)
    collector.add(2, loss.reshape(1))
    assert collector.end().numbers.tolist() == [2.0, 10.0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"kind":"losses","step":9,"losses":"AAA="}', "length >= 4"),
        (b'{"kind":"losses","step":9,"losses":"AAAAAAA="}', "5 bytes are not whole float32"),
        (b'{"kind":"losses","step":0,"losses":"AACAPw=="}', "1 losses cannot end at step 0"),
        (b'{"kind":"losses","step":%d,"losses":"AACAPw=="}' % 10**30, ""),
        (b'{"kind":"losses","step":9,"losses":"no base64"}', "base64"),
        (b'{"kind":"losses","step":9,"losses":[1.0]}', "Expected `bytes`"),
        (msgspec.json.encode({"kind": "losses", "step": 9000, "losses": bytes(4 * MOST + 4)}), "length <= 2048"),
    ],
)
def test_a_line_that_is_none_is_damage_and_the_rest_is_read(tmp_path, line, says):
    good = Losses.of(1, [1.0])
    path = tmp_path / "record.jsonl"
    path.write_bytes(b"\n".join([msgspec.json.encode(HEADER), line, msgspec.json.encode(good), b""]))
    record = records.read(path)
    assert record.of(Losses) == (good,)
    assert len(record.damage) == 1
    assert says in record.damage[0]


def test_steps_that_no_line_covers_are_those_of_the_motions():
    motions = [
        Motion(step, None, 10.0 * step, 0.1, 0.9, 32, 0.3, 0.4, None, 0.3, 0.1, None, None, 32.0)
        for step in (1, 3, 5, 9)
    ]
    curve = of(*motions)
    assert (curve.steps.tolist(), curve.losses.tolist(), curve.every) == ([1, 3, 5, 9], [10, 30, 50, 90], False)
    curve = of(*motions, Losses.of(5, [2.0, 3.0, 4.0, 5.0]))
    assert curve.steps.tolist() == [1, 2, 3, 4, 5, 9]
    assert curve.losses.tolist() == [10, 2, 3, 4, 5, 90]


def test_what_exports_has_a_value_a_step():
    record = Record(HEADER, [Losses.of(3, [0.5, math.nan, 0.25])])
    assert record.table(Losses)["step"].tolist() == [1, 2, 3]
    assert records.to_csv(record, Losses).splitlines() == ["step,loss", "1,0.5", "2,", "3,0.25"]
    logged = []
    records.export(record, lambda values, step: logged.append((step, values)))
    assert logged == [(1, {"losses/loss": 0.5}), (3, {"losses/loss": 0.25})]
