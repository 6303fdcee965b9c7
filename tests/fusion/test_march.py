"""A compiled march is the step taken again and again, with the noise of its counters."""

import pytest
import torch

from thetadot.core.rng import derive, normal
from thetadot.fusion.compiler import compiler
from thetadot.fusion.components import components
from thetadot.fusion.march import March
from thetadot.simulation.noise import signs

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


def step(given):
    x = given["x"]
    return {"x": x - 0.01 * (x * x - 1.0) * x + 0.07 * given["draw0"]}


def march(noise="normal"):
    found = components(step, {"x": torch.float32, "draw0": torch.float32}, 1, ())
    return March(found, {"x_0": torch.float32}, (), noise, "double well")


@pytest.mark.parametrize("paths", [1, 63, 1024, 5001])
@pytest.mark.parametrize("noise", ["normal", "rademacher"])
def test_it_is_the_plain_loop_bit_for_bit(paths, noise):
    x, key = torch.linspace(-1, 1, paths), 99
    y = x.clone()
    march(noise)([y], [], steps=5, before=3, key=key)
    for s in range(3, 8):
        own = derive(key, s, 0, 0)
        x = x - 0.01 * (x * x - 1.0) * x + 0.07 * (normal(x, own) if noise == "normal" else signs(x, own))
    assert torch.equal(x, y)


def test_paths_do_not_depend_on_how_they_are_cut():
    whole, parts = torch.zeros(5000), [torch.zeros(2048), torch.zeros(2952)]
    run = march()
    run([whole], [], steps=20, before=0, key=5)
    for first, part in zip((0, 2048), parts, strict=True):
        run([part], [], steps=7, before=0, key=5, first=first)
        run([part], [], steps=13, before=7, key=5, first=first)
    assert torch.equal(whole, torch.cat(parts))


def test_paths_do_not_depend_on_the_number_of_threads():
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        x = torch.zeros(200_000)
        march()([x], [], steps=10, before=0, key=5)
        results.append(x)
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("field", [torch.sin, torch.exp, torch.tanh, torch.log1p])
def test_a_path_does_not_depend_on_where_it_lies(field):
    """The vector functions of the C library differ from its scalar ones in the last place."""

    def forced(given):
        return {"x": given["x"] + 0.1 * field(given["x"] * given["x"] - 1.0)}

    run = March(components(forced, {"x": torch.float32}, 1, ()), {"x_0": torch.float32}, (), "normal", "test")
    whole = torch.linspace(0.1, 1.0, 1003)
    part = whole[600:605].clone()
    for x in (whole, part):
        run([x], [], steps=30, before=0, key=0)
    assert torch.equal(whole[600:605], part)


def test_numbers_are_handed_from_step_to_step():
    def clocked(given):
        return {"x": given["x"] + given["time"], "time": given["time"] + 1.0}

    found = components(clocked, {"x": torch.float32}, 1, ("time",))
    x = torch.zeros(3000)
    assert March(found, {"x_0": torch.float32}, ("time",), "normal", "test")([x], [0.0], steps=5, before=0, key=0) == [
        5.0
    ]
    assert torch.equal(x, torch.full((3000,), 10.0))
