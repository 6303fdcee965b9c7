r"""Tableaus of explicit Runge-Kutta methods: a method is its numbers.

    k_i = f(t + c_i γ, x + γ Σ_{j<i} a_ij k_j),    x' = x + γ Σ b_i k_i,    c_i = Σ_j a_ij

Entries are fractions, so that the order conditions hold exactly and not to rounding.

Source:
    Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I" (1993), II.1, II.4 and II.5; Bogacki,
    Shampine (1989); Dormand, Prince (1980).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from thetadot.core.failures import explained
from thetadot.errors import InadmissibleValue

Number = Fraction | float


@explained
@dataclass(frozen=True)
class Tableau:
    """An explicit method of s stages.

    Args:
        name: as the field calls it.
        matrix: a below its diagonal: row i has i numbers, so the first is empty.
        weights: b, s numbers of sum 1.
        order: p, of the result.
        embedded: b̂, weights of a second result, whose distance from the first estimates the error; or None.
        embedded_order: its order, 0 without one.

    Raises:
        InadmissibleValue: numbers of another shape, or weights whose sum is not 1.

    Example:
        >>> [str(node) for node in KUTTA3.nodes]
        ['0', '1/2', '1']
    """

    name: str
    matrix: tuple[tuple[Number, ...], ...]
    weights: tuple[Number, ...]
    order: int
    embedded: tuple[Number, ...] | None = None
    embedded_order: int = 0

    def __post_init__(self) -> None:
        lengths = [len(row) for row in self.matrix]
        if not lengths or lengths != list(range(len(self.weights))):
            raise InadmissibleValue(
                f"matrix has rows of {lengths} numbers for {len(self.weights)} weights. Pass an explicit method's: "
                "row i has i numbers, from 0, one row a weight."
            )
        for name, weights in (("weights", self.weights), ("embedded", self.embedded)):
            if weights is not None and (len(weights) != len(lengths) or abs(float(sum(weights)) - 1.0) > 1e-12):
                raise InadmissibleValue(
                    f"{name} are {len(weights)} numbers of sum {float(sum(weights)):g}. Pass {len(lengths)} of sum 1."
                )

        # what is stepped with: plain numbers, found once
        stages = max(index for index, weight in enumerate(self.weights) if weight != 0) + 1
        rows = [(*row, Fraction(0)) for row in self.matrix[:stages]]
        ends = (*self.matrix[1:stages], self.weights[:stages])
        steps = (
            tuple(float(end - here) for end, here in zip(*pair, strict=True)) for pair in zip(ends, rows, strict=True)
        )
        object.__setattr__(self, "_stages", stages)
        object.__setattr__(self, "_moves", tuple(steps))
        other = self.embedded or self.weights
        distance = tuple(float(b - beside) for b, beside in zip(self.weights, other, strict=True))
        matrix = tuple(tuple(map(float, row)) for row in self.matrix)
        object.__setattr__(self, "_floats", (matrix, tuple(map(float, self.weights)), distance))

    @property
    def nodes(self) -> tuple[Number, ...]:
        """c, where in the step a stage stands."""
        return tuple(sum(row, Fraction(0)) for row in self.matrix)

    @property
    def stages(self) -> int:
        """Stages that the result needs; an embedded result may need more."""
        return self._stages  # type: ignore[attr-defined, no-any-return]

    @property
    def moves(self) -> tuple[tuple[float, ...], ...]:
        """Weights of the slopes that lead from each stage's place to the next one's, or to the end."""
        return self._moves  # type: ignore[attr-defined, no-any-return]

    @property
    def floats(self) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...], tuple[float, ...]]:
        """Rows, weights, and what the weights of the two results differ by."""
        return self._floats  # type: ignore[attr-defined, no-any-return]

    @property
    def hands_over(self) -> bool:
        """Whether the last stage stands at the result, so that its slope is the next step's first."""
        return self.weights[-1] == 0 and self.matrix[-1] == self.weights[:-1]

    def __repr__(self) -> str:
        return self.name


def _fractions(numbers: str) -> tuple[Fraction, ...]:
    return tuple(map(Fraction, numbers.split()))


def _rows(*rows: str) -> tuple[tuple[Fraction, ...], ...]:
    return ((), *map(_fractions, rows))


MIDPOINT = Tableau("MIDPOINT", _rows("1/2"), _fractions("0 1"), order=2)
HEUN = Tableau("HEUN", _rows("1"), _fractions("1/2 1/2"), order=2, embedded=_fractions("1 0"), embedded_order=1)
RALSTON = Tableau("RALSTON", _rows("2/3"), _fractions("1/4 3/4"), order=2)
KUTTA3 = Tableau("KUTTA3", _rows("1/2", "-1 2"), _fractions("1/6 2/3 1/6"), order=3)
RK4 = Tableau("RK4", _rows("1/2", "0 1/2", "0 0 1"), _fractions("1/6 1/3 1/3 1/6"), order=4)
THREE_EIGHTHS = Tableau("THREE_EIGHTHS", _rows("1/3", "-1/3 1", "1 -1 1"), _fractions("1/8 3/8 3/8 1/8"), order=4)
BOGACKI_SHAMPINE = Tableau(
    "BOGACKI_SHAMPINE",
    _rows("1/2", "0 3/4", "2/9 1/3 4/9"),
    _fractions("2/9 1/3 4/9 0"),
    order=3,
    embedded=_fractions("7/24 1/4 1/3 1/8"),
    embedded_order=2,
)
DORMAND_PRINCE = Tableau(
    "DORMAND_PRINCE",
    _rows(
        "1/5",
        "3/40 9/40",
        "44/45 -56/15 32/9",
        "19372/6561 -25360/2187 64448/6561 -212/729",
        "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
        "35/384 0 500/1113 125/192 -2187/6784 11/84",
    ),
    _fractions("35/384 0 500/1113 125/192 -2187/6784 11/84 0"),
    order=5,
    embedded=_fractions("5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40"),
    embedded_order=4,
)

TABLEAUS = (MIDPOINT, HEUN, RALSTON, KUTTA3, RK4, THREE_EIGHTHS, BOGACKI_SHAMPINE, DORMAND_PRINCE)
