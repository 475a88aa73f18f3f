"""Embeddings of the time, the label, the tokens and their positions."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from gendiff.core import arrays, checks, packed
from gendiff.core.types import NO_LABEL, ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.layers import initializers
from gendiff.networks.layers.compute import Compute, dense, parameter

MAX_PERIOD = 10_000

Label = Shaped[ArrayLike, "..."] | np.integer | int | None
"""(b,) or () integers, or None for a network without classes."""


def sinusoidal(t: Shaped[ArrayLike, " b"], size: int, shift: int = 0) -> Float[Array, "b size"]:
    """Return cos and sin of t at n = size / 2 frequencies 10,000^(−i / (n − shift)), cosines first, as in ADM.

    It is computed in at least float32: 16-bit floats cannot tell neighbouring times apart.

    Args:
        t: (b,) times.
        size: even.
        shift: 0, or 1 for a last frequency of exactly 1 / 10,000.

    Raises:
        ValueError: for an odd size, or a shift that leaves no frequency.

    References:
        Vaswani et al., 2017, section 3.5.
    """
    if size % 2:
        raise ValueError(f"size = {size} of the time embedding must be even")
    checks.integer("frequency_shift", shift, 0, size // 2 - 1)
    times = jnp.asarray(t)
    times = times.astype(jnp.promote_types(times.dtype, jnp.float32))
    frequencies = np.exp(-np.log(MAX_PERIOD) * np.arange(size // 2) / (size // 2 - shift))
    angles = times[:, None] * jnp.asarray(frequencies, times.dtype)[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def grid_positions(height: int, width: int, size: int) -> np.ndarray:
    """Return fixed 2-D positions (s, size) of height × width tokens, row by row.

    The first half is for the column, the second half for the row.

    Raises:
        ValueError: unless 4 divides the size.

    References:
        Peebles & Xie, 2023 (from their description).
    """
    frequencies = _frequencies(size)
    row, column = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    angles = (coordinate.reshape(-1, 1) * frequencies for coordinate in (column, row))
    return np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], -1)


def grid_table(key: jax.Array, shape: tuple[int, int], dtype: DType = jnp.float32) -> Float[Array, "s size"]:
    """Initialise learned positions of a square, (side², size), as those of `grid_positions`. The key is not used.

    Raises:
        ValueError: unless 4 divides the size.
    """
    side = math.isqrt(shape[0])
    angles = jnp.arange(side, dtype=dtype)[:, None] * jnp.asarray(_frequencies(shape[1]), dtype)[None]
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
    by_column, by_row = (
        jnp.broadcast_to(jnp.expand_dims(waves, axis), (side, side, waves.shape[1])) for axis in (0, 1)
    )
    return jnp.concatenate([by_column, by_row], -1).reshape(shape)


def _frequencies(size: int) -> np.ndarray:
    """Angles per step along one coordinate, of which sines and cosines fill half of the channels."""
    if size % 4:
        raise ValueError(f"width = {size} must be divisible by 4 to hold sines and cosines of two coordinates")
    return MAX_PERIOD ** (-np.arange(size // 4) / (size // 4))


class Embedding(nn.Module):
    """Time, label and further conditions as one vector per sample.

    It is the sum of an MLP of the sinusoidal time, the row of the label, and MLPs of the others.

    Args:
        frequencies: size of the sinusoidal embedding.
        features: size of the result.
        num_classes: rows of labels, after which comes that of the null class. None: no labels.
        compute: how to compute.
        frequency_shift: of the sinusoidal embedding.
        bias: whether the layers of times and of the guidance scale have one.
    """

    frequencies: int
    features: int
    num_classes: int | None = None
    compute: Compute = Compute()
    frequency_shift: int = 0
    bias: bool = True

    @nn.compact
    def __call__(
        self,
        t: Shaped[Array, " b"],
        label: Shaped[Array, " b"] | None,
        added: Float[Array, "b a"] | None = None,
        guidance: Shaped[Array, " b"] | None = None,
        second_time: Shaped[Array, " b"] | None = None,
    ) -> Float[Array, "b d"]:
        """Embed times (b,), labels (b,), further numbers (b, a), guidance scales (b,) and end times (b,).

        What is None adds nothing. A guidance scale is embedded as a thousandfold time. It and a second time are without
        effect at first, so that a student begins as its teacher.
        """
        y = self._embedded("time", t)
        if guidance is not None:
            y = y + self._embedded("guidance", 1000 * guidance, zero=True)
        if second_time is not None:
            y = y + self._embedded("second_time", second_time, zero=True)
        if self.num_classes is not None and label is not None:
            table = parameter(self, "label", initializers.normal(0.02), (self.num_classes + 1, self.features))
            y = y + rows(packed.as_array(table, self.compute.dtype), label)
        if added is None:
            return y
        return y + dense(self.features, self.compute, "added_1")(
            fast.silu(dense(self.features, self.compute, "added_0")(added))
        )

    def _embedded(self, name: str, numbers: jax.Array, zero: bool = False) -> jax.Array:
        numbers = numbers.astype(jnp.promote_types(self.compute.dtype, jnp.float32))
        y = sinusoidal(numbers, self.frequencies, self.frequency_shift).astype(self.compute.dtype)
        y = dense(self.features, self.compute, f"{name}_0", bias=self.bias)(y)
        return dense(self.features, self.compute, f"{name}_1", zero, self.bias)(fast.silu(y))


def rows(table: Float[Array, "k d"], label: Shaped[Array, " b"]) -> Float[Array, "b d"]:
    """Return the row of each label, the last row for NO_LABEL, and NaN for other values than 0 … k − 2.

    JAX would clamp them in silence.
    """
    null = table.shape[0] - 1
    known = (label >= 0) & (label < null)
    row = table[jnp.where(known, label, null)]
    return jnp.where((known | (label == NO_LABEL))[:, None], row, jnp.nan)


def token_rows(table: Float[Array, "k d"] | packed.PackedKernel, ids: Int[Array, "b s"]) -> Float[Array, "b s d"]:
    """Return the row of each id, NaN for an unknown one (JAX would take the nearest in silence)."""
    known = (ids >= 0) & (ids < table.shape[0])
    take = table.rows if isinstance(table, packed.PackedKernel) else table.__getitem__
    return jnp.where(known[..., None], take(jnp.where(known, ids, 0)), jnp.nan)


def checked_label(label: Label, num_classes: int | None, batch: int) -> jax.Array | None:
    """Return labels as integers (b,), from () or (b,).

    Raises:
        TypeError: unless they are integers.
        ValueError: for a wrong shape, a concrete label outside of 0 … num_classes − 1 that is not NO_LABEL, a label for
            a network without classes, or none for one with.
    """
    if num_classes is None:
        if label is not None:
            raise ValueError(
                "a label was given to a network without classes: build it with num_classes=…, or pass no condition"
            )
        return None
    if label is None:
        raise ValueError(
            f"the network has {num_classes} classes and needs a label: pass NO_LABEL ({NO_LABEL}) for none of them"
        )
    if not jnp.issubdtype(jnp.result_type(label), jnp.integer):
        raise TypeError(f"label must hold integers, got {jnp.result_type(label)}")
    if np.shape(label) not in ((), (batch,)):
        raise ValueError(f"label has shape {np.shape(label)}: one label () or one per sample ({batch},) is needed")
    if arrays.is_concrete(label):
        values = np.asarray(label)
        wrong = values[(values != NO_LABEL) & ((values < 0) | (values >= num_classes))]
        if wrong.size:
            raise ValueError(
                f"label {wrong.flat[0]} is none of the {num_classes} classes 0 … {num_classes - 1}, nor NO_LABEL "
                f"({NO_LABEL})"
            )
    array = jnp.asarray(label)
    return jnp.broadcast_to(array.astype(jnp.promote_types(array.dtype, jnp.int32)), (batch,))
