"""A browser draws the page, its controls work, and nothing complains."""

from __future__ import annotations

import itertools
import math
import re
import threading

import pytest

from thetadot import report
from thetadot.records import Writer
from thetadot.report.serve import FolderWatch, Server

from . import chromium, conftest, watched

pytestmark = [pytest.mark.skipif(chromium.MISSING, reason="no chromium"), pytest.mark.slow]

DRAWN = """[...document.querySelectorAll(".plot")].map((plot) => {
  const canvases = (root) => [...root.querySelectorAll("*")].flatMap(
    (each) => [...(each.tagName === "CANVAS" ? [each] : []), ...(each.shadowRoot ? canvases(each.shadowRoot) : [])]);
  const drawn = canvases(plot).find((canvas) => canvas.width && canvas.height);
  if (!drawn) return 0;
  const copy = Object.assign(document.createElement("canvas"), { width: drawn.width, height: drawn.height });
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(drawn, 0, 0);
  return new Set(new Uint32Array(pen.getImageData(0, 0, copy.width, copy.height).data.buffer)).size;
})"""
"""How many colours each plot has: an empty one has fewer than a handful."""
MODEL = 'Bokeh.documents.at(-1).get_model_by_id(document.querySelector("[data-key={}]").dataset.root)'
VISIBLE = "[...document.querySelectorAll('.plot')].filter((plot) => plot.offsetHeight).length"
SEEN = MODEL + ".renderers.filter((each) => each.visible).length"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        opened.size(1080)
        yield opened


@pytest.fixture
def quiet(tab):
    tab.spoken.clear()
    yield tab
    assert tab.spoken == []


def show(tab, place, page, mode=""):
    file = place / "page.html"
    file.write_text(page, "utf-8")
    tab.go(f"{file.as_uri()}{mode}")


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_picture_is_drawn_and_the_console_is_silent(quiet, make, whole, tmp_path, mode):
    show(quiet, tmp_path, report.render(make(whole)), f"#{mode}")
    quiet.wait(f"({DRAWN}).every((colours) => colours > 4)")
    assert len(quiet.run(DRAWN)) == 17
    assert quiet.run("document.documentElement.dataset.mode") == mode
    background = quiet.run("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(245, 246, 248)", "dark": "rgb(14, 17, 22)"}[mode]


def test_a_watched_run_with_hostile_names_is_drawn_and_fits_a_phone(quiet, tmp_path):
    record = conftest.put(tmp_path / "run", watched.header(watched.HOSTILE), [*watched.body(every=20), watched.end()])
    quiet.size(360)
    show(quiet, tmp_path, report.render(record))
    quiet.wait(f"({DRAWN}).every((colours) => colours > 4)")
    assert quiet.run("document.documentElement.scrollWidth") <= 360
    assert quiet.run("document.querySelectorAll('img, iframe, object').length") == 0
    quiet.size(1080)


WHOLE = """[...document.querySelectorAll('.tiles b')].filter((each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
  const card = each.closest('li').getBoundingClientRect();
  return lines.size !== 1 || range.getBoundingClientRect().right > card.right;
}).map((each) => each.textContent)"""
"""Numbers that are broken into lines, or reach out of their tile."""
ELSEWHERE = (
    "performance.getEntriesByType('resource').map((each) => each.name).filter((each) => !/^(data|blob):/.test(each))"
)


def looks_right(tab, width):
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run(WHOLE) == []
    assert tab.run(ELSEWHERE) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_long_numbers_stay_in_one_line_within_their_tiles(quiet, make, tmp_path, width):
    wild = conftest.result().__class__(
        **{name: getattr(conftest.result(), name) for name in conftest.result().__struct_fields__}
        | {"lr": 1.2345e-105, "momentum": 0.98765432, "steps": 123_456_789_012, "valid_loss": -1.2345e-17}
    )  # fmt: skip
    quiet.size(width)
    show(quiet, tmp_path, report.render(make([*conftest.motions()[::100], wild])))
    shown = quiet.run("[...document.querySelectorAll('.tiles b')].map((each) => each.textContent)")
    assert {"-1.23e-17", "1.23e-105", "0.988", "123,456,789,012"} <= set(shown)
    looks_right(quiet, width)
    quiet.size(1080)


FEW = ("embedding", watched.HOSTILE, "head")
HOSTILE_FOLDER = watched.HOSTILE.replace("/", "_")


def several(place, names=("slow", HOSTILE_FOLDER, "fast")):
    return [
        conftest.put(place / name, watched.header(layers=FEW), watched.body(FEW, lr=0.02 * (1 + at), every=20))
        for at, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return report.render(several(tmp_path_factory.mktemp("three")))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return report.render(several(tmp_path_factory.mktemp("one"), ["alone"]))


def test_a_run_is_hidden_in_all_pictures_by_its_box(quiet, tmp_path, three):
    show(quiet, tmp_path, three)
    for key in ("loss-1", "curvature-1", "noise-1", "plane-1"):
        whole = quiet.run(SEEN.format(key))
        quiet.run("document.getElementById('run-1').click()")
        assert 0 < quiet.run(SEEN.format(key)) < whole
        quiet.run("document.getElementById('run-1').click()")
        assert quiet.run(SEEN.format(key)) == whole
    quiet.run("document.getElementById('runs-none').click()")
    assert quiet.run(SEEN.format("loss-1")) == 0
    assert quiet.run("[...document.querySelectorAll('.panel[data-of-run]')].every((p) => !p.offsetHeight)")


def test_the_keyboard_reaches_and_turns_a_box_and_focus_is_seen(quiet, tmp_path, three):
    show(quiet, tmp_path, three)
    quiet.run("document.getElementById('sort-advice').focus()")
    quiet.key("Tab", 9)
    assert quiet.run("document.activeElement.id") == "run-0"
    assert quiet.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before = quiet.run(SEEN.format("loss-1"))
    quiet.key(" ", 32, " ")
    assert not quiet.run("document.activeElement.checked")
    assert quiet.run(SEEN.format("loss-1")) < before


def test_buttons_choose_what_the_layers_show(quiet, tmp_path, alone):
    show(quiet, tmp_path, alone)
    shown = MODEL.format("layers-1") + ".renderers.map((each) => each.visible)"
    assert quiet.run(shown) == [True, False, False]
    quiet.run("document.getElementById('layers-noise').click()")
    assert quiet.run(shown) == [False, False, True]
    assert quiet.run("[...document.querySelectorAll('[data-scale]')].filter((s) => !s.hidden).length") == 1


TOOLTIPS = """(() => {
  const inside = (root) => [...root.querySelectorAll("*")].flatMap(
    (each) => [each, ...(each.shadowRoot ? inside(each.shadowRoot) : [])]);
  return inside(document).filter((each) => each.tagName === "DIV" && /Tooltip/.test(each.className))
    .map((each) => each.shadowRoot.textContent + (each.shadowRoot.querySelector("img") ? "IMG" : ""));
})()"""


def test_a_tooltip_shows_hostile_names_as_text(quiet, tmp_path, three):
    show(quiet, tmp_path, three)
    place = "document.querySelectorAll('[data-key=layers-2]')[0].getBoundingClientRect()"
    quiet.run("document.querySelector('[data-key=layers-2]').scrollIntoView({block: 'center', behavior: 'instant'})")
    for share in (0.3, 0.4):  # the second of three rows, of the run with the hostile folder
        x = quiet.run(f"{place}.left + 0.6 * {place}.width")
        y = quiet.run(f"{place}.top + {share} * {place}.height")
        quiet.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    quiet.wait(f"({TOOLTIPS}).some((text) => text.includes('onerror'))")
    seen = " ".join(quiet.run(TOOLTIPS))
    assert "<img src=x onerror" in seen, "as text"
    assert "{safe}" in seen, "and no template"
    assert "IMG" not in seen


def test_dark_mode_repaints_and_reset_undoes_a_zoom(quiet, tmp_path, alone):
    show(quiet, tmp_path, alone, "#light")
    painted = MODEL.format("loss-1") + ".background_fill_color"
    before = quiet.run(painted)
    quiet.run("document.getElementById('mode').click()")
    assert quiet.run(painted) != before
    begun = quiet.run(MODEL.format("loss-1") + ".x_range.start")
    quiet.run(MODEL.format("loss-1") + ".x_range.setv({start: 100, end: 300}), 0")
    assert quiet.run(MODEL.format("curvature-1") + ".x_range.start") == 100, "steps are one axis"
    quiet.run("document.getElementById('loss-reset').click()")
    assert quiet.run(MODEL.format("loss-1") + ".x_range.start") == begun
    quiet.run("localStorage.clear()")


def test_paper_gets_every_picture_within_its_width(quiet, tmp_path, alone):
    show(quiet, tmp_path, alone, "#dark")
    quiet.run("dispatchEvent(new Event('beforeprint'))")
    quiet.call("Emulation.setEmulatedMedia", media="print")
    try:
        quiet.size(700)
        assert quiet.run(
            "[...document.querySelectorAll('.plot')].every((p) => p.querySelector('canvas.copy').offsetWidth > 100"
            " && p.querySelector('canvas.copy').offsetWidth <= p.offsetWidth)"
        )
        assert quiet.run("getComputedStyle(document.querySelector('button')).display") == "none"
        assert quiet.run("document.documentElement.dataset.mode") == "light"
    finally:
        quiet.call("Emulation.setEmulatedMedia", media="")
        quiet.size(1080)
        quiet.run("dispatchEvent(new Event('afterprint'))")
    assert quiet.run("document.querySelectorAll('canvas.copy').length") == 0
    assert quiet.run("document.documentElement.dataset.mode") == "dark"
    assert re.match(rb"%PDF-", quiet.pdf())


@pytest.mark.slow
def test_a_served_page_follows_its_record_and_keeps_what_the_reader_set(quiet, tmp_path):
    runs = several(tmp_path, ("slow", HOSTILE_FOLDER))
    with Server(FolderWatch([record.path for record in runs])) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        quiet.go(server.address)
        quiet.wait("document.getElementById('live').textContent === 'live'")
        assert "watched over 1,980 steps" in quiet.run("document.querySelector('#measured').textContent")
        quiet.run("document.getElementById('sort-loss').click()")
        quiet.run("document.getElementById('run-1').click()")
        quiet.run("document.getElementById('layers-gradient').click()")
        quiet.run("document.querySelector('[data-key=quantities]').open = true")
        quiet.run(MODEL.format("noise-1") + ".y_range.setv({start: 30, end: 60}), 0")
        quiet.run("scrollTo({top: 900, behavior: 'instant'})")
        hidden = quiet.run(SEEN.format("loss-1"))
        with Writer(runs[0].path, runs[0].path.stat().st_size) as writer:
            writer.write(watched.end(5000))
        quiet.wait("document.querySelector('#measured').textContent.includes('watched over 5,000 steps')")
        quiet.wait(f"({DRAWN}).filter((colours) => colours > 4).length === {VISIBLE}")
        assert quiet.run("document.getElementById('sort-loss').closest('th').ariaSort") == "ascending"
        assert quiet.run("document.getElementById('run-1').checked") is False
        assert quiet.run("document.getElementById('run-0').checked") is True
        assert quiet.run(SEEN.format("loss-1")) == hidden
        assert quiet.run("document.getElementById('layers-gradient').getAttribute('aria-pressed')") == "true"
        assert quiet.run("document.querySelector('[data-key=quantities]').open")
        assert quiet.run(MODEL.format("noise-1") + ".y_range.start") == 30
        assert quiet.run("scrollY") == 900
        assert quiet.run("Bokeh.documents.length") == 1, "older documents are let go"
        server.shutdown()
    quiet.wait("document.getElementById('live').classList.contains('lost')")
    quiet.call("Page.navigate", url="about:blank")  # or it would go on asking through the next tests
    quiet.wait("location.href === 'about:blank'")
    assert all("ERR_CONNECTION_REFUSED" in said for said in quiet.spoken)
    quiet.spoken.clear()


def test_first_screen_has_the_sentence_and_the_curve(quiet, tmp_path, alone, three):
    """At a desk and on a telephone, of one run and of several."""
    for page in (alone, three):
        for width, height in ((1280, 800), (390, 844)):
            quiet.size(width, height)
            show(quiet, tmp_path, page)
            quiet.wait(f"({DRAWN})[0] > 4")
            end = "document.querySelector('{}').getBoundingClientRect().bottom"
            assert quiet.run(end.format("#headline")) < 0.4 * height
            assert quiet.run(end.format("[data-key=loss-1]")) <= height
            assert quiet.run("document.documentElement.scrollWidth") <= width
    quiet.size(1080)


BROKEN = """[...document.querySelectorAll('.n, td.number, .tiles b')].filter((each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  return each.checkVisibility() && new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1;
}).map((each) => each.textContent)"""


@pytest.mark.parametrize("width", [1280, 390])
def test_no_number_is_broken_into_lines(quiet, make, whole, three, tmp_path, width):
    quiet.size(width)
    for page in (three, report.render(make(whole))):
        show(quiet, tmp_path, page)
        quiet.run("[...document.querySelectorAll('details')].forEach((each) => { each.open = true; })")
        assert quiet.run("document.documentElement.scrollWidth") <= width
        assert quiet.run(BROKEN) == []
    quiet.size(1080)


def test_the_table_sorts_by_numbers_and_back(quiet, tmp_path, three):
    show(quiet, tmp_path, three)
    losses = "[...document.querySelectorAll('#runs tbody tr')].map((row) => Number(row.children[2].dataset.value))"
    found = quiet.run(losses)
    quiet.run("document.getElementById('sort-loss').click()")
    assert quiet.run(losses) == sorted(found)
    quiet.run("document.getElementById('sort-loss').click()")
    assert quiet.run(losses) == sorted(found, reverse=True)
    assert quiet.run("document.getElementById('sort-loss').closest('th').ariaSort") == "descending"


@pytest.mark.parametrize(("low", "high"), [(1, 70), (0.8, 7), (2.1, 2.9), (0.003, 0.06), (1e-7, 3e-6), (1e-12, 10)])
def test_a_logarithmic_axis_has_labels_from_end_to_end(quiet, tmp_path, alone, low, high):
    show(quiet, tmp_path, alone)
    ticks = quiet.run(
        "[...Bokeh.documents.at(-1).all_models].find((each) => each.type === 'LogTicker')"
        f".get_ticks({low}, {high}).major"
    )
    assert 3 <= len(ticks) <= 10
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    whole = math.log(high / low)
    places = [0.0, *(math.log(tick / low) / whole for tick in ticks), 1.0]
    assert max(b - a for a, b in itertools.pairwise(places)) < 0.45


def test_the_command_is_copied(quiet, make, whole, tmp_path):
    show(quiet, tmp_path, report.render(make(whole)))
    quiet.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    quiet.call("Page.bringToFront")
    quiet.run("document.getElementById('copy-0').click()")
    quiet.wait("document.getElementById('copy-0').textContent === 'Copied'")
    assert quiet.run("navigator.clipboard.readText()") == quiet.run("document.querySelector('pre code').textContent")
