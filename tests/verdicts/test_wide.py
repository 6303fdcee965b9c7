"""A noise scale whose interval spans the findings is not called known; an interrupted run is fine so far."""

import pytest
from verdicts.runs import curvatures, motions, noises, record, verdicts

from thetadot.records import End
from thetadot.verdicts import headline, judge


@pytest.mark.parametrize(
    ("spread", "noise", "batch"), [(1.3, "balanced", "batch fits"), (100.0, "unresolved", "unresolved")]
)
def test_an_interval_that_holds_every_finding_is_of_none(spread, noise, batch):
    found = verdicts(motions(batch=64), noises(64.0, spread))
    assert (found["noise"].finding, found["batch"].finding) == (noise, batch)
    assert (found["noise"].state == "unknown") == (noise == "unresolved")


def test_an_interval_that_holds_two_findings_names_the_likelier_with_low_confidence():
    found = verdicts(motions(batch=64), noises(256.0, 3.0))["noise"]
    assert found.finding == "noise-limited"
    assert found.confidence.startswith("low")


@pytest.mark.parametrize(("because", "begin"), [("closed", "Fine: "), ("exception", "Fine so far: ")])
def test_a_run_that_an_exception_ended_is_fine_so_far(because, begin):
    run = record(
        motions(loss=lambda t: 2.3 / (1 + 20 * t)),
        noises(64.0),
        curvatures(5.0, 5.0, 5.0),
        End(1000, because, 0.0, 64_000.0),
    )
    said = headline(run, judge(run)).says
    assert said.startswith(begin)
    assert ("an exception ended the loop at step 1,000" in said) == (because == "exception")
