"""The fused step is the plain step: bit for bit where it is compiled, to rounding where it goes block by block."""

import contextlib
import functools
import warnings
import weakref

import pytest
import torch

from thetadot.fusion import blocks
from thetadot.fusion.kernel import Kernel
from thetadot.integrators import Splitting
from thetadot.optim import Adam, Amos, Flow, HeavyBall, NormalizedDescent, Polyak
from thetadot.optim.engine import inductor
from thetadot.optim.engine import runner as stepping
from thetadot.optim.engine.rows import step_plainly
from thetadot.systems import Kramers as KramersDynamics
from thetadot.testing.compare import distance

F32, F64, BF16, F16 = torch.float32, torch.float64, torch.bfloat16, torch.float16
SHAPES = ((70, 30), (129,), (3, 5, 7), (), (0,))


@contextlib.contextmanager
def in_torchs_operations():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "launch", lambda rows, *_: step_plainly(rows))
        yield


@pytest.fixture
def rows_of_kernels(monkeypatch):
    """How many rows every kernel has run, call by call."""
    counts, on = [], Kernel.on

    def counted(self, table, *rest):
        again = on(self, table, *rest)

        def count(key):
            counts.append(len(table))
            again(key)

        return count

    monkeypatch.setattr(Kernel, "on", counted)
    return counts


def parameters(dtype, shapes=SHAPES, channels_last=True):  # noqa: FBT002
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


def both_ways(make, dtype, *, shapes=SHAPES, channels_last=True, **how):
    """Compiled, and plain."""
    make = functools.partial(make, compile=True)
    compiled = train(make, parameters(dtype, shapes, channels_last), **how)
    with in_torchs_operations():
        plain = train(make, parameters(dtype, shapes, channels_last), **how)
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

    assert_same_bits(*both_ways(build, F32, before=moved_lr, shapes=((70, 30), (129,), (0,))))
    assert len(rows_of_kernels) > 0


def test_an_lr_in_a_tensor_widens_scalar_parameters_in_torchs_operations_only():
    """Two tensors of shape () are calculated with in the wider one's dtype; a kernel keeps to the parameter's."""

    def build(params, **options):
        return HeavyBall(params, lr=torch.tensor(0.05, dtype=F64), **options)

    compiled, other = both_ways(build, F32, shapes=((),), channels_last=False)
    assert distance([everything(compiled)[0, "position"]], [everything(other)[0, "position"]]) < 1e-6


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
        assert torch.allclose(
            value, others[name], rtol=1e-4 if dtype == F32 else 1e-11, atol=1e-6 if dtype == F32 else 1e-13
        ), name


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


# A launch is repeated only while it fits.


def halve_the_velocity(optimizer, params):
    optimizer.state[params[1]]["velocity"] = optimizer.state[params[1]]["velocity"] * 0.5


def point_elsewhere(optimizer, params):
    params[0].data = params[0].data * 2.0


def overwrite(optimizer, params):
    with torch.no_grad():
        params[0].mul_(2.0)
        optimizer.state[params[0]]["velocity"].zero_()


def load_an_earlier_state(optimizer, params):
    saved = optimizer.state_dict()
    for state in saved["state"].values():
        state["velocity"] = state["velocity"] + 1.0
    optimizer.load_state_dict(saved)


def add_a_group(optimizer, params):
    optimizer.add_param_group({"params": [torch.ones(7, requires_grad=True)], "lr": 0.3})


def add_to_the_group(optimizer, params):
    optimizer.param_groups[0]["params"].append(torch.ones(7, requires_grad=True))


def take_from_the_group(optimizer, params):
    optimizer.param_groups[0]["params"].pop()


def freeze(optimizer, params):
    params[0].requires_grad_(requires_grad=False)


def set_momentum_and_decay(optimizer, params):
    optimizer.param_groups[0].update(momentum=0.5, weight_decay=0.2)


def climb(optimizer, params):
    optimizer.param_groups[0]["maximize"] = True


def widen(optimizer, params):
    params[0].data = params[0].data.double()
    optimizer.state[params[0]]["velocity"] = optimizer.state[params[0]]["velocity"].double()


def transpose(optimizer, params):
    params[2].data = params[2].data.transpose(0, 2)
    optimizer.state[params[2]]["velocity"] = optimizer.state[params[2]]["velocity"].transpose(0, 2)


def shrink_in_place(optimizer, params):
    """The address stays."""
    params[1].data = params[1].data[:100]
    optimizer.state[params[1]]["velocity"] = optimizer.state[params[1]]["velocity"][:100]


def begin_anew(optimizer, params):
    del optimizer.state[params[1]]


def begin_all_anew(optimizer, params):
    optimizer.state.clear()


def empty_a_state(optimizer, params):
    optimizer.state[params[1]].clear()
    del optimizer.state[params[1]]


def another_dictionary(optimizer, params):
    state = optimizer.state[params[1]]
    optimizer.state[params[1]] = {**state, "velocity": torch.ones_like(state["velocity"])}


def exchange_data(optimizer, params):
    """Two of one shape lie where the other lay."""
    params[0].data, params[5].data = params[5].data, params[0].data


def swap(optimizer, params):
    """As Module.to does under torch.__future__.set_swap_module_params_on_conversion."""
    torch.utils.swap_tensors(params[0], torch.full_like(params[0], 0.3).requires_grad_())


def set_elsewhere(optimizer, params):
    with torch.no_grad():
        params[1].set_(torch.full((129,), 0.3))


def free_and_fill(optimizer, params):
    """As FSDP does between a step and the next forward pass: the storage is emptied, made again, and filled."""
    for p in params[:2]:
        kept, storage = p.detach().clone(), p.untyped_storage()
        size = storage.nbytes()
        storage.resize_(0)
        held = torch.empty(size)  # noqa: F841 - takes the place
        storage.resize_(size)
        p.data.copy_(kept)


def move_there_and_back(optimizer, params):
    for p in params:
        p.data = p.data.double()
        p.data = p.data.float()


def point_the_state_elsewhere(optimizer, params):
    for state in optimizer.state.values():
        for value in state.values():
            if torch.is_tensor(value):
                value.data = value.data * 0.5


def exchange_states(optimizer, params):
    state = optimizer.state
    if params[0] in state:
        state[params[0]], state[params[5]] = state[params[5]], state[params[0]]


def exchange_parameters(optimizer, params):
    held = optimizer.param_groups[0]["params"]
    held[0], held[5] = held[5], held[0]


def another_model(optimizer, params):
    """Other parameters in the place of these, and the states of these gone."""
    optimizer.param_groups[0]["params"][:] = [torch.full_like(p, 0.2).requires_grad_() for p in params]
    optimizer.state.clear()


EVENTS = (
    exchange_data,
    swap,
    set_elsewhere,
    free_and_fill,
    move_there_and_back,
    point_the_state_elsewhere,
    exchange_states,
    exchange_parameters,
    another_model,
    halve_the_velocity,
    point_elsewhere,
    overwrite,
    load_an_earlier_state,
    add_a_group,
    add_to_the_group,
    take_from_the_group,
    freeze,
    set_momentum_and_decay,
    climb,
    widen,
    transpose,
    shrink_in_place,
    begin_anew,
    begin_all_anew,
    empty_a_state,
    another_dictionary,
)


OF_VELOCITY = (halve_the_velocity, overwrite, load_an_earlier_state, set_momentum_and_decay, widen, transpose,
               shrink_in_place, another_dictionary)  # fmt: skip
HAPPENS = [
    *((HeavyBall, event) for event in EVENTS),
    *((rule, event) for rule in (Adam, NormalizedDescent) for event in EVENTS if event not in OF_VELOCITY),
]


@pytest.mark.parametrize(("rule", "event"), HAPPENS)
def test_whatever_happens_between_steps_the_next_is_the_plain_step(rule, event):
    def between(optimizer, n):
        if n == 3:
            event(optimizer, [p for group in optimizer.param_groups for p in group["params"]])

    make = functools.partial(rule, lr=0.05)
    shapes = (*SHAPES, SHAPES[0])
    assert_same_bits(*both_ways(make, F32, channels_last=False, shapes=shapes, steps=6, before=between))


@pytest.mark.parametrize("rule", [HeavyBall, Adam, NormalizedDescent])
@pytest.mark.parametrize("event", [event for event in EVENTS if event not in OF_VELOCITY])
def test_whatever_happens_between_steps_blocks_are_the_plain_step_to_rounding(rule, event):
    def between(optimizer, n):
        if n == 3:
            event(optimizer, [p for group in optimizer.param_groups for p in group["params"]])

    def run():
        shapes = (*SHAPES, SHAPES[0])
        params = parameters(F64, shapes, channels_last=False)
        if event in (set_elsewhere, move_there_and_back):
            params = parameters(F32, shapes, channels_last=False)
        return train(functools.partial(rule, lr=0.05, compile=False), params, steps=6, before=between)

    made = run()
    with in_torchs_operations():
        other = everything(run())
    for name, value in everything(made).items():
        assert torch.allclose(value, other[name], rtol=1e-4 if value.dtype == F32 else 1e-10, atol=1e-6), name


def test_parameters_without_gradients_cost_the_others_nothing(rows_of_kernels):
    """A frozen layer: its neighbours are gathered once, and again only when it thaws."""
    gathered = []

    def run(count):
        params = parameters(F32, channels_last=False)
        optimizer = HeavyBall(params, 0.05, compile=True)
        generator = torch.Generator().manual_seed(6)
        for n in range(8):
            give_gradients(params, generator)
            if n < 5:
                params[1].grad = None
            launches = [*optimizer._runner.launches.values()]
            optimizer.step()
            if count:
                gathered.append([*optimizer._runner.launches.values()] != launches)
        return optimizer

    compiled = run(count=True)
    with in_torchs_operations():
        assert_same_bits(compiled, run(count=False))
    assert gathered == [True, False, False, False, False, True, False, False]


def test_memory_that_is_read_in_another_dtype_of_its_width_is_gathered_anew():
    def run():
        params = parameters(BF16, ((64,), (7,)), channels_last=False)
        optimizer = train(functools.partial(HeavyBall, lr=0.05, compile=True, low_precision="none"), params)
        for p in params:
            p.data = p.data.view(F16)
            p.grad = torch.full_like(p, 0.1)
        optimizer.step()
        return optimizer

    compiled = run()
    with in_torchs_operations():
        assert_same_bits(compiled, run())


class Cooling(HeavyBall):
    """A user's: what it moves by is no setting of the group."""

    def motion(self, group):
        system, step = super().motion(group)
        return system, step / (1 + self.steps)


@pytest.mark.parametrize("compile", [True, False])
def test_a_motion_of_ones_own_is_asked_at_every_step(compile):  # noqa: A002
    finals = []
    for way in (contextlib.nullcontext, in_torchs_operations):
        with way():
            make = functools.partial(Cooling, lr=0.05, compile=compile)
            finals.append(train(make, parameters(F64, channels_last=False), steps=6))
    some, others = map(everything, finals)
    assert all(torch.allclose(value, others[name], rtol=1e-12) for name, value in some.items())
    fixed = everything(train(functools.partial(HeavyBall, lr=0.05), parameters(F64, channels_last=False), steps=6))
    assert not torch.allclose(some[0, "position"], fixed[0, "position"])


def test_the_last_gradients_are_not_kept_alive():
    for compiled in (True, False):
        params = parameters(F32, channels_last=False)
        optimizer = train(functools.partial(HeavyBall, lr=0.05, compile=compiled), params)
        held = [weakref.ref(p.grad) for p in params]
        optimizer.zero_grad()
        assert not any(ref() is not None for ref in held)


@pytest.mark.parametrize("rule", [NormalizedDescent, Amos])
def test_a_norm_does_not_depend_on_threads_nor_on_how_often_it_was_taken(rule):
    """Repeated launches, and launches gathered anew at every step."""
    finals, before = [], torch.get_num_threads()
    shapes = ((211, 211), (12_345,), (), (0,), (40_001,))
    try:
        for threads, forget in ((1, False), (2, False), (3, True)):
            torch.set_num_threads(threads)
            params = parameters(F32, shapes, channels_last=False)
            anew = (lambda optimizer, _: optimizer._runner.forget()) if forget else (lambda *_: None)
            finals.append(train(functools.partial(rule, lr=0.05, compile=True), params, before=anew))
    finally:
        torch.set_num_threads(before)
    assert_same_bits(finals[0], finals[1])
    assert_same_bits(finals[0], finals[2])


def test_a_norm_of_large_gradients_does_not_overflow():
    """Squares are added up in double: 1e30² is beyond float32."""
    p = torch.zeros(3, requires_grad=True)
    p.grad = torch.tensor([3e30, 0.0, -4e30])
    NormalizedDescent([p], lr=1.0, compile=True).step()
    assert torch.allclose(p, torch.tensor([-0.6, 0.0, 0.8]))


def test_hooks_and_the_profiler_see_every_step():
    params = parameters(F32, channels_last=False)
    optimizer = HeavyBall(params, 0.05, compile=True)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    with torch.profiler.profile() as profile:
        train(lambda _: optimizer, params)
    assert seen == ["before", "after"] * 4
    assert sum(e.count for e in profile.key_averages() if e.key == "Optimizer.step#HeavyBall.step") == 4


def no_gradient(p, n):
    if n == 3:
        p.grad = None


def a_transposed_gradient(p, n):
    if n >= 3:
        p.grad = p.grad.t().contiguous().t()


def a_strided_gradient(p, n):
    if n >= 3:
        p.grad = torch.stack([p.grad, p.grad], dim=-1)[..., 0]


def an_expanded_gradient(p, n):
    if n >= 3:
        p.grad = torch.tensor(0.3).expand(p.shape)


def a_negated_gradient(p, n):
    if n >= 3:
        p.grad = torch._neg_view(p.grad)


def a_wider_gradient(p, n):
    if n >= 3:
        p.grad_dtype = None  # any
        p.grad = p.grad.double()


def another_gradient_every_step(p, n):
    p.grad = p.grad.clone()


def its_own_gradient(p, n):
    p.grad = p.detach()


def a_gradient_pointed_elsewhere(p, n):
    """The same tensor, other memory."""
    p.grad.data = p.grad.data.clone() * 2


def a_gradient_of_a_subclass(p, n):
    if n >= 3:
        p.grad = p.grad.as_subclass(torch.nn.Buffer) if hasattr(torch.nn, "Buffer") else p.grad


def gradients_now_and_then(p, n):
    if n % 2:
        p.grad = None


GRADIENTS = (
    no_gradient,
    a_transposed_gradient,
    a_strided_gradient,
    an_expanded_gradient,
    a_negated_gradient,
    *([a_wider_gradient] if hasattr(torch.Tensor, "grad_dtype") else []),
    another_gradient_every_step,
    its_own_gradient,
    a_gradient_pointed_elsewhere,
    a_gradient_of_a_subclass,
    gradients_now_and_then,
)


@pytest.mark.parametrize("rule", [HeavyBall, NormalizedDescent])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_however_a_gradient_lies_in_memory_the_step_is_the_plain_step(rule, gradient):
    def run():
        params = parameters(F32, channels_last=False)
        optimizer = rule(params, 0.05, compile=True)
        generator = torch.Generator().manual_seed(6)
        for n in range(6):
            give_gradients(params, generator)
            gradient(params[0], n)
            optimizer.step()
        return optimizer

    compiled = run()
    with in_torchs_operations():
        assert_same_bits(compiled, run())


def test_a_sparse_gradient_is_refused_and_nothing_moves():
    params = parameters(F32, channels_last=False)
    optimizer = train(functools.partial(HeavyBall, lr=0.05, compile=True), params)
    before = {name: value.clone() for name, value in everything(optimizer).items()}
    params[0].grad = params[0].grad.to_sparse()
    with pytest.raises(Exception, match="sparse"):
        optimizer.step()
    after = everything(optimizer)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert optimizer.steps == 4


def break_the_parameter(optimizer, p):
    p.data = p.data[:100]


def break_the_state(optimizer, p):
    optimizer.state[p]["velocity"] = torch.zeros(1000)[:100]


@pytest.mark.parametrize("damage", [break_the_parameter, break_the_state])
@pytest.mark.parametrize("repeated", [True, False])
def test_what_does_not_match_in_size_is_an_error_and_never_read_beyond(damage, repeated):
    """The memory after 100 elements is not the tensor's. (Here it is there, so that a failing test breaks no more.)"""
    params = [torch.ones(129, requires_grad=True)]
    optimizer = HeavyBall(params, 0.05, compile=True)
    if not repeated:
        optimizer.init_state()
    else:
        train(lambda _: optimizer, params)
    damage(optimizer, params[0])
    params[0].grad = torch.ones(1000)[: params[0].numel()]
    with pytest.raises(Exception, match=r"size|shape"):
        optimizer.step()


@pytest.mark.parametrize("again", [False, True])
def test_a_step_is_seen_by_autograd_as_a_write(again):
    """What was saved for a backward pass is not what it was: torch refuses, as after torch.optim's steps."""
    for make in (functools.partial(HeavyBall, compile=True), torch.optim.SGD):
        p = torch.ones(5, requires_grad=True)
        optimizer = make([p], lr=0.1)
        for _ in range(1 + 2 * again):
            p.grad = torch.ones(5)
            optimizer.step()
        version = p._version
        loss = (p * p).sum()
        p.grad = torch.ones(5)
        optimizer.step()
        assert p._version > version
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_step_under_no_grad_and_under_grad_is_the_same():
    finals = []
    for mode in (torch.no_grad, torch.enable_grad):
        with mode():
            finals.append(train(functools.partial(HeavyBall, lr=0.05, compile=True), parameters(F32)))
    assert_same_bits(*finals)


# By torch.compile.


@pytest.fixture
def _quiet():
    """dynamo and inductor import what torch has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch._dynamo.reset()
    inductor._compiled.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_torch_compile_gives_the_plain_step_to_rounding_and_compiles_once_for_all_numbers_and_shapes():
    """Some 10 to 20 s, most of which is inductor's start."""
    counters, graphs = torch._dynamo.utils.counters, []
    counters.clear()

    def between(optimizer, n):
        moved_lr(optimizer, n)
        optimizer.param_groups[0]["momentum"] = 0.9 - 0.1 * n
        graphs.append(counters["stats"]["unique_graphs"])

    shapes = ((7, 3), (129,))
    made = train(
        functools.partial(HeavyBall, lr=0.05, compile="inductor"),
        parameters(F32, shapes, channels_last=False),
        steps=5,
        before=between,
    )
    graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] == 0 < graphs[2] == graphs[-1]  # two steps, then none
    other = train(
        functools.partial(HeavyBall, lr=0.05, compile=False),
        parameters(F32, shapes, channels_last=False),
        steps=5,
        before=between,
    )
    assert distance([*everything(made).values()], [*everything(other).values()]) < 1e-6
