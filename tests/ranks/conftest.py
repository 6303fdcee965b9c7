"""Starts the ranks once; every check on them is a test of its own."""

import json
import os
import pathlib
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def ranks(tmp_path_factory):
    """The folder, and what each of so many ranks says of each check: a traceback, or nothing."""
    folder = tmp_path_factory.mktemp("ranks")
    worker = pathlib.Path(__file__).parent / "worker.py"
    command, environment = [sys.executable, str(worker), str(folder)], os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    files = {count: folder / f"{count}.json" for count in (4, 2)}
    said = {count: json.loads(file.read_text()) if file.exists() else [{}] for count, file in files.items()}
    return folder, said, done.stdout + done.stderr
