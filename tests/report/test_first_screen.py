"""A page says one thing first, and it is the record's finding; a run is repeated by what the page says."""

from __future__ import annotations

import html
import math
import re
import shlex

import msgspec
import numpy as np
import pytest

from thetadot import report, run
from thetadot.cli import main
from thetadot.errors import InadmissibleValue
from thetadot.records import Losses, Motion, Record, Rollback, StepLosses, read
from thetadot.report.figures import losses, settings
from thetadot.report.figures.frame import Timeline
from thetadot.report.numerals import numerals
from thetadot.report.repeat import command
from thetadot.report.runs import line_up
from thetadot.report.series import PIXELS, pixels
from thetadot.report.several import compared
from thetadot.report.summary import summarize
from thetadot.verdicts import Verdict, headline, judge
from thetadot.verdicts.comparison import groups, scored
from thetadot.verdicts.facts import Facts

from . import conftest
from .test_one_voice import synthetic
from .test_page import Parsed


def first_words(page):
    """What a reader sees before the first picture, in one line."""
    return re.sub(r"\s+", " ", Parsed(page[: page.index("<main>")]).words)


def stepped(entries, losses_=None):
    """A record's entries with the loss of every step before its end."""
    values = [m.loss for m in entries if isinstance(m, Motion)] if losses_ is None else losses_
    collector = StepLosses()
    lines = [line for step, loss in enumerate(values, 1) if (line := collector.add(step, loss))]
    last = collector.end()
    return [*entries[:-1], *lines, *([last] if last else []), entries[-1]]


@pytest.mark.parametrize("seed", range(40))
def test_the_sentence_is_the_headline_and_its_state_is_the_advices(seed):
    record = synthetic(seed)
    verdicts = judge(record)
    said = headline(record, verdicts)
    assert said.state == verdicts[0].state
    begin = {"good": "Fine", "attention": "Could be better: ", "bad": "Wrong: ", "unknown": "Not known: "}[said.state]
    assert said.says.startswith(begin)
    assert len(re.findall(r"[.!?](?: |$)", said.says)) <= 2, said.says
    if said.state in ("attention", "bad"):
        assert ", because " in said.says
        why = said.says.partition(", because ")[2].rstrip(".").lower()
        assert any(why in verdict.says.lower() for verdict in verdicts), "the words of a verdict"


@pytest.mark.parametrize("seed", range(2))
def test_the_page_shows_that_sentence_and_no_other_before_the_curve(seed):
    record = synthetic(seed)
    page = report.render(record)
    said = headline(record, judge(record))
    assert f'class="headline {said.state}"' in page
    assert said.says in first_words(page)
    assert page.index('id="headline"') < page.index('data-key="loss-1"') < page.index('id="verdicts"')
    assert '<details class="card verdicts" data-key="verdicts"><summary>' in page, "folded"


def test_a_run_that_was_lost_is_wrong_and_one_under_way_is_fine_so_far(make, whole):
    lost = make([*whole[:-1], conftest.result(diverged=True)])
    assert headline(lost, judge(lost)).says.startswith("Wrong: ")
    verdicts = (Verdict("advice", "leave", "good", "No measurement suggests changing lr."),)
    assert headline(make(whole), verdicts).says.startswith("Fine: the training loss fell from ")
    assert headline(make(whole[:-1]), verdicts).says.startswith("Fine so far: ")


@pytest.mark.parametrize("seed", range(20))
def test_where_the_loss_ended_is_one_number_in_all_sentences(seed):
    run_ = line_up([synthetic(seed)])[0]
    found = summarize(run_)
    ends = re.findall(
        r"training loss (?:fell|went) from (\S+) to (\S+?)[.,]?(?:\s|$)", f"{run_.headline.says} {found.sentence}"
    )
    assert len(set(ends)) <= 1
    assert all(ends[0][1] == value for value, label, _ in found.tiles if label == "training loss" and ends)


# The curve.


def test_every_step_is_drawn_between_lowest_and_highest_of_its_place(make, whole):
    values = np.random.default_rng(0).lognormal(size=30_000)
    values[12_345] = 4000.0
    runs = line_up([make(stepped(whole, values.tolist()))])
    drawn = losses.picture(runs, Timeline(runs))
    sources = [renderer.data_source.data for renderer in drawn.panels[0].figure.renderers]
    band = next(data for data in sources if "y1" in data)
    assert len(band["x"]) <= PIXELS
    assert max(band["y2"]) == np.float32(4000.0), "a spike of one step is seen"
    assert min(band["y1"]) == values.astype(np.float32).min()
    assert "the lowest, the highest and the mean training loss of all steps" in drawn.reading
    assert "running mean of 601 steps" in drawn.reading


def test_a_record_without_every_step_says_so(make, whole):
    few = [entry for entry in whole if not (isinstance(entry, Motion) and entry.step % 3)]
    runs = line_up([make(few)])
    drawn = losses.picture(runs, Timeline(runs))
    assert "each recorded step" in drawn.reading
    assert re.search(r"Of 1,500 steps \d+ were recorded", drawn.reading)


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 25_000])
def test_stretches_hold_every_value_once(count):
    x, y = np.arange(1.0, count + 1), np.random.default_rng(count).normal(size=count)
    middle, low, high, mean = pixels(x, y)
    assert len(middle) <= PIXELS
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert (low.min(), high.max()) == (y.min(), y.max())
    assert (np.diff(middle) > 0).all()


def test_losses_that_are_no_numbers_are_marked_and_undone_steps_are_dotted(make, whole):
    wild = [*whole[:-1], Losses.of(3, [2.0, math.inf, 1.0]), Rollback(3, 2, "lost", 0.5), whole[-1]]
    runs = line_up([make(wild)])
    said = [key.text for key in losses.picture(runs, Timeline(runs)).keys]
    assert "steps that a rollback undid, running mean" in said
    assert any("no number" in text for text in said)


def test_the_page_with_every_step_keeps_its_budget(make, whole):
    page = report.render(make(stepped(whole, np.random.default_rng(0).lognormal(size=20_000).tolist())))
    from .test_page import CORE

    assert len(page.encode()) - CORE < 560_000


def test_the_last_batch_of_an_epoch_is_no_change_of_the_batch(make):
    every = [msgspec.structs.replace(m, batch_size=13 if m.step % 90 == 0 else 16) for m in conftest.motions()[:900]]
    runs = line_up([make(every)])
    assert "batch stayed at 16" in settings.picture(runs, Timeline(runs)).says[0]


# Several runs.


def finished(lr, seed, loss):
    asked = {"epochs": "30", "seed": str(seed), "lr": str(lr)}
    head = msgspec.structs.replace(conftest.header(), seed=seed, asked=asked)
    closing = msgspec.structs.replace(conftest.result(), lr=lr, valid_loss=loss, seconds=0.0)
    return Record(head, (*conftest.motions()[::50], closing))


def test_repeated_seeds_give_differences_with_their_paired_interval():
    """By hand: d = .1, .2, .3; mean .2, s = .1, t(2) = 4.3027, half = .2484."""
    records = [finished(0.1, seed, 0.5 + 0.05 * seed) for seed in range(3)]
    records += [finished(0.4, seed, 0.6 + 0.15 * seed) for seed in range(3)]
    best, other = groups([scored(str(i), Facts(record)) for i, record in enumerate(records)])
    assert [run.name for run in best.runs] == ["0", "1", "2"]
    assert other.difference == pytest.approx(0.2)
    assert (other.low, other.high) == pytest.approx((0.2 - 0.24841, 0.2 + 0.24841), abs=1e-5)
    assert not other.resolved
    found = compared(line_up(records))
    assert "by too little to tell it from chance" in found.headline.says
    assert [each.resolved for each in found.differences] == ["–", "no"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_table_has_a_row_a_run_that_sorts_and_differences_only_where_seeds_repeat(seeds):
    records = [finished(lr, seed, lr + 0.001 * seed) for lr in (0.1, 0.4) for seed in range(seeds)]
    page = report.render(records)
    parsed = Parsed(page)
    rows = [attrs for tag, attrs in parsed.elements if tag == "input" and "data-run" in attrs]
    assert len(rows) == 2 * seeds
    assert sum(attrs.get("data-sort") is not None or "data-sort" in attrs for _, attrs in parsed.elements) == 5
    assert ("beyond chance" in parsed.words) is (seeds > 1)
    assert 'data-value="0.1"' in page
    said = first_words(page)
    assert ("without repeated seeds chance may do that" in said) is (seeds == 1)
    assert ("lower than all others beyond chance" in said) is (seeds > 1)


def test_runs_of_several_tasks_are_not_ranked():
    other = finished(0.4, 0, 0.1)
    other = Record(msgspec.structs.replace(other.header, task="another"), other.entries)
    runs = line_up([finished(0.1, 0, 0.5), other])
    assert groups([scored(each.name, each.facts) for each in runs]) == ()
    assert "lowest" not in compared(runs).headline.says


# To repeat it.

TASK = """
import torch
from thetadot import Task

def made():
    x = torch.linspace(-1, 1, 96)[:, None]
    data = torch.utils.data.TensorDataset(x, x**2)
    return Task(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, data, data)
"""


def entries(folder):
    """A record without its times."""

    def timeless(entry):
        names = {"seconds", "started"} & set(entry.__struct_fields__)
        return msgspec.structs.replace(entry, **{name: type(getattr(entry, name))() for name in names})

    record = read(folder)
    return [timeless(entry) for entry in (record.header, *record.entries)]


def shown(folder):
    page = (folder / "report.html").read_text("utf-8")
    assert "data-copy" in page
    return html.unescape(re.search(r"<code>(thetadot.*?)</code>", page)[1])


@pytest.mark.slow
def test_the_command_on_the_page_repeats_the_run_from_another_folder(tmp_path, monkeypatch):
    place = tmp_path / "a place"
    place.mkdir()
    (place / "my task.py").write_text(TASK, "utf-8")
    monkeypatch.chdir(place)
    options = ["--epochs", "3", "--seed", "5", "--optimizer", "heavy-ball", "--lr", "0.012345678901234",
               "--momentum", "0.8", "--batch-size", "16", "--annealing", "cosine", "--threads", "1"]  # fmt: skip
    assert main(["run", "my task.py:made", "--out", "first", "--no-cure", *options]) == 0
    words = shlex.split(shown(place / "first"))
    assert words[:2] == ["thetadot", "run"]
    assert "--no-cure" in words
    for option, value in zip(options[::2], options[1::2], strict=True):
        assert words[words.index(option) + 1] == value
    monkeypatch.chdir(tmp_path)
    assert main([*words[1:], "--out", "again"]) == 0
    one, two = entries(place / "first"), entries(tmp_path / "again")
    assert msgspec.structs.replace(one[0], task="") == msgspec.structs.replace(two[0], task="")
    assert one[1:] == two[1:]


@pytest.mark.slow
def test_a_task_that_no_command_names_is_repeated_in_python(tmp_path):
    import torch
    from torch.utils.data import TensorDataset

    from thetadot import Task

    def task():
        x = torch.linspace(-1, 1, 96)[:, None]
        data = TensorDataset(x, x**2)
        return Task(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, data, data)

    run(task, out=tmp_path / "first", epochs=2, lr=0.01, optimizer="adam", batch_size=16)
    said = shown(tmp_path / "first")
    assert said.startswith("thetadot.run(task, epochs=2, seed=0, optimizer='adam', lr=0.01, batch_size=16")
    import thetadot

    eval(said[:-1] + ", out=out)", {"thetadot": thetadot, "task": task, "out": tmp_path / "again"})
    assert entries(tmp_path / "first")[1:] == entries(tmp_path / "again")[1:]


def test_options_of_a_hostile_record_are_quoted_or_left_out():
    head = msgspec.structs.replace(
        conftest.header(), task="a; rm -rf x.py:f", asked={"lr": "1; echo", "--evil": "x", "cure": "False"}, address=""
    )
    words = shlex.split(command(Record(head, ())))
    assert words[:3] == ["thetadot", "run", "a; rm -rf x.py:f"]
    assert words[words.index("--lr") + 1] == "1; echo"
    assert "--no-cure" in words
    assert not any("evil" in word for word in words)


# Numbers, and what the three doors take.


@pytest.mark.parametrize("number", ["1.02e-10", "-3.5e+300", "1.02·10⁻¹⁰", "2 h"])
def test_a_number_with_a_sign_or_a_unit_is_not_broken(number):
    assert f'<span class="n">{number}</span>' in str(numerals(f"it is {number}, or so"))


def test_numbers_do_not_smuggle_markup():
    assert "<b>" not in str(numerals("<b>1e-5</b> & 3 s"))


def test_judge_render_and_write_take_a_folder_a_path_or_a_record(make, whole, tmp_path):
    record = make(whole[:40])
    for given in (tmp_path, str(tmp_path), tmp_path / "record.jsonl", record):
        assert judge(given) == judge(record)
        assert report.write(given) == tmp_path / "report.html"
    assert report.render([str(tmp_path)]) == (tmp_path / "report.html").read_text("utf-8")
    with pytest.raises(InadmissibleValue, match="Pass out"):
        report.write(Record(record.header, record.entries))
