"""Numbers as people read them, the same in the report, on the pages and on the terminal."""

import math
from collections.abc import Iterable, Sequence

CellValue = str | int | float | bool | None | tuple[float, float, float]
"""Of a table: text, a number, nothing, or (value, low, high), a number with its 95 % interval."""
NOMINAL = 7e10
"""Operations per second of two cores with small networks."""
DIGITS = 4
"""Significant digits of a measured number."""


def amount(number: int, thing: str) -> str:
    """A number of things, as in "1 step" and "2 steps". thing: one of them; its plural ends in s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def places(values: Iterable[float], sizes: Iterable[float] | None = None) -> int | None:
    """Decimals for numbers that stand together, so that they align: four digits of the largest, less the zeros that all
    of them end in.

    None where no count suits all (they span more than three orders of magnitude, or need an exponent): each is then
    shown by itself. sizes: whose span counts, if not that of the values themselves.
    """
    numbers = [abs(value) for value in values if math.isfinite(value) and value != 0]
    spanned = numbers if sizes is None else [size for size in sizes if size != 0]
    if not numbers or not spanned:
        return 0
    largest = max(spanned)
    if not 1e-4 <= largest < 1e6 or largest / min(spanned) > 1e3:
        return None
    decimals = _decimals(largest)
    while decimals > 0 and all(
        math.isclose(round(size, decimals - 1), size, abs_tol=10.0 ** -(decimals + 2)) for size in numbers
    ):
        decimals -= 1
    return decimals


def measured(numbers: Iterable[tuple[float, float, float]]) -> list[tuple[str, str]]:
    """(value, "[low, high]") of numbers that stand together. What vanishes beside its interval is 0."""
    rows = [_settled(row) for row in numbers]
    sizes = [_size(row) for row in rows]
    shared = places((end for row in rows for end in row), sizes)
    decimals = [places(row, [size]) if shared is None else shared for row, size in zip(rows, sizes, strict=True)]
    return [
        (number(value, digits), interval(low, high, digits))
        for (value, low, high), digits in zip(rows, decimals, strict=True)
    ]


def column(cells: Sequence[CellValue]) -> list[tuple[str, str]]:
    """(text, interval) of the cells of one column of a table, whose numbers share their decimals; a cell without
    interval has "".
    """
    rows = [_settled(cell if isinstance(cell, tuple) else (cell,)) for cell in cells if isinstance(cell, float | tuple)]
    decimals = places((end for row in rows for end in row), map(_size, rows))

    def text(cell: CellValue) -> tuple[str, str]:
        if isinstance(cell, tuple):
            value, low, high = _settled(cell)
            return measured([cell])[0] if decimals is None else (number(value, decimals), interval(low, high, decimals))
        if isinstance(cell, bool):
            return ("yes" if cell else "no"), ""
        return "" if cell is None else number(cell, decimals) if isinstance(cell, int | float) else cell, ""

    return [text(cell) for cell in cells]


def is_number(cell: CellValue) -> bool:
    """Whether a column that holds the cell may be right-aligned."""
    return cell is None or isinstance(cell, tuple) or (isinstance(cell, int | float) and not isinstance(cell, bool))


def number(value: float | int, decimals: int | None = None) -> str:
    """A number with so many decimals (None: with four digits), a whole number whole, with a true minus sign."""
    if isinstance(value, int):
        return _signed(f"{value:,}".replace(",", "\u2009") if abs(value) >= 10_000 else str(value))
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else _signed("∞" if value > 0 else "-∞")
    if decimals is None and value != 0 and not 1e-4 <= abs(value) < 1e6:
        return _signed(f"{value:.{DIGITS - 1}e}")
    return _signed(f"{value:.{(_decimals(abs(value)) if value else 0) if decimals is None else decimals}f}")


def interval(low: float, high: float, decimals: int | None = None) -> str:
    """As in "[0.951, 0.974]"."""
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def needed(relation: str, threshold: float) -> str:
    """As in "≥ 0.95": the threshold exactly as configured."""
    return f"{'≤' if relation == '<=' else '≥'} {setting(threshold)}"


def setting(value: float | int) -> str:
    """A number exactly as configured, with a true minus sign."""
    return _signed(repr(value).removesuffix(".0"))


def duration(seconds: float) -> str:
    """As in "0.4 s", "48 s", "12 min 5 s", "2 h 3 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 120:
        return f"{rounded} s"
    return (
        f"{rounded // 60} min {rounded % 60} s" if rounded < 7200 else f"{rounded // 3600} h {rounded // 60 % 60} min"
    )


def planned(operations: float) -> str:
    """What a plan says of the time that a small network takes."""
    return f"{operations / NOMINAL / 60:.0f} minutes at {NOMINAL:.3g} per second"


def scaled(value: float, unit: str) -> str:
    """With a prefix from k to P and three digits, as in "1.23 TFLOP"."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value / 1e3:.3g} k{unit}"


def _size(row: Sequence[float]) -> float:
    return max((abs(end) for end in row if math.isfinite(end)), default=0.0)


def _settled(row: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers, with 0 for those that vanish beside the largest: 0, not 3.469e−18."""
    size = _size(row)
    digits = DIGITS - 1 - math.floor(math.log10(size)) if size else 0
    return tuple(0.0 if math.isfinite(end) and round(end, digits) == 0 else end for end in row)


def _decimals(size: float) -> int:
    enough = max(0, DIGITS - 1 - math.floor(math.log10(size)))
    return min(enough, DIGITS) if size >= 1e-3 else enough


def _signed(text: str) -> str:
    return text.replace("-", "−")
