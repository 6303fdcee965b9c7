"""A rank that dies ends the job with an error, and the last checkpoint is whole."""

import os
import pathlib
import subprocess
import sys

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def launch(folder, dies=""):
    """Exit code, and what was said."""
    victim = pathlib.Path(__file__).parent / "victim.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DIES": dies}
    done = subprocess.run(
        [*TORCHRUN, str(victim), str(folder)], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout + done.stderr


def whole(folder):
    return sorted(path.name for path in folder.iterdir() if not path.suffix)


def content(path):
    """Every number of a checkpoint, by name; raises where it is not whole."""
    file = path.parents[1] / f"{path.parent.name}-{path.name}.pt"
    dcp_to_torch_save(path, file)
    found = {}

    def collect(value, name):
        if isinstance(value, dict):
            for key, inner in value.items():
                collect(inner, f"{name}.{key}")
        elif isinstance(value, list):
            for key, inner in enumerate(value):
                collect(inner, f"{name}.{key}")
        else:
            found[name] = value

    collect(torch.load(file, weights_only=True), "")
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:torch.distributed")
def test_a_run_whose_ranks_die_ends_where_an_undisturbed_one_ends(tmp_path):
    folder, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    code, said = launch(folder, "save 2")  # saves 000005; 000010 stays partial
    assert code != 0, said
    assert "Signal 9" in said
    assert whole(folder) == ["000005"]
    assert (folder / "000010.partial").exists()
    assert content(folder / "000005")[".optimizer.param_groups.0.thetadot.steps"] == 5

    code, said = launch(folder, "step 8")  # from there to step 13
    assert code != 0, said
    assert "begins at step 5" in said
    assert whole(folder) == ["000005", "000010"]

    code, said = launch(folder)
    assert code == 0, said
    assert "begins at step 10" in said
    code, said = launch(undisturbed)
    assert code == 0, said
    one, other = content(folder / "000020"), content(undisturbed / "000020")
    assert one.keys() == other.keys()
    assert any("velocity" in name for name in one)
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name
