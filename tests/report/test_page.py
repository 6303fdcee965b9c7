"""What must hold of every page, whatever the record says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import msgspec
import pytest

from thetadot import report
from thetadot.errors import DamagedFile
from thetadot.records import (
    Choice,
    Curvature,
    Epoch,
    Fork,
    Header,
    Motion,
    Noise,
    Record,
    Result,
    Rollback,
    read,
)
from thetadot.report.embed import script

from . import conftest

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</script><img src=x onerror=alert(1)>$$\\alpha$$'\"{{7*7}}"
CORE = len(script().encode())


class Parsed(HTMLParser):
    """Elements, attributes and visible words of a page, as a browser would split them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._inside = ""
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, _tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words += data


def named(**fields) -> Header:
    return msgspec.structs.replace(conftest.header(), **fields)


def test_a_whole_run_has_every_picture(make, whole):
    page = Parsed(report.render(make(whole)))
    plots = [attrs for tag, attrs in page.elements if attrs.get("class") == "plot"]
    assert len(plots) == 1 + 2 + 6 + 2 + 3 + 2 + 1
    document = json.loads(page.scripts[0])
    assert [root["id"] for root in document["roots"]] == [plot["data-root"] for plot in plots]


def test_the_verdict_is_a_sentence_with_the_numbers(make, whole):
    page = report.render(make(whole))
    assert (
        "The last state has 98.9% accuracy on the validation set, and a loss of 0.0364; it took 25 s; "
        "nothing was tuned by hand." in Parsed(page).words
    )


def test_nothing_is_fetched_from_elsewhere(make, whole):
    page = Parsed(report.render(make(whole)))
    for tag, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert not re.match(r"\s*(https?:)?//", attrs.get(name) or ""), (tag, attrs)
        assert tag not in {"link", "iframe", "object", "embed", "img"} or (attrs.get("href") or "").startswith("data:")
    policy = next(attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")


@pytest.mark.slow
def test_the_same_record_gives_the_same_page(make, whole):
    record = make(whole)
    assert report.render(record) == report.render(record)


def test_the_page_is_small(make, whole):
    page = report.render(make(whole)).encode()
    assert CORE < 1.35e6
    data = sum(map(len, re.findall(rb'"data":"([A-Za-z0-9+/=]+)"', page)))
    assert len(page) - data < 1_500_000
    assert len(page) - CORE < 500_000


@pytest.mark.slow
def test_a_long_run_does_not_blow_the_page_up(make):
    motion = conftest.motions()[100]
    many = [msgspec.structs.replace(motion, step=i, loss=1.0 + i * 7919 % 1009) for i in range(30_000)]
    assert len(report.render(make(many)).encode()) - CORE < 800_000


def hostile_record() -> list:
    return [
        Fork(
            5,
            3,
            0.1,
            0.2,
            0.5,
            0.4,
            raised=True,
            because=HOSTILE,
            cost=1.0,
            losses=(0.5, 0.4),
            other_losses=(0.5, -0.1),
        ),
        Choice(HOSTILE, HOSTILE, HOSTILE, "tried"),
        Choice("optimizer", HOSTILE, HOSTILE, "given"),
        *conftest.motions()[:20],
        Epoch(1, 20, 1.0, 1.0, 0.5, 1.0),
        Rollback(15, 10, HOSTILE, 0.5),
        conftest.result(),
    ]


def test_hostile_strings_stay_strings(make):
    head = named(task=HOSTILE, metric=HOSTILE, device=HOSTILE, started=HOSTILE, software={HOSTILE: HOSTILE},
                 quantities={HOSTILE: (HOSTILE, HOSTILE)})  # fmt: skip
    record = make(hostile_record(), head)
    record = Record(record.header, record.entries, (HOSTILE,), record.path)
    page = report.render(record)
    parsed = Parsed(page)
    assert "<img" not in page.replace(script(), "")
    assert not any(tag == "img" or any(name.startswith("on") for name in attrs) for tag, attrs in parsed.elements)
    assert len(parsed.scripts) == 3
    assert json.loads(parsed.scripts[0])["roots"]
    assert HOSTILE in parsed.words, "escaped, not removed, and no template of ours"


def test_no_script_of_ours_can_end_early():
    assert "</script" not in script().lower()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, Curvature, Noise, Fork, Choice, Motion, Epoch, Rollback, Result])
def test_every_kind_but_the_header_is_optional(make, whole, kind):
    page = report.render(make([entry for entry in whole if kind is not None and not isinstance(entry, kind)]))
    assert "What was measured" in page


@pytest.mark.parametrize("kind", [Curvature, Noise, Fork, Choice, Motion, Epoch, Rollback, Result])
def test_every_kind_may_stand_alone_or_once(make, whole, kind):
    alone = [entry for entry in whole if isinstance(entry, kind)]
    assert report.render(make(alone))
    assert report.render(make(alone[:1]))


def test_a_run_under_way_says_so(make, whole):
    page = Parsed(report.render(make([entry for entry in whole[:600] if not isinstance(entry, Result)])))
    assert "This run has not finished: the record ends at step" in page.words


def test_a_diverged_run_says_so(make, whole):
    page = Parsed(report.render(make([*whole[:-1], conftest.result(diverged=True)])))
    assert "Diverged: the loss ran away after 1,500 steps" in page.words


def test_damaged_lines_are_named_and_the_rest_is_shown(make, whole):
    record = make(whole)
    lines = record.path.read_bytes().splitlines(keepends=True)
    lines[5] = b'{"kind":"trial","optimizer":<script>\n'
    record.path.write_bytes(b"".join(lines)[:-20])
    page = Parsed(report.render(read(record.path)))
    assert "Part of this record could not be read" in page.words
    assert "line 6:" in page.words
    assert "This run has not finished" in page.words, "its last line was torn"


EXTREME = (0.0, -1.0, 1e-320, 1e308, -1e308)


@pytest.mark.slow
@pytest.mark.parametrize("value", EXTREME)
def test_extreme_numbers_render(make, whole, value):
    few = [
        *whole[:25],
        *[entry for entry in whole if isinstance(entry, Epoch | Curvature | Noise)],
        *whole[60:90],
        whole[-1],
    ]
    fields = {
        kind: [name for name, of in kind.__annotations__.items() if of.startswith("float") and "int" not in of]
        for kind in {type(entry) for entry in few}
    }
    wild = [msgspec.structs.replace(entry, **dict.fromkeys(fields[type(entry)], value)) for entry in few]
    assert report.render(make(wild))


def test_huge_whole_numbers_render(make, whole):
    far = 10**400
    wild = [
        msgspec.structs.replace(entry, step=far) if isinstance(entry, Motion | Epoch | Curvature | Noise) else entry
        for entry in whole[:60]
    ]
    steps = [msgspec.structs.replace(entry, steps=far) for entry in whole if isinstance(entry, Fork | Result)]
    head = named(seed=far, parameters=far, epochs=far)
    assert report.render(Record(head, (*wild, *steps, Choice("lr", far, "", "given"), Rollback(far, -far, "", 0.5))))


def test_the_page_is_written_beside_the_record(make, whole, tmp_path: Path):
    make(whole)
    assert report.write(tmp_path) == tmp_path / "report.html"
    assert report.write(tmp_path / "record.jsonl", tmp_path / "other.html") == tmp_path / "other.html"
    assert {path.name for path in tmp_path.iterdir()} == {"record.jsonl", "report.html", "other.html"}


def test_a_page_that_cannot_be_written_leaves_the_old_one(make, tmp_path: Path, monkeypatch):
    make()
    report.write(tmp_path)
    old = (tmp_path / "report.html").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        report.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"record.jsonl", "report.html"}
    assert (tmp_path / "report.html").read_bytes() == old


@pytest.mark.parametrize("content", [b"", b"not a record\n", b'{"kind":"header"}\n', bytes(range(256))])
def test_a_foreign_file_is_refused(tmp_path: Path, content):
    (tmp_path / "record.jsonl").write_bytes(content)
    with pytest.raises(DamagedFile):
        report.write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_the_report_needs_no_torch():
    code = "import sys, thetadot.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
