"""Options on how an optimizer carries out its steps; no schedule changes any."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from thetadot.core.rounding import LOW_PRECISION
from thetadot.core.validation import require_word
from thetadot.errors import IncompatiblePair
from thetadot.integrators.base import MechanicalIntegrator, name_of
from thetadot.optim.groups import flag

if TYPE_CHECKING:
    from thetadot.core.rounding import LowPrecision
    from thetadot.integrators.base import Integrator

Start = Literal["zero", "rest"]
Compile = bool | Literal["auto", "inductor"]


@dataclass(frozen=True)
class Options:
    """Options of every optimizer.

    Attributes:
        start: "zero" velocity, or "rest": half a kick before the first step, which makes staggered schemes second
            order.
        low_precision: how bfloat16 and float16 parameters take small steps: "stochastic" rounding (from the
            optimizer's own counters), "kahan" compensation (one more number an element), or "none", to the nearest,
            in which small steps are lost. The default is "kahan" where there is a temperature, whose samples stochastic
            rounding heats (:func:`rounding_temperature` says by how much), and "stochastic" elsewhere. Wider
            parameters are not concerned.
        differentiable: steps can be differentiated through; give parameters that are no leaves.
        capturable: step count and the rule's own numbers are tensors on the parameters' device, so that a step can be
            captured in a graph, or compiled without ever compiling again. Make hyperparameters that move tensors, too.
        compile: run the rule as one compiled pass over memory: "auto", where a compiler is there; True, or an error;
            False, in torch's own operations. On the CPU the pass is C++ of our own; elsewhere, or with "inductor", it
            is torch.compile's.
    """

    start: Start = "zero"
    low_precision: LowPrecision = "stochastic"
    differentiable: bool = False
    capturable: bool = False
    compile: Compile = "auto"

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the keywords of all options."""
        return tuple(field.name for field in fields(cls))

    def check(self, integrator: Integrator) -> None:
        """Raise InadmissibleValue or IncompatiblePair where they have no meaning."""
        require_word(("zero", "rest"), start=self.start)
        if self.start == "rest" and not isinstance(integrator, MechanicalIntegrator):
            raise IncompatiblePair(f"start='rest' is a velocity's, and {name_of(integrator)} has none. Leave it out.")
        require_word(LOW_PRECISION, low_precision=self.low_precision)
        flag("differentiable", self.differentiable)
        flag("capturable", self.capturable)
        require_word(("auto", True, False, "inductor"), compile=self.compile)
        if self.differentiable and integrator.evaluation == "midpoint":
            raise IncompatiblePair(
                f"{name_of(integrator)} solves for its step, which cannot be differentiated through. "
                "Leave differentiable out, or use an explicit integrator."
            )
