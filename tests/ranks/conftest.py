"""Launches the ranks once for each number of them; every check then is a test of its own."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def launch(ranks, folder):
    """What each rank says of each check: a traceback, or nothing."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "worker.py")]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(ranks), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    files = [folder / f"{ranks}-{rank}.json" for rank in range(ranks)]
    return [json.loads(file.read_text()) if file.exists() else {"launch": text} for file, text in zip(files, said)]


@pytest.fixture(scope="session")
def four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return folder, launch(4, folder)


@pytest.fixture(scope="session")
def two(four):
    """After four: they resume what four have saved."""
    folder, _ = four
    return folder, launch(2, folder)
