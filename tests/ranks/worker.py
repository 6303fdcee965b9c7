"""One rank: runs every check of :mod:`ranks.checks` and writes what came of each.

    python worker.py RANK RANKS FOLDER

After a check fails, the ranks may no longer stand at the same place: those that follow are not run.
"""

import datetime
import json
import pathlib
import sys
import traceback
import warnings

import torch
from torch import distributed

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from ranks.checks import checks


def main(rank, ranks, folder):
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module=r"torch\.distributed")
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting-{ranks}",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=30),
    )
    found = {}
    for name, check in checks(ranks).items():
        try:
            check(folder)
            found[name] = ""
        except Exception:
            found[name] = traceback.format_exc()
            break
    (folder / f"{ranks}-{rank}.json").write_text(json.dumps(found))
    if all(trace == "" for trace in found.values()):
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3]))
