"""The documentation site: the pages of this folder, and a reference made from docstrings.

`make docs` builds it into build/docs, without a network, and takes a warning for an error.
"""

from __future__ import annotations

import re
from typing import Any

from thetadot.version import __version__

project = "thetadot"
author = "The thetadot developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = [
    "misc.highlighting_failure",  # a traceback in an example is not Python
    "ref.python",  # two modules may each have a Row; the nearer one is linked
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "imported-members": True}
autodoc_member_order = "groupwise"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are listed with their class, and have no entries beside

html_theme = "furo"
html_title = f"thetadot {release}"
html_show_sphinx = html_show_copyright = False

_LITERAL = re.compile(r"(``.+?``|`.+?`)")
_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Examples?|Sources?|Note|Notes):")
_STARRED = re.compile(r"(?<!\*)\*\*(?!\*)[^*\s][^*]*\*\*")


def _plain(line: str) -> str:
    """A line of prose in which only roles and literals are markup: |∇L|, p*q and x_ are what they say."""
    parts = _LITERAL.split(line)
    for index in range(0, len(parts), 2):
        kept = _STARRED.split(parts[index])
        bold = _STARRED.findall(parts[index])
        escaped = [re.sub(r"([|*])|(?<=\w)(_)(?=\W|$)", r"\\\g<0>", part) for part in kept]
        parts[index] = "".join(a + b for a, b in zip(escaped, [*bold, ""], strict=True))
    return "".join(parts)


def _escape(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Set indented equations as they stand, and take no sign of the prose for markup."""
    text: list[str] = []
    section = equation = False
    for line in lines:
        indented = line.startswith(" ")
        if line.strip() and not indented:
            section, equation = bool(_SECTION.fullmatch(line.strip())), False
        elif indented and not section and not equation and not (text and text[-1].strip()):
            equation = True
            text += ["::", ""]
        example = line.lstrip().startswith((">>>", "..."))
        text.append(line if equation or example else _plain(line))
    lines[:] = text


def setup(app: Any) -> None:
    """Connect the treatment of docstrings, ahead of napoleon's."""
    app.connect("autodoc-process-docstring", _escape, priority=100)
