r"""Runge-Kutta steps that follow the error, as C++: what is computed of a path, and how it comes into its lane.

The rules of acceptance and of the next step are those of :mod:`thetadot.integrators.controlling`, which knows why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.fusion.march import VECTORS
from thetadot.fusion.source import PREAMBLE, TYPES, Writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.fusion.components import Components

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


_MAIN = r"""
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
// one body for all who call it: written out at two places, it might be rounded in two ways
static __attribute__((noinline, noclone)) void slopes(const double* shared, const real (*y)[W], const double (*c)[W],
                                                      real (*k)[W], double (*kc)[W]) {{
    {numbers}
    #pragma omp simd
    for (int i = 0; i < W; i++) {{
        {body}
    }}
}}
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
static inline void trial(Lanes& l, const double* shared, const double* set) {{
    const double sign = set[s_sign], end = set[s_end];
    const double safety = set[s_safety], fewest = set[s_least], most = set[s_most];
    const double g1 = set[s_gain_1], g2 = set[s_gain_2], g3 = set[s_gain_3], lowest = set[s_floor];
    const double roundings = set[s_roundings], infinity = std::numeric_limits<double>::infinity();
    const int64_t tries = int64_t(set[s_tries]), bound = int64_t(set[s_bound]);
    #pragma omp simd
    for (int i = 0; i < W; i++) {{
        l.left[i] = sign * (end - l.t[i]);
        const double own = l.length[i] >= l.left[i] ? l.left[i] : l.length[i];
        l.h[i] = l.active[i] ? own : 0.0;
        l.hd[i] = sign * l.h[i];
    }}
    #pragma omp simd
    for (int i = 0; i < W; i++) l.hs[i] = real(l.hd[i]);
    {steps}
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
extern "C" void march(int64_t paths, const int64_t* at, const double* shared, const double* set, int64_t* counted,
                      int threads) {{
    const int64_t chunk = threads > 1 ? {chunk} : paths, chunks = (paths + chunk - 1) / chunk;
    int64_t under_way = 0, stuck = 0;
    #pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1) reduction(+ : under_way, stuck)
    for (int64_t b = 0; b < chunks; b++) {{
        Lanes l;
        int64_t next = b * chunk, stop = next + chunk < paths ? next + chunk : paths, active = 0;
        const double* times = (const double*)at[{time}];
        const auto fill = [&](int i) {{
            while (next < stop && !(set[s_sign] * (set[s_end] - times[next]) > 0)) next++;
            l.active[i] = next < stop;
            if (next < stop) {{ put(l, i, next++, at); active++; }}
        }};
        for (int i = 0; i < W; i++) fill(i);
        while (active) {{
            trial(l, shared, set);
            int64_t any = 0;
            #pragma omp simd reduction(| : any)
            for (int i = 0; i < W; i++) any |= l.done[i];
            if (!any) continue;
            for (int i = 0; i < W; i++) if (l.done[i]) {{
                under_way += set[s_sign] * (set[s_end] - l.t[i]) > 0;
                stuck += l.stuck[i];
                take(l, i, at);
                active--;
                fill(i);
            }}
        }}
    }}
    counted[0] = under_way; counted[1] = stuck;
}}
extern "C" void begin(int64_t paths, const int64_t* at, const double* shared, const double* set, int64_t*,
                      int threads) {{
    const int64_t groups = (paths + W - 1) / W;
    #pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t b = 0; b < groups; b++) {{
        Lanes l;
        const int64_t start = b * W, count = paths - start < W ? paths - start : W;
        for (int64_t i = 0; i < count; i++) put(l, i, start + i, at);
        slopes(shared, l.y, l.c, l.k[0], l.kc[0]);
        int64_t unknown = 0;
        for (int64_t i = 0; i < count; i++) unknown |= l.length[i] == 0;
        if (unknown) guess(l, shared, set);
        for (int64_t i = 0; i < count; i++) take(l, i, at);
    }}
}}
"""
# Hairer's: an Euler step of a hundredth of the state, then one that the curvature allows.
_GUESS = r"""
static __attribute__((noinline)) void guess(Lanes& l, const double* shared, const double* set) {{
    alignas(64) real turned[N][W], size[W], speed[W], bend[W];
    norm(l.y, l.y, l.y, set, size, l.zero);
    norm(l.k[0], l.y, l.y, set, speed, l.zero);
    for (int i = 0; i < W; i++) {{
        const bool tiny = size[i] < 1e-5 || speed[i] < 1e-5;
        l.h[i] = tiny ? 1e-6 : 0.01 * double(size[i]) / double(speed[i]);
        l.hd[i] = set[s_sign] * l.h[i];
        l.hs[i] = real(l.hd[i]);
    }}
    for (int n = 0; n < N; n++) for (int i = 0; i < W; i++) l.z[n][i] = l.y[n][i] + l.hs[i] * l.k[0][n][i];
    for (int n = 0; n < C; n++) for (int i = 0; i < W; i++) l.d[n][i] = l.c[n][i] + l.hd[i] * l.kc[0][n][i];
    slopes(shared, l.z, l.d, l.last, l.lastc);
    for (int n = 0; n < N; n++) for (int i = 0; i < W; i++) turned[n][i] = l.last[n][i] - l.k[0][n][i];
    norm(turned, l.y, l.y, set, bend, l.zero);
    for (int i = 0; i < W; i++) {{
        const double h = l.h[i], bent = double(bend[i]) / h > double(speed[i]) ? double(bend[i]) / h : double(speed[i]);
        const double flat = 1e-3 * h > 1e-6 ? 1e-3 * h : 1e-6;
        const double allowed = bent <= 1e-15 ? flat : std::pow(0.01 / bent, 1.0 / set[s_order]);
        const double found = allowed < 100.0 * h ? allowed : 100.0 * h;
        const bool known = found > 0 && found < std::numeric_limits<double>::infinity();
        l.length[i] = l.length[i] != 0 ? l.length[i] : known ? found : 1e-6;
    }}
}}
"""


def source(
    components: Components, variables: Mapping[str, int], clocks: Sequence[str], dtype: torch.dtype, method: Method
) -> str:
    """The C++ of a field and a method; of the arguments of :class:`ControlledMarch`."""
    program = components.program
    places = [f"{name}_{i}" for name, width in variables.items() for i in range(width)]
    names = {name: f"shared[{i}]" for i, name in enumerate(components.constants)}
    own = {name: f"y[{n}][i]" for n, name in enumerate(places)} | {f"{c}_0": f"c[{n}][i]" for n, c in enumerate(clocks)}
    writer = Writer(program, names | {name: f"x_{name}" for name in program.inputs if name in own})
    numbers = writer.statements(numbers=True)
    kinds = dict.fromkeys(places, TYPES[dtype]) | {f"{name}_0": "double" for name in clocks}
    loads = [f"const {kinds[name]} x_{name} = {own[name]};" for name in program.inputs if name in own]
    body = writer.statements(numbers=False)
    stores = [f"k[{n}][i] = {writer.value(program.outputs[name], dtype)};" for n, name in enumerate(places)]
    for n, name in enumerate(clocks):
        value = program.outputs.get(f"{name}_0", program.outputs.get(name))
        stores.append(f"kc[{n}][i] = {writer.value(value, torch.float64)};")
    columns = len(variables) + len(clocks)
    parts = _moves(variables, clocks, TYPES[dtype])
    last = ("l.k[S - 1]", "l.kc[S - 1]") if method.hands_over else ("l.last", "l.lastc")
    main = _MAIN.format(
        real=TYPES[dtype],
        lanes=LANES,
        width=len(places),
        clocks=len(clocks),
        stages=len(method.rows),
        settings=", ".join(f"s_{name}" for name in SETTINGS),
        numbers="\n    ".join(numbers),
        body="\n        ".join([*loads, *body, *stores]),
        steps="\n    ".join(_steps(method)),
        powers=_POWERS,
        last=last[0],
        lastc=last[1],
        chunk=CHUNK,
        time=2 * columns,
        **parts,
    )
    before, after = main.split('extern "C" void march', 1)
    return _VECTORS_AND_PREAMBLE + before + _GUESS.format() + 'extern "C" void march' + after


_VECTORS_AND_PREAMBLE = VECTORS + PREAMBLE
# x^a = e^(a log x), by the vector functions of the C library
_POWERS = """alignas(64) double f[W], a1[W], a2[W];
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


def _steps(method: Method) -> list[str]:
    """The stages, the result, its slopes and its error."""
    lines = []
    for stage, row in enumerate(method.rows[1:], start=1):
        lines += _moved(row)
        lines.append(f"slopes(shared, l.z, l.d, l.k[{stage}], l.kc[{stage}]);")
    if not method.hands_over:
        lines += _moved(method.weights)
        lines.append("slopes(shared, l.z, l.d, l.last, l.lastc);")
    away = _sum("l.hs[i]", "real", "l.k", method.distance)
    lines.append("{ alignas(64) real away[N][W];")
    lines += _loop("N", f"away[n][i] = {away};")
    lines.append("norm(away, l.y, l.z, set, l.e, l.zero); }")
    return lines


def _moved(shares: Sequence[float]) -> list[str]:
    return [
        *_loop("N", f"l.z[n][i] = l.y[n][i] + {_sum('l.hs[i]', 'real', 'l.k', shares)};"),
        *_loop("C", f"l.d[n][i] = l.c[n][i] + {_sum('l.hd[i]', 'double', 'l.kc', shares)};"),
    ]


def _sum(step: str, kind: str, slopes: str, shares: Sequence[float]) -> str:
    terms = [f"({kind}({float(a).hex()}) * {step}) * {slopes}[{j}][n][i]" for j, a in enumerate(shares) if a]
    return " + ".join(terms) or "0"


def _loop(count: str, statement: str) -> list[str]:
    return [
        f"for (int n = 0; n < {count}; n++) {{",
        "    #pragma omp simd",
        f"    for (int i = 0; i < W; i++) {statement}",
        "}",
    ]


def _moves(variables: Mapping[str, int], clocks: Sequence[str], real: str) -> dict[str, str]:
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
