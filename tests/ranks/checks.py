"""What must hold on two and on four ranks; run by :mod:`ranks.worker`, each check on all ranks at once.

The oracle is the same run in one process, which every rank makes beside it.
"""

import functools
from dataclasses import dataclass

import pytest
import torch
from ranks.common import (
    KINDS,
    NARROW,
    NOISY,
    SEED,
    Net,
    assert_same,
    assert_same_state,
    batch,
    build,
    clip,
    drift,
    full,
    loss_of,
    sharded,
    train,
)
from ranks.watching import watching
from torch import distributed
from torch.distributed import checkpoint
from torch.distributed.checkpoint import state_dict as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from thetadot.errors import DamagedFile, InadmissibleValue, IncompatiblePair
from thetadot.fusion import Kernel
from thetadot.integrators import Euler
from thetadot.optim import Flow, HeavyBall, ImplicitHeavyBall
from thetadot.optim.engine.shards import place

ROUNDING = 1e-15
OPTIONS = dcp.StateDictOptions


@functools.cache
def mesh(*shape, names=None):
    return init_device_mesh("cpu", shape or (distributed.get_world_size(),), mesh_dim_names=names)


def share():
    """This rank's part of a batch of 8."""
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    return slice(8 * rank // ranks, 8 * (rank + 1) // ranks)


# One motion.


def a_sharded_run_is_the_single_one(kind, folder):
    model, alone = sharded(mesh()), Net()
    optimizer = build(kind, model)
    one = build(kind, alone, SEED)
    assert_same(train(model, optimizer, range(3)), train(alone, one, range(3)), ROUNDING)
    if kind in NOISY:
        assert_same_state(optimizer, one, ROUNDING)
    position, theirs = optimizer.position(), one.position()
    for p, q in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(full(position[p]), theirs[q], rtol=0, atol=ROUNDING)


def parts_in_one_piece_take_the_compiled_pass(kind, along, folder):
    """All elements that lie here, and end where the rule run plainly ends, and the single run."""
    model, other, alone = sharded(mesh(), along=along), sharded(mesh(), along=along), Net()
    optimizer, plain = build(kind, model, SEED, compile=True), build(kind, other, SEED, compile=False)
    one = build(kind, alone, SEED, compile=True)
    train(model, optimizer, [0]), train(other, plain, [0]), train(alone, one, [0])  # what starts a rule runs plainly
    scattered = along == 1 and kind in NOISY  # a noise's elements must follow each other in the whole
    here = [p.to_local().numel() for p in model.parameters() if not (scattered and p.placements == (Shard(1),))]
    seen, on = [], Kernel.on

    def counted(self, table, *others):
        again = on(self, table, *others)

        def count(key):
            seen.append(table[:, 0].sum())
            again(key)

        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "on", counted)
        train(model, optimizer, range(1, 3))
        assert sum(seen) == 2 * sum(here), (seen, here)
        seen.clear()
        train(other, plain, range(1, 3))
        assert not seen
    assert_same(model, other, ROUNDING)
    assert_same_state(optimizer, plain, ROUNDING)
    assert_same(model, train(alone, one, range(1, 3)), ROUNDING)


def the_dimension_that_is_spread_does_not_matter(kind, folder):
    model, alone = sharded(mesh(), along=1), Net()
    assert model.first.weight.placements == (Shard(1),)
    optimizer = build(kind, model)
    assert_same(train(model, optimizer, range(3)), train(alone, build(kind, alone, SEED), range(3)), ROUNDING)


def a_batch_spread_over_ranks_is_one_batch(kind, folder):
    model, alone = sharded(mesh()), Net()
    optimizer = build(kind, model)
    assert_same(train(model, optimizer, range(3), share()), train(alone, build(kind, alone, SEED), range(3)), 1e-12)


def replicas_stay_equal(kind, folder):
    alone = Net()
    model = DistributedDataParallel(Net())
    optimizer = build(kind, model.module)
    train(model, optimizer, range(3), share())
    assert_same(model.module, train(alone, build(kind, alone, SEED), range(3)), 1e-12)
    for p in model.parameters():
        others = [torch.empty_like(p) for _ in range(distributed.get_world_size())]
        distributed.all_gather(others, p.detach())
        assert all(torch.equal(p, other) for other in others)


def the_average_is_over_all_shards(folder):
    model, alone = sharded(mesh()), Net()
    optimizer, one = build("AdamW", model), build("AdamW", alone)
    train(model, optimizer, range(4)), train(alone, one, range(4))
    with pytest.raises(InadmissibleValue, match="Pass the model"), optimizer.averaged():
        pass
    before, now = batch(9), []
    for _ in range(2):  # forward passes alone leave FSDP2 with gathered copies, which must not be used
        now.append(loss_of(model, *before).item())
        with optimizer.averaged(model), one.averaged():
            assert abs(loss_of(model, *before).item() - loss_of(alone, *before).item()) < 1e-14
    assert now[0] == now[1] == pytest.approx(loss_of(alone, *before).item(), abs=1e-14)
    assert_same(train(model, optimizer, [4]), train(alone, one, [4]), ROUNDING)


# Noise and rounding, by global index.


def the_path_of_noise_is_rank_0s(kind, along, folder):
    model, alone = sharded(mesh(), along=along), Net()
    assert_same(drift(model, build(kind, model), 3), drift(alone, build(kind, alone, SEED), 3))
    assert full(model.first.weight).ne(full(Net().first.weight)).all()


def narrow_parameters_round_alike(rounding, folder):
    narrow = torch.bfloat16
    models = [sharded(mesh(), narrow), sharded(mesh(), narrow, along=1), Net(narrow)]
    rank = distributed.get_rank()
    optimizers = []
    for model, seed in zip(models, (SEED + rank, SEED + rank, SEED), strict=True):
        torch.manual_seed(seed)
        optimizers.append(HeavyBall(model.parameters(), lr=1e-3, low_precision=rounding))
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, range(3), dtype=narrow)
    assert_same(models[0], models[2])
    assert_same(models[1], models[2])
    for name in ("velocity", "compensation") if rounding == "kahan" else ("velocity",):
        for p, q in zip(models[0].parameters(), models[2].parameters(), strict=True):
            assert torch.equal(full(optimizers[0].state[p][name]), optimizers[2].state[q][name])


def place_is_where_torch_puts_the_elements(folder):
    ranks = distributed.get_world_size()
    layouts = [(mesh(), [(Shard(dimension),)]) for dimension in range(3)] + [(mesh(), [(Replicate(),)])]
    if ranks == 4:
        two = [Replicate(), Shard(0), Shard(1), Shard(2)]
        layouts.append((mesh(2, 2), [(one, other) for one in two for other in two]))
    for ours, places in layouts:
        for placements in places:
            for shape in ((5, 4, 3), (2, 3, 8), (1, 1, 1), (9, 1, 2), (4, 0, 2)):
                index = torch.arange(torch.Size(shape).numel()).reshape(shape)
                part = distribute_tensor(index, ours, placements, src_data_rank=None)  # cut here, nothing sent
                held, begin = part.to_local(), place(part)
                if isinstance(begin, int):
                    begin = torch.arange(begin, begin + held.numel()).reshape(held.shape)
                assert torch.equal(held, begin), (placements, shape)


def linear(weight):
    model = torch.nn.Sequential(torch.nn.Linear(3, len(weight), bias=False, dtype=weight.dtype))
    with torch.no_grad():
        model[0].weight.copy_(weight)
    return model


def split_twice(model):
    """By tensor parallelism, and its shards by FSDP2, which is another order than the mesh has."""
    grid = mesh(2, 2, names=("data", "model"))
    parallelize_module(model, grid["model"], {"0": ColwiseParallel()})
    torch.distributed.fsdp.fully_shard(model, mesh=grid["data"])
    assert type(model[0].weight.placements[0]) is not Shard  # == takes a strided one for it in torch 2.9
    return model


def place_knows_shards_of_shards(folder):
    for rows in (8, 16, 5, 7, 2):
        part = split_twice(linear(torch.arange(3.0 * rows).reshape(rows, 3)))[0].weight
        held, begin = part.detach().to_local(), place(part)
        if isinstance(begin, int):
            begin = torch.arange(begin, begin + held.numel()).reshape(held.shape)
        assert torch.equal(held.long(), begin), (rows, part.placements)


def the_position_lies_as_the_parameter_does(folder):
    """Look-ahead, whose position is not the parameter itself."""
    for rows in (8, 5):
        weight, found = torch.arange(3.0 * rows, dtype=torch.float64).reshape(rows, 3), []
        for model in (split_twice(linear(weight)), linear(weight)):
            (p,) = model.parameters()
            p.grad = p.detach().clone()
            optimizer = build("Nesterov", model, SEED)
            optimizer.step()
            found.append(full(optimizer.position()[p]))
            assert not torch.equal(found[-1], full(p))
        assert torch.equal(*found)


# Meshes of two dimensions, gradients of other layouts.


def replicated_shards_are_one_run(kind, folder):
    model, alone = sharded(mesh(2, 2, names=("replicate", "shard"))), Net()
    assert model.first.weight.placements == (Replicate(), Shard(0))
    optimizer = build(kind, model)
    assert_same(train(model, optimizer, range(3)), train(alone, build(kind, alone, SEED), range(3)), ROUNDING)


def a_gradient_still_to_be_summed_is_summed(kind, folder):
    ranks = distributed.get_world_size()
    start = torch.arange(10.0, dtype=torch.float64).reshape(5, 2)
    alone = torch.nn.ParameterDict({"weight": torch.nn.Parameter(start.clone())})
    models = [
        torch.nn.ParameterDict({"weight": torch.nn.Parameter(distribute_tensor(start, mesh(), [placement]))})
        for placement in (Shard(0), Replicate())
    ]
    for model in models:
        model["weight"].grad = DTensor.from_local(start / ranks, mesh(), [Partial()])
    alone["weight"].grad = start.clone()
    build(kind, alone, SEED).step()
    for model in models:
        before = model["weight"].grad
        build(kind, model).step()
        assert model["weight"].grad is before
        assert before.placements == (Partial(),)
        assert_same(model, alone, ROUNDING)


def what_lies_elsewhere_is_refused(folder):
    start = torch.zeros(5, 2)
    p = torch.nn.Parameter(distribute_tensor(start, mesh(), [Shard(0)]))
    whole = torch.nn.Parameter(start.clone())
    p.grad = distribute_tensor(start, mesh(), [Shard(0)])
    with pytest.raises(IncompatiblePair, match="spread over ranks"):
        ImplicitHeavyBall([p], lr=0.1).step(p.grad.sum)
    optimizer, other = HeavyBall([p], lr=0.1), HeavyBall([whole], lr=0.1)
    whole.grad = start.clone()
    optimizer.step(), other.step()
    for mine, theirs in ((optimizer, other), (other, optimizer)):
        with pytest.raises(DamagedFile, match="spread over ranks differently"):
            mine.load_state_dict(theirs.state_dict())
        assert mine.steps == 1
    replicated = HeavyBall([torch.nn.Parameter(distribute_tensor(start, mesh(), [Replicate()]))], lr=0.1)
    replicated.init_state()
    with pytest.raises(DamagedFile, match="spread over ranks differently"):
        optimizer.load_state_dict(replicated.state_dict())


# Measures, clipping, accumulation, offload.


@dataclass(frozen=True)
class Normalized:
    """θ̇ = -∇L (1/√Σ|∇L|² + 1/√mean ∇L²): a system that must know the whole gradient."""

    variables = ()
    scalars = ()
    measures = ("gradient_square", "tensor_square", "loss")

    def increment(self, name, state, gradient, step):
        scale = state["gradient_square"] ** -0.5 + state["tensor_square"] ** -0.5
        return -step * state["loss"] * gradient * scale

    def amplitude(self, name, step):
        return None


def measures_are_of_the_whole(spread, folder):
    """Gradients summed over all shards, the loss averaged over all parts of the batch."""
    replicas = DistributedDataParallel(Net())
    model, alone = replicas if spread == "replicas" else sharded(mesh(), along=spread), Net()
    for net, part in ((model, share()), (alone, slice(None))):
        split = list(net.parameters())
        groups = [{"params": split[:2]}, {"params": split[2:], "weight_decay": 0.3}]
        optimizer = Flow(groups, Normalized(), Euler(), 0.01, weight_decay_mode="l2")
        for number in range(4):
            optimizer.zero_grad()
            x, y = batch(number)
            loss = loss_of(net, x[part], y[part])
            loss.backward()
            optimizer.step(loss=loss if number % 2 else loss.item())
    assert_same(model, alone, 1e-12)
    assert not torch.equal(alone.scale, Net().scale)


def clipping_and_accumulation_come_before(kind, folder):
    model, alone = sharded(mesh()), Net()
    optimizer, one = build(kind, model), build(kind, alone, SEED)
    for net, mover in ((model, optimizer), (alone, one)):
        for number in range(4):
            loss_of(net, *batch(number)).backward()
            if number % 2:
                clip(net, 0.1)
                mover.step()
                mover.zero_grad()
    assert optimizer.steps == 2
    assert_same(model, alone, 1e-14)


def parameters_may_be_offloaded(kind, folder):
    model, alone = sharded(mesh(), offload_policy=CPUOffloadPolicy(pin_memory=False)), Net()
    optimizer = build(kind, model)
    assert_same(train(model, optimizer, range(3)), train(alone, build(kind, alone, SEED), range(3)), ROUNDING)


# Checkpoints.


def saving_changes_nothing(kind, flatten, folder):
    options = OPTIONS(flatten_optimizer_state_dict=flatten)
    model, other = sharded(mesh()), sharded(mesh())
    optimizer, undisturbed = build(kind, model), build(kind, other)
    optimizer.init_state()
    for number in range(3):
        train(model, optimizer, [number])
        train(other, undisturbed, [number])
        dcp.get_state_dict(model, optimizer, options=options)
    assert_same(model, other)
    assert_same_state(optimizer, undisturbed)


def saved_for_later(kind, flatten, folder):
    """Two steps here, written; then as far as those go who resume."""
    dtype = NARROW.get(kind, torch.float64)
    model = sharded(mesh(), dtype)
    optimizer = build(kind, model)
    train(model, optimizer, range(2), dtype=dtype)
    options = OPTIONS(flatten_optimizer_state_dict=flatten)
    names, states = dcp.get_state_dict(model, optimizer, options=options)
    target = folder / f"saved-{kind}-{flatten}"
    if flatten:
        checkpoint.async_save({"model": names, "optimizer": states}, checkpoint_id=target).result()
    else:
        checkpoint.save({"model": names, "optimizer": states}, checkpoint_id=target)
    train(model, optimizer, range(2, 4), dtype=dtype)
    checkpoint.save({"model": model.state_dict()}, checkpoint_id=folder / f"ended-{kind}-{flatten}")


def resume(model, optimizer, name, flatten, folder, begin):
    """What was saved, loaded into a model and an optimizer that stand elsewhere."""
    if begin:
        optimizer.init_state()
    options = OPTIONS(flatten_optimizer_state_dict=flatten)
    names, states = dcp.get_state_dict(model, optimizer, options=options)
    checkpoint.load({"model": names, "optimizer": states}, checkpoint_id=folder / f"saved-{name}-{flatten}")
    dcp.set_state_dict(model, optimizer, model_state_dict=names, optim_state_dict=states, options=options)


def what_was_saved_on_four_resumes(kind, flatten, begin, folder):
    dtype = NARROW.get(kind, torch.float64)
    model, alone, end = sharded(mesh(), dtype), Net(dtype), Net(dtype)
    optimizer = build(kind, model)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] * 14  # the file's counts
    resume(model, optimizer, kind, flatten, folder, begin)
    one = build(kind, alone, SEED)
    train(alone, one, range(2), dtype=dtype)
    assert_same(model, alone, ROUNDING)
    if kind in (*NOISY, "HeavyBall-stochastic"):  # the others have no key to share
        assert_same_state(optimizer, one, ROUNDING)
    train(model, optimizer, range(2, 4), dtype=dtype)
    checkpoint.load({"model": end.state_dict()}, checkpoint_id=folder / f"ended-{kind}-{flatten}")
    assert_same(model, end)
    assert optimizer.steps == 4


def what_one_process_saved_resumes_on_many(kind, folder):
    model, alone = sharded(mesh()), Net()
    optimizer, one = build(kind, model), build(kind, alone, SEED)
    train(alone, one, range(2))
    name = f"{kind}-alone-{distributed.get_world_size()}"
    if distributed.get_rank() == 0:
        names, states = dcp.get_state_dict(alone, one)
        target = folder / f"saved-{name}-False"
        checkpoint.save({"model": names, "optimizer": states}, checkpoint_id=target, no_dist=True)
    distributed.barrier()
    resume(model, optimizer, name, flatten=False, folder=folder, begin=True)
    assert_same(train(model, optimizer, range(2, 4)), train(alone, one, range(2, 4)), ROUNDING)


def a_full_state_dict_goes_round(kind, folder):
    """Gathered on rank 0, broadcast from there into shards."""
    model, other = sharded(mesh()), sharded(mesh(), along=1)
    optimizer, resumed = build(kind, model), build(kind, other)
    train(model, optimizer, range(2))
    names, states = dcp.get_state_dict(model, optimizer, options=OPTIONS(full_state_dict=True, cpu_offload=True))
    resumed.init_state()
    options = OPTIONS(full_state_dict=True, broadcast_from_rank0=True)
    dcp.set_model_state_dict(other, names, options=options)
    dcp.set_optimizer_state_dict(other, resumed, states, options=options)
    assert_same(train(other, resumed, range(2, 4)), train(model, optimizer, range(2, 4)))


def own_state_dicts_resume_on_as_many_ranks(kind, folder):
    """Without torch.distributed.checkpoint: each rank its own file."""
    model, other = sharded(mesh()), sharded(mesh())
    optimizer, resumed = build(kind, model), build(kind, other)
    train(model, optimizer, range(2))
    file = folder / f"own-{distributed.get_world_size()}-{distributed.get_rank()}-{kind}"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    saved = torch.load(file, weights_only=True)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    assert_same(train(other, resumed, range(2, 4)), train(model, optimizer, range(2, 4)))


SAVED = ("Nesterov", "Nesterov-capturable", "AdamW", "Kramers", "HeavyBall-kahan", "HeavyBall-stochastic")


def checks(ranks):
    """By name, those for so many ranks, in the order in which they are run."""
    found = {}

    def add(check, **cases):
        for name, arguments in cases.items() or {"": ()}.items():
            found[f"{check.__name__}-{name}".rstrip("-").replace("_", " ")] = functools.partial(check, *arguments)

    def each(*names):
        return {name: (name,) for name in names}

    saved = [(kind, False) for kind in SAVED] + [("AdamW", True), ("Kramers", True)]
    if ranks == 4:
        add(saved_for_later, **{f"{kind}-{flatten}": (kind, flatten) for kind, flatten in saved})
    for begin, cases in ((True, saved), (False, [("AdamW", False), ("Kramers", True)])):
        add(
            what_was_saved_on_four_resumes,
            **{f"{kind}-{flatten}-{begin}": (kind, flatten, begin) for kind, flatten in cases},
        )
    add(what_one_process_saved_resumes_on_many, **each("AdamW", "Kramers"))
    add(a_sharded_run_is_the_single_one, **each(*(kind for kind in KINDS if kind not in NARROW)))
    ways = [("HeavyBall", 0), ("AdamW", 0), ("AdamW", 1), ("Kramers", 0), ("Kramers", 1)]
    add(parts_in_one_piece_take_the_compiled_pass, **{f"{kind}-{along}": (kind, along) for kind, along in ways})
    add(replicas_stay_equal, **each("AdamW", "Kramers"))
    add(the_path_of_noise_is_rank_0s, **{f"{kind}-{along}": (kind, along) for kind in NOISY for along in (0, 1)})
    add(narrow_parameters_round_alike, **each("stochastic", "kahan", "none"))
    add(a_gradient_still_to_be_summed_is_summed, **each("HeavyBall-rest", "Kramers"))
    add(place_is_where_torch_puts_the_elements)
    if ranks == 4:
        add(place_knows_shards_of_shards)
        add(the_position_lies_as_the_parameter_does)
        add(replicated_shards_are_one_run, **each("AdamW", "Kramers"))
    else:
        add(the_dimension_that_is_spread_does_not_matter, **each("HeavyBall", "AdamW", "Langevin"))
        add(a_batch_spread_over_ranks_is_one_batch, **each("HeavyBall", "AdamW", "Kramers"))
        add(the_average_is_over_all_shards)
        add(what_lies_elsewhere_is_refused)
        add(measures_are_of_the_whole, **{"0": (0,), "1": (1,), "replicas": ("replicas",)})
        add(clipping_and_accumulation_come_before, **each("HeavyBall", "AdamW", "Kramers"))
        add(parameters_may_be_offloaded, **each("AdamW"))
        add(
            saving_changes_nothing,
            **{
                f"{kind}-{flatten}": (kind, flatten)
                for kind, flatten in (("AdamW", True), ("Kramers", False), ("Kramers", True))
            },
        )
        add(a_full_state_dict_goes_round, **each("AdamW", "Kramers"))
        add(own_state_dicts_resume_on_as_many_ranks, **each("AdamW", "Kramers"))
    return found | watching(ranks)
