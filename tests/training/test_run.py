"""The main job: a run is a function of task, seed and options, wherever it is cut."""

import json
import math

import pytest
import torch
from shared.blobs import blobs
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import thetadot
from thetadot.errors import DamagedFile, RunFolderError, TaskError
from thetadot.records import Choice, Curvature, Epoch, Fork, Motion, Noise, Remark, Rollback


def lines(folder):
    """The record without its time fields."""
    found = []
    for line in (folder / "record.jsonl").read_text().splitlines():
        entry = json.loads(line)
        entry.pop("seconds", None)
        entry.pop("started", None)
        found.append(entry)
    return found


def same_states(a, b):
    return all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One uncut run of 12 epochs."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, thetadot.run(blobs, out=out, epochs=12, seed=5, name="blobs")


@pytest.mark.slow
def test_a_run_is_a_function_of_its_seed(whole, tmp_path):
    _, first = whole
    again = thetadot.run(blobs, out=tmp_path / "again", epochs=12, seed=5, name="blobs")
    other = thetadot.run(blobs, out=tmp_path / "other", epochs=12, seed=6, name="blobs")
    assert same_states(first.final_state, again.final_state)
    assert not same_states(first.final_state, other.final_state)


class Killed(BaseException):
    """Not an Exception, so that nothing in between catches it."""


@pytest.mark.parametrize(
    "share", [0.07, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.0, 0.005, 0.02, 0.04, 0.3, 0.7, 0.999))]
)
def test_a_run_killed_anywhere_and_resumed_is_the_same_run(whole, tmp_path, share):
    folder, first = whole
    stop = int(share * len(lines(folder)))
    seen = 0

    def kill(_):
        nonlocal seen
        seen += 1
        if seen > stop:
            raise Killed

    out = tmp_path / "run"
    with pytest.raises(Killed):
        thetadot.run(blobs, out=out, epochs=12, seed=5, name="blobs", show=kill)
    torch.manual_seed(123)  # a new process stands elsewhere
    resumed = thetadot.run(blobs, out=out, epochs=12, seed=5, name="blobs", resume=True)
    assert same_states(first.final_state, resumed.final_state)
    assert same_states(first.best_state, resumed.best_state)
    assert lines(folder) == lines(out)


def test_a_finished_run_resumes_to_its_result(whole):
    folder, first = whole
    before = lines(folder)
    again = thetadot.run(blobs, out=folder, epochs=12, seed=5, name="blobs", resume=True)
    assert same_states(first.final_state, again.final_state)
    assert lines(folder) == before


def test_load_brings_the_run_back(whole):
    folder, first = whole
    loaded = thetadot.load(folder, blobs)
    assert same_states(first.best_state, loaded.model.state_dict())
    assert same_states(first.final_state, loaded.final_state)
    assert same_states(first.best_state, loaded.best_state)
    assert loaded.record.entries == first.record.entries


def test_a_folder_is_used_once(whole):
    with pytest.raises(RunFolderError, match="already holds a run"):
        thetadot.run(blobs, out=whole[0], epochs=12, seed=5, name="blobs")


def test_the_best_state_has_the_lowest_validation_loss(whole):
    _, run = whole
    epochs = run.record.of(Epoch)[1:]
    result = run.record.result
    assert result.best_valid_loss == min(e.valid_loss for e in epochs)
    assert epochs[result.best_epoch - 1].valid_loss == result.best_valid_loss


def test_measuring_and_forks_stay_within_their_share(whole):
    _, run = whole
    header, result = run.record.header, run.record.result
    assert run.record.of(Fork)
    assert result.cost <= 1.08 * header.epochs * header.train_samples


def test_the_returned_model_is_the_best_validated_state(whole):
    _, run = whole
    result, epochs = run.record.result, run.record.of(Epoch)
    assert same_states(run.model.state_dict(), run.best_state)
    x, y = blobs().valid.tensors
    run.model.eval()
    with torch.no_grad():
        assert float(nn.functional.cross_entropy(run.model(x), y)) == pytest.approx(result.valid_loss, rel=1e-5)
    assert result.valid_loss == min(e.valid_loss for e in epochs)
    assert result.final_valid_loss == epochs[-1].valid_loss
    assert result.metric == epochs[result.best_epoch].metric
    assert result.learned


def test_every_setting_comes_with_a_reason(whole):
    _, run = whole
    reasons = {choice.setting: choice.because for choice in run.record.of(Choice)}
    assert {"batch_size", "optimizer", "lr", "momentum", "annealing"} <= reasons.keys()
    assert all(len(reason) > 10 for reason in reasons.values())


@pytest.mark.slow
def test_annealing_keeps_the_friction_and_ends_cold(tmp_path):
    run = thetadot.run(blobs, out=tmp_path / "run", epochs=30, optimizer="heavy-ball", lr=0.02)
    motions = run.record.of(Motion)
    warm = [m for m in motions if m.epoch > 0.02 * 30 + 1]
    assert max(m.friction for m in warm) == pytest.approx(min(m.friction for m in warm), rel=1e-6)
    assert warm[-1].momentum > warm[0].momentum
    assert warm[-1].batch_size > warm[0].batch_size
    hottest = max(m.time_step / m.batch_size for m in motions)
    planned = max(m.batch_size for m in motions)  # the last batch itself may be what an epoch had left
    assert motions[-1].time_step / planned <= 0.0101 * hottest
    assert run.record.result.batch_size == warm[0].batch_size


@pytest.mark.slow
def test_plain_cosine_leaves_the_momentum(tmp_path):
    run = thetadot.run(blobs, out=tmp_path / "run", epochs=12, optimizer="heavy-ball", lr=0.02, annealing="cosine")
    assert {m.momentum for m in run.record.of(Motion)} == {0.9}


@pytest.mark.slow
def test_the_validation_set_chooses_the_state_that_is_returned_and_nothing_of_the_way(tmp_path):
    honest = thetadot.run(blobs, out=tmp_path / "a", epochs=8, seed=1)
    x, y = blobs().valid.tensors
    few = TensorDataset(x[:50], y[:50])
    other = thetadot.run(lambda: blobs(valid=few), out=tmp_path / "b", epochs=8, seed=1)
    assert same_states(honest.final_state, other.final_state)
    said = [[r for r in run.record.of(Remark) if r.about == "validation"] for run in (honest, other)]
    assert not said[0]
    (remark,) = said[1]
    assert "50 validation samples, below 100" in remark.says


@pytest.mark.slow
def test_a_validation_loss_that_is_lost_sends_the_run_back_to_its_best_state(tmp_path):
    wrong = TensorDataset(*blobs().valid.tensors)
    wrong.tensors = wrong.tensors[0], (wrong.tensors[1] + 1) % 3
    run = thetadot.run(lambda: blobs(valid=wrong), out=tmp_path / "a", epochs=8, seed=1)
    back = run.record.of(Rollback)
    assert back
    assert all(entry.because.startswith("the validation loss") and entry.back_to == 0 for entry in back)
    assert (run.record.result.best_epoch, run.record.result.learned) == (0, False)


@pytest.mark.slow
def test_given_settings_are_kept(tmp_path):
    run = thetadot.run(blobs, out=tmp_path / "run", epochs=4, optimizer="adam", lr=0.01, momentum=0.8, batch_size=10)
    result = run.record.result
    assert (result.optimizer, result.lr, result.momentum, result.batch_size) == ("adam", 0.01, 0.8, 10)
    assert not run.record.of(Fork)
    assert {m.batch_size for m in run.record.of(Motion)} == {10}


@pytest.mark.slow
@pytest.mark.parametrize("lr", [1e3, 1e8])
def test_an_absurd_step_is_rolled_back_until_it_is_none(tmp_path, lr):
    task = blobs(model=nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    run = thetadot.run(task, out=tmp_path / "run", epochs=6, optimizer="heavy-ball", lr=lr)
    result = run.record.result
    start = run.record.of(Epoch)[0]
    assert run.record.of(Rollback)
    assert math.isfinite(result.valid_loss)
    assert result.valid_loss < 2 * start.valid_loss


def test_64_samples_for_one_epoch_succeed(tmp_path):
    result = thetadot.run(lambda: blobs(86), out=tmp_path / "run", epochs=1).record.result
    assert result.epochs == 1
    assert math.isfinite(result.valid_loss)


def test_one_sample_succeeds(tmp_path):
    x, y = torch.ones(1, 4), torch.zeros(1, dtype=torch.long)
    net = nn.Sequential(nn.Linear(4, 3))
    run = thetadot.run(blobs(model=net, train=TensorDataset(x, y)), out=tmp_path / "run", epochs=2)
    assert run.record.result.steps == 2


def test_minutes_end_a_run_between_epochs(tmp_path):
    result = thetadot.run(
        blobs, out=tmp_path / "run", epochs=500, minutes=0.01, optimizer="adam", lr=1e-3
    ).record.result
    assert 1 <= result.epochs < 500


class Reader(nn.Module):
    """Embedding, attention, a recurrent layer; inputs as a dict."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.memory = nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens, scale):
        x = self.embedding(tokens) * scale[:, None, None]
        x = x + nn.functional.scaled_dot_product_attention(x, x, x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.memory(x)[0][:, -1])


class Tokens(Dataset):
    def __len__(self):
        return 1200

    def __getitem__(self, i):
        tokens = torch.tensor([(i * k + k) % 11 for k in range(1, 6)])
        return {"tokens": tokens, "scale": torch.rand(()) + 0.5}, int(tokens[0] > 5)


@pytest.mark.slow
def test_attention_embedding_recurrence_and_dict_inputs(tmp_path):
    task = lambda: thetadot.Task(Reader(), nn.functional.cross_entropy, Tokens(), Tokens())
    run = thetadot.run(task, out=tmp_path / "run", epochs=20)
    assert run.record.result.metric > 0.7
    assert run.record.of(Fork)
    assert run.record.of(Noise)
    assert run.record.of(Curvature)


@pytest.mark.slow
def test_workers_change_nothing(tmp_path):
    task = lambda: thetadot.Task(Reader(), nn.functional.cross_entropy, Tokens(), Tokens())
    options = {"epochs": 2, "optimizer": "adam", "lr": 1e-3}
    alone = thetadot.run(task, out=tmp_path / "a", **options)
    helped = thetadot.run(task, out=tmp_path / "b", workers=2, **options)
    assert same_states(alone.final_state, helped.final_state)


@pytest.mark.slow
def test_a_regression_has_no_metric_unless_given(tmp_path):
    x = torch.randn(120, 3, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(x, x.sum(1, keepdim=True))
    task = lambda **k: thetadot.Task(nn.Linear(3, 1), nn.functional.mse_loss, data, data, **k)
    assert thetadot.run(task(), out=tmp_path / "a", epochs=3).record.result.metric is None
    metric = lambda output, target: -(output - target).abs().mean()
    assert thetadot.run(task(metric=metric), out=tmp_path / "b", epochs=3).record.result.metric < 0


def test_load_asks_for_a_task_of_ones_own(whole):
    folder, _ = whole
    with pytest.raises(TaskError, match="task of your own, 'blobs'"):
        thetadot.load(folder)


def test_load_and_resume_say_when_the_model_has_changed(whole):
    folder, _ = whole
    with pytest.raises(DamagedFile, match="holds another model"):
        thetadot.load(folder, lambda: blobs(width=9))
    with pytest.raises(DamagedFile, match="holds another model"):
        thetadot.run(lambda: blobs(width=9), out=folder, epochs=12, seed=5, name="blobs", resume=True)


@pytest.mark.slow
def test_a_test_set_is_scored_at_the_end_and_chooses_nothing(tmp_path):
    plain = thetadot.run(blobs, out=tmp_path / "a", epochs=3)
    held = blobs().valid
    tested = thetadot.run(lambda: blobs(test=held), out=tmp_path / "b", epochs=3)
    assert same_states(plain.final_state, tested.final_state)
    assert tested.record.result.test_loss == pytest.approx(tested.record.result.valid_loss)
    assert plain.record.result.test_loss is None


def test_a_folder_is_found_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thetadot.run(blobs, epochs=1)
    thetadot.run(blobs, epochs=1)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"blobs", "blobs-2"}


@pytest.mark.slow
def test_a_run_killed_in_its_first_epoch_resumes(tmp_path):
    whole = thetadot.run(blobs, out=tmp_path / "a", epochs=24, optimizer="adam", lr=0.01)
    motions = 0

    def kill(entry):
        nonlocal motions
        motions += isinstance(entry, Motion)
        if motions > 2:
            raise Killed

    with pytest.raises(Killed):
        thetadot.run(blobs, out=tmp_path / "b", epochs=24, optimizer="adam", lr=0.01, show=kill)
    resumed = thetadot.run(blobs, out=tmp_path / "b", epochs=24, optimizer="adam", lr=0.01, resume=True)
    assert same_states(whole.final_state, resumed.final_state)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


@pytest.mark.slow
def test_a_run_that_sinks_to_chance_goes_back(tmp_path):
    run = thetadot.run(thetadot.tasks.digits, out=tmp_path / "run", epochs=4, optimizer="heavy-ball", lr=1.0)
    assert run.record.of(Rollback)
    assert not run.record.result.diverged
    assert run.record.result.metric > 0.5


@pytest.mark.slow
def test_where_there_is_nothing_to_learn_nothing_is_said_to_be_learned(tmp_path):
    g = torch.Generator().manual_seed(0)
    train, valid = (
        TensorDataset(torch.randn(n, 4, generator=g), torch.randint(2, (n,), generator=g)) for n in (200, 2000)
    )
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    result = thetadot.run(blobs(model=model, train=train, valid=valid), out=tmp_path / "r", epochs=20).record.result
    assert result.constant_loss == pytest.approx(math.log(2), abs=0.01)
    assert not result.learned
    assert not result.diverged
