"""torch's own test machinery as an oracle: its configurations, its error inputs, its two drivers.

``torch.testing._internal.common_optimizers`` describes torch's optimizers as data. The same data, its keywords mapped
to ours, drives ours against torch's.
"""

import re
import warnings

import pytest
import torch

from thetadot.errors import ThetadotError
from thetadot.optim import Adam, AdamW, GradientDescent, HeavyBall, Nesterov

common = pytest.importorskip("torch.testing._internal.common_optimizers")

STEPS = 7


def sgd(kwargs):
    """Our class and keywords for those of torch.optim.SGD."""
    kwargs = {"lr": 1e-3} | kwargs
    momentum, nesterov = kwargs.pop("momentum", 0.0), kwargs.pop("nesterov", False)
    kwargs["weight_decay_mode"] = "l2"
    if momentum == 0.0:
        return GradientDescent, kwargs
    return (Nesterov if nesterov else HeavyBall), kwargs | {"momentum": momentum}


def adam(kwargs):
    return Adam, {"lr": 1e-3} | kwargs


def adamw(kwargs):
    return AdamW, {"lr": 1e-3} | kwargs


class Mapped:
    """An OptimizerInfo of torch, its inputs handed to our class."""

    def __init__(self, oracle, ours):
        self.info = next(info for info in common.optim_db if info.optim_cls is oracle)
        self.oracle, self.ours = oracle, ours

    def inputs(self):
        """All but amsgrad, and dampening, which torch leaves out of the first step: mid-run it is a smaller lr."""
        found = self.info.optim_inputs_func("cpu")
        return [each for each in found if not {"amsgrad", "dampening"} & each.kwargs.keys()]

    def errors(self):
        """All but those of flags that ours have not, and of betas half in tensors, which ours take."""
        found = self.info.optim_error_inputs_func("cpu", torch.float64)
        return [each for each in found if not re.search("foreach|both floats", each.error_regex)]

    def as_info(self, kwargs):
        """What torch's machinery itself would want to know of our class."""
        cls, own = self.ours(dict(kwargs))
        return common.OptimizerInfo(
            cls,
            optim_inputs_func=lambda device, dtype=None: [common.OptimizerInput(None, own, "mapped")],
            supported_impls=("differentiable",),
        )

    def build(self, params, kwargs, **options):
        cls, own = self.ours(dict(kwargs))
        return cls(params, **own, **options)


FAMILIES = {
    "SGD": Mapped(torch.optim.SGD, sgd),
    "Adam": Mapped(torch.optim.Adam, adam),
    "AdamW": Mapped(torch.optim.AdamW, adamw),
}
CONFIGURATIONS = [
    pytest.param(family, each.kwargs, id=f"{name}-{each.desc}")
    for name, family in FAMILIES.items()
    for each in family.inputs()
]
ERRORS = [
    pytest.param(family, each, id=f"{name}-{each.optimizer_error_input.desc}")
    for name, family in FAMILIES.items()
    for each in family.errors()
]


def parameters(dtype=torch.float64):
    """Weights, one of them strided, and a last one of shape ()."""
    generator = torch.Generator().manual_seed(5)
    shapes = ((2, 3), (4, 1), (3,), ())
    params = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    params[0] = params[0].T
    return [p.requires_grad_() for p in params]


def run(optimizer, params, steps=STEPS, idle=3):
    """Gradients from a fixed stream; at step ``idle`` there is none, as in torch's driver."""
    generator = torch.Generator().manual_seed(6)
    path = []
    for n in range(steps):
        for p in params:
            drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
            p.grad = None if n == idle else drawn
        optimizer.step()
        path += [p.detach().clone() for p in params]
    return path


@pytest.mark.parametrize(("family", "kwargs"), CONFIGURATIONS)
def test_every_configuration_of_torchs_tests_is_torchs_for_loop(family, kwargs):
    ours, theirs = parameters(), parameters()
    found = run(family.build(ours, kwargs), ours)
    oracle = run(family.oracle(theirs, foreach=False, **kwargs), theirs)
    for p, q in zip(found, oracle, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("family", "kwargs"), CONFIGURATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_configuration_runs_alike_compiled_and_plain(family, kwargs, dtype):
    plain, compiled = parameters(dtype), parameters(dtype)
    path = run(family.build(plain, kwargs, compile=False), plain)
    other = run(family.build(compiled, kwargs, compile="auto"), compiled)
    for p, q in zip(path, other, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12 if dtype is torch.float64 else 1e-5, atol=1e-7)


@pytest.mark.parametrize(("family", "kwargs"), CONFIGURATIONS)
def test_torchs_machinery_takes_our_classes(family, kwargs):
    """All configurations with and without each flag, made by torch's own helper."""
    info = family.as_info(kwargs)
    inputs = common._get_optim_inputs_including_global_cliquey_kwargs("cpu", torch.float64, info)
    assert [each.kwargs["differentiable"] for each in inputs] == [False, True]
    for each in inputs:
        params = [p.clone() for p in parameters()] if each.kwargs["differentiable"] else parameters()
        run(info.optim_cls(params, **each.kwargs), params, steps=2)
        assert all(torch.isfinite(p).all() for p in params)


@pytest.mark.parametrize(("family", "error"), ERRORS)
def test_torchs_error_inputs_are_refused_as_torch_refuses_them(family, error):
    """The same type; torch's own words where torch's base class checks, the value where we do."""
    given = error.optimizer_error_input
    params = [torch.ones(2, 2, requires_grad=True)] if given.params is None else given.params
    cls, kwargs = family.ours(dict(given.kwargs))
    with warnings.catch_warnings():
        warnings.simplefilter("error" if error.error_type is UserWarning else "ignore")
        with pytest.raises(error.error_type) as raised:
            cls(params, **kwargs)
    said = str(raised.value)
    if isinstance(raised.value, ThetadotError):
        assert "Pass " in said or "pass " in said
        bad = re.search(r"-?\d+\.?\d*$", error.error_regex)
        assert bad is None or f"{float(bad[0]):g}" in said
    else:
        assert re.search(error.error_regex, said)
