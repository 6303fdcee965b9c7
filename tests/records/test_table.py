"""The oracle is the record itself: what was written comes back in columns, lines and series, each number once."""

import csv
import io
import json
import sys

import numpy as np
import pytest
from records.test_records import HEADER, KINDS

from thetadot.cli import main
from thetadot.errors import ThetadotError
from thetadot.records import (
    Choice,
    Curvature,
    Epoch,
    Equilibrium,
    Header,
    Layers,
    Losses,
    Motion,
    Noise,
    Record,
    Setting,
    Writer,
    export,
    to_csv,
    to_json,
)

RECORD = Record(HEADER, tuple(KINDS))


def test_columns_have_the_entries_numbers_and_nan_where_there_is_none():
    columns = RECORD.table(Epoch)
    assert columns["epoch"].dtype == np.int64
    np.testing.assert_array_equal(columns["epoch"], [1, 2])
    np.testing.assert_array_equal(columns["metric"], [np.nan, 0.99])
    assert columns["valid_loss"].dtype == np.float64
    assert RECORD.table(Noise)["resolved"].dtype == np.bool_
    assert RECORD.table(Choice)["value"] == [0.1, "adam", 32]
    assert RECORD.table(Setting)["values"] == [of(Setting)[0].values]


def of(kind):
    return [entry for entry in KINDS if isinstance(entry, kind)]


def test_lists_by_layer_are_one_array_padded_with_nan():
    entries = (Layers(1, (1.0,), (2.0,), (3.0,), (0.5,)), Layers(2, (1.0, 4.0), (2.0, 5.0), (3.0, 6.0), (0.5, 0.1)))
    columns = Record(HEADER, entries).table(Layers)
    np.testing.assert_array_equal(columns["gradient"], [[1.0, np.nan], [1.0, 4.0]])
    assert columns["angle"].shape == (2, 2)


def test_every_kind_has_columns_of_one_length_also_without_entries():
    for record in (RECORD, Record(HEADER, ())):
        for kind in {type(entry) for entry in KINDS}:
            lengths = {len(column) for column in record.table(kind).values()}
            of_steps = sum(map(len, record.of(Losses)))
            assert lengths == {of_steps if kind is Losses else len(record.of(kind))}


def test_integers_beyond_a_float_are_nan_and_beyond_int64_floats():
    motion = Motion(10**30, None, 10**400, 0.1, 0.9, None, 0.3, None, None, 0.0, 0.0, None, None, 0.0)
    columns = Record(HEADER, (motion,)).table(Motion)
    np.testing.assert_array_equal(columns["step"], [1e30])
    np.testing.assert_array_equal(columns["loss"], [np.nan])
    np.testing.assert_array_equal(columns["batch_size"], [np.nan])


def test_a_frame_is_the_table_with_pandas():
    for kind in {type(entry) for entry in KINDS}:
        frame = RECORD.frame(kind)
        assert list(frame.columns) == list(RECORD.table(kind))
        assert len(frame) == (sum(map(len, RECORD.of(kind))) if kind is Losses else len(RECORD.of(kind)))
    assert RECORD.frame(Epoch)["metric"].isna().tolist() == [True, False]


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ThetadotError, match=r"thetadot\[pandas\]"):
        RECORD.frame(Epoch)


@pytest.mark.parametrize("kind", [Header, int, "motion"])
def test_what_is_no_kind_of_entry_is_refused(kind):
    with pytest.raises(ThetadotError, match=r"is no kind of entry. Pass one of Curvature, Noise"):
        RECORD.table(kind)


def test_csv_comes_back():
    rows = list(csv.DictReader(io.StringIO(to_csv(RECORD, Curvature))))
    assert [float(row["sharpness"]) for row in rows] == [3.0, -1e-300, 3.0]
    assert [row["limit"] for row in rows] == ["", "38.0", "38.0"]
    layers = next(csv.DictReader(io.StringIO(to_csv(RECORD, Layers))))
    assert json.loads(layers["weight"]) == [2.0, 3.0]
    choice = next(csv.DictReader(io.StringIO(to_csv(RECORD, Choice))))
    assert choice["because"] == of(Choice)[0].because


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum(a1)", "\tx"])
def test_a_text_is_never_a_formula(text):
    record = Record(HEADER, (Choice("lr", text, "b"),))
    assert next(csv.DictReader(io.StringIO(to_csv(record, Choice))))["value"] == f"'{text}"


def test_json_holds_the_whole_record_or_one_kind():
    whole = json.loads(to_json(RECORD))
    assert whole["header"]["task"] == HEADER.task
    assert len(whole["entries"]) == len(KINDS)
    assert {entry["kind"] for entry in json.loads(to_json(RECORD, Epoch))["entries"]} == {"epoch"}


# Series.


def logged(*entries):
    calls = []
    count = export(Record(HEADER, entries), lambda values, step: calls.append((step, values)))
    assert count == len(calls)
    return calls


def test_series_come_by_step_with_flat_names():
    motion = of(Motion)[0]
    calls = logged(of(Noise)[0], of(Curvature)[0], motion)
    assert [step for step, _ in calls] == [0, 1, 3]
    assert calls[0][1] == {"curvature/sharpness": 3.0, "curvature/residual": 0.1, "curvature/cost": 10.0}
    assert calls[1][1]["motion/loss"] == motion.loss
    assert calls[2][1] == {
        "noise/gradient_variance": 1.0,
        "noise/gradient_square": -0.5,
        "noise/noise_scale": 20.0,
        "noise/noise_scale_low": 10.0,
        "noise/noise_scale_high": 40.0,
        "noise/cost": 1.5,
    }


def test_lists_are_series_by_layer():
    ((_, values),) = logged(of(Layers)[0])
    assert values["layers/weight/a.weight"] == 2.0
    assert values["layers/weight/b"] == 3.0


def test_an_interval_is_two_series_and_what_is_missing_is_none():
    calls = logged(*of(Equilibrium))
    assert len(calls) == 1
    assert calls[0][1]["equilibrium/ratio_low"] == 0.8
    assert calls[0][1]["equilibrium/trend_high"] == 0.1
    ((_, silent),) = logged(of(Equilibrium)[0])
    assert silent == {"equilibrium/virial": 1.0, "equilibrium/kinetic": 0.0}


def test_all_numbers_are_finite_floats_and_every_step_comes_once():
    calls = logged(*KINDS, Motion(1, None, 10**400, 0.1, 0.9, None, 0.3, None, None, 0.0, 0.0, None, None, 0.0))
    steps = [step for step, _ in calls]
    assert steps == sorted(set(steps))
    assert all(type(value) is float and np.isfinite(value) for _, values in calls for value in values.values())


# The command.


@pytest.fixture
def run(tmp_path):
    with Writer(tmp_path / "record.jsonl") as writer:
        for entry in (HEADER, *KINDS):
            writer.write(entry)
    return tmp_path


def test_the_command_writes_csv_and_json(run, capsys):
    assert main(["export", str(run), "--csv", str(run / "a.csv"), "--kind", "epoch"]) == 0
    assert (run / "a.csv").read_text() == to_csv(RECORD, Epoch)
    assert main(["export", str(run), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == json.loads(to_json(RECORD))["entries"]
    assert main(["export", str(run), "--csv", "-"]) == 0
    assert capsys.readouterr().out == to_csv(RECORD, Motion)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--csv", "{}/absent/a.csv"], "cannot be written"),
        (["--csv", "-", "--kind", "header"], "invalid choice"),
        ([], "--csv --json"),
        (["--csv", "-", "--json", "-"], "not allowed with"),
    ],
)
def test_what_the_command_cannot_do_is_one_sentence(run, capsys, more, said):
    assert main(["export", str(run), *[part.format(run) for part in more]]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_damaged_lines_are_said_and_the_rest_is_exported(run, capsys):
    with (run / "record.jsonl").open("a") as stream:
        stream.write("garbage\n")
    assert main(["export", str(run), "--csv", "-"]) == 0
    captured = capsys.readouterr()
    assert captured.out == to_csv(RECORD, Motion)
    assert "1 damaged lines were left out" in captured.err
