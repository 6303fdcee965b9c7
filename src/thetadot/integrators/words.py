r"""Splitting words: which part of the motion acts when.

A word names exact sub-flows in the order in which they act: A drifts (θ += η dt), B kicks (η -= ∇L dt), O is
friction and heat (the Ornstein-Uhlenbeck flow). A letter that stands n times acts for 1/n of the step each time.

An optimizer is handed the gradient at the start of a step, so a word is turned round until a B begins it that
follows an A: the orbit of positions is the same, the velocity is read at another place of the cycle.

Source:
    Leimkuhler, Matthews, "Rational construction of stochastic numerical methods for molecular sampling" (2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from thetadot.errors import InadmissibleValue

LETTERS = "ABO"


@dataclass(frozen=True)
class Piece:
    """A sub-flow: its letter and its share of the step."""

    letter: str
    share: Fraction


def parse(word: str) -> tuple[Piece, ...]:
    """Parse a word into pieces, each letter's shares summing to 1.

    Raises:
        InadmissibleValue: another letter, or a word without an A or a B.

    Example:
        >>> [f"{piece.letter}{piece.share}" for piece in parse("BAOAB")]
        ['B1/2', 'A1/2', 'O1', 'A1/2', 'B1/2']
    """
    if not isinstance(word, str):
        raise InadmissibleValue(f"word={word!r} is not a string. Pass letters A, B and O, such as 'BAOAB'.")
    strange = sorted(set(word) - set(LETTERS))
    if strange or "A" not in word or "B" not in word:
        said = f"has the letter {strange[0]!r}" if strange else "lacks an A or a B"
        raise InadmissibleValue(f"word={word!r} {said}. Pass letters A, B and O, with an A and a B, such as 'BAOAB'.")
    return tuple(Piece(letter, Fraction(1, word.count(letter))) for letter in word)


def force_first(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Turn a cycle to begin where :func:`turn` says, with neighbours of one letter merged.

    Example:
        >>> [f"{piece.letter}{piece.share}" for piece in force_first(parse("BAOAB"))]
        ['B1', 'A1/2', 'O1', 'A1/2']
    """
    start = turn(pieces)
    return _merged(pieces[start:] + pieces[:start])


def turn(pieces: tuple[Piece, ...]) -> int:
    """Rotate a word so that a force evaluation comes first, at the last B that follows an A (other than by O).

    Where words end in the midst of a drift, it begins at the O before that B already, which would hide the velocity of
    the drift.

    Example:
        >>> turn(parse("BAOAB")), turn(parse("OBA")), turn(parse("ABOBA")), turn(parse("AOBOA"))
        (4, 1, 1, 1)
    """
    moving = [i for i, piece in enumerate(pieces) if piece.letter != "O"]
    starts = [
        place
        for before, place in zip([moving[-1], *moving], moving, strict=False)
        if pieces[place].letter == "B" and pieces[before].letter == "A"
    ]
    begins = [_before_friction(pieces, start) for start in starts]
    return next((begin for begin in reversed(begins) if tells(pieces[:begin])), begins[-1])


def _before_friction(pieces: tuple[Piece, ...], begin: int) -> int:
    if drifted(pieces[:begin]).denominator == 1:
        return begin
    while pieces[begin - 1].letter == "O":
        begin -= 1
    return begin


def drifted(pieces: tuple[Piece, ...]) -> Fraction:
    """The share of A in some pieces."""
    return sum((piece.share for piece in pieces if piece.letter == "A"), Fraction(0))


def tells(opening: tuple[Piece, ...]) -> bool:
    """Whether position and velocity after these pieces determine those at the word's start, or end.

    They have drifted a whole word or nothing, or have done nothing since they began to.

    Example:
        >>> tells(parse("BAOAB")[:4]), tells(parse("ABOBA")[:1]), tells(parse("AOABA")[:3])
        (True, True, False)
    """
    letters = "".join(piece.letter for piece in opening)
    return drifted(opening).denominator == 1 or "A" not in letters.rstrip("A")


def reversible(pieces: tuple[Piece, ...]) -> bool:
    """Whether the cycle is the same when run backwards: its positions then are those of a palindrome, of second order.

    Example:
        >>> reversible(parse("BAOAB")), reversible(parse("BAOA")), reversible(parse("OBA"))
        (True, True, False)
    """
    cycle = force_first(pieces)
    backwards = cycle[::-1]
    return any(backwards[i:] + backwards[:i] == cycle for i in range(len(cycle)))


def _merged(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    return tuple(
        Piece(letter, sum((piece.share for piece in group), Fraction(0)))
        for letter, group in groupby(pieces, key=lambda piece: piece.letter)
    )


def stages(pieces: tuple[Piece, ...]) -> tuple[tuple[Piece, ...], ...]:
    """Pieces cut before each B that needs a new gradient, that is, one that follows an A.

    Example:
        >>> [''.join(piece.letter for piece in stage) for stage in stages(force_first(parse("BABAB")))]
        ['BA', 'BA']
    """
    cut: list[list[Piece]] = [[]]
    moved = False
    for piece in pieces:
        if piece.letter == "B" and moved:
            cut.append([])
            moved = False
        moved = moved or piece.letter == "A"
        cut[-1].append(piece)
    return tuple(tuple(stage) for stage in cut)
