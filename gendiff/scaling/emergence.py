"""Is an ability emergent? Sharp and smooth metrics of one answer, widths of rises, kinks of curves, and percolation.

An answer is right as a whole with the product of the chances of its digits, each given the prompt and the right digits
before it. So the mean of exp(-answer_nll) is the exact match that sampling at temperature 1 gives on average: a smooth
likelihood makes a sharp exact match.

References:
    Wei et al., 2022; Schaeffer et al., 2023; Lubana et al., 2024, for percolation (all from memory).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation

ROUNDING = 64 * np.finfo(np.float64).eps
"""Residuals below this share of the values are rounding, not misfit."""


@dataclass(frozen=True)
class Segmented:
    """A straight line and one with a kink, both fitted to the logarithms.

    Args:
        bic_straight: n log(squares / n) + 3 log n: intercept, slope and spread are fitted.
        bic_segmented: n log(squares / n) + 5 log n: the kink and a second slope too.
        kink: the x at which the slope changes, in the units of x.
        slopes: of log y against log x, before and after the kink.
    """

    bic_straight: float
    bic_segmented: float
    kink: float
    slopes: tuple[float, float]

    @property
    def difference(self) -> float:
        """bic_straight - bic_segmented: above 10 is strong evidence of a kink (Kass & Raftery, 1995; from memory)."""
        return self.bic_straight - self.bic_segmented


def exact_match(answers: Shaped[ArrayLike, "n k"], truth: Shaped[ArrayLike, "n k"]) -> Bool[np.ndarray, " n"]:
    """Tell which answers are right in every place.

    Args:
        answers: (n, k) digits, or ids of tokens.
        truth: (n, k) the right ones.

    Raises:
        ValueError: for shapes that are not equal, of another rank, or empty.
    """
    return _right(answers, truth).all(1)


def digit_accuracy(answers: Shaped[ArrayLike, "n k"], truth: Shaped[ArrayLike, "n k"]) -> Float[np.ndarray, " n"]:
    """Compute the share of places of each answer that are right, in [0, 1]; it is at least `exact_match`.

    Arguments and errors are those of `exact_match`.
    """
    return _right(answers, truth).mean(1)


def edit_distance(answers: Sequence[object] | ArrayLike, truth: Sequence[object] | ArrayLike) -> Int[np.ndarray, " n"]:
    """Count the fewest insertions, deletions and replacements that turn each answer into its truth.

    All pairs are computed side by side, in one pass over the longest answer.

    Args:
        answers: n strings, or n sequences of integers, of any lengths.
        truth: as many, of the same kind.

    Raises:
        TypeError: for one string in place of a list of them, strings beside integers, and what is no integer.
        ValueError: for different numbers of answers and truths, and for rows that are no sequences.

    References:
        Levenshtein, 1966; Wagner & Fischer, 1974, algorithm X (both from memory).
    """
    (first, first_lengths), (second, second_lengths) = _padded("answers", answers), _padded("truth", truth)
    if len(first) != len(second):
        raise ValueError(f"answers holds {len(first)} sequences but truth {len(second)}: pass one truth per answer")
    if len(first) and isinstance(answers[0], str) != isinstance(truth[0], str):
        raise TypeError("answers and truth must both be strings, or both integers")
    places, pairs = np.arange(second.shape[1] + 1), np.arange(len(first))
    distances = np.broadcast_to(places, (len(first), len(places)))  # of the empty answer: one insertion per place
    result = second_lengths.copy()
    for i in range(first.shape[1]):
        without = distances + 1
        replaced = distances[:, :-1] + (first[:, i, None] != second)
        best = np.concatenate([without[:, :1], np.minimum(without[:, 1:], replaced)], 1)
        # insertions: each place may follow any one before it
        distances = np.minimum.accumulate(best - places[None], 1) + places[None]
        result = np.where(first_lengths == i + 1, distances[pairs, second_lengths], result)
    return result


def answer_nll(
    log_probs: Float[ArrayLike, "n k"], mask: Bool[ArrayLike, "n k"] | None = None
) -> Float[np.ndarray, " n"]:
    """Compute the negative log-likelihood of each answer, in nats: minus the sum over its digits.

    Args:
        log_probs: (n, k) natural logarithms of the chance of each right digit, given the prompt and the right digits
            before it.
        mask: (n, k) False where there is no digit, such as padding or the prompt. None: all count.

    Raises:
        ValueError: for a logarithm above 0 or NaN, and for shapes that are not equal.
    """
    values = np.asarray(log_probs, np.float64)
    counted = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
    checks.same_shape("log_probs", values, "mask", counted)
    values = np.where(counted, values, 0.0)
    checks.in_range("log_probs", values, -math.inf, 1e-5)  # a logarithm of a softmax in float32 may round above 0
    return -values.sum(1)


def brier(probabilities: Float[ArrayLike, "n c"], truth: Int[ArrayLike, " n"]) -> Float[np.ndarray, " n"]:
    """Compute the Brier score of each item, Σ_c (p_c - [c is right])²: 0 if sure and right, 2 if sure and wrong.

    Args:
        probabilities: (n, c), each row adding up to 1.
        truth: (n,) which of the c is right.

    Raises:
        TypeError: for a truth that is no integer.
        ValueError: for rows that are no probabilities, another number of truths, and a truth that is none of 0 … c - 1.

    References:
        Brier, 1950, Eq. 2, per item (from memory).
    """
    rows = validation.as_probabilities("probabilities", probabilities)
    checks.ids("truth", truth, rows.shape[1])
    right = validation.as_labels("truth", truth, len(rows))
    scores: np.ndarray = np.square(rows - np.eye(rows.shape[1])[right]).sum(1)
    return scores


def sharpness_decades(
    x: Shaped[ArrayLike, " n"], y: Shaped[ArrayLike, " n"], low: int | float = 0.1, high: int | float = 0.9
) -> float:
    """Measure the decades of x from where y first reaches `low` to where it first reaches `high`.

    Between points y is a line in log x. The result is NaN where y never reaches `high`, and where it starts above
    `low`.

    Args:
        x: (n,) sizes, positive and rising; n >= 2.
        y: (n,) such as a share of right answers.
        low: where the rise begins.
        high: where it ends, above `low`.

    Raises:
        ValueError: for different lengths, fewer than 2 points, numbers that are not finite, an x that is not positive
            or does not rise, and low that is not below high.
    """
    checks.in_range("low", low, -math.inf, float(high), open_high=True)
    return math.log10(crossing(x, y, high)) - math.log10(crossing(x, y, low))


def crossing(x: Shaped[ArrayLike, " n"], y: Shaped[ArrayLike, " n"], level: int | float) -> float:
    """Find the first place where y reaches a level, such as the size at which half of the answers are right.

    Between points y is a line in log x. The result is NaN where y never reaches the level, and where it starts above.

    Args:
        x: (n,) sizes, positive and rising; n >= 2.
        y: (n,) such as a share of right answers.
        level: a finite number.

    Raises:
        ValueError: for different lengths, fewer than 2 points, numbers that are not finite, and an x that is not
            positive or does not rise.
    """
    sizes, values = _curve(x, y, 2)
    checks.finite("level", level)
    if not np.all(np.diff(sizes) > 0):
        raise ValueError("x must rise from each point to the next: sort the points, and average those of one size")
    reached = np.flatnonzero(values >= level)
    if not reached.size or values[0] > level:
        return math.nan
    after = int(reached[0])
    if after == 0:
        return float(sizes[0])
    share = (level - values[after - 1]) / (values[after] - values[after - 1])
    return float(sizes[after - 1] * (sizes[after] / sizes[after - 1]) ** share)


def segmented_vs_straight(x: Shaped[ArrayLike, " n"], y: Shaped[ArrayLike, " n"]) -> Segmented:
    """Fit log y against log x by one line, and by two that meet at a kink, and compare them by BIC.

    The kink is any x between the second and the last but one, not one of the points alone: in each interval the least
    squares are at its ends or where the lines of both sides meet. The likelihood is normal in log y with a fitted
    spread.

    Args:
        x: (n,) positive, in any order; several points may share one (seeds). At least 6 points at 4 different ones.
        y: (n,) positive, such as a loss.

    Raises:
        ValueError: for different lengths, too few points, and numbers that are not finite and positive.

    References:
        Hudson, 1966, for the kink; Schwarz, 1978, for BIC (both from memory).
    """
    sizes, values = _curve(x, y, 6)
    checks.in_range("y", values, 0.0, math.inf, open_low=True)
    u, v = np.log(sizes), np.log(values)
    places = np.unique(u)
    if len(places) < 4:
        raise ValueError(f"x has {len(places)} different values: two lines that meet need at least 4")
    kinks = [*places[1:-1], *_meetings(u, v, places)]
    fits = [_least_squares(v, np.ones_like(u), u, np.maximum(u - kink, 0.0)) for kink in kinks]
    best = min(range(len(fits)), key=lambda at: fits[at][1])
    (_, slope, bend), squares = fits[best]
    _, straight = _least_squares(v, np.ones_like(u), u)
    bic = {
        number: len(v) * math.log(residual / len(v)) + number * math.log(len(v))
        for number, residual in ((3, straight), (5, squares))
    }
    return Segmented(bic[3], bic[5], float(np.exp(kinks[best])), (float(slope), float(slope + bend)))


def bipartite_giant_component(seed: int | np.integer | np.random.Generator, n1: int, n2: int, p: int | float) -> float:
    """Draw a random bipartite graph and return the share of its n1 + n2 nodes that lie in the largest component.

    Each of the n1 · n2 edges is there with chance p. A giant component appears at p √(n1 n2) = 1. Above, a share q1 of
    one side and q2 of the other lie in it, with q1 = 1 - exp(-p n2 q2) and q2 = 1 - exp(-p n1 q1) where n1 and n2 are
    large.

    Args:
        seed: of the draw, or a generator that is drawn from.
        n1: nodes of one side, >= 1.
        n2: nodes of the other, >= 1.
        p: chance of an edge, in [0, 1].

    Raises:
        ValueError: for numbers out of range.

    References:
        Newman, Strogatz & Watts, 2001, section IV (from memory); Lubana et al., 2024, who compare concepts learnt from
        examples to it.
    """
    checks.integer("n1", n1, 1)
    checks.integer("n2", n2, 1)
    checks.in_range("p", p, 0.0, 1.0)
    rng = np.random.default_rng(seed)
    edges = rng.choice(n1 * n2, rng.binomial(n1 * n2, p), replace=False, shuffle=False)
    first, second = (ends.astype(np.int32) for ends in np.divmod(edges, n2))
    graph = scipy.sparse.coo_array((np.ones(len(edges), np.int8), (first, n1 + second)), shape=(n1 + n2, n1 + n2))
    _, component = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return float(np.max(np.bincount(component)) / (n1 + n2))


def _right(answers: ArrayLike, truth: ArrayLike) -> np.ndarray:
    responses, expected = np.asarray(answers), np.asarray(truth)
    checks.same_shape("answers", responses, "truth", expected)
    if responses.ndim != 2 or not responses.size:
        raise ValueError(f"answers must be (n, k), n answers of k digits and at least one, got shape {responses.shape}")
    right: np.ndarray = responses == expected
    return right


def _padded(name: str, sequences: Sequence[object] | ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Integers (n, longest) with anything behind the end of each sequence, and the lengths (n,)."""
    if isinstance(sequences, str):
        raise TypeError(f"{name} is one string: pass a list of them, one per pair")
    rows = [
        np.array([ord(letter) for letter in row], np.int64) if isinstance(row, str) else np.asarray(row)
        for row in sequences
    ]
    for row in rows:
        if row.ndim != 1:
            raise ValueError(
                f"{name} must hold sequences, of integers or letters, got one of shape {row.shape}; for one pair pass "
                "[sequence]"
            )
        if row.size and not np.issubdtype(row.dtype, np.integer):
            raise TypeError(f"{name} must hold strings or integers, got {row.dtype}")
    lengths = np.array([len(row) for row in rows], np.int64)
    result = np.zeros((len(rows), int(np.max(lengths, initial=0))), np.int64)
    for target, row in zip(result, rows, strict=True):
        target[: len(row)] = row
    return result, lengths


def _curve(x: ArrayLike, y: ArrayLike, at_least: int) -> tuple[np.ndarray, np.ndarray]:
    sizes, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    checks.same_shape("x", sizes, "y", values)
    if sizes.ndim != 1 or len(sizes) < at_least:
        raise ValueError(f"x has shape {sizes.shape}: at least {at_least} points (n,) are needed")
    checks.finite("x", sizes)
    checks.finite("y", values)
    checks.in_range("x", sizes, 0.0, math.inf, open_low=True)
    return sizes, values


def _meetings(u: np.ndarray, v: np.ndarray, places: np.ndarray) -> list[float]:
    """Where the line through the points left of an interval meets that through those on its right, if inside of it."""
    result = []
    for left, right in zip(places[1:-2], places[2:-1], strict=True):
        (slope, start), (other_slope, other_start) = (
            np.polyfit(u[side], v[side], 1) for side in (u <= left, u >= right)
        )
        if slope != other_slope and left < (meeting := (other_start - start) / (slope - other_slope)) < right:
            result.append(float(meeting))
    return result


def _least_squares(v: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients, and the sum of squares that they leave, not below that of rounding."""
    matrix = np.stack(columns, 1)
    coefficients = np.linalg.lstsq(matrix, v)[0]
    rounding = len(v) * (ROUNDING * max(1.0, float(np.abs(v).max()))) ** 2
    return coefficients, max(float(np.square(v - matrix @ coefficients).sum()), rounding)
