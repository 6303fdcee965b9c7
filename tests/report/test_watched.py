"""Pages of watched loops, of several runs, and what they say."""

from __future__ import annotations

import json
import re

import msgspec
import numpy as np
import pytest

from thetadot import report
from thetadot.errors import InadmissibleValue
from thetadot.records import Barrier, Curvature, Equilibrium, Layers, Motion, Noise, Record, Regularization, Setting
from thetadot.report import runs
from thetadot.report.figures import critical, equilibrium, layers, plane
from thetadot.report.present import present
from thetadot.report.runs import MOST_RUNS, line_up
from thetadot.report.scaling import scaling
from thetadot.verdicts import RULES, Verdict
from thetadot.verdicts.facts import Facts, interval

from . import conftest, watched
from .test_page import Parsed

FEW = ("embedding", "head")
HOSTILE = watched.HOSTILE


@pytest.fixture(scope="module")
def body():
    return watched.body(every=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory, body):
    return conftest.put(tmp_path_factory.mktemp("a") / "run", watched.header(), [*body, watched.end()])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return conftest.put(
        tmp_path_factory.mktemp("b") / "small", watched.header(layers=FEW), watched.body(FEW, every=100)
    )


def plots(page):
    return [attrs["data-key"] for _, attrs in Parsed(page).elements if attrs.get("class") == "plot"]


def test_a_watched_run_has_every_picture_and_no_empty_section(run):
    page = report.render(run)
    names = {key.rpartition("-")[0] for key in plots(page)}
    assert names == {
        "loss", "settings", "curvature", "ladder", "barriers", "noise", "temperature", "critical", "plane",
        "equilibrium", "regularization", "layers", "portrait",
    }  # fmt: skip
    words = Parsed(page).words
    assert "SGD was watched over 2,000 steps: the training loss went from" in words
    assert "not recorded" not in words
    assert "No choices" not in words
    assert "How to repeat" not in words
    assert "4%of the gradient workwent into measuring" in re.sub(r"\s*\n\s*", "", words)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Curvature, Noise, Motion, Layers, Equilibrium, Regularization, Barrier, Setting])
def test_every_kind_is_optional_and_may_stand_alone(small, kind):
    rest = tuple(entry for entry in small.entries if not isinstance(entry, kind))
    assert "not recorded" not in report.render(Record(small.header, rest))
    assert report.render(Record(small.header, small.of(kind)[:1]))


def test_a_record_with_a_header_only_has_a_page(small):
    page = report.render(Record(small.header, ()))
    assert plots(page) == []
    assert "was watched over 0 steps" in Parsed(page).words


@pytest.mark.slow
@pytest.mark.parametrize("value", [-1.0, 1e-320, 1e308])
def test_extreme_numbers_render(small, value):
    kinds = (Motion, Curvature, Noise, Layers, Equilibrium, Regularization, Barrier)

    def wild(entry):
        known = {"float": value, "float | None": value, "tuple[float, ...]": (value, value)}
        fields = {name: known[of] for name, of in type(entry).__annotations__.items() if of in known}
        return msgspec.structs.replace(entry, **fields)

    few = [wild(entry) for kind in kinds for entry in small.of(kind)[:4]]
    far = [msgspec.structs.replace(entry, step=10**400) for kind in kinds for entry in small.of(kind)[:2]]
    assert report.render([Record(small.header, tuple(few)), Record(small.header, tuple(far))])


def test_every_unknown_number_may_be_none(small):
    kinds = (Motion, Curvature, Noise, Equilibrium, Barrier)

    def bare(entry):
        return msgspec.structs.replace(
            entry, **{name: None for name, of in type(entry).__annotations__.items() if of.endswith("| None")}
        )

    assert report.render(Record(small.header, tuple(bare(entry) for kind in kinds for entry in small.of(kind))))


@pytest.mark.slow
def test_pages_are_deterministic(small, make, whole):
    both = [small, make(whole)]
    assert report.render(both) == report.render(both)


def test_several_runs_overlay_in_colours_and_styles_of_their_own(small, run):
    page = report.render([run, small, run])
    parsed = Parsed(page)
    boxes = [attrs["data-name"] for tag, attrs in parsed.elements if tag == "input"]
    assert boxes == ["nanogpt · run (1)", "nanogpt · small", "nanogpt · run (2)"]
    document = json.loads(parsed.scripts[0])
    found = re.findall(
        r'"tags":\[\{"type":"map","entries":\[\["run",(\d)\]', json.dumps(document, separators=(",", ":"))
    )
    assert {"0", "1", "2"} == set(found)
    assert parsed.words.count("nanogpt · small") > 10, "each picture names its runs"
    styles = {(each.role("x"), each.dash()) for each in line_up([run] * MOST_RUNS)}
    assert len(styles) == MOST_RUNS


@pytest.mark.parametrize("many", [0, MOST_RUNS + 1])
def test_no_run_and_too_many_are_refused(small, many):
    with pytest.raises(InadmissibleValue, match="between 1 and 20"):
        report.render([small] * many)


def test_a_picture_names_only_the_runs_in_it(small, make, whole):
    parsed = report.render([make(whole), small])
    figure = parsed[parsed.index('aria-labelledby="layers-heading"') :]
    figure = figure[: figure.index("</figure>")]
    assert "nanogpt" in figure
    assert "digits" not in figure


@pytest.mark.slow
def test_hostile_strings_stay_strings_and_are_bounded(tmp_path, monkeypatch):
    long = HOSTILE * 400
    head = watched.header(long, (long, HOSTILE), device=long, software={long: long})
    record = conftest.put(tmp_path / HOSTILE.replace("/", "_"), head, watched.body((long, HOSTILE), every=200))
    record = Record(record.header, (*record.entries, Setting(0, 0, 1, {long: long})), (long,), record.path)
    monkeypatch.setattr(runs, "judge", lambda _: (Verdict(long, long, "bad", long, (long,), long, long),))
    for records in (record, [record, record]):
        page = report.render(records, unreadable=[long] if isinstance(records, list) else [])
        parsed = Parsed(page)
        assert not any(tag == "img" or any(name.startswith("on") for name in attrs) for tag, attrs in parsed.elements)
        assert len(parsed.scripts) == 3
        assert json.loads(parsed.scripts[0])["roots"]
        assert max(map(len, parsed.words.splitlines())) < 20_000
        assert "\u202e" not in page
        assert len(page) < 2_500_000


VERDICTS = (
    Verdict("noise", "noise-limited", "good", "Most of it is noise.", ("B_noise 900 (600 to 1500)",), "high: 20 agree"),
    Verdict("edge", "near", "attention", "At 78% of the limit.", (), "moderate", "Do not raise lr."),
    Verdict("time", "late", "bad", "Nothing moves.", (), "", "Lower lr."),
    Verdict("damping", "no friction", "unknown", "No friction is known."),
)


def test_verdicts_stand_first_with_word_icon_evidence_and_advice(small, monkeypatch):
    monkeypatch.setattr(runs, "judge", lambda _: VERDICTS)
    page = report.render(small)
    words = re.sub(r"\s+", " ", Parsed(page).words)
    for said in ("✓ noise: noise-limited (good)", "! edge: near (worth attention)", "✕ time: late (bad)",
                 "Not known: damping (", "B_noise 900 (600 to 1500)", "Confidence: high: 20 agree",
                 "What to do. Do not raise lr."):  # fmt: skip
        assert said in words
    assert page.index('id="headline"') < page.index('<section id="loss"') < page.index('<section id="verdicts">')


def test_without_verdicts_there_is_no_such_section(small, monkeypatch):
    monkeypatch.setattr(runs, "judge", lambda _: ())
    assert 'id="verdicts"' not in report.render(small)


def test_damage_and_unreadable_records_are_named(small):
    damaged = Record(small.header, small.entries, ("line 7: torn",), small.path)
    words = Parsed(report.render([small, damaged], unreadable=["other/record.jsonl cannot be read."])).words
    assert "line 7: torn" in words
    assert "One record could not be read" in words
    assert "other/record.jsonl cannot be read." in words


def test_the_hyperbola_is_mccandlish():
    steps, samples = critical._plane(np.geomspace(1e-3, 1e3, 101))
    np.testing.assert_allclose((steps - 1) * (samples - 1), 1, rtol=1e-9)


def test_rules_pass_through_the_present_point_and_the_veto_is_lr_times_limit_over_sharpness(run):
    now, last = present(Facts(run)), run.of(Curvature)[-1]
    assert now.highest_lr == pytest.approx(watched.LR * last.limit / max(last.sharpness, interval(last)[1]))
    for rule in now.rules(RULES):
        batches, rates = plane.curve(rule, now)
        assert np.interp(0, np.log(batches / now.batch), np.log(rates)) == pytest.approx(np.log(now.lr), abs=1e-3)
    table = scaling(line_up([run])[0])
    for (rule, cells), factor in [(row, 4.0) for row in table.rows]:
        text, vetoed = cells[table.batches.index("256")]
        lr = rule.lr(now.lr, now.batch, factor * now.batch, now.noise.value, momentum=now.settings.momentum)
        if lr is None:
            assert (text, vetoed) == ("–", False)
            continue
        assert float(text.replace(",", "")) == pytest.approx(lr, rel=0.01)
        assert vetoed is (lr > now.highest_lr)


def test_rules_of_no_family_are_not_drawn(small):
    named = msgspec.structs.replace(
        small.header, watched=msgspec.structs.replace(small.header.watched, optimizer="Designer")
    )
    assert present(Facts(Record(named, small.entries))).rules(RULES) == []


def test_windows_that_touch_are_one_zone(small):
    entry = small.of(Equilibrium)[-1]
    windows = [
        msgspec.structs.replace(entry, since=since, step=step)
        for since, step in [(500, 700), (0, 200), (100, 300), (700, 800)]
    ]
    assert equilibrium._zones(windows) == {"x0": [0.0, 500.0], "x1": [300.0, 800.0]}


def test_many_layers_are_grouped_and_norms_add_as_squares(tmp_path):
    names = tuple(f"block{i // 3}.part{i % 3}" for i in range(600))
    assert len(layers.grouped(names)) == 200
    entry = Layers(0, (3.0, 4.0, 0.0) * 200, (1.0, 0.0, 0.0) * 200, (0.3, 0.4, 0.0) * 200, (0.0,) * 600)
    one = line_up([Record(watched.header(layers=names), (entry, msgspec.structs.replace(entry, step=1)))])[0]
    rows, sheets = layers._sheets(one)
    assert rows[0] == "block0.* (3 layers)"
    np.testing.assert_allclose(sheets["gradient"].cells, 5.0)
    np.testing.assert_allclose(sheets["update"].cells, 0.5)
    flat = layers.grouped([f"p{i}" for i in range(1001)])
    assert len(flat) <= 200
    assert sum(len(inside) for _, inside in flat) == 1001


def test_a_gap_in_the_layers_keeps_what_was_last_known():
    sums = layers._Sums(np.array([0.0, 1.0, 9.0]), 1)
    for at, value in enumerate((1.0, 2.0, 8.0)):
        sums.add(slice(at, at + 1), np.array([[value]]))
    sheet = sums.sheet()
    assert sheet.cells.tolist() == [[1.5, 1.5, 8.0]]
    assert (sheet.start, sheet.end) == (0.0, 13.5)


def test_layers_of_another_number_are_left_out(small):
    odd = msgspec.structs.replace(small.of(Layers)[0], gradient=(1.0,) * 9)
    assert layers.picture(line_up([Record(small.header, (odd,))]), None) is None
