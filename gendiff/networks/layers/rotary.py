"""Rotary position embedding (RoPE): queries and keys are turned by their positions, in one or several coordinates."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import checks
from gendiff.core.types import ArrayLike


@dataclasses.dataclass(frozen=True)
class LongContext:
    """Settings of Llama 3.1's stretched rotary positions, for contexts longer than its first training had.

    Frequencies that turn less than `low` times within `original` tokens are divided by `factor`; those that turn more
    than `high` times stay; in between they are mixed.

    Args:
        factor: at least 1.
        low: turns, at least 0 and below `high`.
        high: turns.
        original: tokens of the first training.

    References:
        Grattafiori et al., 2024, section 3.4.1, and Meta's code for the numbers (from memory).
    """

    factor: float = 8.0
    low: float = 1.0
    high: float = 4.0
    original: int = 8192

    def __post_init__(self) -> None:
        checks.in_range("factor", self.factor, 1.0, float("inf"))
        checks.in_range("low", self.low, 0.0, self.high, open_high=True)
        checks.integer("original", self.original, 1)


@dataclasses.dataclass(frozen=True)
class Rotary:
    """Frequencies base^(−i / n) for n pairs of channels.

    Args:
        base: above 1.
        stretched: how long contexts change them: a number from 1 divides all (linear scaling). None: they do not.
        channels: of a head, how many each coordinate turns: even numbers, whose sum is the head size. None: each has an
            equal share.
        beside: above 1. The first coordinate then turns all pairs, as if it stood alone, and the further ones turn
            pairs in turn, one after the other, beside it, each by frequencies of this base. None: each coordinate turns
            pairs of its own.
        periods: of each coordinate that lies on a circle, such as rows of a torus, its length: pairs turn 1, 2, …
            times on the way around, and the base is not used. None for other coordinates, and for none of them.

    References:
        Su et al., 2021, section 3.2.2; Wang et al., 2024 (Qwen2-VL), section 2.1, where all pairs of a text turn by its
        places too (from memory).
    """

    base: float = 10_000.0
    stretched: LongContext | float | None = None
    channels: tuple[int, ...] | None = None
    beside: float | None = None
    periods: tuple[int | None, ...] | None = None

    def __post_init__(self) -> None:
        checks.in_range("base", self.base, 1.0, float("inf"), open_low=True)
        if not isinstance(self.stretched, LongContext | None):
            checks.in_range("stretched", self.stretched, 1.0, float("inf"))
        for number in self.channels or ():
            checks.integer("channels", number, 2)
            if number % 2:
                raise ValueError(f"channels = {self.channels} must be even: they turn in pairs")
        if self.beside is not None:
            checks.in_range("beside", self.beside, 1.0, float("inf"), open_low=True)
            if self.channels is not None:
                raise ValueError(
                    f"channels = {self.channels} are of one coordinate each, but beside lets the first one turn all: "
                    "give one"
                )

    def frequencies(self, pairs: int, period: int | None = None) -> np.ndarray:
        """Return (pairs,) float64 angles per position, on a circle if it has a period."""
        if period is not None:
            return 2 * np.pi * np.arange(1, pairs + 1) / period
        plain = self.base ** (-np.arange(pairs) / pairs)
        if not isinstance(self.stretched, LongContext):
            return plain if self.stretched is None else plain / self.stretched
        turns = self.stretched.original * plain / (2 * np.pi)
        unstretched = np.clip((turns - self.stretched.low) / (self.stretched.high - self.stretched.low), 0, 1)
        return plain * (unstretched + (1 - unstretched) / self.stretched.factor)


def rotate(
    x: Float[Array, "b s heads size"], positions: Int[ArrayLike, "b s axes"], rotary: Rotary = Rotary()
) -> Float[Array, "b s heads size"]:
    """Turn queries or keys by their positions: rotary position embedding (RoPE).

    With several coordinates, each of them turns its share of the channels. Channel i and channel i + size / 2 are a
    pair, as in Llama's weights on Hugging Face; Meta's own files and GGUF have neighbours instead.

    Args:
        x: (b, s, heads, size).
        positions: (b, s, axes) integers.
        rotary: the frequencies.

    Raises:
        ValueError: unless twice the number of coordinates divides the head size, for `rotary.channels` that are not one
            number for each coordinate with the head size as their sum, and for less pairs than coordinates that stand
            `beside` the first one.

    References:
        Su et al., 2021, Eq. 34 (from memory).
    """
    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    angles = _angles(jnp.asarray(positions).astype(accumulate), x.shape[-1], rotary)[:, :, None]
    first, second = jnp.split(x.astype(accumulate), 2, -1)
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1).astype(x.dtype)


def clip_channels(size: int) -> tuple[int, int, int]:
    """Channels of a head of some size for frame, row and column: even numbers, as equal as can be.

    Raises:
        ValueError: for a size that has no pair for each.
    """
    if size % 2 or size < 6:
        raise ValueError(
            f"width / heads = {size}: rotary positions of three coordinates need an even head size of at least 6"
        )
    each = 2 * ((size // 2 + 1) // 3)
    return size - 2 * each, each, each


def _angles(positions: Float[Array, "b s axes"], size: int, rotary: Rotary) -> Float[Array, "b s pairs"]:
    """The angles of each pair of channels: those of the first coordinate, then those of the next."""
    axes = positions.shape[-1]
    if rotary.channels is not None:
        if len(rotary.channels) != axes or sum(rotary.channels) != size:
            raise ValueError(
                f"channels = {rotary.channels} must be one number for each of {axes} coordinates, in all the head size "
                f"{size}"
            )
        circles = zip(rotary.channels, rotary.periods or (None,) * axes, strict=True)
        frequencies = [jnp.asarray(rotary.frequencies(number // 2, p), positions.dtype) for number, p in circles]
        return jnp.concatenate([positions[..., at, None] * each[None, None] for at, each in enumerate(frequencies)], -1)
    if rotary.beside is not None and axes > 1:
        return _angles_beside(positions, size, rotary, rotary.beside)
    if size % (2 * axes):
        raise ValueError(
            f"head size {size} must be divisible by {2 * axes}: pairs of channels for each of {axes} coordinates"
        )
    shared = jnp.asarray(rotary.frequencies(size // (2 * axes)), positions.dtype)
    return (positions[..., None] * shared.reshape(1, 1, 1, -1)).reshape(*positions.shape[:2], size // 2)


def _angles_beside(
    positions: Float[Array, "b s axes"], size: int, rotary: Rotary, base: float
) -> Float[Array, "b s pairs"]:
    """The angles of the first coordinate alone, to which each further one adds those of its pairs.

    What stands at 0 there adds nothing.
    """
    pairs, further = size // 2, positions.shape[-1] - 1
    if size % 2 or pairs < further:
        raise ValueError(
            f"head size {size} must be even, and at least {2 * further}: a pair of channels for each of {further} "
            "coordinates"
        )
    angles = positions[..., :1] * jnp.asarray(rotary.frequencies(pairs), positions.dtype)[None, None]
    for at in range(further):
        share = np.zeros(pairs)
        count = len(share[at::further])
        share[at::further] = Rotary(base).frequencies(count)
        angles = angles + positions[..., at + 1 : at + 2] * jnp.asarray(share, positions.dtype)[None, None]
    return angles
