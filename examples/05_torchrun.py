"""Training spread over two ranks, with checkpoints that stay whole when a rank dies.

    torchrun --nproc-per-node 2 examples/05_torchrun.py FOLDER

Started plainly, it starts itself so, in a temporary folder. Kill a rank: torchrun ends with an error, and the same
command goes on from the newest whole checkpoint, on another number of ranks, too.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard

from thetadot.optim import Kramers

STEPS, EVERY = 20, 5


def save(folder, step, model, optimizer, group) -> None:
    """Write beside, rename when complete: a folder without ".partial" is whole."""
    partial, (names, states) = folder / f"{step:06}.partial", get_state_dict(model, optimizer)
    state = {"model": names, "optimizer": states}
    checkpoint.save(state, checkpoint_id=partial, process_group=group)  # returns when all have written
    if distributed.get_rank() == 0:
        partial.rename(folder / f"{step:06}")


def resume(folder, model, optimizer, group) -> int:
    """The step of the newest whole checkpoint, loaded; 0 if there is none."""
    if not (whole := sorted(folder.glob("[0-9]" * 6))):
        return 0
    names, states = get_state_dict(model, optimizer)
    checkpoint.load({"model": names, "optimizer": states}, checkpoint_id=whole[-1], process_group=group)
    set_state_dict(model, optimizer, model_state_dict=names, optim_state_dict=states)
    return int(whole[-1].name)


def main(folder) -> None:
    distributed.init_process_group("gloo")
    # Checkpoints, the last exchanges, have a group of their own, whose threads end with it. FSDP2 keeps the default
    # one: a thread of that may still be letting go of its last tensor when Python ends, which aborts the process.
    group = distributed.new_group()
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)  # the same start on all
    model = nn.Sequential(nn.Linear(3, 17), nn.Tanh(), nn.Linear(17, 1))
    fully_shard(model)
    torch.manual_seed(rank)  # ranks may seed differently: the noise is rank 0's
    optimizer = Kramers(model.parameters(), lr=0.1, momentum=0.9, temperature=1e-5)
    optimizer.init_state()  # before anything is loaded
    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.partial"):
            shutil.rmtree(leftover)
    distributed.barrier()  # no rank looks before
    begin = resume(folder, model, optimizer, group)
    print(f"rank {rank} of {ranks}, process {os.getpid()}, begins at step {begin}\n", end="", flush=True)
    for step in range(begin, STEPS):
        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(step))[rank::ranks]  # its part of the batch
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), x.prod(1, keepdim=True) + x.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        if (step + 1) % EVERY == 0:
            save(folder, step + 1, model, optimizer, group)
            print(f"rank {rank}: saved at step {step + 1}, loss {loss.item():.3f}\n", end="", flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main(pathlib.Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
            sys.exit(subprocess.call([*torchrun, __file__, folder], env={"OMP_NUM_THREADS": "1"} | os.environ))  # noqa: S603
