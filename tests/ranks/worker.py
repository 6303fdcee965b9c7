"""Runs every check of :mod:`ranks.checks` on four ranks, then on two, and writes what came of each.

    python worker.py FOLDER

Ranks are forked from one process, which has imported everything. After a check fails, they may no longer stand at the
same place: those that follow are not run.
"""

import datetime as dt
import json
import multiprocessing
import pathlib
import sys
import traceback
import warnings

import torch
from torch import distributed

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from ranks.checks import checks


def stand(rank, ranks, folder):
    """Be one of ``ranks``."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module=r"torch\.distributed")
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting-{ranks}",
        rank=rank,
        world_size=ranks,
        timeout=dt.timedelta(seconds=180),
    )
    found = {}
    for name, check in checks(ranks).items():
        try:
            check(folder)
            found[name] = ""
        except BaseException:  # noqa: BLE001 - torch's CheckpointException is no Exception
            found[name] = traceback.format_exc()
            break
    (folder / f"{ranks}-{rank}.json").write_text(json.dumps(found))
    if not any(found.values()):
        distributed.destroy_process_group()


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    for count in (4, 2):
        processes = [fork.Process(target=stand, args=(rank, count, pathlib.Path(sys.argv[1]))) for rank in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
