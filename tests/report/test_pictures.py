"""A picture shows what stands in the record, all of it, and nothing between."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from thetadot import report
from thetadot.records import Barrier, End, Losses, Noise, Record, Regularization, Remark, Rollback, loss_curve
from thetadot.report import page
from thetadot.report.figures import barriers, layers, losses, noise, regularization, settings
from thetadot.report.figures.frame import Timeline
from thetadot.report.runs import line_up
from thetadot.report.several import compared
from thetadot.report.tiles import tiles

from . import conftest, watched
from .test_page import Parsed

BACK, LEFT, STEPS = 300, 700, 1000
"""A run that at step 700 went back to the state of step 300; the clock goes on."""


def rolled_back():
    rng = np.random.default_rng(0)
    steps = [watched.motion(step, 0.1 if step <= LEFT else 0.05, rng) for step in range(10, STEPS + 1, 10)]
    each = [msgspec.structs.replace(m, temperature_low=1e-9, temperature_high=1e-8) for m in steps]
    rows = [watched.layers(step, 3, rng) for step in range(10, STEPS + 1, 10)]
    lines = [Losses.of(at + 100, [1 / step for step in range(at + 1, at + 101)]) for at in range(0, STEPS, 100)]
    before = [entry for entry in (*each, *rows, *lines) if entry.step <= LEFT]
    after = [entry for entry in (*each, *rows, *lines) if entry.step > LEFT]
    told = Rollback(LEFT, BACK, "lost", 0.5)
    for some in (before, after):
        some.sort(key=lambda entry: (entry.step, type(entry).__name__))
    return Record(watched.header(layers=("a", "b", "c")), [*before, told, *after])


def motion(step):
    return watched.motion(step, 0.1, np.random.default_rng(0))


def lines(pictures):
    """The points of everything that is drawn along steps, a stretch without gap each."""
    for picture in pictures:
        for panel in picture.panels:
            for renderer in panel.figure.renderers:
                data = renderer.data_source.data
                if "x" not in data or type(renderer.glyph).__name__ not in {"Line", "VArea"} or renderer.name is None:
                    continue
                x = np.asarray(data["x"], dtype=float)
                for piece in np.split(x, np.flatnonzero(np.isnan(x))):
                    yield picture.name, type(renderer.glyph).__name__, piece[~np.isnan(piece)]


def test_no_line_and_no_area_crosses_steps_that_a_rollback_undid():
    runs = line_up([rolled_back()])
    line = Timeline(runs)
    drawn = [losses.picture(runs, line), *(p for section in page._sections(runs, line) for p in section.pictures)]
    along = [found for found in lines(drawn) if found[0] != "portrait"]
    assert {name for name, *_ in along} >= {"loss", "settings", "temperature"}
    assert {glyph for _, glyph, _ in along} == {"Line", "VArea"}
    for name, _, x in along:
        if not ((x > BACK) & (x <= LEFT)).any():  # but for the stretch that was undone itself
            assert (x <= BACK).all() or (x > LEFT).all(), name


def test_cells_of_undone_steps_are_empty():
    _, found = layers._sheets(line_up([rolled_back()])[0])
    for sheet in (found["update"], found["gradient"]):
        edges = np.linspace(sheet.start, sheet.end, sheet.cells.shape[1] + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        gone = (middle > BACK + 20) & (middle < LEFT - 20)
        assert gone.any()
        assert np.isnan(sheet.cells[:, gone]).all()
        assert np.isfinite(sheet.cells[::2, middle < BACK]).all()


def test_a_run_that_went_back_still_has_the_loss_of_every_step():
    record = rolled_back()
    assert loss_curve(record).every
    reading = losses.picture(line_up([record]), Timeline(line_up([record]))).reading
    assert "were recorded" not in reading
    assert "Dotted are steps that a rollback undid" in reading


def test_sparse_readings_on_both_sides_of_a_short_rollback_are_joined():
    few = [msgspec.structs.replace(watched.noise(step, 0), resolved=True) for step in (100, 900)]
    record = Record(watched.header(), [few[0], Rollback(320, BACK, "lost", 0.5), few[1]])
    runs = line_up([record])
    assert any(len(x) == 2 for _, _, x in lines([noise.picture(runs, Timeline(runs))]))


def test_a_point_by_itself_is_a_dot_and_its_interval_a_bar():
    record = Record(watched.header(), [watched.noise(500, 0)])
    runs = line_up([record])
    drawn = noise.picture(runs, Timeline(runs)).panels[0].figure.renderers
    assert {"Scatter", "Segment"} <= {type(each.glyph).__name__ for each in drawn}
    bar = next(each.data_source.data for each in drawn if type(each.glyph).__name__ == "Segment")
    low, high = (record.of(Noise)[0].low, record.of(Noise)[0].high)
    assert (bar["y0"].tolist(), bar["y1"].tolist()) == ([low], [high])
    one = msgspec.structs.replace(motion(500), temperature=1e-8)
    runs = line_up([Record(watched.header(), [one])])
    for panel in settings.picture(runs, Timeline(runs)).panels:
        assert [type(each.glyph).__name__ for each in panel.figure.renderers] == ["Scatter"], panel.label


def test_no_panel_is_empty():
    """Of quantities that a run does not have there is no panel."""
    bare = msgspec.structs.replace(
        watched.motion(500, 0.1, np.random.default_rng(0)), temperature=None, batch_size=None
    )
    for head in (watched.header(), conftest.header()):
        runs = line_up([Record(head, [bare])])
        for picture in [losses.picture(runs, Timeline(runs)), settings.picture(runs, Timeline(runs))]:
            assert all(panel.figure.renderers for panel in picture.panels)


def test_runs_whose_settings_lie_far_apart_are_drawn_on_a_logarithmic_axis():
    def run(lr):
        first, *rest = [watched.motion(step, lr, np.random.default_rng(0)) for step in range(10, 200, 10)]
        return Record(watched.header(), [msgspec.structs.replace(first, lr=0.0), *rest])

    for rates, scale in (((3.0, 1e-3), "LogScale"), ((0.3, 0.1), "LinearScale")):
        runs = line_up([run(lr) for lr in rates])
        drawn = settings.picture(runs, Timeline(runs))
        assert type(drawn.panels[0].figure.y_scale).__name__ == scale
        assert ("equal factors" in drawn.reading) is (scale == "LogScale")


def test_a_barrier_of_height_zero_is_seen_whole():
    runs = line_up([Record(watched.header(), [Barrier(100, 50, 0.0, 0.5, 2.0, 1.0, None)])])
    assert barriers.picture(runs, Timeline(runs)).panels[0].figure.y_range.start < 0


def test_terms_beyond_the_loss_are_a_factor_and_not_a_percentage():
    entry = Regularization(100, 0.1, 0.1, 1.0)
    for factor, text in ((0.5, "50% of the loss"), (1e7, "1e+07 times the loss")):
        wide = msgspec.structs.replace(entry, loss=1.0, gradient_term=factor, noise_term=0.0)
        said = regularization._terms_sentence([wide])
        assert text in said
        assert ("the step is not small" in said) is (factor > 1)


def test_without_a_loss_there_is_no_empty_picture_but_what_would_show_it():
    remark = Remark(1, "training loss", "the loop calls a function. Add one line: probe.loss(loss)")
    steps = [msgspec.structs.replace(motion(step), loss=None, reference_loss=None) for step in (50, 100)]
    read = Parsed(report.render(Record(watched.header(), [remark, *steps])))
    assert not any(attrs.get("data-key") == "loss-1" for _, attrs in read.elements)
    assert "No loss was seen: the loop calls a function. Add one line: probe.loss(loss)." in read.words


def test_remarks_and_events_of_a_run_are_on_its_page():
    entries = [Remark(0, "sampling", "drawn in an unknown way"), Remark(70, "loss", "it was infinite", alarm=True)]
    read = Parsed(report.render(Record(watched.header(), [*entries, motion(80)])))
    assert "drawn in an unknown way" in read.words
    assert "Events" in read.words
    assert "it was infinite" in read.words


@pytest.mark.parametrize("because", ["exception", None, "closed"])
def test_how_a_loop_ended_is_said_below_its_curve(because):
    rng = np.random.default_rng(0)
    end = [] if because is None else [End(500, because, 0.0, 0.0)]
    record = Record(watched.header(), [*(watched.motion(step, 0.1, rng) for step in range(10, 501, 10)), *end])
    said = losses.picture(line_up([record]), Timeline(line_up([record]))).says[0]
    assert ("interrupted by an exception at step 500" in said) is (because == "exception")
    assert ("was cut off" in said) is (because is None)


def test_a_loss_that_became_no_number_is_said_below_the_curve():
    record = Record(watched.header(), [Losses.of(100, [2.0] * 60 + [math.inf] * 40), End(100, "closed", 0.0, 0.0)])
    said = losses.picture(line_up([record]), Timeline(line_up([record]))).says[0]
    assert "From step 61 on it was no number or infinite." in said


def test_the_training_loss_of_a_run_is_one_number_on_its_page_and_beside_others():
    def run(seed):
        rng = np.random.default_rng(seed)
        return Record(watched.header(), [watched.motion(step, 0.1, rng) for step in range(1, 400)])

    records = [run(0), run(1)]
    rows = compared(line_up(records)).rows
    alone = [next(value for value, label, _ in tiles(record) if label == "training loss") for record in records]
    assert [row.loss.says for row in rows] == alone


@pytest.mark.parametrize(("spike", "seen"), [(3.1, True), (400.0, False)])
def test_a_spike_of_one_step_is_within_the_axis_unless_it_would_flatten_the_rest(spike, seen):
    values = np.linspace(2.3, 1.2, 500)
    values[200] = spike
    runs = line_up([Record(watched.header(), [Losses.of(500, values.tolist())])])
    axis = losses.picture(runs, Timeline(runs)).panels[0].figure.y_range
    assert (axis.end > spike) is seen


def test_a_run_without_a_step_has_no_tile_without_a_number_and_says_nothing_twice():
    record = Record(conftest.header(), [])
    assert [(value, label) for value, label, _ in tiles(record)] == [("0", "steps")]
    words = Parsed(report.render(record)).words
    assert words.count("No choices are recorded.") == 1
