"""Exporting again adds what is new; of steps that were taken back nothing stays; files of others are left alone."""

import pytest
from report import conftest

from thetadot import records
from thetadot.integrations.tensorboard import export

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def motions(steps, loss=1.0):
    return [conftest.motions()[step - 1].__class__(**fields(step, loss)) for step in steps]


def fields(step, loss):
    found = conftest.motions()[0]
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    return values | {"step": step, "loss": loss / step}


def record(place, entries):
    (place / "record.jsonl").unlink(missing_ok=True)
    return conftest.put(place, conftest.header(), entries)


def points(folder):
    found = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return [(event.step, round(event.value, 5)) for event in found.Scalars("motion/loss")]


def expected(steps, loss=1.0):
    return [(step, round(loss / step, 5)) for step in steps]


def test_what_was_exported_is_not_exported_again(tmp_path):
    assert export(record(tmp_path / "run", motions(range(1, 6))), tmp_path / "tb") == 5
    files = sorted((tmp_path / "tb").iterdir())
    assert export(records.read(tmp_path / "run"), tmp_path / "tb") == 0
    assert sorted((tmp_path / "tb").iterdir()) == files
    assert export(record(tmp_path / "run", motions(range(1, 9))), tmp_path / "tb") == 3
    assert points(tmp_path / "tb") == expected(range(1, 9))


@pytest.mark.parametrize(("steps", "loss"), [(range(1, 9), 2.0), (range(1, 4), 1.0), ((1, 2, 7, 8), 1.0)])
def test_steps_that_were_taken_back_are_replaced(tmp_path, steps, loss):
    export(record(tmp_path / "run", motions(range(1, 6))), tmp_path / "tb")
    export(record(tmp_path / "run", motions(steps, loss)), tmp_path / "tb")
    assert points(tmp_path / "tb") == expected(steps, loss)


def test_a_file_that_was_cut_off_is_completed_and_anothers_is_left(tmp_path):
    whole = record(tmp_path / "run", motions(range(1, 30)))
    export(whole, tmp_path / "tb")
    (file,) = (tmp_path / "tb").iterdir()
    (tmp_path / "tb" / "events.out.tfevents.1.host").write_bytes(b"")
    file.write_bytes(file.read_bytes()[:3000])
    export(whole, tmp_path / "tb")
    assert (tmp_path / "tb" / "events.out.tfevents.1.host").read_bytes() == b""
    assert sorted(set(points(tmp_path / "tb"))) == expected(range(1, 30))
