"""Runs the example; rank 1 dies by SIGKILL, at a step or in the midst of writing a checkpoint.

torchrun ... victim.py FOLDER      with DIES="step 8", "save 2" or ""
"""

import os
import pathlib
import runpy
import signal

from torch.distributed.checkpoint import FileSystemWriter

from thetadot.optim import Kramers

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "05_torchrun.py"


def deadly(method, last):
    """Rank 1 does not come back from its ``last`` call."""
    calls = 0

    def call(self, *arguments, **keywords):
        nonlocal calls
        calls += 1
        if os.environ["RANK"] == "1" and calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *arguments, **keywords)

    return call


if __name__ == "__main__":
    when, _, last = os.environ["DIES"].partition(" ")
    if when == "step":
        Kramers.step = deadly(Kramers.step, int(last))
    elif when == "save":
        FileSystemWriter.write_data = deadly(FileSystemWriter.write_data, int(last))
    runpy.run_path(str(EXAMPLE), run_name="__main__")
