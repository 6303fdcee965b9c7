"""What came of runs and of their advice, counted with intervals, for advice.py."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

HARM = 0.02
"""Share of the right run's fall from which a loss is another."""


@dataclass(frozen=True)
class Outcome:
    """What came of one run and of its advice."""

    task: str
    half: str
    what: str
    seed: int
    last: float
    after: float | None
    excess: float  # of its loss above the right one's, or above its best neighbour's, over the fall
    told: str  # named, misnamed, silent; of right runs accused, left alone, or diverged
    effect: str  # better, same, worse, chance; "" where nothing was followed
    held: str
    finding: str
    says: str


def wilson(hits: int, count: int) -> str:
    """A share with its 95% interval."""
    if not count:
        return "none of 0"
    z, p = 1.96, hits / count
    middle, half = p + z * z / (2 * count), z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    low, high = ((middle + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return f"{hits} of {count}, {p:.1%} ({max(low, 0):.1%} to {min(high, 1):.1%})"


def resolved(found: list[Outcome]) -> tuple[list[Outcome], list[Outcome], list[Outcome]]:
    """The runs of settings that are harmful, of those that are right, and of right ones whose seeds disagree."""
    harmful, right, neither = [], [], []
    for name, what in dict.fromkeys((o.task, o.what) for o in found):
        some = [o for o in found if (o.task, o.what) == (name, what) and o.told != "diverged"]
        above = [o.excess > HARM for o in some]
        if not what.endswith(": right"):
            harmful += some if all(above) else []
        elif not all(above):
            (neither if any(above) else right).extend(some)
    return harmful, right, neither


def summary(title: str, found: list[Outcome]) -> str:
    """The counts of one half."""
    harmful, right, neither = resolved(found)
    effects = Counter(o.effect for o in found if o.effect)
    naming = Counter(o.told for o in harmful)
    count = sum(effects.values())
    worse = effects["worse"] + effects["chance"]
    rows = (
        ("harmful runs named", wilson(naming["named"], len(harmful))),
        ("silent", wilson(naming["silent"], len(harmful))),
        ("misnamed", wilson(naming["misnamed"], len(harmful))),
        ("right runs accused", wilson(sum(o.told == "accused" for o in right), len(right))),
        ("the same, where seeds disagree", wilson(sum(o.told == "accused" for o in neither), len(neither))),
        (
            "harmful runs whose advice makes them better",
            wilson(sum(o.effect == "better" for o in harmful), len(harmful)),
        ),
        ("followed advice: better", wilson(effects["better"], count)),
        ("followed advice: same", wilson(effects["same"], count)),
        ("followed advice: worse", wilson(worse, count)),
        ("of these to chance", str(effects["chance"])),
        ("worse on samples held back", wilson(sum(o.held == "worse" for o in found), count)),
    )
    return "\n".join([f"| {title}, {len(found)} runs | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]) + "\n"


def by_kind(found: list[Outcome]) -> str:
    """The counts by what was done."""
    lines = [
        "| what was done | harmful | named | silent | misnamed | advice: better | same | worse |",
        "|---" * 8 + "|",
    ]
    harmful, right, _ = resolved(found)
    for what in dict.fromkeys(o.what for o in found):
        some = [o for o in found if o.what == what]
        bad = [o for o in harmful + right if o.what == what]
        naming, effects = Counter(o.told for o in bad), Counter(o.effect for o in some)
        counts = [naming["named"], naming["silent"], naming["misnamed"] + naming["accused"], effects["better"]]
        counts += [effects["same"], effects["worse"] + effects["chance"]]
        told = f"{0 if what.endswith(': right') else len(bad)} of {len(some)}"
        lines.append(f"| {what} | {told} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines) + "\n"
