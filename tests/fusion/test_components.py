"""A program of components is the function that it was traced from."""

import pytest
import torch

from thetadot.fusion.compiler import compiler
from thetadot.fusion.components import component, components
from thetadot.fusion.march import March
from thetadot.fusion.program import CannotCompile
from thetadot.potentials import gradient_of

FIELDS = {
    "arithmetic": lambda x: 3.0 - 2.0 * x / (1.0 + x * x),
    "indexing": lambda x: torch.stack([x[..., 1], -x[:, 0], x[..., -1]], -1),
    "parts": lambda x: torch.cat([x.unbind(-1)[2].unsqueeze(-1), *x.split(2, dim=-1)], -1)[:, :3],
    "chunks": lambda x: torch.cat(x.chunk(3, -1)[::-1], -1),
    "slices": lambda x: torch.cat([x[:, 1:], x[:, :1]], 1),
    "roll and flip": lambda x: torch.roll(x, 1, -1) - x.flip(-1),
    "matrix": lambda x: x @ torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 0.5], [0.3, 0.0, 1.0]]),
    "sums": lambda x: x.sum(-1, keepdim=True) * x + x.mean(-1, keepdim=True) - x.prod(-1, keepdim=True),
    "trigonometry": lambda x: torch.sin(x) * torch.cos(2 * x) + torch.tan(x / 4),
    "powers": lambda x: x**3 - x**-2 + (x * x + 1.0) ** 0.5 + (x * x + 1.0) ** 0.3,
    "exponentials": lambda x: torch.exp(-x * x) + torch.log1p(x * x) + torch.tanh(x) + torch.sigmoid(x),
    "choices": lambda x: torch.where(x > 0.5, x, -x).clamp(-1.0, 0.9) + torch.relu(x) + x.abs().minimum(x * x),
    "norm": lambda x: x / (1.0 + torch.linalg.vector_norm(x, dim=-1, keepdim=True)),
    "softmax": lambda x: torch.softmax(x, -1),
    "gradient of a loss": gradient_of(lambda x: ((x**2 - 1) ** 2).sum(-1) / 4 + 0.3 * x[..., 0] * x[..., 1]),
    "gradient of logsumexp": gradient_of(lambda x: torch.logsumexp(x, -1)),
    "gradient of softplus": gradient_of(lambda x: torch.nn.functional.softplus(x).sum(-1)),
    "gradient of a network": gradient_of(lambda x: torch.tanh(x @ torch.eye(3)).square().sum(-1)),
}


def field_step(field):
    return lambda given: {"x": field(given["x"])}


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_is_the_function(field, dtype):
    if dtype == torch.float64 and field is FIELDS["matrix"]:
        pytest.skip("the matrix is float32")
    if dtype == torch.float64 and field is FIELDS["gradient of a network"]:
        pytest.skip("the matrix is float32")
    x = torch.linspace(-1.9, 2.1, 3 * 70, dtype=dtype).reshape(70, 3)
    found = components(field_step(field), {"x": dtype}, 3, ())
    march = March(found, {component("x", i): dtype for i in range(3)}, (), "normal", "test")
    columns = [column.contiguous().clone() for column in x.unbind(-1)]
    march(columns, [], steps=1, before=0, key=0)
    wanted = field(x)
    assert torch.allclose(torch.stack(columns, -1), wanted, rtol=2e-6 if dtype == torch.float32 else 1e-14, atol=1e-6)


def test_moving_components_about_leaves_nothing_behind():
    found = components(field_step(lambda x: torch.stack([x[:, 1], x[:, 0]], -1)), {"x": torch.float32}, 2, ())
    assert found.program.nodes == ()


def test_another_number_is_the_same_program():
    first, second = (
        components(field_step(lambda x, s=s: s * x + 1.5), {"x": torch.float32}, 1, ()) for s in (0.1, 0.25)
    )
    assert [node.target for node in first.program.nodes] == [node.target for node in second.program.nodes]
    assert first.constants == {"constant0": 0.1, "constant1": 1.5}
    assert second.constants == {"constant0": 0.25, "constant1": 1.5}


def test_a_number_of_the_time_is_computed_once_for_all_paths():
    def step(given):
        return {"x": given["x"] * torch.cos(given["time"]), "time": given["time"] + 0.5}

    found = components(step, {"x": torch.float32}, 2, ("time",))
    kinds = [found.program.kinds[node] for node in found.program.nodes]
    assert kinds.count("number") == 2
    assert set(found.program.outputs) == {"x_0", "x_1", "time"}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (lambda x: x - x.mean(0), "see each other"),
        (lambda x: x.flip(0), "see each other"),
        (lambda x: x * torch.tensor([[1.0], [2.0]]), "not treated alike"),
        (lambda x: x if x.sum() > 0 else -x, "cannot be traced"),
        (lambda x: x * float(x[0, 0]), "cannot be traced"),
        (lambda x: torch.linalg.inv(x[:, :2].unsqueeze(-1) @ x[:, :2].unsqueeze(-2))[..., 0], "no kernel"),
        (torch.lgamma, "no kernel"),
    ],
    ids=["mean field", "exchange", "a parameter for each path", "branch", "number", "inverse", "unknown"],
)
def test_what_is_no_program_is_refused(field, said):
    with pytest.raises(CannotCompile, match=said):
        components(field_step(field), {"x": torch.float32}, 2, ())


def test_what_cannot_be_traced_is_told_once_and_not_logged_by_torch(caplog):
    with pytest.raises(CannotCompile, match="cannot be traced"):
        components(lambda x: {"y": x["x"] * torch.ones(5, 2)}, {"x": torch.float32}, 2, ())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
