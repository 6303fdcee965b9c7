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

import torch
from torch import distributed

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from ranks.checks import checks


def stand(rank, ranks, names, folder):
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
    every, found = checks(ranks), {}
    for name in names:
        try:
            every[name](folder)
            found[name] = ""
        except BaseException:  # noqa: BLE001 - torch's CheckpointException is no Exception
            found[name] = traceback.format_exc()
            break
    said_by(rank, ranks, names, folder).write_text(json.dumps(found))
    if not any(found.values()):
        distributed.destroy_process_group()


def said_by(rank, ranks, names, folder):
    return folder / f"{ranks}-{len(names)}-{rank}.json"


def begin(ranks, names, folder):
    """What new ranks say of the checks; one that died says nothing."""
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=stand, args=(rank, ranks, names, folder)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    files = [said_by(rank, ranks, names, folder) for rank in range(ranks)]
    return [json.loads(file.read_text()) if file.exists() else {} for file in files]


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    for count in (4, 2):
        said, left = [{} for _ in range(count)], list(checks(count))
        while left:
            found = begin(count, left, folder)
            passed = [all(one.get(name) == "" for one in found) for name in left]
            end = passed.index(False) + 1 if False in passed else len(left)  # what came after it is of no account
            for one, new in zip(said, found, strict=True):
                one |= {name: new[name] for name in left[:end] if name in new}
            left = left[end:]
        (folder / f"{count}.json").write_text(json.dumps(said))
