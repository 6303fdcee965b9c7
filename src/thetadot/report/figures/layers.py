"""Layer against time: what each layer's update, gradient and noise came to."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, LogColorMapper
from bokeh.palettes import Cividis256

from thetadot.core.formatting import plain
from thetadot.records import Layers, Noise, standing
from thetadot.report.figures.frame import Timeline, hover
from thetadot.report.figures.picture import Panel, Picture, Show
from thetadot.report.names import abbreviated, clean
from thetadot.report.series import LARGEST, by_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.runs import RecordedRun
    from thetadot.report.series import Array

MOST_ROWS = 200
MOST_COLUMNS = 100
SHORTEST, LONGEST = 18, 120
"""Letters of a layer's name beside the picture, and in its tooltip."""
QUANTITIES = (
    ("update", "update / weight", "How much of itself a layer moves in a step"),
    ("gradient", "gradient norm", "Length of a layer's gradient"),
    ("noise", "noise trΣ", "Variance of a layer's gradient"),
)


@dataclass(frozen=True)
class Sheet:
    """One quantity of a run: a row a layer, a column a stretch of steps; NaN where there is nothing."""

    cells: Array
    start: float
    end: float


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """A panel for each run, with one image a quantity; None where no layer was recorded."""
    sheets = {run.index: (names, found) for run in runs for names, found in [_sheets(run)] if found}
    if not sheets:
        return None
    ends = {
        name: limits
        for name, *_ in QUANTITIES
        if (limits := _colour_range([found[name].cells for _, found in sheets.values() if name in found]))
    }
    shows = tuple(
        Show(name, label, *(plain(end, 2) for end in ends[name])) for name, label, _ in QUANTITIES if name in ends
    )
    if not shows:
        return None
    panels = [
        _layer_panel(run, timeline, *sheets[run.index], ends, shows[0].name) for run in runs if run.index in sheets
    ]
    return Picture(
        name="layers",
        heading="Layer by layer: update, gradient and noise",
        reading="Each row is a layer, from the first at the top; each colour a factor, not an amount. A dark row "
        "hardly learns; a bright one moves fast. Rows of one colour mean that the learning rate suits all. "
        "Usual is an update of about a thousandth of the weight a step. Empty cells had no gradient, or a rollback "
        "undid them.",
        says=tuple(_layers_sentence(*sheets[run.index]) if run.index in sheets else "" for run in runs),
        panels=tuple(panels),
        shows=shows,
    )


def _sheets(run: RecordedRun) -> tuple[list[str], dict[str, Sheet]]:
    names = list(run.record.layers)
    rows, noises = standing(run.record, Layers)[0], standing(run.record, Noise)[0]
    for name in ("gradient", "weight", "update"):
        rows = rows.where(rows.counts(name) == len(names))
    noises = noises.where(noises.counts("layers") == len(names))
    if not names or not (rows or noises):
        return names, {}
    groups = grouped(names)
    members = np.array([place for place, (_, inside) in enumerate(groups) for _ in inside])
    order = np.array([layer for _, inside in groups for layer in inside])

    def total(values: Array, power: float) -> Array:
        sums = np.zeros((values.shape[0], len(groups)))
        good = np.where(np.abs(values) < LARGEST, values, 0.0)
        np.add.at(sums.T, members, good[:, order].T ** power)
        return sums ** (1 / power)

    found = {}
    if rows:
        ratio, norm = (_Sums(by_step(rows), len(groups), run.undone) for _ in range(2))
        for places, parts in rows.tables("gradient", "weight", "update"):
            gradient, weight, update = (total(part, 2.0) for part in parts)
            ratio.add(places, np.divide(update, weight, out=np.full_like(update, np.nan), where=weight > 0))
            norm.add(places, gradient)
        found = {"update": ratio.sheet(), "gradient": norm.sheet()}
    if noises:
        variance = _Sums(by_step(noises), len(groups), run.undone)
        for places, (part,) in noises.tables("layers"):
            variance.add(places, total(np.maximum(part, 0.0), 1.0))
        found["noise"] = variance.sheet()
    return [name for name, _ in groups], found


def grouped(names: Sequence[str], most: int = MOST_ROWS) -> list[tuple[str, list[int]]]:
    """Layers as rows: each its own, or by the longest common beginnings that leave at most ``most`` rows.

    Example:
        >>> grouped(["a.0.w", "a.0.b", "a.1.w", "b.w"], most=3)
        [('a.0.* (2 layers)', [0, 1]), ('a.1.w', [2]), ('b.w', [3])]
    """
    if len(names) <= most:
        return [(name, [place]) for place, name in enumerate(names)]
    deepest = min(max(name.count(".") for name in names), 12)
    for depth in range(deepest, 0, -1):
        heads: dict[str, list[int]] = defaultdict(list)
        for place, name in enumerate(names):
            heads[".".join(name.split(".")[:depth])].append(place)
        if len(heads) <= most:
            return [
                (names[inside[0]], inside) if len(inside) == 1 else (f"{head}.* ({len(inside)} layers)", inside)
                for head, inside in heads.items()
            ]
    size = math.ceil(len(names) / most)
    starts = range(0, len(names), size)
    return [
        (f"{names[at]} and after ({len(range(at, min(at + size, len(names))))} layers)",
         list(range(at, min(at + size, len(names)))))
        for at in starts
    ]  # fmt: skip


class _Sums:
    """Values over equal stretches of steps, summed some thousands of entries at a time.

    Args:
        steps: of all entries.
        width: how many values each has.
        undone: stretches of steps in which nothing stands.
    """

    def __init__(self, steps: Array, width: int, undone: Sequence[tuple[float, float]] = ()) -> None:
        good = np.isfinite(steps)
        known = steps[good]
        self._start, self._end, columns = 0.0, 1.0, min(len(known), MOST_COLUMNS)
        self._place = np.full(len(steps), -1)
        if len(known):
            self._start = float(known[0])
            self._end = float(known[-1] + ((known[-1] - known[0]) / max(len(known) - 1, 1) or 1.0))
            along = (known - self._start) / (self._end - self._start) * columns
            self._place[good] = np.clip(along.astype(np.int64), 0, columns - 1)
        self._entries = np.bincount(self._place[good], minlength=columns)
        middle = self._start + (np.arange(columns) + 0.5) / max(columns, 1) * (self._end - self._start)
        inside = [(middle > back) & (middle <= step) for back, step in undone]
        self._undone = np.any(inside, axis=0) if inside else np.zeros(columns, dtype=np.bool_)
        self._sums, self._counts = np.zeros((columns, width)), np.zeros((columns, width), dtype=np.int64)

    def add(self, places: slice, values: Array) -> None:
        """The values of these entries; what is not positive is not there."""
        place = self._place[places]
        seen = (values > 0) & (place >= 0)[:, None]
        if seen.any():
            runs = np.flatnonzero(np.diff(place, prepend=-2))
            np.add.at(self._sums, place[runs], np.add.reduceat(np.where(seen, values, 0.0), runs))
            np.add.at(self._counts, place[runs], np.add.reduceat(seen, runs, dtype=np.int64))

    def sheet(self) -> Sheet:
        """The mean of each stretch, or what was last known where it has no entry; nothing where all was undone."""
        if not len(self._entries):
            return Sheet(np.full((self._sums.shape[1], 1), np.nan), 0.0, 1.0)
        cells = np.divide(self._sums, self._counts, out=np.full_like(self._sums, np.nan), where=self._counts > 0)
        known = np.maximum.accumulate(np.where(self._entries > 0, np.arange(len(cells)), 0))
        held = np.where((self._undone & (self._entries == 0))[:, None], np.nan, cells[known])
        return Sheet(held.T, self._start, self._end)


def _colour_range(tables: Sequence[Array]) -> tuple[float, float] | None:
    """Return the colour range: all but the outermost hundredths, at least a factor of ten."""
    every = np.concatenate([table[np.isfinite(table)] for table in tables]) if tables else np.zeros(0)
    if not len(every):
        return None
    low, high = (float(end) for end in np.percentile(every, [1, 99]))
    middle = math.sqrt(low) * math.sqrt(high)
    return min(low, middle / math.sqrt(10)), max(high, middle * math.sqrt(10))


def _layer_panel(
    run: RecordedRun, timeline: Timeline, names: Sequence[str], found: dict[str, Sheet],
    ends: dict[str, tuple[float, float]], first: str,
) -> Panel:  # fmt: skip
    rows = len(names)
    pitch = 22 if rows <= 20 else 15 if rows <= 60 else 11
    plot = timeline.axes(pitch * rows + 60, (0.0, float(rows)), only=run)
    _labels(plot, names, pitch)
    for name, sheet in found.items():
        if name not in ends:
            continue
        low, high = ends[name]
        source = ColumnDataSource({
            "image": [row[None, :].astype(np.float32) for row in sheet.cells],
            "y": np.arange(rows - 1.0, -1.0, -1.0),
            "layer": [clean(each, LONGEST) for each in names],
        })  # fmt: skip
        mapper = LogColorMapper(palette=Cividis256, low=low, high=high, nan_color="rgba(0,0,0,0)")
        width = sheet.end - sheet.start
        image = plot.image(image="image", y="y", source=source, x=sheet.start, dw=width, dh=1)
        image.glyph.color_mapper = mapper
        image.visible = name == first
        label = next(label for key, label, _ in QUANTITIES if key == name)
        hover(plot, run, run.own(image, show=name), [("layer", "@layer"), ("step", "$x{0,0}"), (label, "@image{%.3g}")])
    title = f"{run.name}: layers from first (top) to last" if run.several else "Layers from first (top) to last"
    return Panel(title, "", plot, run.index if run.several else None)


def _labels(plot: figure, names: Sequence[str], pitch: int) -> None:
    rows = len(names)
    at = [rows - place - 0.5 for place in range(rows)]
    plot.yaxis[0].ticker = FixedTicker(ticks=at)
    shown = [abbreviated(name, SHORTEST) for name in names]
    plot.yaxis[0].major_label_overrides = dict(zip(at, shown, strict=True))
    plot.yaxis[0].major_label_text_font_size = "10px" if pitch > 12 else "9px"
    plot.ygrid[0].visible = False
    plot.yaxis[0].major_label_standoff = 2


def _layers_sentence(names: Sequence[str], found: dict[str, Sheet]) -> str:
    if "update" not in found:
        return ""
    cells = found["update"].cells
    last = cells[:, -max(cells.shape[1] // 10, 1) :]
    counts = np.isfinite(last).sum(axis=1)
    sums = np.where(np.isfinite(last), last, 0.0).sum(axis=1)
    mean = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    known = np.flatnonzero(np.isfinite(mean))
    if len(known) < 2:
        return ""
    fast, slow = known[mean[known].argmax()], known[mean[known].argmin()]
    return (
        f"At the end layer {clean(names[fast], 60)} moved most in a step, {plain(float(mean[fast]), 2)} of its "
        f"length, and layer {clean(names[slow], 60)} least, {plain(float(mean[slow]), 2)}."
    )
