"""A pytest plugin for ``peer_suites.py``: puts thetadot's optimizers where a peer's tests look for optimizers.

Which peer is in the environment variable PEER. Nothing of a peer is changed on disk.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from thetadot import optim
from thetadot.errors import InadmissibleValue

NOISE = {"temperature": 1e-6}
# name -> class, what it is always given, and settings for twenty steps on the peer's toy
RECIPES: dict[str, tuple[type[optim.Flow], dict[str, Any], dict[str, Any]]] = {
    "thetadot_gradientdescent": (optim.GradientDescent, {}, {"lr": 0.5}),
    "thetadot_heavyball": (optim.HeavyBall, {}, {"lr": 0.5, "weight_decay": 1e-3}),
    "thetadot_nesterov": (optim.Nesterov, {}, {"lr": 0.5, "weight_decay": 1e-3}),
    "thetadot_langevin": (optim.Langevin, NOISE, {"lr": 0.5}),
    "thetadot_kramers": (optim.Kramers, NOISE, {"lr": 0.5}),
    "thetadot_adam": (optim.Adam, {}, {"lr": 0.5, "weight_decay": 1e-3}),
    "thetadot_adamw": (optim.AdamW, {}, {"lr": 0.5, "weight_decay": 1e-3}),
}


def stand_in(name: str, cls: Any, always: dict[str, Any]) -> type:
    """A subclass with default settings, as the peer's tests expect; hyperparameters are checked before parameters."""

    class StandIn(cls):  # type: ignore[misc]
        def __init__(
            self, params: Any, lr: Any = 1e-3, weight_decay: float = 0.0, *, maximize: bool = False, **rest: Any
        ) -> None:
            params = [torch.zeros(1, requires_grad=True)] if params is None else params
            super().__init__(params, lr, weight_decay=weight_decay, maximize=maximize, **always, **rest)

    if issubclass(cls, optim.Adam):  # its tests find betas and eps by the signature

        class WithMemories(StandIn):
            def __init__(
                self,
                params: Any,
                lr: Any = 1e-3,
                betas: tuple[float, float] = (0.9, 0.999),
                eps: float = 1e-8,
                weight_decay: float = 0.0,
                *,
                maximize: bool = False,
            ) -> None:
                super().__init__(params, lr, weight_decay, maximize=maximize, betas=betas, eps=eps)

        StandIn = WithMemories
    StandIn.__name__ = StandIn.__qualname__ = name
    return StandIn


def pytorch_optimizer() -> None:
    """Fill its registry and its recipes with ours; its error classes become those that ours raise."""
    from pytorch_optimizer import optimizer as registry
    from pytorch_optimizer.base import exception

    exception.NegativeLRError = InadmissibleValue
    exception.NoSparseGradientError = InadmissibleValue
    registry.OPTIMIZERS.clear()
    for name, (cls, always, _) in RECIPES.items():
        registry.OPTIMIZERS[name] = stand_in(name, cls, always)
    from tests import recipes

    ours = [(name, dict(settings), 20) for name, (_, _, settings) in RECIPES.items()]
    recipes.OPTIMIZER_RECIPES[:] = ours
    recipes.COMPILE_SUPPORTED_OPTIMIZERS[:] = []


def torchs_names() -> None:
    """Ours in place of torch.optim.SGD and AdamW."""
    torch.optim.SGD = sgd  # type: ignore[assignment, misc]
    torch.optim.AdamW = stand_in("thetadot_adamw", optim.AdamW, {})  # type: ignore[misc]


def sgd(params: Any, lr: float, momentum: float = 0.0, **rest: Any) -> optim.Flow:
    """What torch.optim.SGD is called here."""
    if momentum:
        return optim.HeavyBall(params, lr, momentum, **rest)
    return optim.GradientDescent(params, lr, **rest)


def schedulefree() -> None:
    """Its wrapper takes any optimizer; its tests are written for CUDA and run where the tensors are."""
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]
    torchs_names()


PEERS = {"pytorch_optimizer": pytorch_optimizer, "schedulefree": schedulefree, "posteriors": torchs_names}
PEERS[os.environ["PEER"]]()
