"""Equal budgets, seeds that choose apart from those that score, and folders that go on."""

import json
import math
from dataclasses import replace

import msgspec
import pytest
import torch
from comparing import tasks
from torch import nn

import thetadot
from thetadot.comparing.asking import CHOOSERS
from thetadot.comparing.job import Outcome
from thetadot.comparing.pictures import comparison_pictures
from thetadot.comparing.store import Store
from thetadot.errors import DamagedFile, InadmissibleValue, RunFolderError, TaskError

GRID = "sgd:lr=0.001|0.03|5.0"


def compared(tmp_path, runs, make=tasks.line, **given):
    settings = {"seeds": 3, "epochs": 4, "batch_size": 8, "out": tmp_path / "c"} | given
    return thetadot.compare(make, runs, **settings)


def numbers(found):
    """Everything but where it lies."""
    return {name: value for name, value in found.to_dict().items() if name != "out"}


@pytest.fixture
def trained(monkeypatch):
    """Jobs that were really done, in order."""
    seen = []
    keep = Store.keep
    monkeypatch.setattr(Store, "keep", lambda self, job, *rest: (seen.append(job), keep(self, job, *rest))[1])
    return seen


def test_of_a_grid_the_best_on_other_seeds_is_scored(tmp_path, trained):
    found = compared(tmp_path, ["adamw:lr=1e-2", GRID], choosing=2)
    (_, row) = found.rows
    assert row.point.label == "sgd:lr=0.03"
    assert [each.point.label for each in row.tried] == ["sgd:lr=0.03", "sgd:lr=0.001", "sgd:lr=5.0"]
    assert row.tried[-1].mean is None or row.tried[-1].mean > row.tried[0].mean
    choosers = {job.seed for job in trained if job.point.label != "sgd:lr=0.03"} - {0, 1, 2}
    assert choosers == {CHOOSERS, CHOOSERS + 1}
    assert {outcome.seed for outcome in row.outcomes} == {0, 1, 2}
    for each in row.tried[:2]:  # the mean that chose is that of the choosing seeds alone
        own = [job for job in trained if job.point == each.point and job.seed >= CHOOSERS]
        assert len(own) == 2


def test_a_choice_at_the_edge_is_said(tmp_path):
    found = compared(tmp_path, ["sgd:lr=0.001|0.002|0.004,momentum=0.9|0.0"], seeds=1)
    assert found.rows[0].remarks == ("lr=0.004 is the largest that was tried: a better one may lie beyond.",)


@pytest.mark.slow
def test_every_run_of_a_seed_gets_what_our_own_cost_there(tmp_path):
    found = compared(tmp_path, ["untuned", "sgd:lr=0.03", "run:lr=0.01"], seeds=2)
    for seed in range(2):
        ours, sgd, given = (row.outcomes[seed] for row in found.rows)
        assert sgd.budget == max(ours.spent, given.spent) > 4 * 64
        assert abs(sgd.spent - sgd.budget) <= 4
    alone = compared(tmp_path, ["sgd:lr=0.03"], out=tmp_path / "alone", seeds=2)
    assert [outcome.spent for outcome in alone.rows[0].outcomes] == [256, 256]
    assert alone.cost(alone.rows[0]) == 1.0


def test_a_choice_from_several_optimizers_is_between_all_their_points(tmp_path):
    both = compared(tmp_path, {"both": "adamw:lr=1e-4|2e-4|4e-4; " + GRID})
    (row,) = both.rows
    assert row.point.label == "sgd:lr=0.03"
    assert {each.point.optimizer for each in row.tried} == {"sgd", "adamw"}
    alone = compared(tmp_path, {"alone": GRID}, out=tmp_path / "alone")
    assert row.losses("best") == alone.rows[0].losses("best")
    slow = compared(tmp_path, ["sgd:lr=1e-9; adamw:lr=1e-4|2e-4|4e-4"], seeds=1, out=tmp_path / "slow")
    assert slow.rows[0].remarks == ("lr=0.0004 is the largest that was tried: a better one may lie beyond.",)


def test_seeds_can_be_named_and_those_that_choose_are_others(tmp_path, trained):
    some = compared(tmp_path, ["sgd:lr=0.03", GRID.replace("0.03", "0.02")], seeds=range(10, 12), choosing=range(2))
    assert {job.seed for job in trained if job.point.label == "sgd:lr=0.001"} == {0, 1}
    assert [outcome.seed for outcome in some.rows[0].outcomes] == [10, 11]
    done = len(trained)
    more = compared(tmp_path, ["sgd:lr=0.03"], seeds=range(9, 12))  # one seed more, two are kept
    assert len(trained) == done + 1
    assert more.rows[0].losses("best")[1:] == some.rows[0].losses("best")


@pytest.mark.parametrize(
    ("seeds", "choosing", "said"),
    [
        (3, range(2, 4), "overlap"),
        (range(5, 9), range(8, 9), "overlap"),
        (range(5, 5), 2, "is below 1"),
        (range(-1, 5), 2, "is no range of whole seeds"),
        (range(0, 9, 2), 2, "is no range of whole seeds"),
        (range(20_000), 2, "is above 10000"),
        (range(2**64), 2, "is no range of whole seeds"),
        ("5", 2, "is not a whole number or a range"),
        (True, 2, "is not a whole number or a range"),
    ],
)
def test_seeds_that_are_none_are_refused(tmp_path, seeds, choosing, said):
    with pytest.raises(InadmissibleValue) as told:
        compared(tmp_path, ["sgd"], seeds=seeds, choosing=choosing)
    assert said in str(told.value)


def test_a_run_that_learned_nothing_is_said(tmp_path):
    """The best constant output is the mean of the targets that are trained on."""

    def far():
        task = tasks.line()
        torch.nn.init.constant_(task.model.bias, 100.0)
        return task

    still = compared(tmp_path, ["sgd:lr=1e-12"], far, seeds=2)
    good = compared(tmp_path, ["sgd:lr=0.1"], seeds=2, out=tmp_path / "good")
    constant = float((tasks.Y[64:80] - tasks.Y[:64].mean()).square().mean())
    assert still.constant == pytest.approx(constant, rel=1e-5)
    assert "It learned nothing: a constant output has a loss of" in still.remarks(still.rows[0])[-1]
    assert "It learned nothing" in (tmp_path / "c" / "report.html").read_text()
    assert good.remarks(good.rows[0]) == []


def test_seeds_are_paired_by_first_parameters_and_batches(tmp_path):
    found = compared(tmp_path, {"one": "sgd:lr=0.0", "other": "adamw:lr=0.0"})
    pair = found.differences()[0]
    assert pair.same
    assert (pair.a, pair.b) == ("one", "other")
    assert len({outcome.best for outcome in found.rows[0].outcomes}) == 3  # and seeds differ


def test_more_seeds_and_runs_are_added_without_doing_any_again(tmp_path, trained):
    first = compared(tmp_path, ["sgd:lr=0.03", "adamw:lr=1e-2"], seeds=2)
    done = len(trained)
    assert done == 4
    more = compared(tmp_path, ["sgd:lr=0.03", "adamw:lr=1e-2", "sgd:lr=0.01"], seeds=3)
    assert len(trained) == done + 2 + 3
    for old, new in zip(first.rows, more.rows, strict=False):
        assert new.losses("best")[:2] == old.losses("best")
    whole = compared(tmp_path, ["sgd:lr=0.03", "adamw:lr=1e-2", "sgd:lr=0.01"], seeds=3, out=tmp_path / "whole")
    assert numbers(more) == numbers(whole)


@pytest.mark.parametrize(
    ("cut", "first"), [(1, "adamw"), (4, "adamw"), (6, "adamw"), pytest.param(5, "untuned", marks=pytest.mark.slow)]
)
def test_a_comparison_that_was_cut_goes_on_with_the_same_numbers(tmp_path, monkeypatch, cut, first):
    runs = [first, GRID, "sgd:lr=1e9"]
    whole = compared(tmp_path, runs, seeds=2, choosing=1, out=tmp_path / "whole")
    keep, count = Store.keep, []

    def kept(self, *rest):
        keep(self, *rest)
        count.append(1)
        if len(count) == cut:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "keep", kept)
        with pytest.raises(KeyboardInterrupt):
            compared(tmp_path, runs, seeds=2, choosing=1)
    assert numbers(compared(tmp_path, runs, seeds=2, choosing=1)) == numbers(whole)


def _torn(place):
    place.write_bytes(place.read_bytes()[:-40])


def _changed(place):
    found = json.loads(place.read_text())
    found["best"] = 1e-9
    place.write_text(json.dumps(found))


def _empty(place):
    place.write_bytes(b"")


def _long(place):
    place.write_bytes(b" " * (5 << 20))


def _deep(place):
    place.write_text("[" * 100_000)


@pytest.mark.parametrize("harm", [_torn, _changed, _empty, _long, _deep])
def test_a_file_of_a_run_that_is_damaged_is_done_again(tmp_path, trained, harm):
    first = compared(tmp_path, ["sgd:lr=0.03"])
    place = sorted((tmp_path / "c" / "runs").glob("*.json"))[1]
    harm(place)
    again = compared(tmp_path, ["sgd:lr=0.03"])
    assert numbers(again) == numbers(first)
    assert len(trained) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 5}, "with epochs 4, not 5"),
        ({"batch_size": 4}, "with batch size 8, not 4"),
        ({"make": lambda: tasks.line(model=nn.Linear(3, 1, bias=False))}, "on another model"),
        (
            {"make": lambda: tasks.line(train=torch.utils.data.TensorDataset(tasks.X[:60], tasks.Y[:60]))},
            "another data",
        ),
    ],
)
def test_a_folder_of_another_comparison_is_refused_and_left(tmp_path, changes, said):
    def line():
        return changes.get("make", tasks.line)()

    compared(tmp_path, ["sgd:lr=0.03"], tasks.line)
    before = {path: path.read_bytes() for path in (tmp_path / "c").rglob("*.json")}
    with pytest.raises(RunFolderError, match=said):
        compared(tmp_path, ["sgd:lr=0.03"], line, **{k: v for k, v in changes.items() if k != "make"})
    assert {path: path.read_bytes() for path in (tmp_path / "c").rglob("*.json")} == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.tex").write_text("all of it")
    with pytest.raises(RunFolderError, match="holds no comparison"):
        compared(tmp_path, ["sgd"])
    (tmp_path / "c" / "thesis.tex").rename(tmp_path / "c" / "comparison.json")
    with pytest.raises(DamagedFile):
        compared(tmp_path, ["sgd"])
    assert (tmp_path / "c" / "comparison.json").read_text() == "all of it"


def test_a_run_that_diverges_is_a_row(tmp_path):
    found = compared(tmp_path, ["sgd:lr=0.03", "sgd:lr=1e9"])
    good, bad = found.rows
    assert (good.diverged, bad.diverged) == (0, 3)
    assert bad.mean("best") is None
    assert "sgd:lr=1e9 diverged" in found.says
    assert not found.differences()[0].resolved
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["runs"][1]["losses"]["best"] == [None] * 3
    only = compared(tmp_path, ["sgd:lr=1e9"], out=tmp_path / "only")
    assert only.says.startswith("Every run diverged")


def test_what_is_compared_can_be_told(tmp_path):
    found = {
        by: compared(tmp_path, ["sgd:lr=0.03", "adamw:lr=0.1"], tasks.tested, by=by) for by in ("best", "final", "test")
    }
    for by, one in found.items():
        assert one.measures == ("best", "final", "test", "final-test")
        assert [row.mean(by) for row in one.rows] == [row.mean(by) for row in found["best"].rows]
        assert all(math.isfinite(row.mean(by)) for row in one.rows)
    returned = compared(tmp_path, ["sgd:lr=0.03", "adamw:lr=0.1"], tasks.tested, by="returned-test")
    assert [row.losses("returned-test") for row in returned.rows] == [row.losses("final-test") for row in returned.rows]
    for by in ("test", "final-test", "returned-test"):
        with pytest.raises(InadmissibleValue, match="the task has none"):
            compared(tmp_path, ["sgd"], by=by, out=tmp_path / "none")


@pytest.mark.parametrize(
    ("make", "given", "kind", "said"),
    [
        (tasks.line(), {}, InadmissibleValue, "Pass the function that makes it"),
        (3, {}, InadmissibleValue, "task is a int"),
        ("digitz", {}, TaskError, "unknown"),
        (tasks.line, {"runs": []}, InadmissibleValue, "nothing to compare"),
        (tasks.line, {"runs": ["sgd:lr=1", "sgd(lr=1)"]}, InadmissibleValue, "given twice"),
        (tasks.line, {"runs": {"a": 3}}, InadmissibleValue, "is a int"),
        (tasks.line, {"runs": "sgd"}, InadmissibleValue, "runs='sgd'"),
        (tasks.line, {"seeds": 0}, InadmissibleValue, "seeds=0 is below 1"),
        (tasks.line, {"seeds": 2.5}, InadmissibleValue, "seeds=2.5"),
        (tasks.line, {"choosing": 0}, InadmissibleValue, "choosing=0"),
        (tasks.line, {"jobs": 0}, InadmissibleValue, "jobs=0"),
        (tasks.line, {"by": "worst"}, InadmissibleValue, "by='worst' is unknown"),
        (tasks.line, {"batch_size": 65}, InadmissibleValue, "larger than the training data (64 samples)"),
        (tasks.line, {"runs": ["sgd:batch_size=65"]}, InadmissibleValue, "larger than the training data"),
        (tasks.line, {"device": "abacus"}, InadmissibleValue, "cannot be used here"),
        (lambda: tasks.line(valid=torch.utils.data.TensorDataset(tasks.X * math.nan, tasks.Y)), {}, TaskError,
         "the input of sample 0 has NaN or infinite values in the validation data"),
        (lambda: tasks.line(loss=lambda output, target: (output - target).square()), {}, TaskError, "scalar"),
    ],
)  # fmt: skip
def test_bad_input_is_told_before_anything_is_written(tmp_path, make, given, kind, said):
    settings = {"runs": ["sgd:lr=0.1"]} | given
    with pytest.raises(kind) as told:
        compared(tmp_path, settings.pop("runs"), make, **settings)
    assert said in str(told.value)
    assert not (tmp_path / "c").exists()


def test_a_second_process_is_kept_away(tmp_path):
    from thetadot.core.files import Claim

    (tmp_path / "c").mkdir()
    with Claim(tmp_path / "c"), pytest.raises(RunFolderError, match="in use by another process"):
        compared(tmp_path, ["sgd"])


def test_it_is_shown_as_text_as_html_and_as_a_page(tmp_path):
    found = compared(tmp_path, {"<b>mine</b>": "sgd:lr=0.03", "grid": GRID, "lost": "sgd:lr=1e9"})
    for text in (repr(found), found._repr_html_()):
        assert found.says in text or "&lt;b&gt;" in text
        assert "diverged on 3 of 3" in text
    assert "<b>mine" not in found._repr_html_()
    assert max(map(len, found.text().splitlines())) < 120
    page = (tmp_path / "c" / "report.html").read_text()
    assert "<b>mine" not in page
    assert "https://" not in page.split("</head>")[0]
    stored = json.loads((tmp_path / "c" / "result.json").read_text())
    assert stored == json.loads(json.dumps(found.to_dict()))


def test_a_run_that_is_far_away_does_not_flatten_the_picture_of_the_others(tmp_path):
    found = compared(tmp_path, ["sgd:lr=0.03", "sgd:lr=0.02", "sgd:lr=0.01", "sgd:lr=1e-9"])
    far = [msgspec.structs.replace(each, best=1e6 * (k + 1)) for k, each in enumerate(found.rows[3].outcomes)]
    drawn = comparison_pictures(replace(found, rows=(*found.rows[:3], replace(found.rows[3], outcomes=tuple(far)))))[-1]
    near = max(abs(found.against(row, found.rows[0]).mean) for row in found.rows[1:3])
    assert near < drawn.panels[0].figure.x_range.end < 1e3 * near
    assert "leaves the picture" in drawn.reading
    assert "leaves the picture" not in comparison_pictures(replace(found, rows=found.rows[:3]))[-1].reading


def test_an_outcome_holds_only_what_a_file_can(tmp_path):
    found = compared(tmp_path, ["untuned"], seeds=1)
    outcome = found.rows[0].outcomes[0]
    assert isinstance(outcome, Outcome)
    records = list((tmp_path / "c" / "runs").glob("*/record.jsonl"))
    assert len(records) == 1
    assert thetadot.records.read(records[0].parent).result.cost == pytest.approx(outcome.spent, abs=0.5)
