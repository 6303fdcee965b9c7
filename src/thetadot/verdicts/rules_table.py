"""Every scaling rule of a family side by side, with those above the measured stability limit vetoed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thetadot.core.limits import limit_at
from thetadot.core.signatures import checked
from thetadot.dictionary.batch_rules import RULES
from thetadot.dictionary.families import known_family
from thetadot.dictionary.warmth import broken

if TYPE_CHECKING:
    from thetadot.dictionary.rule import Rule
    from thetadot.dictionary.settings import Settings


@dataclass(frozen=True)
class Row:
    """A rule's numbers for one change.

    Attributes:
        rule: which.
        settings: what its formula gives, also where it should not be used; None where it gives nothing.
        standing: "usable", "outside" its own condition, or "vetoed" by the stability limit.
        reason: why, where it is not usable.
        remark: why it does not keep the temperature under shuffled epochs, or what else to think of its numbers; ""
            where nothing is to be said.
    """

    rule: Rule
    settings: Settings | None
    standing: Literal["usable", "outside", "vetoed"]
    reason: str = ""
    remark: str = ""


@checked
def table(
    present: Settings,
    new_batch: float,
    noise_scale: float | None = None,
    *,
    family: str,
    sharpness: float | None = None,
    limit: float | None = None,
    dataset_size: float | None = None,
) -> tuple[Row, ...]:
    """Apply every rule of the family side by side; results above the measured stability limit are vetoed.

    Sharpness is taken to stay as it is; that of an adaptive method grows with the batch while its preconditioner is
    made by noise, by √κ at most.

    Args:
        present: settings now.
        new_batch: B' > 0.
        noise_scale: B_n; None where it is not known.
        family: "sgd", "adaptive" or "spectral", or the name of an optimizer that tells it, such as "adam".
        sharpness: measured largest curvature; None: no veto.
        limit: the optimizer's own limit on it at the present settings; None: no veto.
        dataset_size: N, where batches are those of shuffled epochs; None: they are drawn independently.

    Raises:
        InadmissibleValue: a family that is not known.

    Example:
        >>> from thetadot.verdicts import Settings
        >>> rows = table(Settings(0.1, 32, 0.9), 128, 1000.0, family="sgd", sharpness=12.0, limit=38.0)
        >>> {row.rule.name: row.standing for row in rows}["linear"]
        'vetoed'
    """
    known = known_family(family)
    rows = []
    for rule in RULES:
        if known not in rule.families:
            continue
        new = rule.unbounded(present, new_batch, noise_scale)
        reason = rule.outside(present, new_batch, noise_scale)
        if reason or new is None:
            rows.append(Row(rule, new, "outside", reason or "it gives no admissible setting"))
            continue
        reason = _veto(present, new, sharpness, limit)
        lost = broken(present, new, dataset_size, known) if rule.heat else ""
        remark = lost or rule.caution(new_batch, noise_scale)
        rows.append(Row(rule, new, "vetoed" if reason else "usable", reason, remark))
    return tuple(rows)


def _veto(present: Settings, new: Settings, sharpness: float | None, limit: float | None) -> str:
    if sharpness is None or limit is None:
        return ""
    here, there = (present.lr, present.momentum or 0.0), (new.lr, new.momentum or 0.0)
    moved = limit_at(limit, *here, *there, decay=present.decay, decoupled=present.decoupled)
    if moved is None or sharpness < moved:
        return ""
    return f"its stability limit would be {moved:.3g}, the measured sharpness is {sharpness:.3g}"
