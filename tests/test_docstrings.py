"""First lines of public docstrings stand alone, as a tooltip shows them."""

import ast
import re
from pathlib import Path

import pytest

import thetadot

ROOT = Path(thetadot.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if not path.stem.startswith("_") or path.stem == "__init__")
BEGINS = re.compile(r"(Of|It|Its|Itself|As|Also|That|Those|These|This|They|Their|Them|Whose|So|Likewise|The same)\b")
PRONOUN = re.compile(r"\b(Whether|Restore|Return|What) (it|its|they|them|their)\b")
GENITIVE = re.compile(r"'s\.?$")  # nothing follows that it could belong to
WORD = re.compile(r"[A-Za-z]+|[Α-ω∇θ²|`]+")
FEWEST = 4


def faults(line):
    """What keeps a line from standing alone."""
    found = []
    if BEGINS.match(line):
        found.append("it begins with a word that refers to something outside the line")
    if PRONOUN.match(line):
        found.append("its subject or object is a pronoun")
    if GENITIVE.search(line):
        found.append("it ends in a genitive without a noun")
    if len(WORD.findall(line)) < FEWEST:
        found.append(f"it has fewer than {FEWEST} words: say of what")
    return found


def public(tree):
    """Docstrings of a module and of its public classes, functions and methods, by name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node)
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{name}", text) for name, text in public(node))


def test_first_lines_stand_alone():
    wrong = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, text in [("module", ast.get_docstring(tree)), *public(tree)]:
            line = text.splitlines()[0] if text else "A line that stands elsewhere."
            wrong += [f"{path.relative_to(ROOT)}, {name}: {line!r}: {fault}" for fault in faults(line)]
    assert not wrong, "write a verb phrase for a function, a noun phrase for a class:\n" + "\n".join(wrong)


LEANING = (
    "The tableau's.",
    "Of the family.",
    "It itself.",
    "As gradient descent.",
    "Also T >= 0.",
    "θ itself.",
    "-γ∇L.",
    "The same along directions of these curvatures.",
    "Whether it is a file's function.",
    "Restore them.",
)
SHORT = ("Number of dimensions.", "Write several lines.", "A saving schedule.", "Return the median.")


@pytest.mark.parametrize("line", [*LEANING, *SHORT, "L.", "Those of a schedule.", "Its times."])
def test_lines_that_lean_on_others_are_noticed(line):
    assert faults(line)


@pytest.mark.parametrize("line", ["Return the drift μS.", "Order of the tableau.", "Nesterov's rule with look-ahead."])
def test_lines_that_stand_alone_are_let_be(line):
    assert not faults(line)
