"""The unit and the meaning of each number of each kind of entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.records.schema import UNITS

if TYPE_CHECKING:
    import msgspec

_EVERYWHERE = {
    "score": "loss",
    "best_valid_loss": "valid_loss",
    "final_valid_loss": "valid_loss",
    "constant_loss": "valid_loss",
    "level": "loss",
    "other_level": "loss",
    "other_lr": "lr",
    "losses": "loss",
    "other_losses": "loss",
    "reference_loss": "loss",
    "start_loss": "loss",
    "end_loss": "loss",
    "extra": "cost",
    "work": "cost",
    "temperature_low": "temperature",
    "temperature_high": "temperature",
}
_OF_A_KIND = {
    ("noise", "low"): "noise_scale",
    ("noise", "high"): "noise_scale",
    ("noise", "layers"): "gradient_variance",
    ("curvature", "spectrum"): "sharpness",
    ("curvature", "residuals"): "residual",
    ("curvature", "low"): "sharpness",
    ("curvature", "high"): "sharpness",
    ("curvature", "layers"): "layer_share",
    ("curvature", "damping_low"): "damping",
    ("curvature", "damping_high"): "damping",
    ("noise", "variance_low"): "gradient_variance",
    ("noise", "variance_high"): "gradient_variance",
    ("noise", "square_low"): "gradient_square",
    ("noise", "square_high"): "gradient_square",
    ("layers", "gradient"): "gradient_norm",
    ("layers", "weight"): "weight_norm",
    ("layers", "update"): "update_norm",
    ("layers", "angle"): "update_angle",
    ("equilibrium", "kinetic"): "kinetic_virial",
    ("equilibrium", "low"): "ratio",
    ("equilibrium", "high"): "ratio",
    ("equilibrium", "trend_low"): "trend",
    ("equilibrium", "trend_high"): "trend",
    ("equilibrium", "alignment_low"): "alignment",
    ("equilibrium", "alignment_high"): "alignment",
    ("barrier", "at"): "line",
    ("barrier", "curvature"): "sharpness",
    ("regularization", "gradient_low"): "gradient_term",
    ("regularization", "gradient_high"): "gradient_term",
    ("regularization", "noise_low"): "noise_term",
    ("regularization", "noise_high"): "noise_term",
}


def tag(kind: type[msgspec.Struct]) -> str:
    """Return the value of the field ``kind`` in entries of this kind."""
    return str(kind.__struct_config__.tag)


def quantity(kind: type[msgspec.Struct], field: str) -> str | None:
    """The key of ``UNITS`` that a field's numbers are of; None for counts, names and times.

    Example:
        >>> from thetadot.records import Equilibrium, Motion
        >>> quantity(Motion, "kinetic"), quantity(Equilibrium, "kinetic"), quantity(Motion, "step")
        ('kinetic', 'kinetic_virial', None)
    """
    name = _OF_A_KIND.get((tag(kind), field)) or _EVERYWHERE.get(field, field)
    return name if name in UNITS else None
