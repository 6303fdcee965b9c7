"""Settings: out of range."""

import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.optim import HeavyBall

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("word", "bad"), [(word, bad) for word in ("lr", "weight_decay") for bad in (-0.1, NAN, INF, torch.tensor(-1.0))]
)
def test_settings_out_of_range_are_refused_with_a_remedy(lab, every, word, bad):
    with pytest.raises(InadmissibleValue, match=rf"^{word}=.* is negative or not finite\. Pass {word} >= 0"):
        lab.build(every, lab.tensors(), **{word: bad})


@pytest.mark.parametrize("bad", [1.0, 1.2, -0.1, NAN, INF, torch.tensor(1.5)])
def test_momentum_outside_0_to_1_is_refused_with_a_remedy(lab, momentous, bad):
    with pytest.raises(InadmissibleValue, match=r"^momentum=.* is outside \[0, 1\): .*Pass 0 <= momentum < 1.*<= 2"):
        lab.build(momentous, lab.tensors(), momentum=bad)


@pytest.mark.parametrize("bad", [-1.0, NAN, INF])
def test_temperatures_out_of_range_are_refused(lab, noisy, bad):
    with pytest.raises(InadmissibleValue, match=r"^temperature=.*Pass temperature >= 0"):
        lab.build(noisy, lab.tensors(), temperature=bad)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize(
    ("options", "said"),
    [({"betas": (1.0, 0.9)}, r"betas\[0\]"), ({"betas": (0.9, -0.1)}, r"betas\[1\]"), ({"eps": -1.0}, "eps=-1")],
)
def test_memories_out_of_range_are_refused(lab, name, options, said):
    with pytest.raises(InadmissibleValue, match=said):
        lab.build(name, lab.tensors(), **options)


def test_unknown_modes_are_refused(lab, plain):
    with pytest.raises(InadmissibleValue, match=r"weight_decay_mode|convention"):
        lab.build(plain, lab.tensors(), weight_decay_mode="L2")
    with pytest.raises(InadmissibleValue, match="start='half' is unknown"):
        HeavyBall(lab.tensors(), lab.LR, start="half")
