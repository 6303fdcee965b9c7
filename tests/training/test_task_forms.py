"""One task in every form that a training loop of torch has it in: the run is the same, bit for bit."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

import thetadot
from thetadot.errors import TaskError

G = torch.Generator().manual_seed(0)
X = torch.randn(96, 4, generator=G)
Y = (X @ torch.randn(4, 1, generator=G)).tanh()
TRAIN, VALID, TEST = (slice(0, 64), slice(64, 80), slice(80, 96))


class Net(nn.Module):
    """A network that may return its loss beside its output."""

    def __init__(self, form="output"):
        super().__init__()
        self.form = form
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x, labels=None):
        output = self.body(x)
        if self.form == "output":
            return output
        loss = nn.functional.mse_loss(output, labels)
        if self.form == "attribute":
            return Output(loss, output)
        return {"loss": loss, "logits": output} if self.form == "key" else (loss, output)


class Output:
    def __init__(self, loss, logits):
        self.loss, self.logits = loss, logits


class Dicts(Dataset):
    """Samples as dicts, as of the datasets library."""

    def __init__(self, part):
        self.x, self.y = X[part], Y[part]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "labels": self.y[i]}


def pairs(part):
    return TensorDataset(X[part], Y[part])


def loss_of_a_dict(output, batch):
    return nn.functional.mse_loss(output, batch["labels"])


def collate(samples):
    return {name: torch.stack([sample[name] for sample in samples]) for name in ("x", "labels")}


def task(model, loss, data):
    return thetadot.Task(model, loss, *(data(part) for part in (TRAIN, VALID)), test=data(TEST))


FORMS = {
    "pairs": lambda: task(Net(), nn.functional.mse_loss, pairs),
    "loaders": lambda: task(Net(), nn.functional.mse_loss, lambda part: DataLoader(pairs(part), 8, shuffle=True)),
    "dicts and a loss": lambda: task(Net(), loss_of_a_dict, Dicts),
    "dicts, loss as an attribute": lambda: task(Net("attribute"), None, Dicts),
    "dicts, loss by key": lambda: task(Net("key"), None, Dicts),
    "dicts, loss in a tuple": lambda: task(Net("tuple"), None, Dicts),
    "loaders that collate": lambda: task(Net("key"), None, lambda part: DataLoader(Dicts(part), 4, collate_fn=collate)),
    "by name, no loss": lambda: thetadot.Task(Net("key"), train=Dicts(TRAIN), valid=Dicts(VALID), test=Dicts(TEST)),
}


def numbers(make, out):
    """What a run comes to, without the cure, which needs targets that are told from inputs."""
    result = thetadot.run(make, out=out, epochs=3, lr=0.05, batch_size=8, threads=1, cure=False).record.result
    return result.train_loss, result.valid_loss, result.test_loss, result.best_epoch, result.steps


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return numbers(FORMS["pairs"], tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("form", [name for name in FORMS if name != "pairs"])
def test_every_form_trains_the_same(plain, form, tmp_path):
    assert numbers(FORMS[form], tmp_path / "run") == plain


def test_nothing_given_takes_dicts_and_is_resumed(tmp_path):
    make = FORMS["dicts, loss as an attribute"]
    done = thetadot.run(make, out=tmp_path / "run", epochs=2, threads=1)
    again = thetadot.run(make, out=tmp_path / "run", epochs=2, threads=1, resume=True)
    assert again.record.result == done.record.result
    assert thetadot.load(tmp_path / "run", make).record.result == done.record.result


def test_samples_of_different_lengths_are_the_collating_functions_to_join(tmp_path):
    class Bags(Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, i):
            return X[i, : 1 + i % 4], Y[i]

    def pad(samples):
        rows = [nn.functional.pad(x, (0, 4 - len(x))) for x, _ in samples]
        return torch.stack(rows), torch.stack([y for _, y in samples])

    data = DataLoader(Bags(), 4, collate_fn=pad)
    assert thetadot.run(
        lambda: thetadot.Task(Net(), nn.functional.mse_loss, data, data), out=tmp_path / "run", epochs=1, threads=1
    ).record.result.steps
    with pytest.raises(TaskError, match="not alike"):
        thetadot.run(
            lambda: thetadot.Task(Net(), nn.functional.mse_loss, Bags(), Bags()),
            out=tmp_path / "no",
            epochs=1,
            threads=1,
        )


def test_batches_may_be_padded_to_their_own_longest_sample(tmp_path):
    class Sentences(Dataset):
        def __len__(self):
            return 600

        def __getitem__(self, i):
            return X[: 1 + i % 7], Y[i % 96]

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 1)

        def forward(self, x):
            return self.body(x.sum(1))

    def pad(samples):
        rows = nn.utils.rnn.pad_sequence([x for x, _ in samples], batch_first=True)
        return rows, torch.stack([y for _, y in samples])

    data = DataLoader(Sentences(), 4, collate_fn=pad)
    made = thetadot.Task(Sum(), nn.functional.mse_loss, data, data)
    assert thetadot.run(made, out=tmp_path / "run", epochs=1, threads=1).record.result.steps


class Stream(IterableDataset):
    def __iter__(self):
        return iter(pairs(TRAIN))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DataLoader(pairs(TRAIN), 8, sampler=WeightedRandomSampler([1.0] * 64, 64)), "WeightedRandomSampler"),
        (
            DataLoader(pairs(TRAIN), 8, sampler=torch.utils.data.RandomSampler(range(64), replacement=True)),
            "RandomSampler",
        ),
        (DataLoader(pairs(TRAIN), batch_size=None), "batch_size=None"),
        (DataLoader(Stream(), 8), "map-style"),
        (Stream(), "map-style"),
        (None, "train is missing"),
    ],
)
def test_data_that_a_run_cannot_draw_from_are_refused(data, said):
    with pytest.raises(TaskError, match=said):
        thetadot.Task(Net(), nn.functional.mse_loss, data, pairs(VALID))


def test_a_model_without_a_loss_and_a_task_without_one_are_told(tmp_path):
    with pytest.raises(TaskError, match="returned a Tensor without a loss, and the task has no loss function"):
        thetadot.run(lambda: thetadot.Task(Net(), None, Dicts(TRAIN), Dicts(VALID)), out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()
