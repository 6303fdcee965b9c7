"""Splitting words: shares, rotation to one force, and what gain and drift promise."""

import math
from itertools import groupby, pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from shared.ball import FRICTION, START, double_well, place

from thetadot.analysis import measured_order, trajectory
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import Leapfrog, Splitting
from thetadot.integrators.words import force_first, parse, reversible, stages
from thetadot.systems import DampedNewton
from thetadot.systems import Kramers as KramersDynamics
from thetadot.systems.base import PerStep

WORDS = st.text("ABO", min_size=2, max_size=9).filter(lambda word: {"A", "B"} <= set(word))


def cycle(pieces):
    """A cyclic word as its least rotation, neighbours of one letter merged also across the end."""
    merged = [(letter, sum(p.share for p in run)) for letter, run in groupby(pieces, lambda p: p.letter)]
    if len(merged) > 1 and merged[0][0] == merged[-1][0]:
        merged[0] = (merged[0][0], merged[0][1] + merged.pop()[1])
    return min(merged[i:] + merged[:i] for i in range(len(merged)))


def drifts(word):
    """Runs of A round the cycle, friction aside: so often has the position moved when a force is asked for."""
    moving = [letter for letter in word if letter != "O"]
    return sum(here == "A" and before == "B" for before, here in zip([moving[-1], *moving], moving, strict=False))


@given(WORDS)
def test_each_letters_shares_sum_to_one(word):
    for letter in set(word):
        assert sum(piece.share for piece in parse(word) if piece.letter == letter) == 1
    assert "".join(piece.letter for piece in parse(word)) == word


@given(WORDS)
def test_rotation_keeps_the_cycle(word):
    assert cycle(force_first(parse(word))) == cycle(parse(word))


@given(WORDS)
def test_a_force_begins_the_word_and_stages_are_its_parts(word):
    turned = force_first(parse(word))
    parts = stages(turned)
    assert next(piece.letter for piece in turned if piece.letter != "O") == "B"
    assert tuple(piece for part in parts for piece in part) == turned
    assert all(part[0].letter == "B" for part in parts[1:])
    assert len(parts) == Splitting(word).stages == drifts(word)
    # within a stage no force acts once the position has moved: one gradient serves
    for part in parts:
        letters = [piece.letter for piece in part if piece.letter != "O"]
        assert letters == sorted(letters, reverse=True)


@pytest.mark.parametrize(
    ("word", "turned"),
    [
        ("BAOAB", "BAOA"),
        ("BAOA", "BAOA"),
        ("OBABO", "BOBA"),
        ("ABOBA", "BOBA"),
        ("OBA", "BAO"),
        ("OBAB", "BOBA"),
        ("AOBOA", "OBOA"),
    ],
)
def test_well_known_words_take_one_gradient(word, turned):
    (stage,) = stages(force_first(parse(word)))
    assert "".join(piece.letter for piece in stage) == turned


@given(WORDS, st.floats(0.0, 0.99))
def test_gain_and_drift_are_what_the_rule_does(word, momentum):
    rule = Splitting(word)
    assume(rule.stages == 1)
    assume("O" in word)
    scales = rule.prepare(DampedNewton(PerStep(rule.damping(momentum))), 0.5)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    pushed = rule.advance(scales, {"position": zero, "velocity": zero}, -one, draw=None)
    coasting = rule.advance(scales, {"position": zero, "velocity": one}, zero, draw=None)
    assert pushed["position"].item() == pytest.approx(rule.gain(momentum) * 0.5**2, abs=1e-14)
    assert coasting["position"].item() == pytest.approx(rule.drift(scales), abs=1e-14)
    assert rule.momentum(rule.damping(momentum)) == pytest.approx(momentum, abs=1e-15)


TIME = 2.0


@pytest.fixture(scope="module")
def reference():
    return place(TIME)


@pytest.mark.parametrize(
    ("word", "order"), [("BAOAB", 2), ("BAOA", 2), ("OBABO", 2), ("ABOBA", 2), ("OBA", 1), ("BAO", 1), ("ABO", 1)]
)
def test_the_declared_order_of_a_word_is_the_measured_one(word, order, reference):
    rule = Splitting(word)
    orders = measured_order(
        DampedNewton(FRICTION), rule, double_well, START, time=TIME, steps=(200, 400, 800), reference=reference
    )
    assert rule.order == order
    assert abs(orders[-1] - order) < 0.1


def test_a_cycle_that_runs_the_same_backwards_is_reversible():
    for word in ("BAOAB", "BAOA", "AB", "ABBA", "OBAB", "BABAB"):
        assert reversible(parse(word)), word
    for word in ("OBA", "BAO", "ABAOB"):
        assert not reversible(parse(word)), word


@pytest.mark.parametrize("word", ["BABAB", "OBABABO", "ABABOBA", "ABAB"])
def test_words_of_several_gradients_do_what_their_letters_say(word):
    """Against the letters spelled out, from the place of the cycle where the rule begins."""
    friction, step = 0.4 if "O" in word else 0.0, 0.1
    rule = Splitting(word)
    scales = rule.prepare(DampedNewton(friction), step)
    state = {"position": START, "velocity": torch.zeros_like(START)}
    x, v = 2.0, 0.0
    for _ in range(20):
        for stage in range(rule.stages):
            state = rule.advance(scales, state, double_well(state["position"]), None, stage)
        for piece in force_first(parse(word)):
            share = float(piece.share) * step
            if piece.letter == "A":
                x += share * v
            elif piece.letter == "B":
                v -= share * double_well(x)
            else:
                v *= math.exp(-share * friction)
    assert rule.stages > 1
    assert state["position"].item() == pytest.approx(x, abs=1e-13)
    assert state["velocity"].item() == pytest.approx(v, abs=1e-13)


def test_without_friction_the_word_ab_is_leapfrog():
    word, leap = (
        trajectory(DampedNewton(0.0), rule, double_well, START, step=0.1, steps=100)
        for rule in (Splitting("AB"), Leapfrog())
    )
    assert torch.allclose(word, leap, rtol=0, atol=1e-13)


def test_energy_of_a_frictionless_word_does_not_drift():
    path = trajectory(DampedNewton(0.0), Splitting("BAB"), double_well, START, step=0.05, steps=4000)
    velocity = (path[2:] - path[:-2]) / 0.1
    energy = velocity**2 / 2 + (path[1:-1] ** 2 - 1) ** 2 / 4
    assert (energy - 9 / 4).abs().max() < 0.03
    early, late = energy[:1000].mean(), energy[-1000:].mean()
    assert (late - early).abs() < 1e-3


def test_noise_of_an_o_keeps_the_velocitys_temperature():
    """e^{-2λγ} T + T(1-e^{-2λγ}) = T, for each O of a word."""
    scales = Splitting("OBABO").prepare(KramersDynamics(0.8, 2.5), 0.3)
    heats = [(sub.amount, sub.thermal) for stage in scales for sub in stage if sub.letter == "O"]
    assert heats
    for retain, thermal in heats:
        assert retain**2 * 2.5 + thermal**2 == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("BAXAB", "has the letter 'X'"),
        ("baoab", "has the letter 'a'"),
        ("", "lacks"),
        ("BOB", "lacks"),
        ("AO", "lacks"),
    ],
)
def test_what_is_no_word_is_refused(word, said):
    with pytest.raises(InadmissibleValue, match=f"{said}.*Pass letters A, B and O"):
        Splitting(word)


def test_friction_needs_an_o():
    with pytest.raises(IncompatiblePair, match="has no O, the letter of friction"):
        Splitting("BAB").prepare(DampedNewton(0.1), 0.1)


def test_several_gradients_stand_for_no_lr():
    rule = Splitting("BABOBAB")
    scales = rule.prepare(DampedNewton(0.1), 0.1)
    for ask in (lambda: rule.gain(0.9), lambda: rule.drift(scales), lambda: rule.at_rest(scales, START)):
        with pytest.raises(InadmissibleValue, match="takes 2 gradients a step"):
            ask()


def test_orders_are_not_an_accident_of_one_step_size(reference):
    """Errors of BAOAB fall fourfold at every halving."""
    errors = []
    for n in (100, 200, 400, 800):
        path = trajectory(DampedNewton(FRICTION), Splitting("BAOAB"), double_well, START, step=TIME / n, steps=n)
        errors.append(float((path[-1] - reference).abs()))
    assert all(3.7 < coarse / fine < 4.3 for coarse, fine in pairwise(errors))
