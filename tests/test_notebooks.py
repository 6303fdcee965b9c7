"""What is shown in a notebook is a table, and every character of a name or sentence in it is escaped."""

import pytest
import torch

from thetadot import records, simulate
from thetadot.integrators import EulerMaruyama
from thetadot.potentials import Harmonic
from thetadot.systems import Langevin, Problem
from thetadot.verdicts import Verdict

EVIL = "<img src=x onerror=alert(1)>&"


def verdict():
    return Verdict(EVIL, EVIL, "good", EVIL, evidence=(EVIL,), confidence=EVIL, advice=EVIL)


def record():
    header = records.Header(records.SCHEMA, records.VERSION, EVIL, 0, 1, 1, 1, 1, "cpu", 1, {}, {})
    return records.Record(header, [], damage=(EVIL,))


def trajectory():
    problem = Problem(Langevin(temperature=0.1), Harmonic())
    return simulate(problem, EulerMaruyama(), torch.zeros(1), time=1.0, step=0.5, save={EVIL: 2})


@pytest.mark.parametrize("make", [verdict, record, trajectory])
def test_what_is_shown_is_an_escaped_table(make):
    shown = make()._repr_html_()
    assert shown.startswith("<table>")
    assert "&lt;img src=x" in shown
    assert "<img" not in shown
