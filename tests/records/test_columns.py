"""Columns and objects agree: the oracle is the tuple of entries that was put in, and the rule carried out on it."""

import io
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records.test_records import HEADER, KINDS

from thetadot.errors import InadmissibleValue
from thetadot.records import (
    Curvature,
    Epoch,
    Layers,
    Motion,
    Noise,
    Record,
    Remark,
    Rollback,
    Setting,
    Trial,
    Writer,
    entries,
    read,
    reader,
    standing,
)
from thetadot.records.columns import number

FLOAT = st.floats(allow_nan=False, allow_infinity=False)
HUGE = st.sampled_from([2**53 + 1, -(2**63), 10**30, 10**400, -(10**400)])
STEP = st.integers(0, 40)
ODD = STEP | HUGE | st.sampled_from([math.nan, math.inf, -0.0, True])
LIST = st.lists(FLOAT, max_size=3).map(tuple)


def motions(step=STEP, value=FLOAT):
    missing = st.none() | value
    return st.builds(
        Motion,
        step=step, epoch=missing, loss=missing, lr=value, momentum=value, batch_size=st.none() | step, time_step=value,
        friction=missing, temperature=missing, clock=value, kinetic=value, displacement=missing, speed=missing,
        cost=value, update_angle=missing,
    )  # fmt: skip


def any_entry(step=STEP, value=FLOAT):
    when = st.sampled_from(["start", "warm-up", "training"])
    return st.one_of(
        motions(step, value),
        st.builds(Layers, step, LIST, LIST, LIST, LIST),
        st.builds(Rollback, step, st.integers(0, 40), st.text(max_size=2), value),
        st.builds(Curvature, when, step, value, value, st.none() | value, step, value, st.booleans(), spectrum=LIST),
        st.builds(Setting, step, step, step, st.dictionaries(st.text(max_size=2), st.none() | value, max_size=2)),
        st.builds(Remark, step, st.text(max_size=2), st.text(max_size=2), st.booleans()),
        st.sampled_from(KINDS),
    )


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(entries, "BLOCK", 4)


def same(one, other):
    """Equal, where a NaN is equal to itself."""
    return repr(one) == repr(other) or one == other


@settings(max_examples=30, deadline=None)
@given(st.lists(any_entry(), max_size=30) | st.lists(any_entry(ODD, ODD), max_size=12), st.data())
def test_a_record_is_the_sequence_of_its_entries(given_entries, data):
    record, many = Record(HEADER, given_entries), tuple(given_entries)
    assert len(record.entries) == len(many)
    assert all(map(same, record.entries, many))
    for kind in {type(entry) for entry in many} | {Epoch}:
        rows, own = record.of(kind), tuple(entry for entry in many if type(entry) is kind)
        assert len(rows) == len(own)
        assert bool(rows) == bool(own)
        assert all(map(same, rows, own))
        cut = data.draw(st.slices(len(own)))
        assert all(map(same, rows[cut], own[cut]))
        assert len(rows[cut]) == len(own[cut])
        for at in range(-len(own), len(own)):
            assert same(rows[at], own[at])
        for at in (len(own), -len(own) - 1):
            with pytest.raises(IndexError):
                rows[at]
        for name in kind.__struct_fields__:
            values = [getattr(entry, name) for entry in own]
            if name in rows.layout.numbers:
                np.testing.assert_array_equal(rows.column(name), [number(value) for value in values])
            if name in rows.layout.lists:
                assert rows.counts(name).tolist() == list(map(len, values))
            assert all(map(same, rows.objects(name), values))
    cut = data.draw(st.slices(len(many)))
    assert all(map(same, record.entries[cut], many[cut]))
    for at in range(-len(many), len(many)):
        assert same(record.entries[at], many[at])


@settings(max_examples=30, deadline=None)
@given(st.lists(any_entry() | any_entry(STEP | HUGE), max_size=30))
def test_what_was_written_is_read_whatever_its_numbers(tmp_path_factory, many):
    path = tmp_path_factory.mktemp("record") / "record.jsonl"
    with Writer(path) as writer:
        for entry in (HEADER, *many):
            writer.write(entry)
    decode = msgspec.json.Decoder(entries.Entry).decode
    lines = path.read_bytes().splitlines()[1:]
    good = []
    for line in lines:
        try:
            good.append(decode(line))
        except msgspec.DecodeError:
            continue
    assert read(path).entries == good


@given(st.lists(any_entry(), max_size=30))
@settings(max_examples=30, deadline=None)
def test_entries_are_equal_to_any_sequence_of_the_same(many):
    one, other = Record(HEADER, many), Record(HEADER, tuple(many))
    assert one.entries == other.entries == tuple(many)
    assert one.of(Motion) == [entry for entry in many if type(entry) is Motion]
    if many:
        assert one.entries != many[:-1]


def test_what_is_no_entry_is_refused():
    with pytest.raises(InadmissibleValue, match="int is no kind of entry"):
        Record(HEADER, (1,))


def by_the_rule(many, kind):
    """What of one kind stands, and what was undone: each rollback takes back the last ones beyond its target."""
    kept, undone = [], []
    for entry in many:
        if isinstance(entry, kind):
            kept.append(entry)
        elif isinstance(entry, Rollback):
            while kept and getattr(kept[-1], "when", "training") == "training" and kept[-1].step > entry.back_to:
                undone.append(kept.pop())
    return kept, sorted(undone, key=lambda entry: entry.step)


@settings(max_examples=30, deadline=None)
@given(st.lists(any_entry() | any_entry(STEP | HUGE), max_size=60))
def test_what_stands_after_rollbacks_is_by_the_rule(many):
    record = Record(HEADER, many)
    for kind in (Motion, Layers, Curvature, Noise, Rollback):
        assert standing(record, kind) == by_the_rule(many, kind)
    assert standing(record, Trial)[0] == record.of(Trial)


def test_a_rollback_beyond_many_blocks_is_by_the_rule():
    motion = next(entry for entry in KINDS if isinstance(entry, Motion))
    steps = [*range(500), *range(300, 400), *range(120, 900)]
    many = [msgspec.structs.replace(motion, step=step) for step in steps]
    many[600:600] = [Rollback(399, 119, "x", 0.5)]
    many[500:500] = [Rollback(499, 299, "x", 0.5)]
    record = Record(HEADER, many)
    assert standing(record, Motion) == by_the_rule(many, Motion)
    assert standing(record, Motion)[0].column("step").tolist() == list(range(900))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120), st.integers(1, 20))
def test_lines_are_the_same_however_a_file_is_cut(content, piece):
    longest = reader.LONGEST_LINE
    reader.PIECE, reader.LONGEST_LINE = piece, 20
    try:
        found = list(reader.pieces(io.BytesIO(content)))
    finally:
        reader.PIECE, reader.LONGEST_LINE = 2**19, longest
    lines = [line[:20] for part in found for line in part.lines]
    expected = content.split(b"\n")
    assert lines == [line[:20] for line in (expected if expected[-1] else expected[:-1])]
    assert sum(part.size for part in found) == len(content)
    assert [part.whole for part in found] == [True] * (len(found) - 1) + [content.endswith(b"\n")] * bool(found)


def test_a_column_that_does_not_vary_takes_the_room_of_one_number():
    motion = next(entry for entry in KINDS if isinstance(entry, Motion))
    rows = Record(HEADER, [msgspec.structs.replace(motion, step=step) for step in range(100)]).of(Motion)
    assert rows.column("lr").strides == (0,)
    assert rows.column("update_angle").strides == (0,)
    assert rows.column("step").strides == (8,)
