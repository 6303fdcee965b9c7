"""Runs every check of :mod:`ranks.checks` on four ranks, then on two, and writes what came of each.

    python worker.py FOLDER

Ranks are forked from one process, which has imported everything. After a check fails, they may no longer stand at the
same place: those that follow are run by new ones.
"""

import datetime as dt
import json
import multiprocessing
import pathlib
import sys
import traceback
import warnings
from multiprocessing import connection

import torch
from torch import distributed

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from ranks.checks import checks

PATIENCE = 10.0  # s


def stand(rank, ranks, names, folder, said):
    """Be one of ``ranks``, until a check fails."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module=r"torch\.distributed")
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting-{ranks}-{len(names)}",
        rank=rank,
        world_size=ranks,
        timeout=dt.timedelta(seconds=180),
    )
    every = checks(ranks)
    for name in names:
        try:
            every[name](folder)
        except BaseException:  # noqa: BLE001 - torch's CheckpointException is no Exception
            said[rank, name] = traceback.format_exc()
            sys.exit(1)
        said[rank, name] = ""
    distributed.destroy_process_group()


def begin(ranks, names, folder):
    """What new ranks say of the checks: (rank, name) -> a traceback, or nothing."""
    fork = multiprocessing.get_context("fork")
    with fork.Manager() as manager:
        said = manager.dict()
        processes = [fork.Process(target=stand, args=(rank, ranks, names, folder, said)) for rank in range(ranks)]
        for process in processes:
            process.start()
        while (running := [p.sentinel for p in processes if p.is_alive()]) and not any(p.exitcode for p in processes):
            connection.wait(running)
        for process in processes:
            process.join(PATIENCE)  # one that failed may have left the others waiting for it
            process.kill()
            process.join()
        return dict(said)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    for count in (4, 2):
        said, left = [{} for _ in range(count)], list(checks(count))
        while left:
            found = begin(count, left, folder)
            passed = [all(found.get((rank, name)) == "" for rank in range(count)) for name in left]
            end = passed.index(False) + 1 if False in passed else len(left)  # what came after it is of no account
            for rank, one in enumerate(said):
                one |= {name: found[rank, name] for name in left[:end] if (rank, name) in found}
            left = left[end:]
        (folder / f"{count}.json").write_text(json.dumps(said))
