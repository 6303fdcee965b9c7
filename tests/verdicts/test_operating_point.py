"""An operating point is a pair that one step had; the optimizer's family is read from what it is."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thetadot.records import Curvature, Setting
from thetadot.verdicts.facts import Facts

from .runs import curvatures, header, motions, record


def of(*parts, **options):
    return Facts(record(*parts, **options))


@given(st.lists(st.tuples(st.floats(1e-6, 10.0), st.integers(1, 4096)), min_size=1, max_size=60))
def test_learning_rate_and_batch_were_used_at_one_step(pairs):
    given_motions = [
        msgspec.structs.replace(motions()[0], step=i, lr=lr, batch_size=batch) for i, (lr, batch) in enumerate(pairs)
    ]
    point = of(given_motions).point
    assert point.settings.lr == max(lr for lr, _ in pairs)
    near = pairs[max(point.step - 3, 0) : point.step + 1]
    assert pairs[point.step][0] == point.settings.lr
    assert point.settings.batch in [batch for _, batch in near]


def test_a_batch_that_grows_while_the_lr_falls_is_not_joined_to_the_largest_lr():
    grown = [
        msgspec.structs.replace(m, lr=0.1 * 0.9**i, batch_size=8 if i < 10 else 32) for i, m in enumerate(motions())
    ]
    facts = of(grown)
    assert (facts.point.settings.lr, facts.point.settings.batch) == (0.1, 8)
    assert facts.batch_said == f"8 (at step {facts.point.step})"


def test_an_epochs_last_batch_is_no_change_of_the_batch():
    ragged = [msgspec.structs.replace(m, batch_size=7 if i % 10 == 9 else 64) for i, m in enumerate(motions())]
    assert of(ragged).batch_said == "64"


@pytest.mark.parametrize(
    ("name", "family"), [("SGD", "sgd"), ("AdamW", "adaptive"), ("Designer", None), ("Snowball", None), ("Muon", None)]
)
def test_a_family_is_told_by_the_words_of_a_name(name, family):
    assert of(motions(), head=header(name)).family == family


def test_a_preconditioner_that_was_seen_or_set_tells_more_than_a_name():
    seen = [e if not isinstance(e, Curvature) else msgspec.structs.replace(e, preconditioned=True)
            for e in curvatures(3.0)]  # fmt: skip
    assert of(motions(), seen, head=header("Mine")).family == "adaptive"
    assert of(motions(), [Setting(0, 0, 10, {"betas[1]": 0.999})], head=header("Mine")).family == "adaptive"
