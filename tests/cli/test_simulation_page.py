"""A browser draws a simulation's page: pictures, sliders, both modes, a phone's width."""

import pytest
from report import chromium
from report.test_browser import DRAWN, looks_right

from thetadot.cli import main
from thetadot.simulation import run

from .test_simulate import interrupt

pytestmark = pytest.mark.skipif(chromium.MISSING, reason="no chromium")

ARGUMENTS = {
    "quartic-2d": ["--paths", "400", "--time", "2", "--save", "10"],
    "double-well": ["--paths", "400", "--time", "2", "--save", "10"],
    "competition": ["--paths", "10", "--time", "50"],
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    place = tmp_path_factory.mktemp("pages")
    for name, arguments in ARGUMENTS.items():
        assert main(["simulate", name, *arguments, "--out", str(place / name)]) == 0
    with pytest.MonkeyPatch.context() as patched:
        interrupt(patched, run.Run, "_march", 20)
        assert main(["simulate", "harmonic", "--paths", "400", "--out", str(place / "interrupted")]) == 130
    return place


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", [*ARGUMENTS, "interrupted"])
def test_every_picture_is_drawn_at_every_width_and_the_console_is_silent(tab, pages, name, mode):
    tab.spoken.clear()
    for width in (1280, 390):
        tab.size(width)
        tab.go(f"{(pages / name / 'report.html').as_uri()}?{width}#{mode}")
        tab.wait(f"({DRAWN}).every((colours) => colours > 4)")
        looks_right(tab, width)
    assert tab.run("document.querySelectorAll('.plot').length") >= 2
    assert tab.spoken == []


SOURCE = """(() => {
  const plot = document.querySelector("[data-key=law-1]");
  const model = Bokeh.documents.at(-1).get_model_by_id(plot.dataset.root);
  const moving = [...model.references()].filter((each) => each.type === "ColumnDataSource" && each.tags.length);
  return moving.map((each) => [...(each.data.top ?? each.data.y)].reduce((a, b) => a + b * b, 0));
})()"""


@pytest.mark.slow
def test_the_slider_shows_another_time_and_play_runs_to_the_end(tab, pages):
    tab.spoken.clear()
    tab.size(1080)
    tab.go((pages / "double-well" / "report.html").as_uri())
    last = tab.run(SOURCE)
    assert len(last) == 2  # the bars and the density
    slider = "document.getElementById('law-time')"
    tab.run(f"{slider}.value = 0, {slider}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    first = tab.run(SOURCE)
    assert all(one > other for one, other in zip(first, last, strict=True))  # it begins in one place
    assert tab.run(f"{slider}.closest('.frames').querySelector('output').textContent") == "t = 0"
    tab.run("document.getElementById('law-play').click()")
    tab.wait(f"{slider}.value === {slider}.max && document.getElementById('law-play').textContent === 'Play'")
    assert tab.run(SOURCE) == last
    assert tab.spoken == []
