"""How the package is built: what its files are called, and what they import of each other."""

import ast
import collections
import sys

from shared.sources import ROOT, imports, modules


def test_no_file_has_the_name_of_a_standard_module():
    """Else Python that is started in that file's folder imports it for the other, and torch cannot be imported."""
    names = [file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py") if not file.stem.startswith("__")]
    assert not [name for name in names if name.rpartition("/")[2][:-3] in sys.stdlib_module_names]


def test_the_root_holds_doors_alone():
    loose = {
        name.partition(".")[2] for name in modules() if name.count(".") == 1 and (ROOT / f"{name[9:]}.py").exists()
    }
    assert loose == {"__main__", "errors", "translation", "version"}


def test_no_file_imports_itself_by_way_of_others():
    """Neither when run, nor in functions, nor for type checking: every file can be read after what it names."""
    after = {name: {found for _, found in imports(tree)} - {name} for name, tree in modules().items()}
    while ends := {
        a for a in after if not after[a] & after.keys() or not any(a in needed for needed in after.values())
    }:
        for name in ends:  # what names no other, and what no other names, is in no circle
            del after[name]
    assert not after, "these import each other, or what does"


def test_few_imports_wait_until_a_function_is_called():
    """Only where what is imported is an extra, or heavy beside what a short answer needs."""
    late = set()
    for name, tree in modules().items():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                late |= {(name, n.lineno) for n in ast.walk(function) if isinstance(n, (ast.Import, ast.ImportFrom))}
    assert len(late) <= 30


def test_a_name_of_a_function_is_that_of_one_file():
    """But for some sixty, siblings that are called alike by whoever runs them among these (``act``, ``picture``)."""
    where = {}
    for name, tree in modules().items():
        for function in tree.body:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("__"):
                where.setdefault(function.name, set()).add(name)
    assert len([name for name, files in where.items() if len(files) > 1]) <= 60


def test_a_name_of_a_class_is_that_of_one_file():
    """But for an optimizer and its system, the callbacks of two hosts, and six words that public doors share."""
    files = collections.defaultdict(set)
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                files[node.name].add(name)
    several = {name for name, found in files.items() if len(found) > 1}
    shared = {"Barrier", "Constant", "End", "Result", "Row", "Settings"}
    assert several <= shared | {"Langevin", "Kramers", "Amos", "WatchCallback"}
