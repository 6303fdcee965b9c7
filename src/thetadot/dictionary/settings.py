"""Settings of an optimizer in torch's words, as the rules of the dictionary change them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from thetadot.core.validation import refuse, require_ranged


@dataclass(frozen=True)
class Settings:
    """Settings that a rule changes; None where one is not known or does not exist.

    Attributes:
        lr: α > 0.
        batch: B > 0.
        momentum: β of momentum descent, β₁ of an adaptive method; in [0, 1).
        beta2: in (0, 1).
        eps: ε >= 0.
        decay: weight decay w >= 0, which rules of batch sizes leave as it is.
        decoupled: whether it acts beside the gradient.
        epochs: passes over the data that the run makes.
        data: samples of one pass, N.
    """

    lr: float
    batch: float
    momentum: float | None = None
    beta2: float | None = None
    eps: float | None = None
    decay: float = 0.0
    decoupled: bool = True
    epochs: float | None = None
    data: float | None = None

    def __post_init__(self) -> None:
        """Ask for numbers; their ranges are the doors' own, which have more to say of them."""
        if not isinstance(self.decoupled, bool):
            refuse("decoupled", self.decoupled, "True or False", "Pass one of them.")
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "decoupled"}
        require_ranged(**{name: value for name, value in given.items() if value is not None or name in ("lr", "batch")})
