"""A loss that hooks cannot see is said to be unseen, for its own reason, with the one line that shows it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import thetadot
from thetadot.records import Motion

X, Y = torch.randn(32, 4, generator=torch.Generator().manual_seed(1)), torch.arange(32) % 3


def looped(loss_fn, used, *, told=False):
    """A loop that uses ``used`` where the watch was given ``loss_fn``; losses of the record."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = thetadot.watch(model, optimizer, loss_fn=loss_fn, level="full").start()
    for _ in range(3):
        optimizer.zero_grad()
        loss = used(model(X), Y)
        if told:
            probe.loss(loss)
        loss.backward()
        optimizer.step()
    probe.close()
    return [m.loss for m in probe.record.of(Motion)]


ENTROPY = nn.CrossEntropyLoss()


@pytest.mark.parametrize(
    ("loss_fn", "used", "why"),
    [
        (None, functional.cross_entropy, "no loss_fn was given"),
        (functional.cross_entropy, functional.cross_entropy, "cross_entropy is no module"),
        (ENTROPY, functional.cross_entropy, "this CrossEntropyLoss was not called"),
        (ENTROPY, nn.CrossEntropyLoss(), "another CrossEntropyLoss or a function"),
    ],
)
def test_an_unseen_loss_is_said_with_its_reason_and_the_line(loss_fn, used, why):
    with pytest.warns(UserWarning, match="training loss") as said:
        losses = looped(loss_fn, used)
    assert losses == [None] * 3
    (text,) = [str(one.message) for one in said if "training loss" in str(one.message)]
    assert why in text
    assert "probe.loss(loss)" in text


def test_the_line_shows_it(recwarn):
    assert all(loss is not None for loss in looped(functional.cross_entropy, functional.cross_entropy, told=True))
    assert not [w for w in recwarn if "training loss" in str(w.message)]
