"""A page has one voice: a picture's caption is its finding's sentence, and no two sentences disagree."""

import random
import re

import msgspec
import pytest
from verdicts.runs import curvatures, header, motions, noises, record, windows

from thetadot.report import page
from thetadot.report.figures.frame import Timeline
from thetadot.report.runs import line_up
from thetadot.report.summary import summarize

JUDGED = {
    "curvature": "edge",
    "noise": "noise",
    "critical": "batch",
    "ladder": "damping",
    "equilibrium": "stationarity",
}
DOWN, UP = re.compile(r"\b[Ll]ower (the )?lr\b"), re.compile(r"\b[Rr]aise (the )?lr\b")
SMALLER, LARGER = re.compile(r"Lower the batch"), re.compile(r"Raise the batch")


def synthetic(seed):
    """A record of plausible parts, each there or not, with sizes over many decades."""
    draw = random.Random(seed)
    lr, batch = 10 ** draw.uniform(-4, 0), 2 ** draw.randint(0, 10)
    start, fall = draw.uniform(0.5, 5.0), draw.uniform(-1.0, 0.95)
    steps = motions(
        lr=lr if draw.random() < 0.5 else lambda t: lr * (1.01 - t),
        momentum=draw.choice([0.0, 0.5, 0.9, 0.99]),
        batch=batch,
        loss=lambda t: start * (1 - fall * t),
    )
    if draw.random() < 0.4:
        grown = batch * draw.choice([2, 4])
        steps = [msgspec.structs.replace(m, batch_size=grown) if i > 10 else m for i, m in enumerate(steps)]
    adaptive = draw.random() < 0.4
    limit = 3.8 / lr
    parts = [steps]
    if draw.random() < 0.8:
        ratios = [10 ** draw.uniform(-3, 1) for _ in range(draw.randint(1, 4))]
        parts.append(curvatures(*(r * limit for r in ratios), limit=limit, preconditioned=adaptive))
    if draw.random() < 0.8:
        parts.append(noises(10 ** draw.uniform(0, 4), resolved=draw.random() < 0.7))
    if draw.random() < 0.6:
        parts.append(windows(*draw.choices(["moving", "stationary", "unresolved"], k=draw.randint(1, 4))))
    return record(*parts, head=header(draw.choice(["AdamW", "Adam"]) if adaptive else draw.choice(["SGD", "Mine"])))


def sentences(run):
    found = summarize(run)
    return [found.sentence, *(v.says for *_, v in found.verdicts), *(v.advice for *_, v in found.verdicts)]


@pytest.mark.parametrize("seed", range(200))
def test_no_two_sentences_disagree(seed):
    run = line_up([synthetic(seed)])[0]
    said = sentences(run)
    text = " ".join(said)
    assert not (DOWN.search(text) and UP.search(text)), text
    assert not (SMALLER.search(text) and LARGER.search(text)), text
    findings = run.findings
    if findings["edge"].state == "good":
        assert "half the limit" not in text
    if "Lower the batch" in text:
        assert findings["batch"].finding != "batch small"
    batches = set(re.findall(r"the batch is ([\d,]+)", text)) | set(re.findall(r"[Tt]he batch from ([\d,]+)", text))
    assert len(batches) <= 1, text
    point = run.facts.point
    assert not batches or int(batches.pop().replace(",", "")) == point.settings.batch
    learning = {float(x) for x in re.findall(r"lr from ([\d.e-]+\d) to", text)}
    assert all(any(abs(lr / m.lr - 1) < 0.01 for m in run.facts.motions) for lr in learning), text


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_picture_of_a_judged_question_is_captioned_by_its_finding(seed):
    runs = line_up([synthetic(seed)])
    for section in page._sections(runs, Timeline(runs)):
        for picture in section.pictures:
            if picture.name in JUDGED:
                assert picture.says == (runs[0].finding(JUDGED[picture.name]),)
