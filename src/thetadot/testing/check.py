"""The whole contract, run on one optimizer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.testing.collection import laws
from thetadot.testing.subject import Subject
from thetadot.testing.traits import Traits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch.optim import Optimizer

    from thetadot.testing.law import Law


class BrokenContract(ThetadotError, AssertionError):  # noqa: N818
    """An optimizer breaks laws; the message lists each with what was seen.

    Attributes:
        findings: what became of every law.
    """

    def __init__(self, message: str, findings: list[Finding]) -> None:
        super().__init__(message)
        self.findings = findings


@dataclass(frozen=True)
class Finding:
    """Outcome of one law.

    Attributes:
        law: which.
        verdict: it "holds", is "broken", is "known" to be broken, or does "not apply".
        seen: what refuted it.
    """

    law: Law
    verdict: Literal["holds", "broken", "known", "does not apply"]
    seen: str = ""


@checked
def check_optimizer(
    build: Callable[..., Optimizer],
    *,
    traits: Traits | None = None,
    known: Mapping[str, str] | None = None,
    among: Iterable[Law] | None = None,
) -> list[Finding]:
    """Hold an optimizer to the contract of torch.optim.

    Args:
        build: ``build(params, **overrides)`` returns the optimizer; ``functools.partial(Mine, beta=0.9)``, say.
        traits: what the laws must know of it.
        known: laws that it is known to break, by name, each with the reason. One of them that holds is an error too.
        among: the laws to run; all if None.

    Returns:
        A finding for every law.

    Raises:
        BrokenContract: laws are broken; all of them are listed.
        InadmissibleValue: ``known`` names no law.

    Example:
        >>> import functools, torch
        >>> from thetadot.optim import HeavyBall
        >>> some = [law for law in laws() if law.about == "gradients"]
        >>> findings = check_optimizer(functools.partial(HeavyBall, momentum=0.5), traits=Traits(), among=some)
        >>> [finding.law.name for finding in findings if finding.verdict == "does not apply"]
        ['a_sparse_gradient_moves_as_the_dense_one']
    """
    subject, known = Subject(build, traits or Traits()), dict(known or {})
    chosen = laws() if among is None else tuple(among)
    strange = sorted(known.keys() - {law.name for law in laws()})
    if strange:
        raise InadmissibleValue(f"known={', '.join(strange)} names no law. Pass names out of laws().")
    findings = [_judge(law, subject, known) for law in chosen]
    broken = [finding for finding in findings if finding.verdict == "broken"]
    if broken:
        lines = [f"  {finding.law.name}: {finding.law.sentence}\n    seen: {finding.seen}" for finding in broken]
        raise BrokenContract(f"{len(broken)} of {len(findings)} laws are broken.\n" + "\n".join(lines), findings)
    return findings


def _judge(law: Law, subject: Subject, known: dict[str, str]) -> Finding:
    if not law.applies(subject.traits):
        return Finding(law, "does not apply")
    try:
        with warnings.catch_warnings():
            law(subject)
    except Exception as error:  # noqa: BLE001 - whatever an optimizer raises is a finding
        seen = str(error) if isinstance(error, ThetadotError) else f"{type(error).__name__}: {error}"
        return Finding(law, "known" if law.name in known else "broken", seen)
    if law.name in known:
        return Finding(law, "broken", f"it holds, but is said to be broken ({known[law.name]})")
    return Finding(law, "holds")
