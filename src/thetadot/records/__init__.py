"""The contract between what measures and what shows: a versioned, append-only record of a run."""

from thetadot.records.export import export
from thetadot.records.follow import Follower
from thetadot.records.loss_curve import LossCurve, loss_curve
from thetadot.records.observed import Barrier, Draws, End, Equilibrium, Layers, Regularization, Remark, Setting, Watched
from thetadot.records.reader import Record, opened, read
from thetadot.records.rows import Rows
from thetadot.records.schema import (
    SCHEMA,
    UNITS,
    VERSION,
    Choice,
    Constant,
    Curvature,
    Entry,
    Epoch,
    Extension,
    Fork,
    Header,
    Motion,
    Noise,
    Result,
    Rollback,
    Trial,
)
from thetadot.records.standing import standing
from thetadot.records.step_losses import Losses, StepLosses
from thetadot.records.text import to_csv, to_json
from thetadot.records.writer import Writer

__all__ = [
    "SCHEMA",
    "UNITS",
    "VERSION",
    "Barrier",
    "Choice",
    "Constant",
    "Curvature",
    "Draws",
    "End",
    "Entry",
    "Epoch",
    "Equilibrium",
    "Extension",
    "Follower",
    "Fork",
    "Header",
    "Layers",
    "LossCurve",
    "Losses",
    "Motion",
    "Noise",
    "Record",
    "Regularization",
    "Remark",
    "Result",
    "Rollback",
    "Rows",
    "Setting",
    "StepLosses",
    "Trial",
    "Watched",
    "Writer",
    "export",
    "loss_curve",
    "opened",
    "read",
    "standing",
    "to_csv",
    "to_json",
]
