"""The fused step is the plain step: bit for bit where it is compiled, to rounding where it goes block by block."""

import contextlib
import functools
import logging
import os
import subprocess
import sys

import pytest
import torch

from thetadot.fusion import blocks
from thetadot.fusion.kernel import Kernel
from thetadot.fusion.program import CannotCompile
from thetadot.integrators import Splitting
from thetadot.optim import Adam, Flow, GradientDescent, HeavyBall, Kramers, Langevin, Polyak, stepping
from thetadot.optim.rows import step_plainly
from thetadot.systems import Kramers as KramersDynamics
from thetadot.testing.compare import distance

F32, F64, BF16, F16 = torch.float32, torch.float64, torch.bfloat16, torch.float16
SHAPES = ((70, 30), (129,), (3, 5, 7), (), (0,))
LAUNCHED = "plain"  # of tests/optim/conftest.py: every optimizer that steps tensor by tensor


@contextlib.contextmanager
def in_torchs_operations():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "launch", lambda rows, *_: step_plainly(rows))
        yield


@pytest.fixture
def rows_of_kernels(monkeypatch):
    """How many rows every kernel has run, call by call."""
    counts, call = [], Kernel.__call__

    def counted(self, table, *rest):
        counts.append(len(table))
        call(self, table, *rest)

    monkeypatch.setattr(Kernel, "__call__", counted)
    return counts


def parameters(dtype, shapes=SHAPES, channels_last=True):
    generator = torch.Generator().manual_seed(5)
    made = [torch.randn(shape, generator=generator, dtype=F64).to(dtype) for shape in shapes]
    if channels_last:
        image = torch.randn((4, 3, 5, 5), generator=generator, dtype=F64).to(dtype)
        made.append(image.to(memory_format=torch.channels_last))
    return [p.requires_grad_() for p in made]


def give_gradients(params, generator):
    """Of a quadratic under noise."""
    for p in params:
        noise = torch.randn(p.shape, generator=generator, dtype=F64)
        p.grad = torch.empty_like(p).copy_(0.3 * p.detach() + noise)


def moved_lr(optimizer, n):
    for group in optimizer.param_groups:
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(0.05 / (n + 1))
        else:
            group["lr"] = 0.05 / (n + 1)


def train(make, params, steps=4, before=lambda optimizer, n: None):
    optimizer = make(params)
    generator = torch.Generator().manual_seed(6)
    for n in range(steps):
        before(optimizer, n)
        give_gradients([p for group in optimizer.param_groups for p in group["params"]], generator)
        optimizer.step(**({"loss": 2.0 - 0.1 * n} if isinstance(optimizer, Polyak) else {}))
    return optimizer


def everything(optimizer):
    """Positions and all that is kept beside them, tensors and numbers."""
    found = {}
    for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        found[i, "position"] = p.detach()
        found |= {(i, name): torch.as_tensor(value, dtype=None) for name, value in optimizer.state[p].items()}
    return found


def assert_same_bits(one, other):
    some, others = everything(one), everything(other)
    assert some.keys() == others.keys()
    for name, value in some.items():
        assert value.dtype == others[name].dtype, name
        assert torch.equal(value, others[name]), name


def both_ways(make, dtype, *, channels_last=True, **how):
    """Compiled, and plain."""
    compiled = train(functools.partial(make, compile=True), parameters(dtype, channels_last=channels_last), **how)
    with in_torchs_operations():
        plain = train(functools.partial(make, compile=True), parameters(dtype, channels_last=channels_last), **how)
    return compiled, plain


# Bit for bit.


@pytest.mark.parametrize("dtype", [F32, F64])
def test_a_compiled_step_gives_the_bits_of_the_plain_step(lab, plain, dtype, rows_of_kernels):
    noisy = plain in lab.NOISY
    compiled, other = both_ways(functools.partial(lab.build, plain), dtype, before=moved_lr)
    assert_same_bits(compiled, other)
    assert rows_of_kernels[-1] == len(SHAPES) + (not noisy)  # an element's noise is that of its place


NARROW = [(BF16, "stochastic"), (F16, "stochastic"), (BF16, "kahan"), (F16, "kahan"), (BF16, "none"), (F16, "none")]
SOME = ("GradientDescent", "Kramers", "Adam", "Amos")


@pytest.mark.parametrize(("dtype", "rounding"), NARROW)
@pytest.mark.parametrize("name", SOME)
def test_a_compiled_step_of_narrow_parameters_gives_the_bits_of_the_plain_step(
    lab, name, dtype, rounding, rows_of_kernels
):
    build = functools.partial(lab.build, name, low_precision=rounding)
    assert_same_bits(*both_ways(build, dtype, before=moved_lr))
    assert rows_of_kernels[-1] == len(SHAPES) + (rounding != "stochastic" and name not in lab.NOISY)


def test_every_rule_gives_the_bits_of_the_plain_step_in_bfloat16(lab, plain, rows_of_kernels):
    build = functools.partial(lab.build, plain)
    assert_same_bits(*both_ways(build, BF16, channels_last=False))
    assert rows_of_kernels[-1] == len(SHAPES)


def test_polyaks_step_of_the_loss_gives_the_bits_of_the_plain_step(lab, rows_of_kernels):
    assert_same_bits(*both_ways(functools.partial(Polyak, bound=0.1, lr=0.5), F32))
    assert rows_of_kernels[-1] == len(SHAPES) + 1


FRAMES = {
    "decoupled": {"weight_decay": 0.1},
    "l2": {"weight_decay": 0.1, "weight_decay_mode": "l2"},
    "maximize": {"maximize": True},
    "averaging": {"averaging": 0.9},
    "uniform-averaging": {"averaging": 1.0},
    "all": {"weight_decay": 0.1, "weight_decay_mode": "l2", "maximize": True, "averaging": 0.9},
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", ["HeavyBall", "Adam"])
def test_the_frame_around_the_rule_is_compiled_with_it(lab, name, frame, rows_of_kernels):
    dtype = BF16 if frame == "all" else F32
    assert_same_bits(*both_ways(functools.partial(lab.build, name, **FRAMES[frame]), dtype, before=moved_lr))
    assert len(rows_of_kernels) > 0


@pytest.mark.parametrize("name", ["HeavyBall", "Langevin", "Adam"])
def test_an_lr_in_a_tensor_gives_the_bits_of_the_plain_step(lab, name, rows_of_kernels):
    def build(params, **options):
        return lab.build(name, params, lr=torch.tensor(0.05, dtype=F64), **options)

    assert_same_bits(*both_ways(build, F32, before=moved_lr))
    assert len(rows_of_kernels) > 0


def test_numbers_in_tensors_give_the_bits_of_the_plain_step(rows_of_kernels):
    """capturable=True keeps the rule's own numbers in tensors of shape ()."""
    assert_same_bits(*both_ways(functools.partial(Adam, lr=0.01, capturable=True, averaging=0.9), F32))


def test_a_rule_of_two_stages_gives_the_bits_of_the_plain_step(lab, rows_of_kernels):
    finals = []
    for way in (contextlib.nullcontext, in_torchs_operations):
        params = parameters(F32)
        generator = torch.Generator().manual_seed(7)
        system, integrator = KramersDynamics(1.0, 0.1), Splitting("OBABABO")
        optimizer = Flow(params, system, integrator, 0.05, compile=True, averaging=0.5, generator=generator)
        with way():
            lab.run(optimizer, params)
        finals.append(optimizer)
    assert_same_bits(*finals)
    assert len(rows_of_kernels) >= 8


def test_groups_are_launched_each_with_its_own_numbers(rows_of_kernels):
    def make(params, **options):
        groups = [{"params": params[:2], "lr": 0.1}, {"params": params[2:], "momentum": 0.5, "weight_decay": 0.1}]
        return HeavyBall(groups, lr=0.05, **options)

    assert_same_bits(*both_ways(make, F32))
    assert sum(rows_of_kernels[-2:]) == len(SHAPES) + 1


def test_complex_parameters_step_as_pairs_of_reals(rows_of_kernels):
    def run():
        generator = torch.Generator().manual_seed(2)
        p = torch.randn(9, 3, generator=generator, dtype=torch.complex64).requires_grad_()
        optimizer = HeavyBall([p], lr=0.05, compile=True)
        for _ in range(4):
            p.grad = torch.randn(9, 3, generator=generator, dtype=torch.complex64)
            optimizer.step()
        return optimizer

    compiled = run()
    assert len(rows_of_kernels) > 0
    with in_torchs_operations():
        assert_same_bits(compiled, run())


@pytest.mark.parametrize(("name", "dtype"), [("HeavyBall", F32), ("Kramers", F32), ("Adam", BF16)])
def test_two_threads_give_the_bits_of_one(lab, name, dtype):
    """Parts end inside tensors, at multiples of 64, and an element's noise is that of its place."""
    shapes = ((211, 211), (12_345,), (), (3, 5, 7), (40_001,))
    finals = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            params = parameters(dtype, shapes, channels_last=False)
            finals.append(train(functools.partial(lab.build, name, compile=True), params, steps=3))
    finally:
        torch.set_num_threads(before)
    assert_same_bits(finals[0], finals[1])
    assert_same_bits(finals[0], finals[2])


# Block by block.


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("block", [64, 1 << 18])
def test_blocks_give_the_plain_step_to_rounding(lab, plain, dtype, block, monkeypatch):
    """Every tensor but the scalars is longer than 64 elements, none is longer than 2¹⁸."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    build = functools.partial(lab.build, plain, averaging=0.9)
    made = train(functools.partial(build, compile=False), parameters(dtype), before=moved_lr)
    with in_torchs_operations():
        other = train(functools.partial(build, compile=False), parameters(dtype), before=moved_lr)
    some, others = everything(made), everything(other)
    assert some.keys() == others.keys()
    for name, value in some.items():
        assert torch.allclose(value, others[name], rtol=1e-4 if dtype == F32 else 1e-11, atol=1e-6 if dtype == F32 else 1e-13), name


@pytest.mark.parametrize("low_precision", ["stochastic", "kahan", "none"])
def test_narrow_parameters_without_a_compiler_step_plainly(lab, low_precision):
    build = functools.partial(lab.build, "HeavyBall", low_precision=low_precision)
    made = train(functools.partial(build, compile=False), parameters(BF16))
    with in_torchs_operations():
        assert_same_bits(made, train(functools.partial(build, compile=False), parameters(BF16)))


def test_without_a_compiler_the_size_of_blocks_changes_nothing(lab, noisy, monkeypatch):
    finals = []
    for block in (64, 1 << 18):
        monkeypatch.setattr(blocks, "BLOCK", block)
        finals.append(train(functools.partial(lab.build, noisy, compile=False), parameters(F64)))
    assert_same_bits(*finals)
