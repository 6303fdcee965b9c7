"""What the engine asks of the optimizer whose parameters it steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from torch import Tensor

    from thetadot.core.annotations import Scalar
    from thetadot.integrators.base import Integrator
    from thetadot.optim.engine.noise import NoiseKey
    from thetadot.optim.options import Options
    from thetadot.systems.base import System

    Group = dict[str, Any]


class Host(Protocol):
    """An optimizer as its engine sees it: a list of parameters, a system and an integrator.

    :class:`thetadot.optim.Flow` is one. Everything in this folder is handed a host and holds none.

    Attributes:
        param_groups: torch's, with the hyperparameters.
        defaults: names of the hyperparameters, with what a group begins with.
        system: what moves, if it does not depend on the group.
        options: how steps are carried out.
        noise: key of the noise, and whether anything is drawn.
        ticks: steps taken, as a tensor.
    """

    param_groups: list[Group]
    defaults: dict[str, Any]
    system: System | None
    options: Options
    noise: NoiseKey
    ticks: Tensor

    @property
    def integrator(self) -> Integrator:
        """How it is stepped."""

    @property
    def state(self) -> MutableMapping[Tensor, Any]:
        """What lies beside each parameter."""

    @property
    def key(self) -> int:
        """Key of the noise."""

    @key.setter
    def key(self, key: int) -> None: ...

    @property
    def steps(self) -> int:
        """Return the number of steps taken."""

    @steps.setter
    def steps(self, count: int) -> None: ...

    def motion(self, group: Group) -> tuple[System, Scalar]:
        """Return the system and the time step that a group's hyperparameters stand for."""

    def check(self, group: Group) -> None:
        """Raise where a group's hyperparameters are out of range."""

    def __setstate__(self, state: dict[str, Any]) -> None: ...
