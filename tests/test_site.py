"""The site names everything that is there: public modules, pages, benchmarks and commands."""

import re
from pathlib import Path
from types import ModuleType

import pytest

import thetadot
from thetadot.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))


def public():
    named = (getattr(thetadot, name) for name in thetadot.__all__)
    return sorted(each.__name__ for each in named if isinstance(each, ModuleType))


@pytest.mark.parametrize("module", public())
def test_public_modules_have_a_page_of_reference(module):
    stem = module.removeprefix("thetadot.")
    assert f".. automodule:: {module}\n" in (DOCS / "api" / f"{stem}.md").read_text("utf-8")
    assert f"\napi/{stem}\n" in (DOCS / "reference.md").read_text("utf-8")


def test_every_page_stands_in_the_contents_once():
    listed = re.findall(r"^([a-z-]+)$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE)
    assert sorted([*listed, "index"]) == PAGES


def test_every_benchmark_has_its_command_on_the_page():
    page = (DOCS / "benchmarks.md").read_text("utf-8")
    sources = (ROOT / "benchmarks").glob("*.py")
    scripts = {path.stem for path in sources if "__main__" in path.read_text("utf-8")}  # others are parts of these
    assert not {name for name in scripts if f"python benchmarks/{name}.py" not in page}


def test_every_command_stands_on_its_page():
    page = (DOCS / "command.md").read_text("utf-8")
    assert re.findall(r"^## thetadot (\w+)$", page, re.MULTILINE) == [command.NAME for command in COMMANDS]
