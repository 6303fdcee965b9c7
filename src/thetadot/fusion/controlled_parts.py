r"""Pieces of kernels whose steps follow the error, as C++: lanes, the error, the decision, how paths come and go.

Bits of a path must not depend on where it lies: every loop over lanes has the same constant length, and runs whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.fusion.source import TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

COLUMNS = {
    "time": ("t", "double"),
    "length": ("length", "double"),
    "error_1": ("e1", "real"),
    "error_2": ("e2", "real"),
    "error_3": ("e3", "real"),
    "shortest": ("shortest", "double"),
    "longest": ("longest", "double"),
    "accepted": ("accepted", "int64_t"),
    "rejected": ("rejected", "int64_t"),
    "held_back": ("held", "bool"),
}
"""What is known of a path beside its variables and their slopes, in the order of the addresses: its name in a lane, and
its kind in memory."""
SETTINGS = (
    "rtol", "atol", "safety", "least", "most", "gain_1", "gain_2", "gain_3", "floor", "order", "roundings", "end",
    "sign", "tries", "bound",
)  # fmt: skip
"""Numbers of a call, in order.

Tolerances; the controller's factor safety·Π max(error_i, floor)^gain_i in [least, most]; the power q of the step that
the error is; roundings of time that are no step; the time to meet and the direction; tries of a path in this call,
and in all.
"""
LANES = 8
"""Paths that are computed side by side."""
CHUNK = 64
"""Paths that a thread takes at a time."""


@dataclass(frozen=True)
class Method:
    """An explicit method with an error estimate, as plain numbers.

    Attributes:
        rows: of each stage, what of the slopes so far leads to it.
        weights: that lead to the result.
        distance: weights less those of the other result.
        hands_over: whether the last stage stands at the result.
    """

    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    distance: tuple[float, ...]
    hands_over: bool


LANES_OF = r"""
typedef {real} real;
constexpr int W = {lanes}, N = {width}, C = {clocks}, K = C ? C : 1, S = {stages};
enum {{ {settings} }};
struct Lanes {{
    alignas(64) real y[N][W] = {{}}, z[N][W] = {{}}, k[S][N][W] = {{}}, last[N][W] = {{}};
    alignas(64) double c[K][W] = {{}}, d[K][W] = {{}}, kc[S][K][W] = {{}}, lastc[K][W] = {{}};
    alignas(64) real hs[W] = {{}}, e[W] = {{}}, zero[W] = {{}};
    alignas(64) double h[W] = {{}}, hd[W] = {{}}, left[W] = {{}}, now[W] = {{}};
    alignas(64) double t[W] = {{}}, length[W] = {{}}, e1[W] = {{}}, e2[W] = {{}}, e3[W] = {{}};
    alignas(64) double shortest[W] = {{}}, longest[W] = {{}};
    alignas(64) int64_t accepted[W] = {{}}, rejected[W] = {{}}, held[W] = {{}}, active[W] = {{}}, used[W] = {{}};
    alignas(64) int64_t done[W] = {{}}, stuck[W] = {{}}, taken[W] = {{}};
    int64_t path[W] = {{}};
}};
"""
"""What is known of the paths under way."""
NORM = r"""
// rms in units of the tolerance; tests that all is finite on the way
static inline void norm(const real (*away)[W], const real (*from)[W], const real (*to)[W], const double* set, real* e,
                        real* zero) {{
    const real rtol = real(set[s_rtol]), atol = real(set[s_atol]);
    #pragma omp simd
    for (int i = 0; i < W; i++) {{ e[i] = 0; zero[i] = 0; }}
    for (int n = 0; n < N; n++) {{
        #pragma omp simd
        for (int i = 0; i < W; i++) {{
            const real ratio = away[n][i] / (atol + rtol * greatest(std::abs(from[n][i]), std::abs(to[n][i])));
            e[i] += ratio * ratio;
            zero[i] += to[n][i] * real(0);
        }}
    }}
    #pragma omp simd
    for (int i = 0; i < W; i++) e[i] = std::sqrt(e[i] / real(N));
}}
"""
"""Root mean square in units of the tolerance."""
DECIDE = r"""
static inline void aim(Lanes& l, const double* set) {{
    const double sign = set[s_sign], end = set[s_end];
    #pragma omp simd
    for (int i = 0; i < W; i++) {{
        l.left[i] = sign * (end - l.t[i]);
        const double own = l.length[i] >= l.left[i] ? l.left[i] : l.length[i];
        l.h[i] = l.active[i] ? own : 0.0;
        l.hd[i] = sign * l.h[i];
    }}
    #pragma omp simd
    for (int i = 0; i < W; i++) l.hs[i] = real(l.hd[i]);
}}
static inline void decide(Lanes& l, const double* set) {{
    const double sign = set[s_sign], end = set[s_end];
    const double safety = set[s_safety], fewest = set[s_least], most = set[s_most];
    const double g1 = set[s_gain_1], g2 = set[s_gain_2], g3 = set[s_gain_3], lowest = set[s_floor];
    const double roundings = set[s_roundings], infinity = std::numeric_limits<double>::infinity();
    const int64_t tries = int64_t(set[s_tries]), bound = int64_t(set[s_bound]);
    #pragma omp simd
    for (int i = 0; i < W; i++) l.now[i] = l.zero[i] == real(0) ? double(l.e[i]) : infinity;
    {powers}
    #pragma omp simd
    for (int i = 0; i < W; i++) {{
        const double e = l.now[i], left = l.left[i], h = l.h[i], meant = l.length[i];
        const int64_t arrives = meant >= left, good = e <= 1.0, active = l.active[i], taken = active & good;
        double factor = f[i];
        factor = factor != factor ? fewest : factor;
        factor = factor < fewest ? fewest : factor;
        factor = factor > most ? most : factor;
        const int64_t grows = good & (l.held[i] == 0);
        factor = grows ? factor : (factor > 1.0 ? 1.0 : factor);
        const double next = factor * h, kept = next > meant ? next : meant;
        const double wanted = (good & arrives) ? kept : next;
        const double now = arrives ? end : l.t[i] + sign * h;
        const int64_t free = taken & (arrives == 0);
        l.t[i] = taken ? now : l.t[i];
        l.e3[i] = taken ? l.e2[i] : l.e3[i];
        l.e2[i] = taken ? l.e1[i] : l.e2[i];
        l.e1[i] = taken ? e : l.e1[i];
        l.length[i] = active ? wanted : meant;
        l.held[i] = active ? (good == 0) : l.held[i];
        l.shortest[i] = free & (h < l.shortest[i]) ? h : l.shortest[i];
        l.longest[i] = free & (h > l.longest[i]) ? h : l.longest[i];
        l.accepted[i] += taken;
        l.rejected[i] += active & (good == 0);
        l.used[i] += active;
        const int64_t arrived = taken & arrives;
        const double smallest = roundings * std::abs(l.t[i]);
        const int64_t stuck = active & (arrived == 0) & (l.length[i] <= smallest);
        const int64_t most_tried = l.accepted[i] + l.rejected[i] >= bound;
        l.stuck[i] = stuck | (active & (arrived == 0) & most_tried);
        l.done[i] = active & (arrived | l.stuck[i] | (l.used[i] >= tries));
        l.taken[i] = taken;
    }}
    alignas(64) real chosen[W];
    #pragma omp simd
    for (int i = 0; i < W; i++) chosen[i] = real(l.taken[i]);
    for (int n = 0; n < N; n++) {{
        #pragma omp simd
        for (int i = 0; i < W; i++) {{
            l.y[n][i] = chosen[i] != real(0) ? l.z[n][i] : l.y[n][i];
            l.k[0][n][i] = chosen[i] != real(0) ? {last}[n][i] : l.k[0][n][i];
        }}
    }}
    for (int n = 0; n < C; n++) {{
        #pragma omp simd
        for (int i = 0; i < W; i++) {{
            l.c[n][i] = l.taken[i] ? l.d[n][i] : l.c[n][i];
            l.kc[0][n][i] = l.taken[i] ? {lastc}[n][i] : l.kc[0][n][i];
        }}
    }}
}}
"""
"""The length of a step before it is tried; after it, whether it is taken, and the next one."""
PUT_AND_TAKE = r"""
static __attribute__((noinline)) void put(Lanes& l, int i, int64_t p, const int64_t* at) {{
    l.path[i] = p;
    {load_variables}
    {load_slopes}
    {load_columns}
    l.used[i] = 0;
}}
static __attribute__((noinline)) void take(const Lanes& l, int i, const int64_t* at) {{
    const int64_t p = l.path[i];
    {store_variables}
    {store_slopes}
    {store_columns}
}}
"""
"""A path into its lane, and out again."""
# x^a = e^(a log x), by the vector functions of the C library
POWERS = """alignas(64) double f[W], a1[W], a2[W];
    #pragma omp simd
    for (int i = 0; i < W; i++) a1[i] = std::log(l.now[i] > lowest ? l.now[i] : lowest);
    #pragma omp simd
    for (int i = 0; i < W; i++) a2[i] = std::log(l.e1[i] > lowest ? l.e1[i] : lowest);
    #pragma omp simd
    for (int i = 0; i < W; i++) f[i] = g1 * a1[i] + g2 * a2[i];
    if (g3 != 0) {
        #pragma omp simd
        for (int i = 0; i < W; i++) a2[i] = std::log(l.e2[i] > lowest ? l.e2[i] : lowest);
        #pragma omp simd
        for (int i = 0; i < W; i++) f[i] += g3 * a2[i];
    }
    #pragma omp simd
    for (int i = 0; i < W; i++) f[i] = safety * std::exp(f[i]);"""


def moved(shares: Sequence[float]) -> list[str]:
    """The place that shares of the slopes lead to."""
    return [
        *loop("N", f"l.z[n][i] = l.y[n][i] + {summed('l.hs[i]', 'real', 'l.k', shares)};"),
        *loop("C", f"l.d[n][i] = l.c[n][i] + {summed('l.hd[i]', 'double', 'l.kc', shares)};"),
    ]


def summed(step: str, kind: str, slopes: str, shares: Sequence[float]) -> str:
    """Shares of the slopes, times the step, one after the other."""
    terms = [f"({kind}({float(a).hex()}) * {step}) * {slopes}[{j}][n][i]" for j, a in enumerate(shares) if a]
    return " + ".join(terms) or "0"


def loop(count: str, statement: str) -> list[str]:
    """Over components and lanes."""
    return [
        f"for (int n = 0; n < {count}; n++) {{",
        "    #pragma omp simd",
        f"    for (int i = 0; i < W; i++) {statement}",
        "}",
    ]


def constants(
    variables: Mapping[str, int], clocks: Sequence[str], dtype: torch.dtype, method: Method
) -> dict[str, str | int]:
    """Return the constants that fill the source templates, given variables, clocks and method."""
    last = ("l.k[S - 1]", "l.kc[S - 1]") if method.hands_over else ("l.last", "l.lastc")
    return {
        "real": TYPES[dtype],
        "lanes": LANES,
        "width": sum(variables.values()),
        "clocks": len(clocks),
        "stages": len(method.rows),
        "settings": ", ".join(f"s_{name}" for name in SETTINGS),
        "powers": POWERS,
        "last": last[0],
        "lastc": last[1],
        **_lane_moves(variables, clocks, TYPES[dtype]),
    }


def _lane_moves(variables: Mapping[str, int], clocks: Sequence[str], real: str) -> dict[str, str]:
    """How a path comes into its lane, and out again."""
    found: dict[str, list[str]] = {f"{way}_{what}": [] for way in ("load", "store") for what in _WHAT}
    columns = len(variables) + len(clocks)

    place = 0
    for number, (_, width) in enumerate(variables.items()):
        for what, lane, address in (("variables", "l.y", number), ("slopes", "l.k[0]", columns + number)):
            element = f"(({real}*)at[{address}])[p * {width} + n]"
            found[f"load_{what}"].append(f"for (int n = 0; n < {width}; n++) {lane}[{place} + n][i] = {element};")
            found[f"store_{what}"].append(f"for (int n = 0; n < {width}; n++) {element} = {lane}[{place} + n][i];")
        place += width
    for number in range(len(clocks)):
        address = len(variables) + number
        for what, lane, own in (("variables", "l.c", address), ("slopes", "l.kc[0]", columns + address)):
            element = f"((double*)at[{own}])[p]"
            found[f"load_{what}"].append(f"{lane}[{number}][i] = {element};")
            found[f"store_{what}"].append(f"{element} = {lane}[{number}][i];")
    for number, (lane, kind) in enumerate(COLUMNS.values()):
        element = f"(({real if kind == 'real' else kind}*)at[{2 * columns + number}])[p]"
        found["load_columns"].append(f"l.{lane}[i] = {element};")
        found["store_columns"].append(f"{element} = l.{lane}[i];")
    return {name: "\n    ".join(lines) for name, lines in found.items()}


_WHAT = ("variables", "slopes", "columns")
