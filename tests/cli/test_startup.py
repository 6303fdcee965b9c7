"""Commands that only reckon load nothing that they do not need."""

import subprocess
import sys

import pytest

from thetadot.scenes import SCENES, names
from thetadot.scenes.integrators import ADAPTIVE, PLAIN

HEAVY = ("torch", "scipy", "bokeh", "pandas")
COMMANDS = (
    "convert --lr 0.1 --momentum 0.9 --batch-size 128 --to-lr 0.01",
    "convert --lr 0.1 --momentum 0.9 --batch-size 128 --to-batch-size 512 --sharpness 2 --json",
    "convert --lr 0.1 --momentum 2 --batch-size 128 --to-lr 0.01",
    "convert --optimizer adamw --lr 1e-3 --weight-decay 0.1 --batch-size 64 --to-batch-size 512 --noise-scale 1e4",
    "convert --optimizer nothing --lr 0.1 --batch-size 128 --to-lr 0.01",
    "convert --from nowhere --to-batch-size 128",
    "simulate --list",
    "simulate --list --json",
    "--help",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_neither_torch_nor_what_needs_it_is_loaded(command):
    code = f"""
import sys
from thetadot.cli import main
try:
    main({command.split()!r})
except SystemExit:
    pass
print("loaded", [name for name in {HEAVY!r} if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "loaded []"


def test_listed_names_are_those_that_can_be_made():
    assert set(names.PLAIN) == set(PLAIN)
    assert set(names.ADAPTIVE) == set(ADAPTIVE)


@pytest.mark.parametrize("name", SCENES)
def test_every_card_has_its_scene(name):
    import importlib

    module = importlib.import_module(f"thetadot.scenes.library.{name.replace('-', '_')}")
    assert callable(module.make)
