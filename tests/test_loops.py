"""The lines of docs/loops.md, applied to the scripts they are for: at most ten, and the run is what it was."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from thetadot.records import Curvature, Motion, Noise, read
from thetadot.verdicts import judge

ROOT = Path(__file__).parents[1]
BODIES = re.findall(r"```diff\n(.*?)```", (ROOT / "docs/loops.md").read_text(), re.DOTALL)
DIFFS = {re.match(r"--- a/(\w+)\.py", body)[1]: body for body in BODIES}


def run(folder, name):
    found = subprocess.run(
        [sys.executable, f"{name}.py"], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("name", ["language", "images"])
def test_at_most_ten_lines_are_added_and_none_is_taken_away(name):
    lines = DIFFS[name].splitlines()[2:]
    assert 0 < sum(line.startswith("+") for line in lines) <= 10
    assert not any(line.startswith("-") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["language", "images"])
def test_the_lines_apply_and_the_loop_is_watched(name, tmp_path):
    (tmp_path / f"{name}.py").write_text((ROOT / f"examples/loops/{name}.py").read_text())
    plain = run(tmp_path, name)
    applied = subprocess.run(
        ["git", "apply", "-"], cwd=tmp_path, input=DIFFS[name], capture_output=True, text=True, check=False
    )
    assert applied.returncode == 0, applied.stderr
    watched = run(tmp_path, name)
    record = read(tmp_path / "runs" / name)
    assert record.of(Motion)
    assert record.of(Noise) or record.of(Curvature)
    assert judge(record)[0].says in watched
    if name == "images":  # the other one draws its reference from the generator that draws batches
        assert watched.startswith(plain)
