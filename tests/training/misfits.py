"""Tasks whose parts do not fit one another, in one way each."""

import numpy as np
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from .tasks import X, Y, net, task


class Rows(Dataset):
    def __init__(self, change):
        self.change = change

    def __len__(self):
        return 64

    def __getitem__(self, at):
        return self.change(at, X[at], Y[at])


def label(at, value):
    y = Y.clone()
    y[at] = value
    return y


def out_of_range():
    return task(train=TensorDataset(X, label(23, 7)))


def negative_in_validation():
    return task(valid=TensorDataset(X, label(5, -1)))


def out_of_range_for_a_loss_of_ones_own():
    return task(
        train=TensorDataset(X, label(63, 2)), loss=lambda out, y: -out.log_softmax(1).gather(1, y[:, None]).mean()
    )


def ragged():
    return task(train=Rows(lambda at, x, y: (x[:3] if at == 41 else x, y)))


def ragged_targets():
    return task(train=Rows(lambda at, x, y: (x, y.float() if at == 12 else y)))


def wide():
    return task(train=TensorDataset(X.double(), Y), valid=TensorDataset(X.double(), Y))


def narrow():
    return task(model=nn.Linear(3, 2))


def whole_numbers():
    whole = TensorDataset(X.long(), Y)
    return task(train=whole, valid=whole)


def outputs_of_another_shape():
    data = TensorDataset(X, X[:, :1])
    return task(model=nn.Linear(4, 3), loss=nn.functional.mse_loss, train=data, valid=data)


def broadcast():
    data = TensorDataset(X, X[:, 0])
    return task(model=nn.Linear(4, 1), loss=nn.functional.mse_loss, train=data, valid=data)


def classes_as_floats():
    data = TensorDataset(X, Y.float())
    return task(train=data, valid=data)


def normed():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


def with_batch_norm():
    return task(model=normed())


def one_sample_with_batch_norm():
    return task(model=normed(), train=TensorDataset(X[:1], Y[:1]))


def few_with_batch_norm():
    return task(model=normed(), train=TensorDataset(X[:5], Y[:5]))


def huge():
    return task(loss=lambda out, y: 1e20 * nn.functional.cross_entropy(out, y))


def tiny():
    return task(loss=lambda out, y: 1e-30 * nn.functional.cross_entropy(out, y))


def constant():
    return task(loss=lambda out, y: 0.0 * out.sum() + 1.5)


def loss_class():
    return task(loss=nn.CrossEntropyLoss)


def metric_class():
    return task(metric=nn.L1Loss)


def model_class():
    return task(model=nn.Linear)


def ignored():
    """-100 is a target that cross-entropy passes over."""
    return task(train=TensorDataset(X, label(3, -100)))


def scaled(factor):
    return task(model=net(), loss=lambda out, y: factor * nn.functional.cross_entropy(out, y))


def infinite_slope():
    """The loss is finite where its gradient is not."""
    return task(loss=lambda out, y: (0.0 * out).sum().abs().sqrt() + nn.functional.cross_entropy(out, y))


def nan():
    x = X.clone()
    x[17, 2] = float("nan")
    return task(train=TensorDataset(x, Y))


def infinite_target():
    y = Y.float()[:, None].clone()
    y[5] = float("inf")
    return task(
        model=nn.Linear(4, 1), loss=nn.MSELoss(), valid=TensorDataset(X, y), train=TensorDataset(X, 0 * X[:, :1])
    )


def missing_values_that_the_model_knows():
    class Filled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            return self.layer(x.nan_to_num())

    x = X.clone()
    x[::7, 1] = float("nan")
    return task(model=Filled(), train=TensorDataset(x, Y))


def text():
    return task(train=Rows(lambda at, x, y: (["red", "blue"][at % 2], y)))


def rows_of_objects():
    return task(train=Rows(lambda at, x, y: (np.array(["red", 1.5, 2.0, 3.0], dtype=object), y)))


def targets(change, outputs=2, loss=None):
    y = change(Y)
    data = TensorDataset(X, y)
    return task(model=nn.Linear(4, outputs), loss=loss or nn.CrossEntropyLoss(), train=data, valid=data)


def floats_for_classes():
    return targets(lambda y: y.float())


def a_column_of_classes():
    return targets(lambda y: y[:, None])


def whole_numbers_for_probabilities():
    return targets(lambda y: y[:, None], 1, nn.BCEWithLogitsLoss())


def one_dimension_too_few():
    return targets(lambda y: y.float(), 1, nn.BCEWithLogitsLoss())


def a_flat_target():
    return targets(lambda y: y.float(), 1, nn.MSELoss())


def classes_from_one():
    return targets(lambda y: y + 1)


def no_probabilities():
    return targets(lambda y: 2.0 * y[:, None], 1, nn.BCEWithLogitsLoss())
