"""A record that grows is read to its last whole line, and only what is new."""

from __future__ import annotations

import msgspec
import pytest

from thetadot.errors import DamagedFile
from thetadot.records import SCHEMA, VERSION, Choice, Follower, Header, Writer, read, reader

HEADER = Header(SCHEMA, VERSION, "task", 0, 1, 1, 1, 1, "cpu", 1, {}, {})


def choice(number: int) -> Choice:
    return Choice("lr", number, "because", "tried")


@pytest.fixture
def record(tmp_path):
    with Writer(tmp_path / "record.jsonl") as writer:
        writer.write(HEADER)
        for number in range(3):
            writer.write(choice(number))
    return tmp_path / "record.jsonl"


def append(record, entry):
    with Writer(record, record.stat().st_size) as writer:
        writer.write(entry)


def test_it_agrees_with_reading_at_once(record):
    follower = Follower(record.parent)
    assert follower.read() == read(record)
    for number in range(3, 40):
        append(record, choice(number))
        assert follower.read() == read(record)


def test_a_torn_last_line_is_no_damage_and_is_read_once_it_is_whole(record):
    line = msgspec.json.encode(choice(3)) + b"\n"
    follower = Follower(record)
    with record.open("ab") as file:
        file.write(line[:-9])
    seen = follower.read()
    assert (len(seen.entries), seen.damage) == (3, ())
    with record.open("ab") as file:
        file.write(line[-9:])
    assert follower.read().entries[-1] == choice(3)
    assert follower.read().damage == ()


def test_a_damaged_line_inside_is_damage_with_its_number(record):
    follower = Follower(record)
    follower.read()
    with record.open("ab") as file:
        file.write(b"{torn\n" + msgspec.json.encode(choice(9)) + b"\n")
    seen = follower.read()
    assert seen.damage == read(record).damage
    assert seen.damage[0].startswith("line 5:")
    assert seen.entries[-1] == choice(9)


def test_old_lines_are_not_read_again(record, monkeypatch):
    follower = Follower(record)
    follower.read()
    append(record, choice(7))
    read_lines = []
    take = reader.Body.take
    monkeypatch.setattr(reader.Body, "take", lambda body, lines: read_lines.extend(lines) or take(body, lines))
    follower.read()
    assert len(read_lines) == 1


def test_a_record_that_was_cut_and_goes_on_otherwise_is_read_anew(record):
    follower = Follower(record)
    follower.read()
    offset = len(b"".join(record.read_bytes().splitlines(keepends=True)[:2]))
    with Writer(record, offset) as writer:  # as a resumed run does
        for number in range(50, 60):
            writer.write(choice(number))
    assert follower.read() == read(record)


def test_a_record_that_was_replaced_is_read_anew(record):
    follower = Follower(record)
    follower.read()
    record.unlink()
    with Writer(record) as writer:
        writer.write(msgspec.structs.replace(HEADER, task="another"))
        writer.write(choice(1))
    assert follower.read().header.task == "another"


def test_the_stamp_tells_growth_and_absence(record):
    follower = Follower(record)
    before = follower.stamp
    assert follower.stamp == before
    append(record, choice(4))
    assert follower.stamp != before
    record.unlink()
    assert follower.stamp == ""


@pytest.mark.parametrize("content", [b"", b'{"kind":"header"', b"something else\n", bytes(range(256)) + b"\n"])
def test_what_has_no_header_is_refused(tmp_path, content):
    (tmp_path / "record.jsonl").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"header|whole line"):
        Follower(tmp_path).read()


def test_an_absent_record_is_refused(tmp_path):
    with pytest.raises(DamagedFile, match="Pass the folder of a run"):
        Follower(tmp_path / "nowhere").read()
