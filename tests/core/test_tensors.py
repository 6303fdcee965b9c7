"""The root is the nearest float to the true one, in silence, and differentiable where that is asked for."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad

from thetadot.core.tensors import sqrt

F32, F64 = torch.float32, torch.float64
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)


@given(positive)
def test_no_float64_is_nearer_to_the_root(x):
    """In exact arithmetic: (r - u/2)² <= x <= (r + u/2)² with u the distances to the neighbours."""
    root = sqrt(torch.tensor([x], dtype=F64)).item()
    below = (Fraction(root) + Fraction(math.nextafter(root, 0))) / 2
    above = (Fraction(root) + Fraction(math.nextafter(root, math.inf))) / 2
    assert below**2 <= Fraction(x) <= above**2
    assert root == sqrt(x)


def test_roots_of_float32_are_correctly_rounded():
    """500 000 bit patterns against the root in float64, whose rounding to float32 is innocuous (53 >= 2·24+2)."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randint(0, 0x7F800000, (500_000,), generator=generator).to(torch.int32).view(F32)
    assert torch.equal(sqrt(x), torch.from_numpy(np.array([math.sqrt(v) for v in x.tolist()], dtype=np.float32)))


@pytest.mark.parametrize("dtype", [F32, F64])
def test_special_roots_are_those_of_ieee_754_in_silence(dtype):
    """Warnings are errors here."""
    root = sqrt(torch.tensor([0.0, -0.0, math.inf, 4.0, -1.0, -math.inf, math.nan], dtype=dtype))
    assert root[:4].tolist() == [0.0, 0.0, math.inf, 2.0]
    assert torch.signbit(root[:2]).tolist() == [False, True]
    assert torch.isnan(root[4:]).all()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", [F32, F64, torch.bfloat16])
def test_shape_and_dtype_stay(shape, dtype):
    x = torch.full(shape, 9.0, dtype=dtype)
    root = sqrt(x)
    assert torch.equal(root, torch.full(shape, 3.0, dtype=dtype))
    assert torch.equal(x, torch.full(shape, 9.0, dtype=dtype))


def test_strided_tensors_keep_their_elements_in_place():
    x = torch.arange(24.0).reshape(2, 3, 4)
    for view in (x.transpose(0, 2), x[:, ::2], x[:, :, 1:3], torch._neg_view(-x), x[0, 0].expand(5, 4)):
        assert torch.equal(sqrt(view), sqrt(view.contiguous()))


def test_a_gradient_flows_where_one_is_recorded():
    x = torch.tensor([4.0, 9.0], requires_grad=True)
    sqrt(x).sum().backward()
    assert torch.allclose(x.grad, torch.tensor([1 / 4, 1 / 6]))
    with torch.no_grad():
        assert not sqrt(x).requires_grad


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own, at its first tangent
def test_a_tangent_is_carried_in_forward_mode():
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.tensor([4.0]), torch.tensor([1.0]))
        assert forward_ad.unpack_dual(sqrt(dual)).tangent.tolist() == [0.25]


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_torchs_transforms_go_through():
    x = torch.tensor([[1.0, 4.0], [9.0, 16.0]])
    assert torch.equal(torch.func.vmap(sqrt)(x), sqrt(x))
    assert torch.allclose(torch.func.jacrev(sqrt)(x[0]), torch.diag(0.5 / sqrt(x[0])))
    assert torch.allclose(torch.func.jacfwd(sqrt)(x[0]), torch.diag(0.5 / sqrt(x[0])))
