"""Runs the example; rank 1 dies by SIGKILL, at a step or in the midst of writing a checkpoint.

    torchrun ... victim.py FOLDER      with DIES="step 8", "save 2" or ""
"""

import os
import pathlib
import runpy
import signal

from torch.distributed.checkpoint import FileSystemWriter

from thetadot.optim import Kramers

when, _, which = os.environ["DIES"].partition(" ")
calls = 0


def deadly(method):
    def call(self, *arguments, **keywords):
        global calls  # noqa: PLW0603
        calls += 1
        if os.environ["RANK"] == "1" and calls == int(which):
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *arguments, **keywords)

    return call


if when == "step":
    Kramers.step = deadly(Kramers.step)
elif when == "save":
    FileSystemWriter.write_data = deadly(FileSystemWriter.write_data)
runpy.run_path(str(pathlib.Path(__file__).parents[2] / "examples" / "05_torchrun.py"), run_name="__main__")
