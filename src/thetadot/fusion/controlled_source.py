r"""Runge-Kutta steps that follow the error, as C++, with the field written out: all of a march in one kernel.

The rules of acceptance and of the next step are those of :mod:`thetadot.integrators.controlling`, which knows why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.fusion.controlled_parts import (
    CHUNK,
    DECIDE,
    LANES_OF,
    NORM,
    PUT_AND_TAKE,
    Method,
    constants,
    loop,
    moved,
    summed,
)
from thetadot.fusion.march import VECTORS
from thetadot.fusion.source import PREAMBLE, TYPES, SourceWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.fusion.components import Components

_SLOPES = r"""
// one body for all who call it: written out at two places, it might be rounded in two ways
static __attribute__((noinline, noclone)) void slopes(const double* shared, const real (*y)[W], const double (*c)[W],
                                                      real (*k)[W], double (*kc)[W]) {{
    {numbers}
    #pragma omp simd
    for (int i = 0; i < W; i++) {{
        {body}
    }}
}}
"""
_TRIAL = r"""
static inline void trial(Lanes& l, const double* shared, const double* set) {{
    aim(l, set);
    {steps}
    decide(l, set);
}}
"""
_ENTRIES = r"""
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
    writer = SourceWriter(program, names | {name: f"x_{name}" for name in program.inputs if name in own})
    numbers = writer.statements(numbers=True)
    kinds = dict.fromkeys(places, TYPES[dtype]) | {f"{name}_0": "double" for name in clocks}
    loads = [f"const {kinds[name]} x_{name} = {own[name]};" for name in program.inputs if name in own]
    body = writer.statements(numbers=False)
    stores = [f"k[{n}][i] = {writer.value(program.outputs[name], dtype)};" for n, name in enumerate(places)]
    for n, name in enumerate(clocks):
        value = program.outputs.get(f"{name}_0", program.outputs.get(name))
        stores.append(f"kc[{n}][i] = {writer.value(value, torch.float64)};")
    main = (LANES_OF + _SLOPES + NORM + DECIDE + _TRIAL + PUT_AND_TAKE + _GUESS + _ENTRIES).format(
        **constants(variables, clocks, dtype, method),
        numbers="\n    ".join(numbers),
        body="\n        ".join([*loads, *body, *stores]),
        steps="\n    ".join(_steps(method)),
        chunk=CHUNK,
        time=2 * (len(variables) + len(clocks)),
    )
    return VECTORS + PREAMBLE + main


def _steps(method: Method) -> list[str]:
    """The stages, the result, its slopes and its error."""
    lines = []
    for stage, row in enumerate(method.rows[1:], start=1):
        lines += moved(row)
        lines.append(f"slopes(shared, l.z, l.d, l.k[{stage}], l.kc[{stage}]);")
    if not method.hands_over:
        lines += moved(method.weights)
        lines.append("slopes(shared, l.z, l.d, l.last, l.lastc);")
    away = summed("l.hs[i]", "real", "l.k", method.distance)
    lines.append("{ alignas(64) real away[N][W];")
    lines += loop("N", f"away[n][i] = {away};")
    lines.append("norm(away, l.y, l.z, set, l.e, l.zero); }")
    return lines
