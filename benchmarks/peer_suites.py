"""The peers' own tests, run on thetadot's optimizers where the peers' design lets another optimizer in.

Fetches source distributions with pip into a temporary folder, runs those tests of theirs that take an optimizer from
outside, and prints what passed. Needs the network; not part of the test suite.

    python benchmarks/peer_suites.py [--keep FOLDER] [--only PEER]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """A source distribution and the part of its tests that takes optimizers from outside.

    Attributes:
        version: what is fetched.
        tests: selections for pytest, relative to the distribution.
        deselected: a pytest -k expression; the rest tests the peer's own classes.
        needs: installed beside it, without their own dependencies.
        remark: what cannot be run, and why.
    """

    version: str
    tests: tuple[str, ...]
    deselected: str
    needs: tuple[str, ...]
    remark: str


PEERS = {
    "pytorch_optimizer": Peer(
        "4.1.0",
        (
            "tests/test_optimizers.py::TestOptimizerTraining::test_training",
            "tests/test_optimizers.py::TestOptimizerInterface::test_checkpoint_resume",
            "tests/test_optimizers.py::TestOptimizerInterface::test_closure",
            "tests/test_gradients.py",
            "tests/test_general_optimizer_parameters.py",
        ),
        "not (lookahead or trac or orthograd or madgrad or schedulefree or wd_ratio or test_momentum or Special or "
        "(test_beta and not test_betas))",
        (),
        "the remaining tests are of its own optimizers, wrappers and losses by name",
    ),
    "schedulefree": Peer(
        "1.4.1",
        ("schedulefree/test_schedulefree.py",),
        "wrapper",
        (),
        "only its wrapper takes an optimizer from outside; the other tests are of its own classes",
    ),
    "posteriors": Peer(
        "0.1.3",
        ("tests/test_optim.py",),
        "",
        (
            "torchopt",
            "optree",
            "tensordict",
            "pyvers",
            "cloudpickle",
            "orjson",
            "importlib_metadata",
            "zipp",
            "graphviz",
        ),
        "its sampler tests (tests/sgmcmc) are not in the source distribution: skipped. The law that they test is in "
        "tests/oracles/test_gaussian_law.py",
    ),
}


def pip(*arguments: str) -> None:
    """Run pip quietly; its own words if it fails."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"pip {' '.join(arguments[:2])} failed:\n{done.stderr.strip()}")


def fetch(name: str, peer: Peer, folder: Path) -> Path:
    """The unpacked source distribution."""
    pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), f"{name}=={peer.version}")
    if peer.needs:
        pip("install", "--no-deps", "--target", str(folder / f"{name}-needs"), *peer.needs)
    archive = next(folder.glob(f"{name}-{peer.version}*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / f"{name}-{peer.version}"


def run(name: str, peer: Peer, root: Path) -> Path:
    """Their pytest, our plugin; the path of its report."""
    report = root / "thetadot-report.xml"
    paths = [str(root), str(root.parent / f"{name}-needs"), str(HERE), str(HERE.parent / "src")]
    environment = os.environ | {"PEER": name, "PYTHONPATH": os.pathsep.join(paths)}
    (root / "thetadot.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "peer_stand_ins", "-c", "thetadot.ini", "--rootdir", "."]
    command += [f"--junitxml={report}", *(["-k", peer.deselected] if peer.deselected else []), *peer.tests]
    done = subprocess.run(  # noqa: S603 - our own words
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if not report.exists():
        raise SystemExit(f"pytest did not run in {root}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return report


def count(report: Path) -> dict[str, dict[str, list[str]]]:
    """For each test function, the cases that passed, failed and were skipped."""
    table: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"passed": [], "failed": [], "skipped": []})
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by pytest a moment ago
        function = re.sub(r"\[.*", "", case.get("name", ""))
        failure = case.find("failure") if case.find("failure") is not None else case.find("error")
        outcome = "failed" if failure is not None else "skipped" if case.find("skipped") is not None else "passed"
        said = "" if failure is None else f": {(failure.get('message') or '').splitlines()[0][:140]}"
        table[function][outcome].append(case.get("name", "") + said)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="fetch into this folder and leave it there")
    parser.add_argument("--only", choices=PEERS)
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'peer':<20}{'test':<34}{'passed':>7}{'failed':>7}{'skipped':>8}")
        for name in [options.only] if options.only else PEERS:
            peer = PEERS[name]
            root = fetch(name, peer, folder)
            if not any((root / test.split("::")[0]).exists() for test in peer.tests):
                print(f"{name:<20}the source distribution holds no such tests: skipped")
                continue
            table = count(run(name, peer, root))
            for function, cases in sorted(table.items()):
                counts = [len(cases[outcome]) for outcome in ("passed", "failed", "skipped")]
                print(f"{name:<20}{function:<34}{counts[0]:>7}{counts[1]:>7}{counts[2]:>8}")
                for line in cases["failed"]:
                    print(f"    {line}")
                failed += counts[1]
            print(f"    {peer.remark}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
