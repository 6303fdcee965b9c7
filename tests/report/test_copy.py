"""Every page that names the command that repeats it offers to copy it."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

TEMPLATES = [
    place
    for package in ("thetadot.report", "thetadot.comparing", "thetadot.scenes")
    for place in files(package).iterdir()
    if place.name.endswith(".jinja")
]


@pytest.mark.parametrize("place", TEMPLATES, ids=lambda place: place.name)
def test_a_command_is_written_by_the_macro_that_has_a_button(place):
    text = place.read_text("utf-8")
    written = len(re.findall("<pre", text))
    assert written == (1 if place.name == "picture.html.jinja" else 0)
    assert text.count("data-copy") == written


def test_the_pages_of_runs_comparisons_and_simulations_are_among_them():
    using = {place.name for place in TEMPLATES if "parts.command(" in place.read_text("utf-8")}
    assert using == {"template.html.jinja", "comparison.html.jinja", "simulation.html.jinja"}
