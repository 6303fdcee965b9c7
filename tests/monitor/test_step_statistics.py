"""Oracle: the definitions of a step's lengths and angles, in float64, parameter by parameter."""

import pytest
import torch

from thetadot.monitor.layers import Layout
from thetadot.monitor.step_statistics import COLUMNS, SMALL, StepStatistics
from thetadot.probes.readings import read

SHAPES = {
    "one number": [(1,)],
    "many small ones": [(3, 2), (2,), (1,), (5, 5), (4,)] * 20,
    "a large one between small ones": [(7,), (SMALL // 8, 9), (11,), (13, 2)],
    "small ones that fill more than a piece": [(SMALL // 3,)] * 7 + [(2,)],
}
OPTIMIZERS = {
    "heavy ball": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "coupled decay": lambda parameters: torch.optim.SGD(parameters, lr=0.1, weight_decay=0.3),
    "preconditioned": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


class Parts(torch.nn.Module):
    def __init__(self, shapes, dtype):
        super().__init__()
        generator = torch.Generator().manual_seed(len(shapes))
        self.parts = torch.nn.ParameterList(
            torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes
        )


def wide(tensors):
    return [t.detach().double().clone() for t in tensors]


def dots(one, other):
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)])


def minus(one, other):
    return [a - b for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_numbers_of_a_step_are_their_definitions(shapes, optimizer):
    model = Parts(SHAPES[shapes], torch.float32)
    parameters = list(model.parameters())
    moves = OPTIMIZERS[optimizer](parameters)
    generator = torch.Generator().manual_seed(1)

    def step():
        for k, p in enumerate(parameters):  # of one in eleven there is no gradient
            p.grad = None if k % 11 == 5 else torch.randn(p.shape, generator=generator)
        moves.step()
        return wide(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)

    statistics = StepStatistics(Layout(model, moves), away=True, pairs=True)
    origin = anchor = wide(parameters)
    step()
    for turn in range(3):
        if turn == 2:
            statistics.drop_anchor()
            anchor = wide(parameters)
        before = step()
        statistics.prelude()
        statistics.before()
        start = wide(parameters)
        gradient = step()
        reading = read(moves, moves.param_groups[0])
        found = dict(zip(COLUMNS, statistics.after(reading).double(), strict=True))

        moved, along, away = minus(wide(parameters), start), minus(start, anchor), minus(start, origin)
        decay = reading.decay if reading.decay and not reading.decoupled else 0.0
        force = [g + decay * s for g, s in zip(gradient, start, strict=True)]
        scales = reading.preconditioner or {}
        weighed = [m * scales[p].double() if p in scales else m for p, m in zip(parameters, moved, strict=True)]
        defined = {
            "gradient": (gradient, gradient),
            "weight": (start, start),
            "update": (moved, moved),
            "slope": (gradient, moved),
            "virial": (along, force),
            "radial": (along, moved),
            "energy": (moved, weighed),
            "away": (away, away),
            "outward": (away, moved),
            "pair": (before, gradient),
        }
        for name, pair in defined.items():
            size = dots([a.abs() for a in pair[0]], [b.abs() for b in pair[1]]).max()
            assert torch.allclose(found[name], dots(*pair), rtol=1e-4, atol=float(2e-6 * size)), (turn, name)


def test_without_a_start_and_pairs_their_numbers_are_zero():
    model = Parts([(3,), (2, 2)], torch.float32)
    moves = torch.optim.SGD(model.parameters(), lr=0.1)
    statistics = StepStatistics(Layout(model, moves), away=False, pairs=False)
    statistics.prelude()
    statistics.before()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    moves.step()
    found = dict(zip(COLUMNS, statistics.after(read(moves, moves.param_groups[0])), strict=True))
    assert all(not found[name].any() for name in ("virial", "radial", "away", "outward", "pair"))
    assert found["gradient"].tolist() == [3.0, 4.0]


def test_a_checkpoint_continues_the_same_numbers():
    def made():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 300), torch.nn.Linear(300, 300))
        moves = torch.optim.SGD(model.parameters(), lr=0.1)
        return model, moves, StepStatistics(Layout(model, moves), away=True, pairs=True)

    def advance(model, moves, statistics, seed):
        generator = torch.Generator().manual_seed(seed)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        moves.step()
        statistics.prelude()
        statistics.before()
        moves.step()
        return statistics.after(read(moves, moves.param_groups[0]))

    whole, cut = made(), made()
    for run in (whole, cut):
        advance(*run, 1)
        run[2].drop_anchor()
    again = made()
    again[0].load_state_dict(cut[0].state_dict())
    again[2].load_state_dict(cut[2].state_dict())
    assert torch.equal(advance(*whole, 2), advance(*again, 2))
