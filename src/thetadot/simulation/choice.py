"""Choice of the engine from the job alone, independent of clocks and of steps per call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.fusion.program import CannotCompile
from thetadot.simulation.asked import asked, kept_for_step
from thetadot.simulation.engines import Compiled, InPlace, Plain
from thetadot.simulation.noise import PATHS
from thetadot.simulation.trial import believed
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.simulation.asked import Asked
    from thetadot.simulation.engines import Engine, Randomness
    from thetadot.simulation.motion import PosedMotion

Compile = Literal["auto"] | bool
Named = Literal["plain", "in place", "compiled"]

PAYS = 2e8
"""Path-steps times components from which a kernel is compiled unasked: in place they take longer
than a kernel needs to be compiled and to march. Timed in benchmarks/ensembles.py."""

MOST_OPERATIONS = 2000
"""Operations on components up to which a kernel is compiled unasked: its compilation takes a second or two."""

# Nanoseconds, of which only the ratios count: benchmarks/simulate_speed.py --only costs prints them. A call in place
# takes 2500, but what is computed for two components at once is counted twice.
_CALL, _ELEMENT = 1800.0, 0.12  # one operation on a component in place: to call, and for every path
_WHOLE_STEP, _WHOLE_CALL = 15000.0, 3000.0  # the same on whole tensors: a step, an operation,
_WHOLE_ELEMENT, _PRODUCT = 0.22, 0.03  # an element, a multiplication in a product of matrices


@runtime_checkable
class Builder(Protocol):
    """Builder of another machine's engines."""

    def build(
        self,
        motion: PosedMotion,
        randomness: Randomness,
        like: Tensor,
        compile: Compile,  # noqa: A002
        work: float,
    ) -> tuple[Engine, str]:
        """The engine of one job, and why it is not a faster one; of the arguments of :func:`choose`."""


def choose(
    motion: PosedMotion,
    randomness: Randomness,
    like: Tensor,
    compile: Compile,  # noqa: A002
    engine: Builder | Named | None,
    work: float,
    own: Asked | None = None,
) -> tuple[Engine, str]:
    """Choose the engine, and say why no faster one is used.

    Args:
        motion: what moves.
        randomness: its noise.
        like: positions (paths, dim).
        compile: as :func:`simulate` was given it.
        engine: as :func:`simulate` was given it.
        work: paths × components × steps.
        own: what a step asks for, if it is known.

    Raises:
        IncompatiblePair: compile=True, or an engine by name, and the step cannot be compiled or taken apart.
    """
    require_known(compile, engine)
    if engine is not None and not isinstance(engine, str):
        return engine.build(motion, randomness, like, compile, work)
    own = own or asked(motion, like, motion.begin({POSITION: like}))
    if engine is not None:
        return _engine_named(engine, motion, randomness, like, own), ""
    apart = operations(own)
    said = ""
    if compile is True or (compile == "auto" and work >= PAYS and apart <= MOST_OPERATIONS):
        try:
            return _tried(Compiled, motion, randomness, like, own), ""
        except CannotCompile as error:
            said = str(error)
            if compile is True:
                raise IncompatiblePair(f"the step cannot be compiled: {said} Or pass compile=False.") from error
    if own.hindrance or whole_pays(own, len(like)):
        return Plain(motion, randomness, own), said or own.hindrance or (
            f"{own.calls} operations a step on whole tensors take less time than {apart:,.0f} on their components."
        )
    try:
        return _tried(InPlace, motion, randomness, like, own), said
    except CannotCompile as error:
        return Plain(motion, randomness, own), said or str(error)


def operations(own: Asked) -> float:
    """Operations that a step would be on components."""
    return own.elements + 2 * own.products


def whole_pays(own: Asked, paths: int) -> bool:
    """Whether whole tensors take less time than components, block by block.

    Example:
        >>> from thetadot.simulation.asked import Asked
        >>> well = Asked(None, draws=1, calls=8, elements=8.0, products=0.0, silent=True)
        >>> network = Asked(None, draws=0, calls=8, elements=200.0, products=4000.0, silent=True)
        >>> whole_pays(well, 100), whole_pays(network, 100)
        (False, True)
    """
    blocks = -(-paths // PATHS)
    apart = operations(own) * (_CALL * blocks + _ELEMENT * paths)
    each = _WHOLE_ELEMENT * own.elements + _PRODUCT * own.products
    return apart > _WHOLE_STEP + _WHOLE_CALL * own.calls + each * paths


def _tried(
    kind: type[Compiled | InPlace], motion: PosedMotion, randomness: Randomness, like: Tensor, own: Asked
) -> Compiled | InPlace:
    """An engine that is believed; tried once a trace."""
    engine = kind(motion, randomness, like, own)
    found = kept_for_step(own, ("believed", kind.name, like.dtype, randomness.noise), _Belief)
    if not found.held:
        believed(engine, motion, randomness, like, own)
        found.held = True
    return engine


class _Belief:
    """Whether a trace has been tried; a trial that failed is repeated, because it may have been the points."""

    held = False


def _engine_named(engine: Named, motion: PosedMotion, randomness: Randomness, like: Tensor, own: Asked) -> Engine:
    if engine == Plain.name:
        return Plain(motion, randomness, own)
    kind = Compiled if engine == Compiled.name else InPlace
    try:
        return _tried(kind, motion, randomness, like, own)
    except CannotCompile as error:
        raise IncompatiblePair(
            f"the step cannot be simulated by the engine {engine!r}: {error} Pass engine='plain', or leave it out."
        ) from error


def require_known(compile: object, engine: object = None) -> None:  # noqa: A002
    """Raise InadmissibleValue where one is none of those there are, or they contradict each other."""
    if compile not in ("auto", True, False):
        raise InadmissibleValue(f"compile={compile!r} is unknown. Pass 'auto', True or False.")
    names = get_args(Named)
    if engine is None or (isinstance(engine, Builder) and not isinstance(engine, type)):
        return
    if not isinstance(engine, str) or engine not in names:
        raise InadmissibleValue(
            f"engine={engine!r} is none. Pass {', '.join(map(repr, names))}, one that simulates elsewhere, such as "
            "RayEnsemble(), or leave it out."
        )
    if compile not in ("auto", engine == Compiled.name):
        raise InadmissibleValue(f"engine={engine!r} contradicts compile={compile!r}. Leave one of them out.")


def called(name: str, motion: PosedMotion, randomness: Randomness, like: Tensor) -> Plain | InPlace | Compiled:
    """The engine of that name: what :func:`choose` took for a job, built again where a part of it is marched.

    Raises:
        CannotCompile: it was built on another machine, and cannot be here.
    """
    if name == Plain.name:
        return Plain(motion, randomness)
    return (Compiled if name == Compiled.name else InPlace)(motion, randomness, like)
