"""A word is run as it is written: letter by letter, by hand, gives the positions that are shown."""

import math
import re

import torch
from hypothesis import given
from hypothesis import strategies as some

from thetadot.errors import IncompatiblePair
from thetadot.integrators import Splitting
from thetadot.simulation import simulate
from thetadot.systems import Kramers, Problem

FRICTION = 1.5


def by_hand(word, position, velocity, step, count):
    shares = {letter: step / word.count(letter) for letter in word}
    for letter in word * count:
        if letter == "A":
            position = position + shares["A"] * velocity
        elif letter == "B":
            velocity = velocity - shares["B"] * position**3
        else:
            velocity = math.exp(-FRICTION * shares["O"]) * velocity
    return position


@given(some.text("ABO", min_size=3, max_size=8).filter(lambda word: {"A", "B", "O"} <= set(word)), some.integers(1, 4))
def test_positions_are_those_of_the_letters(word, count):
    start = {name: torch.tensor([value], dtype=torch.float64) for name, value in (("position", 1.3), ("velocity", 0.7))}
    problem = Problem(Kramers(FRICTION, 0.0), lambda x: (x**4 / 4).sum(-1))
    try:
        found = simulate(problem, Splitting(word), start, time=0.2 * count, step=0.2, compile=False).final
    except IncompatiblePair:
        # a drift runs across the words' end, and friction interrupts it before a force is met
        assert re.match(r"O*A[AO]*OA.*AO*$", word)
        return
    assert abs(float(found) - by_hand(word, 1.3, 0.7, 0.2, count)) < 1e-13
