"""The package as its sources say it: modules by name, what each imports, and what it defines."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src" / "thetadot"


@functools.cache
def modules():
    """Return {dotted name: syntax tree}, folders by their name."""
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = ("thetadot", *file.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def imports(tree):
    """Yield (statement, module of ours that it names), those for type checking and within functions included."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from ((node, found) for found in map(_module, names) if found)


def _module(name):
    while name not in modules() and "." in name:
        name = name.rpartition(".")[0]
    return name if name in modules() else None
