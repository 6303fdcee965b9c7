"""What a recorded run says of its settings, noise scale and sharpness, for ``thetadot convert --from``."""

from __future__ import annotations

from typing import Any

from thetadot.dictionary.optimizers import Optimizer, optimizer_named
from thetadot.dictionary.veto import Ceiling
from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.records import read
from thetadot.verdicts.edge import stability
from thetadot.verdicts.facts import Facts
from thetadot.verdicts.noise import scale


def settings_from(run: str, optimizer: str | None) -> tuple[dict[str, Any], str]:
    """Arguments of :func:`thetadot.translation.convert` as a record has them, and why they lack a noise scale.

    Args:
        run: a folder, or its record.
        optimizer: a name that stands instead of the record's.

    Raises:
        DamagedFile: no record, or one that cannot be read.
        ThetadotError: a record without a learning rate and a batch size, or of an optimizer that is not known.
    """
    record = read(run)
    facts = Facts(record)
    if facts.point is None:
        raise ThetadotError(
            f"{run} records no step with a learning rate and a batch size. Pass --lr and --batch-size, not --from."
        )
    kind = _recorded_optimizer(facts.optimizer if optimizer is None else optimizer, run)
    now = facts.point.settings
    found: dict[str, Any] = {"optimizer": kind.name, "lr": now.lr, "batch_size": now.batch}
    found |= {
        name: getattr(now, name)
        for name in ("momentum", "beta2", "eps")
        if getattr(kind, name) is not None and getattr(now, name) is not None
    }
    if now.decay and kind.decoupled is not None:
        found |= {"weight_decay": now.decay, "decoupled": now.decoupled}
    size = facts.epoch_size
    found |= {"dataset_size": size} if size is not None and size >= now.batch else {}
    found |= {"epochs": float(record.epochs)} if record.epochs and record.epochs > 0 else {}
    noise = scale(facts)
    lacks = ""
    if noise is not None and noise.value > 0:
        found |= {"noise_scale": noise.value, "noise_resolved": noise.resolved}
    else:
        remark = facts.remarked("noise")
        why = facts.lacking("noise", "noise_scale", otherwise="none was measured" if remark is None else remark.says)
        lacks = f"{run} records no noise scale ({why})."
    sharpness, limit = stability(facts, now)
    own = _own_limit(kind, found)
    if sharpness is not None and limit and own is not None and sharpness > 0 and abs(own / limit - 1.0) < 0.02:
        found["sharpness"] = sharpness
    return found, lacks


def _recorded_optimizer(name: str, run: str) -> Optimizer:
    try:
        return optimizer_named(name)
    except InadmissibleValue as error:
        raise ThetadotError(f"of {run}: {error} Or name the one that it resembles, by --optimizer.") from error


def _own_limit(kind: Optimizer, found: dict[str, Any]) -> float | None:
    """The optimizer's own limit on curvature, which the record's must be to speak of the same curvature."""
    if kind.motion not in ("kick", "mean"):
        return None
    return Ceiling.of(kind, None).limit(
        found["lr"],
        found.get("momentum") or 0.0,
        found.get("weight_decay", 0.0),
        decoupled=found.get("decoupled", True),
    )
