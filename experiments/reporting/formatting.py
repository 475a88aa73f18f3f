"""Numbers as people read them, the same in the report and on the terminal."""

import math
from collections.abc import Iterable

SIGNS = {"<=": "≤", ">=": "≥"}
DIGITS = 4
"""Significant digits of a measured number."""


def places(values: Iterable[float]) -> int | None:
    """Decimals for numbers that stand together, so that they align: four digits of the largest, less the zeros that all of them end in.

    None where no count suits all (they span more than three orders of magnitude, or need an exponent): each is then shown by itself.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    if not sizes:
        return 0
    largest = max(sizes)
    if not 1e-4 <= largest < 1e6 or largest / min(sizes) > 1e3:
        return None
    decimals = _decimals(largest)
    while decimals > 0 and all(math.isclose(round(size, decimals - 1), size, abs_tol=10.0 ** -(decimals + 2)) for size in sizes):
        decimals -= 1
    return decimals


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
    return f"{SIGNS[relation]} {setting(threshold)}"


def setting(value: float | int) -> str:
    """A number exactly as configured, with a true minus sign."""
    return _signed(repr(value).removesuffix(".0"))


def duration(seconds: float) -> str:
    """As in "0.4 s", "48 s", "12 min 5 s", "2 h 3 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _decimals(size: float) -> int:
    enough = max(0, DIGITS - 1 - math.floor(math.log10(size)))
    return min(enough, DIGITS) if size >= 1e-3 else enough


def _signed(text: str) -> str:
    return text.replace("-", "−")
