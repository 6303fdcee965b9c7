"""Whatever stands on the command line, no traceback: an exit code of 0 or 2, and in the latter case one sentence."""

import os
import random

import pytest

from thetadot.cli import main

NUMBERS = [
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "abc",
    "",
    "9" * 30,
    "1e308",
    "-0",
    "0x10",
    "1_0",
    "٣",
    "--",
    "None",
    "1.5",
    "2",
]
RUN = ("epochs", "minutes", "seed", "optimizer", "lr", "momentum", "batch-size", "device", "threads", "workers")
SIMULATE = ("paths", "time", "step", "tolerance", "temperature", "friction", "integrator", "seed", "save", "set")
CONVERT = (
    "lr", "momentum", "beta2", "eps", "weight-decay", "decay-mode", "batch-size", "epochs", "to-lr", "to-batch-size",
    "to-epochs", "to-weight-decay", "optimizer", "dataset-size", "noise-scale", "sharpness", "from",
)  # fmt: skip
SCENES = ("harmonic", "double-well", "dirac-gan", "nope", "", "\0", "🙂", "a" * 5000)
RECORDS = ("record.jsonl", "checkpoint.pt", "simulation.json", "trajectory.npz")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders, files and links that are not what they should be."""
    base = tmp_path_factory.mktemp("hostile")
    noise = random.Random(0)
    fill = {
        "empty": lambda place: place.write_bytes(b""),
        "binary": lambda place: place.write_bytes(noise.randbytes(3000)),
        "folder": lambda place: place.mkdir(),
        "nested": lambda place: place.write_text("[" * 100_000),
        "pipe": os.mkfifo,
        "circle": lambda place: place.symlink_to(place),
        "dangling": lambda place: place.symlink_to(base / "nowhere"),
    }
    for name, make in fill.items():
        (base / name).mkdir()
        for each in RECORDS:
            make(base / name / each)
        make(base / f"{name}.py")
    (base / "exits.py").write_text("import sys; sys.exit(3)")
    (base / "odd.py").write_text("x = 3\ndef f(): return None\ndef g(): return g()\ndef h(): raise SystemExit\n")
    files = [base / name / each for name in fill for each in RECORDS]
    odd = ["", "a" * 5000, "a\0b", "\udcff", "x/" * 3000, "/dev/null", "/proc/self/mem", "~"]
    folders = [str(each) for each in [*(base / name for name in fill), *files, base / "nowhere"]] + odd
    tasks = [f"{base / name}.py:f" for name in fill] + [
        f"{base / 'odd.py'}:{name}" for name in ("x", "f", "g", "h", "", "\0")
    ]
    return folders, [*tasks, f"{base / 'exits.py'}:f", ":", ":.py", "\0.py:f", "a" * 5000 + ".py:f", "digit"], base


def options(names, chosen):
    return [
        part for name in chosen.sample(names, chosen.randint(1, 3)) for part in (f"--{name}", chosen.choice(NUMBERS))
    ]


def line(chosen, places):  # noqa: PLR0911 - one a kind
    folders, tasks, base = places
    where = chosen.choice(folders)
    match chosen.randrange(7):
        case 0:
            return ["run", chosen.choice(tasks), *options(RUN, chosen), "--out", where]
        case 1:
            return [chosen.choice(["run", "simulate"]), "--resume", where]
        case 2:
            small = ["--paths", "2", "--time", "0.1", "--out", str(base / f"out{chosen.randrange(10**9)}")]
            return ["simulate", chosen.choice([*SCENES, *tasks]), *options(SIMULATE, chosen), *small]
        case 3:
            return ["convert", *options(CONVERT, chosen), *options(CONVERT, chosen)]
        case 4:
            more = ["--title", chosen.choice(folders)] if chosen.random() < 0.5 else []
            return ["report", where, chosen.choice(folders), "--out", chosen.choice(folders), *more]
        case 5:
            return ["export", where, chosen.choice(["--csv", "--json", "--tensorboard"]), chosen.choice(folders)]
        case _:
            return [chosen.choice([*NUMBERS, *SCENES]) for _ in range(chosen.randrange(3))]


@pytest.mark.parametrize("seed", range(4))
def test_hostile_arguments_are_refused_in_one_sentence(capsys, monkeypatch, tmp_path, places, seed):
    monkeypatch.chdir(tmp_path)
    chosen = random.Random(seed)
    for _ in range(60):
        given = line(chosen, places)
        code = main(given)
        said = capsys.readouterr().err
        assert code in (0, 2), given
        assert "Traceback" not in said
        assert "--debug shows where" not in said, given  # told by the command, not by its last resort
        if code == 2:
            assert said.strip().splitlines()[-1].startswith("thetadot: "), given


def test_a_table_that_overflows_is_one_sentence_and_the_arrays_are_kept(capsys, tmp_path, monkeypatch):
    from thetadot.scenes.library import harmonic

    def overflow(*_):
        return 1e308**2

    monkeypatch.setattr(harmonic, "_rows", overflow)
    assert main(["simulate", "harmonic", "--paths", "20", "--out", str(tmp_path / "run")]) == 2
    assert "is kept in" in capsys.readouterr().err
    assert (tmp_path / "run" / "trajectory.npz").exists()
