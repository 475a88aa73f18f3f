"""From operations and seconds to money, and when serving a model has cost as much as training it.

No price is built in.
"""

import math

from gendiff.core import checks
from gendiff.scaling.quantities import Number, not_negative, positive

HOUR = 3600.0


def of_flops(flops: Number, peak: Number, utilisation: Number, per_hour: Number) -> Number:
    """Price of operations: flops / (peak · utilisation) · per_hour / 3600.

    Args:
        flops: operations.
        peak: operations per second that the machine could do.
        utilisation: share of them that it does (MFU), in (0, 1].
        per_hour: price of the machine per hour, in any currency.
    """
    not_negative(flops=flops, per_hour=per_hour)
    positive(peak=peak)
    positive(1.0, utilisation=utilisation)
    return flops / (peak * utilisation) * per_hour / HOUR


def per_million_tokens(throughput: Number, per_hour: Number, busy: Number = 1.0) -> Number:
    """Price of a million tokens: 10⁶ / (throughput · busy) · per_hour / 3600.

    Args:
        throughput: tokens per second of the whole machine, such as `roofline.serving_curve` bounds.
        per_hour: price of the whole machine per hour.
        busy: share of the time that it works, in (0, 1].
    """
    not_negative(per_hour=per_hour)
    positive(throughput=throughput)
    positive(1.0, busy=busy)
    return 1e6 / (throughput * busy) * per_hour / HOUR


def break_even_tokens(
    training_tokens: Number, training_utilisation: Number = 1.0, serving_utilisation: Number = 1.0
) -> Number:
    """Tokens served until serving has cost as much as training.

    They are 3 · training_tokens · serving_utilisation / training_utilisation. Training takes 6 operations per parameter
    and token, serving 2, on the same machines; attention is left out. Where only operations count, both utilisations
    are 1. Generation at small batches is bounded by memory, so its utilisation is low and it costs more per token.

    Args:
        training_tokens: over all epochs.
        training_utilisation: share of the machine's operations that training reaches, in (0, 1].
        serving_utilisation: the same of serving.
    """
    not_negative(training_tokens=training_tokens)
    positive(1.0, training_utilisation=training_utilisation, serving_utilisation=serving_utilisation)
    return 3 * training_tokens * serving_utilisation / training_utilisation


def break_even_days(
    training_tokens: Number,
    tokens_per_day: Number,
    training_utilisation: Number = 1.0,
    serving_utilisation: Number = 1.0,
) -> Number:
    """Days of serving until it has cost as much as training.

    Args:
        training_tokens: over all epochs.
        tokens_per_day: that are served, read and generated.
        training_utilisation: see `break_even_tokens`.
        serving_utilisation: see `break_even_tokens`.
    """
    positive(tokens_per_day=tokens_per_day)
    return break_even_tokens(training_tokens, training_utilisation, serving_utilisation) / tokens_per_day


def lifetime_flops(parameters: Number, training_tokens: Number, served_tokens: Number) -> Number:
    """Operations of training and serving together: 6 · parameters · training_tokens + 2 · parameters · served_tokens.

    Args:
        parameters: that each token is multiplied by.
        training_tokens: over all epochs.
        served_tokens: over the model's life.

    References:
        Sardana et al., 2023, Eq. 2 (from memory).
    """
    not_negative(parameters=parameters, training_tokens=training_tokens, served_tokens=served_tokens)
    return 2 * parameters * (3 * training_tokens + served_tokens)


def product_interval(*factors: tuple[int | float, int | float, int | float]) -> tuple[float, float, float]:
    """Multiply numbers that are known within ranges, such as the users and the tokens behind `break_even_days`.

    Each range is taken as the interval of a log-normal number, whose middle is √(low · high). The numbers are
    independent, so the half widths of their logs add up as squares, and the product has an interval of the same level:
    middle · exp(± √Σ (power · ln(high / low) / 2)²).

    Args:
        *factors: (low, high, power), 0 < low ≤ high.

    Returns:
        (middle, low, high).

    Raises:
        ValueError: for other numbers.
    """
    middle, squares = 0.0, 0.0
    for low, high, power in factors:
        positive(low=low)
        checks.in_range("high", high, low, math.inf)
        middle += power * (math.log(low) + math.log(high)) / 2
        squares += (power * math.log(high / low) / 2) ** 2
    half = math.sqrt(squares)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)
