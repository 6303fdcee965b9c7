"""What is compared, as text: ``sgd:lr=0.1|1,momentum=0.9``, ``untuned``, ``prodigyopt:Prodigy(lr=1.0)``.

    SPEC      = ONE, or several with ";" between: a grid over optimizers
    ONE       = "untuned" | NAME [SETTINGS] | MODULE:NAME [SETTINGS] | file.py:NAME [SETTINGS]
    SETTINGS  = ":" LIST | "(" LIST ")"
    LIST      = setting=value, ...
    value     = a number, True, False, None, a quoted string, a tuple of these, or several with "|" between: a grid

NAME is an optimizer of torch.optim in any case (sgd, adamw, ...), or ``run``: thetadot's own run with what is given.
``schedule`` (constant, cosine, linear) and ``batch_size`` are settings of every run. Values are literals, read by
Python's parser and never evaluated.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thetadot.errors import InadmissibleValue, TooLarge, require

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = "run"
"""Name of thetadot's own run, whose settings are those of :func:`thetadot.run`."""
UNTUNED = "untuned"
SCHEDULES = ("constant", "cosine", "linear")
MOST_POINTS = 1000
_LONGEST = 2000  # characters of a SPEC
_ECHOED = 120  # of them, in an error
_NAMED = 48  # of them, in the name of a grid
_WORDS = {"schedule", "optimizer", "annealing", "prefer"}  # settings whose values may be bare words
_ONE = re.compile(r"""(?:[^;'"]|'[^']*'|"[^"]*"|['"])+""")  # up to a ";" outside quotes
_SHAPE = re.compile(
    r"(?P<head>[^:()=,|]+:[^\W\d][\w.]*|[\w-]+)\s*(?::(?P<listed>[^()].*)|\((?P<called>.*)\))?", flags=re.DOTALL
)


@dataclass(frozen=True)
class GridPoint:
    """An optimizer with one value for every setting.

    Attributes:
        optimizer: a name in lower case, ``module:Name``, ``file.py:Name``, or :data:`OWN`.
        settings: of its constructor; of :func:`thetadot.run` where it is :data:`OWN`.
        schedule: of the learning rate.
        batch_size: None: that of the comparison.
    """

    optimizer: str
    settings: tuple[tuple[str, Any], ...] = ()
    schedule: str = "constant"
    batch_size: int | None = None

    @property
    def own(self) -> bool:
        """Whether the point is thetadot's own run, which counts what it costs itself."""
        return self.optimizer == OWN

    @property
    def label(self) -> str:
        """The point as a SPEC that can be given again.

        Example:
            >>> GridPoint("sgd", (("lr", 0.1), ("momentum", 0.9)), "cosine").label
            'sgd:lr=0.1,momentum=0.9,schedule=cosine'
        """
        if self == GridPoint(OWN):
            return UNTUNED
        listed = [f"{name}={value!r}" for name, value in self.settings]
        listed += [f"schedule={self.schedule}"] if self.schedule != "constant" else []
        listed += [f"batch_size={self.batch_size}"] if self.batch_size is not None else []
        return ":".join([self.optimizer, *([",".join(listed)] if listed else [])])

    @property
    def identity(self) -> str:
        """Text that two points share where they are the same, in whatever order their settings were written."""
        return json.dumps([self.optimizer, sorted(self.settings), self.schedule, self.batch_size])


@dataclass(frozen=True)
class Spec:
    """What a row of a comparison is of.

    Attributes:
        name: shown in tables.
        points: one, or those of a grid, of which one is chosen.
        text: the SPEC.
    """

    name: str
    points: tuple[GridPoint, ...]
    text: str = ""

    @property
    def grid(self) -> bool:
        """Whether there is something to choose."""
        return len(self.points) > 1

    @property
    def own(self) -> bool:
        """Whether the SPEC is thetadot's own run."""
        return self.points[0].own


def parse_spec(text: str, name: str | None = None) -> Spec:
    """Read a SPEC, the text that says what a row of a comparison is of.

    Args:
        text: as in this module's first lines.
        name: of the row; if None the text itself, or of a long grid a short one.

    Raises:
        InadmissibleValue: it is not one; a setting without a value, a value that is no literal or not finite.
        TooLarge: a grid of more than 1000 points.

    Example:
        >>> [point.label for point in parse_spec("sgd:lr=0.1|1,momentum=0.9").points]
        ['sgd:lr=0.1,momentum=0.9', 'sgd:lr=1,momentum=0.9']
        >>> [point.label for point in parse_spec("sgd:lr=0.1; adamw:lr=1e-3").points]
        ['sgd:lr=0.1', 'adamw:lr=0.001']
    """
    require(len(text) <= _LONGEST, f"a run of {len(text)} characters", f"is longer than {_LONGEST}", "Shorten it.")
    text = text.strip()
    parts = _ONE.findall(text)
    if sum(map(len, parts)) + len(parts) - 1 != len(text):  # a ";" with nothing before or after it
        raise _no_spec(text)
    points = tuple(dict.fromkeys(point for part in parts for point in _points(part.strip())))
    _require_few(text, len(points))
    if len(parts) > 1 and any(point.own for point in points):
        raise InadmissibleValue(
            f"run {_echoed(text)}: thetadot's own run cannot be a part of a grid with others, since they get what it "
            "cost as their budget. Give it as a run of its own."
        )
    return Spec(name or _row_name(text, points), points, text)


def _row_name(text: str, points: tuple[GridPoint, ...]) -> str:
    """The text, or of a long grid what it is of: names stand in sentences and tables."""
    if len(text) <= _NAMED or len(points) == 1:
        return text
    return f"{' or '.join(dict.fromkeys(point.optimizer for point in points))} (best of {len(points):,})"


def _points(text: str) -> Iterator[GridPoint]:
    """Points of a part of a SPEC, which are of one optimizer."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise _no_spec(text)
    head, listed = match["head"].strip(), match["listed"] if match["listed"] is not None else match["called"]
    optimizer = head if ":" in head else head.lower()
    settings = _listed_values(text, listed or "")
    if optimizer == UNTUNED:
        if settings:
            raise InadmissibleValue(
                f"run {_echoed(text)}: untuned is thetadot.run with nothing given. Write {OWN}:… to give settings, "
                "or leave them out."
            )
        optimizer = OWN
    _require_few(text, math.prod(len(values) for values in settings.values()))
    yield from _grid_points(text, optimizer, settings)


def _require_few(text: str, many: int) -> None:
    if many > MOST_POINTS:
        raise TooLarge(
            f"run {_echoed(text)} is a grid of {many:,} points, more than {MOST_POINTS:,}. Name fewer values."
        )


def _echoed(text: str) -> str:
    return repr(text if len(text) <= _ECHOED else text[:_ECHOED] + "…")


def _no_spec(text: str) -> InadmissibleValue:
    return InadmissibleValue(
        f"run {_echoed(text)} is no optimizer with settings. Write it as sgd:lr=0.1,momentum=0.9, as a grid "
        "sgd:lr=0.01|0.1, as module:Name(lr=1.0), or untuned."
    )


def _grid_points(text: str, optimizer: str, settings: dict[str, list[Any]]) -> Iterator[GridPoint]:
    for values in itertools.product(*settings.values()):
        given = dict(zip(settings, values, strict=True))
        schedule = given.pop("schedule", "constant") if optimizer != OWN else "constant"
        if schedule not in SCHEDULES:
            raise InadmissibleValue(
                f"run {_echoed(text)}: schedule={schedule!r} is unknown. Pass one of: {', '.join(SCHEDULES)}."
            )
        size = given.pop("batch_size", None)
        if size is not None and (type(size) is not int or size < 1):
            raise InadmissibleValue(f"run {_echoed(text)}: batch_size={size!r} is no whole number >= 1. Pass one.")
        yield GridPoint(optimizer, tuple(given.items()), schedule, size)


def _listed_values(text: str, listed: str) -> dict[str, list[Any]]:
    """Values of each setting; more than one is a grid."""
    try:
        call = ast.parse(f"f({listed}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InadmissibleValue(
            f"run {_echoed(text)}: its settings cannot be read ({getattr(error, 'msg', None) or error}). Write them as "
            "lr=0.1,momentum=0.9."
        ) from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "f":
        raise _no_spec(text)
    found: dict[str, list[Any]] = {}
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise InadmissibleValue(f"run {_echoed(text)}: a setting has no name. Write name=value for each of them.")
    for keyword in call.keywords:
        name = str(keyword.arg)
        require(name not in found, f"run {_echoed(text)}: {name}", "is given twice", "Leave one of them out.")
        values = [_parsed_literal(text, name, part) for part in _alternatives(keyword.value)]
        found[name] = list({repr(value): value for value in values}.values())
    return found


def _alternatives(node: ast.expr) -> list[ast.expr]:
    """Sides of every "|", from left to right."""
    found = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]


def _parsed_literal(text: str, name: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and name in _WORDS:
        return node.id
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InadmissibleValue(
            f"run {_echoed(text)}: {name}={ast.unparse(node)} is no number, True, False, None, quoted string or tuple "
            "of these. Write the value itself."
        ) from error
    return _writable_value(text, name, value)


def _writable_value(text: str, name: str, value: Any) -> Any:
    """The value, if a file can hold it; a list as a tuple."""
    if isinstance(value, list | tuple):
        return tuple(_writable_value(text, name, part) for part in value)
    whole = type(value) is int and abs(value) >= 2**63
    if whole or (isinstance(value, float) and not math.isfinite(value)):
        raise InadmissibleValue(f"run {_echoed(text)}: {name} is not finite, or beyond 2^63. Pass a smaller number.")
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InadmissibleValue(
            f"run {_echoed(text)}: {name} is a {type(value).__name__}. Pass a number, True, False, None, a string or a "
            "tuple."
        )
    return value
