"""Sums of whole numbers as short texts, such as "123+456=0579": the task on which abilities of small models are
measured.

Every number is padded with zeros, so that all texts of a format are equally long, and its digits are tokens. The answer
stands plainly or with its digits in reverse order, in which each digit needs one carry alone. Scratch-work may stand
before it: the column sums with their carries, from the units up. A pair is held out in both orders.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, Integer

from gendiff.core import checks

SYMBOLS = "0123456789+="
VOCABULARY = len(SYMBOLS)
EQUALS = SYMBOLS.index("=")
"""The token before an answer: behind the question, and once more behind scratch-work, which it ends."""
MOST_DIGITS = 9
"""Of a number: the pairs of larger ones could not be numbered."""
NO_ANSWER = -1
"""What `SumFormat.read` says of a text without an answer."""


@dataclasses.dataclass(frozen=True)
class SumFormat:
    """How sums are written.

    Args:
        digits: of each number, 1 … 9.
        reverse: the units of the answer come first.
        scratch: scratch-work stands before the answer: "123+479=121006=0602" says 3 + 9 = 12, 2 + 7 + 1 = 10,
            1 + 4 + 1 = 06. Each place has two digits, its carry and what stays, the units first.

    Raises:
        ValueError: for digits outside that range.
    """

    digits: int = 3
    reverse: bool = False
    scratch: bool = False

    def __post_init__(self) -> None:
        checks.integer("digits", self.digits, 1, MOST_DIGITS)

    @property
    def prompt_length(self) -> int:
        """Tokens up to "=", which is the last one."""
        return 2 * self.digits + 2

    @property
    def scratch_length(self) -> int:
        """Tokens of whole scratch-work, without the "=" that ends it."""
        return 2 * self.digits if self.scratch else 0

    @property
    def answer_length(self) -> int:
        """Digits of an answer."""
        return self.digits + 1

    @property
    def answer_place(self) -> int:
        """Tokens before the answer, all scratch-work included."""
        return self.prompt_length + (self.scratch_length + 1 if self.scratch else 0)

    @property
    def length(self) -> int:
        """Tokens of a text."""
        return self.answer_place + self.answer_length

    def prompts(self, pairs: Integer[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n p"]:
        """Write the tokens before the answers and their scratch-work.

        Args:
            pairs: (n, 2) numbers below 10 ** digits.

        Raises:
            ValueError: for numbers outside that range.
        """
        self._check(pairs)
        first, second = (_digits(pairs[:, at], self.digits) for at in range(2))
        plus, equals = (np.full((len(pairs), 1), SYMBOLS.index(sign), np.int32) for sign in "+=")
        return np.concatenate([first, plus, second, equals], 1)

    def scratch_work(self, pairs: Integer[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n w"]:
        """Write the carry and the digit of each place, the units first (n, 2 · digits); arguments and errors are those
        of `prompts`.
        """
        self._check(pairs)
        powers = 10 ** np.arange(1, self.digits + 1, dtype=np.int64)
        # of a place: its digits and the carry into it
        column = (pairs.astype(np.int64)[:, :, None] % powers).sum(1) // (powers // 10)
        low = column - 10 * (column // 10)
        return np.stack([column // 10, low], 2).reshape(len(pairs), 2 * self.digits).astype(np.int32)

    def digits_of(self, numbers: Integer[np.ndarray, "n"]) -> Int32[np.ndarray, "n k"]:
        """Write numbers (n,) as answers are written, what `read` reads.

        Args:
            numbers: (n,) below 10 ** (digits + 1).

        Raises:
            ValueError: for numbers outside that range.
        """
        checks.in_range("numbers", numbers, 0.0, float(10**self.answer_length - 1))
        digits = _digits(numbers.astype(np.int64), self.answer_length)
        return digits[:, ::-1] if self.reverse else digits

    def answers(self, pairs: Integer[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n k"]:
        """Write the right answers; arguments and errors are those of `prompts`."""
        self._check(pairs)
        return self.digits_of(pairs.sum(1, dtype=np.int64))

    def rows(
        self, pairs: Integer[np.ndarray, "n 2"], places: Integer[np.ndarray, "n"] | None = None
    ) -> Int32[np.ndarray, "n l"]:
        """Write whole texts.

        Args:
            pairs: (n, 2) numbers below 10 ** digits.
            places: (n,) of how many places the scratch-work is written, 0 … digits, the units first; -1 stands behind
                texts that are shorter for it. None: of all.

        Raises:
            ValueError: for numbers outside these ranges, and `places` of a format without scratch-work.
        """
        if not self.scratch:
            if places is not None:
                raise ValueError(
                    "places are those of scratch-work, and this format has none: build it with scratch=True"
                )
            return np.concatenate([self.prompts(pairs), self.answers(pairs)], 1)
        equals = np.full((len(pairs), 1), EQUALS, np.int32)
        rows = np.concatenate([self.prompts(pairs), self.scratch_work(pairs), equals, self.answers(pairs)], 1)
        return rows if places is None else self._cut(rows, places)

    def read(self, continuations: Integer[np.ndarray, "n m"]) -> Int64[np.ndarray, "n"]:
        """Read the answers of texts from what stands behind their prompts.

        Args:
            continuations: (n, m) tokens, behind which -1 may stand. An answer follows the first "=" of them where there
                is scratch-work, however much of it, and begins at once where there is none.

        Returns:
            (n,) the number, or NO_ANSWER (-1) where not all of its digits are there.
        """
        is_end, k = continuations == EQUALS, self.answer_length
        start = np.argmax(is_end, 1) + 1 if self.scratch else np.zeros(len(continuations), np.int64)
        padded = np.pad(continuations, ((0, 0), (0, k)), constant_values=-1)
        read_digits = np.take_along_axis(padded, start[:, None] + np.arange(k), 1).astype(np.int64)
        complete = np.all((read_digits >= 0) & (read_digits < 10), 1) & (is_end.any(1) | (not self.scratch))
        ordered = read_digits[:, ::-1] if self.reverse else read_digits
        return np.where(complete, ordered @ 10 ** np.arange(k - 1, -1, -1, dtype=np.int64), NO_ANSWER)

    def _cut(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The texts without the scratch-work behind so many places (n,)."""
        checks.in_range("places", places, 0.0, float(self.digits))
        at, remaining = np.arange(self.length), self.prompt_length + 2 * places[:, None]
        source = np.where(at < remaining, at, at + self.scratch_length - 2 * places[:, None])
        return np.where(
            source < self.length, np.take_along_axis(rows, np.minimum(source, self.length - 1), 1), -1
        ).astype(np.int32)

    def _check(self, pairs: np.ndarray) -> None:
        checks.in_range("pairs", pairs, 0.0, float(10**self.digits - 1))


def text(tokens: Integer[np.ndarray, "n l"]) -> list[str]:
    """Write tokens as letters.

    Args:
        tokens: (n, l) ids 0 … 11, behind which -1 may stand for none.

    Raises:
        ValueError: for other ids.
    """
    checks.ids("tokens", tokens, VOCABULARY, also=-1)
    return ["".join(SYMBOLS[token] for token in row if token >= 0) for row in tokens]


def held_out(digits: int, count: int, *, seed: int) -> Int64[np.ndarray, "n 2"]:
    """Draw pairs for a test, no two of them the same in either order.

    Args:
        digits: of each number, 1 … 9.
        count: how many, at least 1 and at most half of all unordered pairs.
        seed: 0 … 2³² - 1.

    Returns:
        (count, 2) numbers below 10 ** digits.

    Raises:
        ValueError: for numbers outside these ranges.
    """
    checks.integer("digits", digits, 1, MOST_DIGITS)
    checks.integer("count", count, 1, unordered(digits) // 2)
    checks.integer("seed", seed, 0, 2**32 - 1)
    rng, pairs = np.random.default_rng(int(seed)), np.empty((0, 2), np.int64)
    while len(pairs) < count:
        pairs = np.concatenate([pairs, rng.integers(10**digits, size=(count, 2))])
        _, first = np.unique(_numbers(pairs), return_index=True)
        pairs = pairs[np.sort(first)]
    return pairs[:count]


def unordered(digits: int) -> int:
    """Count the pairs of numbers of so many digits, where a + b and b + a are one."""
    numbers = 10**digits
    return numbers * (numbers + 1) // 2


def batch_at(
    digits: int, batch: int, seed: int, step: int, *, without: Integer[np.ndarray, "n 2"]
) -> Int64[np.ndarray, "b 2"]:
    """Draw the pairs of a training step, uniformly over all ordered pairs that are not held out: a function of (seed,
    step).

    Args:
        digits: of each number, 1 … 9.
        batch: pairs per step, at least 1.
        seed: 0 … 2³² - 1.
        step: 0, 1, …
        without: (n, 2) pairs that are held out, in either order, as `held_out` draws them.

    Raises:
        ValueError: for numbers outside these ranges.
    """
    checks.integer("digits", digits, 1, MOST_DIGITS)
    checks.integer("batch", batch, 1)
    checks.integer("seed", seed, 0, 2**32 - 1)
    checks.integer("step", step, 0)
    rng, excluded = np.random.default_rng((int(seed), int(step))), np.sort(_numbers(without))
    if len(excluded) >= unordered(digits) and len(np.unique(excluded)) >= unordered(digits):
        raise ValueError(f"without holds all pairs of {digits} digits: none is left to draw")
    pairs = rng.integers(10**digits, size=(batch, 2))
    while (again := _among(_numbers(pairs), excluded)).any():
        pairs[again] = rng.integers(10**digits, size=(int(again.sum()), 2))
    return pairs


def carries(pairs: Integer[np.ndarray, "n 2"], digits: int) -> Int64[np.ndarray, "n"]:
    """Count the carries of each sum, from no place up to all of them.

    Args:
        pairs: (n, 2) numbers below 10 ** digits.
        digits: of each number, 1 … 9.

    Raises:
        ValueError: for numbers outside these ranges.
    """
    checks.integer("digits", digits, 1, MOST_DIGITS)
    checks.in_range("pairs", pairs, 0.0, float(10**digits - 1))
    powers = 10 ** np.arange(1, digits + 1)
    return (np.sum(pairs[:, :, None] % powers, 1) >= powers).sum(1)


def same(pairs: Integer[np.ndarray, "n 2"], others: Integer[np.ndarray, "m 2"]) -> Bool[np.ndarray, "n"]:
    """Tell which pairs stand among others, in either order.

    Args:
        pairs: (n, 2).
        others: (m, 2).
    """
    return _among(_numbers(pairs), np.sort(_numbers(others)))


def _digits(numbers: np.ndarray, count: int) -> Int[np.ndarray, "n k"]:
    """The last digits of numbers (n,), the most significant one first."""
    return (numbers[:, None] // 10 ** np.arange(count - 1, -1, -1, dtype=np.int64) % 10).astype(np.int32)


def _numbers(pairs: np.ndarray) -> np.ndarray:
    """One number per unordered pair (n,)."""
    ordered = np.sort(pairs.astype(np.int64), 1)
    return ordered[:, 0] * 10**MOST_DIGITS + ordered[:, 1]


def _among(numbers: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """Which numbers (n,) stand in a sorted array: faster than np.isin, which sorts both in each step of a training."""
    if not len(rising):
        return np.zeros(len(numbers), bool)
    places = np.searchsorted(rising, numbers)
    return rising[np.minimum(places, len(rising) - 1)] == numbers
