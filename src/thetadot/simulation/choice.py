"""Which engine marches: a function of the job alone, never of a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.fusion.program import CannotCompile
from thetadot.simulation.engines import Compiled, InPlace, Plain
from thetadot.simulation.trial import believed

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.simulation.engines import Engine, Randomness
    from thetadot.simulation.motion import Motion

Compile = Literal["auto"] | bool

PAYS = 2e8
"""Path-steps times components from which a kernel is compiled unasked: in place they take longer
than a kernel needs to be compiled and to march. Timed in benchmarks/ensembles.py."""


@runtime_checkable
class Builder(Protocol):
    """Another machine's engines."""

    def build(
        self,
        motion: Motion,
        randomness: Randomness,
        like: Tensor,
        compile: Compile,  # noqa: A002
        work: float,
    ) -> tuple[Engine, str]:
        """The engine of one job, and why it is not a faster one; of the arguments of :func:`choose`."""


def choose(
    motion: Motion,
    randomness: Randomness,
    like: Tensor,
    compile: Compile,  # noqa: A002
    engine: Builder | None,
    work: float,
) -> tuple[Engine, str]:
    """The engine, and why it is not a faster one.

    Args:
        motion: what moves.
        randomness: its noise.
        like: positions (paths, dim).
        compile: as :func:`simulate` was given it.
        engine: as :func:`simulate` was given it.
        work: paths × components × steps.

    Raises:
        IncompatiblePair: compile=True, and the step cannot be compiled.
    """
    require_known(compile)
    if engine is not None:
        if not isinstance(engine, Builder) or isinstance(engine, type):
            raise InadmissibleValue(
                f"engine={engine!r} is none. Pass one that simulates elsewhere, such as RayEnsemble(), or leave it out."
            )
        return engine.build(motion, randomness, like, compile, work)
    said = ""
    if compile is True or (compile == "auto" and work >= PAYS):
        try:
            return believed(Compiled(motion, randomness, like), motion, randomness, like), ""
        except CannotCompile as error:
            said = str(error)
            if compile is True:
                raise IncompatiblePair(f"the step cannot be compiled: {said} Or pass compile=False.") from error
    try:
        return believed(InPlace(motion, randomness, like), motion, randomness, like), said
    except CannotCompile as error:
        return Plain(motion, randomness), said or str(error)


def require_known(compile: object) -> None:  # noqa: A002
    """Raise InadmissibleValue where it is none of 'auto', True and False."""
    if compile not in ("auto", True, False):
        raise InadmissibleValue(f"compile={compile!r} is unknown. Pass 'auto', True or False.")


def called(name: str, motion: Motion, randomness: Randomness, like: Tensor) -> Plain | InPlace | Compiled:
    """The engine of that name: what :func:`choose` took for a job, built again where a part of it is marched.

    Raises:
        CannotCompile: it was built on another machine, and cannot be here.
    """
    if name == Plain.name:
        return Plain(motion, randomness)
    return (Compiled if name == Compiled.name else InPlace)(motion, randomness, like)
