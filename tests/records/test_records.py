"""The contract between what measures and what shows: what was written is not lost, what is damaged does not crash."""

import json
import math
import os
import resource
import subprocess
import sys

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thetadot import records
from thetadot.errors import DamagedFile, InadmissibleValue, RunFolderError
from thetadot.records import (
    SCHEMA,
    UNITS,
    VERSION,
    Barrier,
    Choice,
    Constant,
    Curvature,
    Draws,
    End,
    Epoch,
    Equilibrium,
    Extension,
    Fork,
    Header,
    Layers,
    Losses,
    Motion,
    Noise,
    Regularization,
    Remark,
    Result,
    Rollback,
    Setting,
    Trial,
    Watched,
    Writer,
)
from thetadot.records.reader import LONGEST_LINE
from thetadot.records.units import quantity, tag

HEADER = Header(
    SCHEMA,
    VERSION,
    "digits – θ̇",
    0,
    10,
    20,
    5,
    3,
    "cpu",
    1,
    {"torch": "2"},
    UNITS,
    "accuracy",
    Watched("AdamW", "default", "256 samples", 256, ("a.weight", "b"), {"friction": "no velocity"}, 2),
)
KINDS = [
    Curvature("start", 0, 3.0, 0.1, None, 64, 10.0),
    Curvature("training", 5, -1e-300, 1e300, 38.0, 64, 10.0, preconditioned=True),
    Noise("warm-up", 3, 1.0, -0.5, 20.0, 10.0, 40.0, resolved=False, samples=64, cost=1.5),
    Trial("adam", 0.1, 0.9, 32, 50, 1, None, 3.0),
    Trial("heavy-ball", 0.1, 0.9, 32, 50, 1, 0.25, 3.0),
    Choice("lr", 0.1, 'a reason with "quotes", a \n line end and γ', "tried", 0.05, 0.2),
    Choice("optimizer", "adam", "b"),
    Choice("batch_size", 32, "c", "given"),
    Fork(45, 3, 0.1, 0.2, 0.7, None, raised=False, because="d", cost=10.0, losses=(1.0, 0.7), other_losses=(1.0,)),
    Fork(45, 3, 0.1, 0.2, 0.7, 0.6, raised=True, because="e", cost=10.0, method="drift"),
    Constant(2.0, 2.1, "the targets' mean", 90),
    Motion(1, 0.5, 2.0, 0.1, 0.9, 32, 0.3, 0.4, 1e-8, 0.3, 0.1, 0.2, -0.1, 32.0),
    Epoch(1, 10, 0.5, 0.6, None, 100.0, 1.25),
    Epoch(2, 20, 0.5, 0.6, 0.99, 100.0, 1.25),
    Rollback(7, 5, "because", 0.5),
    Setting(0, 0, 10, {"lr": 0.1, "nesterov": False, "name": "all", "foreach": None}),
    Layers(5, (1.0, 0.0), (2.0, 3.0), (1e-3, 0.0), (0.9, 0.0)),
    Equilibrium(
        9, 2, 7, "any", 1.0, 0.0, None, None, None, None, None, None, None, None, None, None, None, "unresolved"
    ),
    Equilibrium(
        9, 2, 7, "heavy ball", 1.0, 0.9, 1.1, 0.8, 1.3, -0.1, -0.3, 0.1, -1e-3, -2e-3, 0.0, 1e-6, 1e-6, "stationary"
    ),
    Regularization(9, 1e-3, 2e-3, 0.5),
    Regularization(9, 1e-3, None, 0.5, 0.0, 2e-3, None, None),
    Draws(1, "epochs", 1000, drop_last=True),
    Draws(1, "replacement"),
    Losses.of(9, [0.5, 0.25, 1e30]),
    Curvature(
        "training",
        6,
        3.0,
        0.1,
        38.0,
        64,
        10.0,
        spectrum=(3.0, 1.0),
        residuals=(0.1, 2.0),
        damping=(0.5, 0.8),
        damping_low=(0.4, 0.7),
        damping_high=(0.6, None),
        temperature=(1e-6, None),
        temperature_low=(0.0, None),
        temperature_high=(None, None),
    ),
    Barrier(9, 2, 0.1, 0.4, 0.6, 0.5, 1e-6, 1e-7, 1e-5, "line", 3.0),
    Barrier(9, 2, 0.0, 1.0, 0.6, 0.5, None),
    Barrier(9, 2, 0.1, 0.4, 0.6, 0.5, 1e-6),
    Remark(9, "loss", "the loss is not finite", alarm=True),
    End(9, "exception", 10.0, 100.0, 2.0),
    Extension(40, 4, 3, "adam", 0.1, 0.9, 32, "linear", "d"),
    Result(
        "adam", 0.1, 0.9, 32, 10, 1, 0.5, 0.6, 0.6, 1, None, None, None, None, diverged=False, cost=100.0, seconds=2.0
    ),
    Result("adam", 0.1, 0.9, 32, 10, 1, 0.5, 0.6, 0.6, 1, 0.9, 3.0, 20.0, 1e-8, diverged=True, cost=100.0, seconds=2.0),
]
HEAD = msgspec.json.encode(HEADER)
GOOD = msgspec.json.encode(Rollback(1, 0, "x", 0.5))
VERSION_FIELD, LATER = (b'"version":%d' % version for version in (VERSION, VERSION + 1))
UP_TO = f".* reads up to {VERSION}. Update"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.jsonl"


@pytest.fixture
def written(path):
    """A record of a header, the given lines and a good one."""

    def write(*lines, head=HEAD):
        path.write_bytes(b"\n".join((head, *lines, GOOD)) + b"\n")
        return records.read(path)

    return write


def test_an_older_record_has_no_interval_and_is_whole(written):
    lines = [
        (
            b'{"kind":"curvature","when":"training","step":5,"sharpness":3.0,"residual":0.1,"limit":38.0,"samples":64,"cost":1.0'
            b',"preconditioned":false,"method":"lanczos","spectrum":[3.0],"residuals":[0.1],"damping":[0.5],"layers":[]}'
        ),
        (
            b'{"kind":"motion","step":1,"epoch":0.5,"loss":2.0,"lr":0.1,"momentum":0.9,"batch_size":32,"time_step":0.3,'
            b'"friction":0.4,"temperature":1e-8,"clock":0.3,"kinetic":0.1,"displacement":0.2,"speed":null,"cost":32.0}'
        ),
        b'{"kind":"regularization","step":9,"gradient_term":0.001,"noise_term":0.002,"loss":0.5}',
        b'{"kind":"barrier","step":9,"since":2,"height":0.1,"at":0.4,"start_loss":0.6,"end_loss":0.5,"temperature":1e-6}',
    ]
    record = written(*lines)
    assert record.damage == ()
    (curvature,), (motion,), (term,), (barrier,) = map(record.of, (Curvature, Motion, Regularization, Barrier))
    assert (curvature.temperature, curvature.damping_low, curvature.damping_high) == ((), (), ())
    assert (motion.temperature, motion.temperature_low, motion.temperature_high) == (1e-8, None, None)
    assert (term.noise_term, term.noise_low, term.gradient_high) == (2e-3, None, None)
    assert (barrier.direction, barrier.temperature_low, barrier.curvature) == (None, None, None)
    assert record.of(Draws) == ()


def test_every_kind_comes_back_as_it_was_written(path):
    with Writer(path) as writer:
        for entry in (HEADER, *KINDS):
            writer.write(entry)
    record = records.read(path.parent)
    assert record.header == HEADER
    assert record.entries == tuple(KINDS)
    assert record.damage == ()
    assert record.result == KINDS[-1]
    assert record.of(Epoch) == tuple(KINDS[12:14])
    assert {type(entry) for entry in (HEADER, *KINDS)} == set(records.Entry.__args__)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.text(st.characters(codec="utf-8"), max_size=9)), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_numbers_come_back_bit_for_bit(path, rows):
    entries = [entry for a, b, text in rows for entry in (Epoch(1, 2, a, b, a, b), Choice(text, a, text))]
    with Writer(path) as writer:
        for entry in (HEADER, *entries):
            writer.write(entry)
    assert records.read(path).entries == tuple(entries)


def test_every_number_of_the_record_has_a_unit_or_is_none():
    counts = {"epoch", "seconds", "lr_factor", "value", "values"}
    of_a_value = {("choice", "low"), ("choice", "high")}
    for kind in records.Entry.__args__:
        for field in msgspec.structs.fields(kind):
            if "float" in str(field.type):
                if (tag(kind), field.name) in of_a_value:
                    continue
                assert quantity(kind, field.name) in UNITS or field.name in counts, (kind.__name__, field.name)


# What JSON cannot say.


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_and_the_record_stays_whole(path, value):
    with Writer(path) as writer:
        writer.write(HEADER)
        for name in ("train_loss", "metric"):
            with pytest.raises(InadmissibleValue, match=f"{name}={value} in a Epoch entry is not finite"):
                writer.write(msgspec.structs.replace(KINDS[12], **{name: value}))
        with pytest.raises(InadmissibleValue, match=f"weight={value} in a Layers entry"):
            writer.write(Layers(1, (1.0,), (value,), (1.0,), (0.0,)))
        with pytest.raises(InadmissibleValue, match=f"values={value} in a Setting entry"):
            writer.write(Setting(1, 0, 1, {"lr": value}))
        writer.write(KINDS[0])
    record = records.read(path)
    assert record.entries == (KINDS[0],)
    assert record.damage == ()


def test_a_file_name_that_is_no_text_is_kept_legible(path):
    with Writer(path) as writer:
        writer.write(msgspec.structs.replace(HEADER, task="t\udcff.py:f"))
    assert records.read(path).header.task == "t\\udcff.py:f"


# Offsets.


def test_what_was_written_after_a_checkpoint_is_cut_off(path):
    with Writer(path) as writer:
        writer.write(HEADER)
        writer.write(KINDS[0])
        offset = writer.offset
        writer.write(KINDS[1])
    assert offset < path.stat().st_size
    with Writer(path, offset) as writer:
        assert writer.offset == offset == path.stat().st_size
        writer.write(KINDS[2])
    assert records.read(path).entries == (KINDS[0], KINDS[2])
    with Writer(path):
        assert path.stat().st_size == 0


def test_lines_are_on_their_way_before_the_next_one(path):
    with Writer(path) as writer:
        writer.write(HEADER)
        writer.sync()
        assert records.read(path).header == HEADER
        assert writer.offset == path.stat().st_size


def test_a_file_shorter_than_its_checkpoint_is_refused_and_left_alone(path):
    path.write_bytes(GOOD)
    with pytest.raises(RunFolderError, match=f"has {len(GOOD)} bytes, its checkpoint expects {len(GOOD) + 1}"):
        Writer(path, len(GOOD) + 1)
    assert path.read_bytes() == GOOD


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    for place in (tmp_path, tmp_path / "absent" / "record.jsonl", tmp_path / ("x" * 300)):
        with pytest.raises(RunFolderError, match="cannot be written"):
            Writer(place)


def test_a_full_disk_is_said_and_leaves_whole_lines(path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Writer(path) as writer:
        writer.write(HEADER)
        whole = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, before[1]))
        try:
            with pytest.raises(RunFolderError, match=r"cannot be written .*Free space"):
                writer.write(KINDS[0])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert path.read_bytes() == whole
        writer.write(KINDS[0])
    assert records.read(path).entries == (KINDS[0],)


# Versions.


def test_a_file_of_version_1_still_reads(path):
    lines = [
        {"kind": "header", "schema": "thetadot.record", "version": 1, "task": "t", "seed": 0, "parameters": 9}
        | {"train_samples": 20, "valid_samples": 5, "epochs": 3, "device": "cpu", "threads": 1, "software": {}}
        | {"quantities": {}, "metric": None, "ensemble": None, "started": ""},
        {"kind": "curvature", "when": "start", "step": 0, "sharpness": 3.0, "residual": 0.1, "limit": None}
        | {"samples": 64, "cost": 1.0, "preconditioned": False},
        {"kind": "noise", "when": "training", "step": 3, "gradient_variance": 2.0, "gradient_square": 0.1}
        | {"noise_scale": 20.0, "low": 10.0, "high": 40.0, "resolved": True, "samples": 64, "cost": 1.5},
        {"kind": "motion", "step": 1, "epoch": 0.5, "loss": 2.0, "lr": 0.1, "momentum": 0.9, "batch_size": 32}
        | {"time_step": 0.3, "friction": 0.4, "temperature": None, "clock": 0.3, "kinetic": 0.1, "displacement": 0.2}
        | {"speed": -0.1, "cost": 32.0},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = records.read(path)
    assert record.damage == ()
    assert record.header.version == 1
    assert record.header.watched is None
    assert [type(entry) for entry in record.entries] == [Curvature, Noise, Motion]
    assert record.entries[1].method == "reference"
    assert record.entries[2].gradient_norm is None


# Damage.


def test_fields_of_a_later_version_are_passed_over(written):
    line = json.dumps({"kind": "rollback", "step": 1, "back_to": 0, "because": "x", "lr_factor": 0.5, "later": [1]})
    head = json.dumps(json.loads(msgspec.json.encode(HEADER)) | {"later": {"deep": None}})
    record = written(line.encode(), head=head.encode())
    assert record.entries == (Rollback(1, 0, "x", 0.5),) * 2
    assert record.damage == ()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"{}",
        b"[1, 2]",
        b"null",
        b'{"kind": "holograph", "step": 1}',
        GOOD[:-5],
        GOOD[5:],
        GOOD.replace(b"0.5", b"null"),
        GOOD.replace(b"0.5", b"NaN"),
        GOOD.replace(b"0.5", b"1e999"),
        GOOD.replace(b'"x"', b'"\xff"'),
        GOOD.replace(b'"x"', b'"\\ud800"'),
        GOOD.replace(b":1", b":" + b"9" * 5000),
        b"\x00" * 1000,
        bytes(range(128, 256)),
        b'{"kind":"rollback","later":' + b"[" * 200_000,
        b'{"later":' * 50_000,
        b"[" * 200_000,
        b"x" * (LONGEST_LINE + 1),
        GOOD[:-1] + b" " * (3 * LONGEST_LINE) + b"}",
        msgspec.json.encode(HEADER),
    ],
    ids=lambda line: repr(line[:24]),
)
def test_a_damaged_line_is_listed_and_the_next_one_is_read(written, line):
    record = written(line)
    assert record.entries == (Rollback(1, 0, "x", 0.5),)
    assert len(record.damage) == 1
    assert record.damage[0].startswith("line 2: ")


@pytest.mark.parametrize("cut", [1, 10, len(GOOD), len(GOOD) + 1])
def test_a_torn_last_line_is_left_out_and_said(written, path, cut):
    written(GOOD)
    path.write_bytes(path.read_bytes()[:-cut])
    record = records.read(path)
    torn = 1 < cut <= len(GOOD)
    assert len(record.entries) == (2 if cut == 1 else 1)
    assert [said.startswith("line 3: ") for said in record.damage] == [True] * torn


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin with a thetadot.record header"),
        (b"\n", "does not begin with"),
        (bytes(range(256)) * 50, "does not begin with"),
        (b'{"name": "foreign"}\n', "does not begin with"),
        (b"[]", "does not begin with"),
        (b"[" * 200_000, "does not begin with"),
        (b"x" * (LONGEST_LINE + 5), "does not begin with"),
        (GOOD, "does not begin with"),
        (msgspec.json.encode(HEADER).replace(b"thetadot.record", b"other.record"), "does not begin with"),
        (msgspec.json.encode(HEADER).replace(VERSION_FIELD, b'"version":0'), "does not begin with"),
        (msgspec.json.encode(HEADER).replace(b'"seed":0', b'"seed":"0"'), "does not begin with"),
        (msgspec.json.encode(HEADER).replace(VERSION_FIELD, LATER), f"version {VERSION + 1}, {UP_TO}"),
        (b'{"kind":"banner","schema":"thetadot.record",' + LATER + b"}", f"version {VERSION + 1}, {UP_TO}"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_a_file_that_is_no_record_is_refused_in_one_sentence(path, content, said):
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=said):
        records.read(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 2000))
def test_whatever_the_bytes_it_is_a_record_or_a_damaged_file(path, noise, place):
    whole = b"\n".join(map(msgspec.json.encode, (HEADER, *KINDS)))
    path.write_bytes(whole[:place] + noise + whole[place + len(noise) :])
    try:
        record = records.read(path)
    except DamagedFile:
        return
    assert len(record.entries) + len(record.damage) >= 1


def test_what_is_not_there_or_is_no_file_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "absent", tmp_path / "absent" / "record.jsonl", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(DamagedFile, match=r"cannot be read|has no record"):
            records.read(place)
    with pytest.raises(DamagedFile, match="not an ordinary file"):
        records.read("/dev/zero")


def test_a_file_too_large_is_refused_unread(path):
    with path.open("wb") as stream:
        stream.truncate(2**30)
    with pytest.raises(DamagedFile, match="larger than 512 MiB"):
        records.read(path)


def test_records_are_read_without_torch():
    program = "import sys, thetadot.records; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0
