"""What a critic learns from a whole batch: how near to each other its rows are.

A generator that repeats itself is told apart by it.

These numbers make the answer about one row depend on the others. Rows of one call therefore belong together: all real,
or all generated.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, packed
from gendiff.core.types import ArrayLike
from gendiff.networks import fast
from gendiff.networks.layers import Compute, initializers, parameter

FEATURES = ("none", "deviation", "discrimination")
"""What a critic may add to the features of a row: nothing, `MinibatchDeviation`, or `MinibatchDiscrimination`."""
EPSILON = 1e-8
"""What is added to a variance before its root: the gradient stays finite where all rows are equal."""


def minibatch_discrimination(
    features: Float[ArrayLike, "b a"], kernel: Float[ArrayLike, "a k d"], precision: str | None = None
) -> Float[Array, "b k"]:
    """Minibatch discrimination: return o_ik = Σ_j exp(−‖M_ik − M_jk‖₁) with M_i = features_i · kernel.

    A number is near 1 for a row that is unlike the others, and b for b equal rows. Rows in another order give the same
    answers in that order.

    Args:
        features: (b, a) of a batch.
        kernel: (a, k, d), k projections to d dimensions.
        precision: of the product: None, "default", "high" or "highest".

    References:
        Salimans et al., 2016, section 3.2.
    """
    x, kernel = jnp.asarray(features), jnp.asarray(kernel)
    projected = fast.product_of_rows(x, kernel.reshape(x.shape[1], -1), precision).reshape(-1, *kernel.shape[1:])
    # (k, d, b): the batch innermost, and terms for the dimensions in place of an axis; on a CPU six times as fast as
    # the other way round
    rows = jnp.moveaxis(projected, 0, -1)
    terms = (jnp.abs(rows[:, number, :, None] - rows[:, number, None, :]) for number in range(rows.shape[1]))
    return jnp.sum(jnp.exp(-sum(terms, start=jnp.zeros((), rows.dtype))), -1).T


def minibatch_deviation(x: Float[ArrayLike, "b *shape"], group: int | None = None) -> Float[Array, " b"]:
    """Minibatch standard deviation: return for each row the standard deviation of its group.

    It is that of each number over the group, averaged over all numbers. Rows of a group in another order give the same.
    A variance divides by the number of rows, and 1e-8 is added to it.

    Args:
        x: (b, …).
        group: how many rows, one after the other, make a group; it divides b. None: the batch is one group.

    Raises:
        TypeError: for a group that is no integer.
        ValueError: for one that does not divide the batch.

    References:
        Karras et al., 2018, section 3.
    """
    rows = x.shape[0]
    size = rows if group is None else group
    checks.integer("group", size, 1)
    if rows % size:
        raise ValueError(
            f"group = {size} does not divide the batch of {rows}: give a batch of whole groups, or group=None for one "
            "group"
        )
    groups = jnp.asarray(x).reshape(rows // size, size, -1)
    variance = jnp.mean(jnp.square(groups - jnp.mean(groups, 1, keepdims=True)), 1)
    return jnp.repeat(jnp.mean(jnp.sqrt(variance + EPSILON), -1), size)


class MinibatchDiscrimination(nn.Module):
    """Features with their `minibatch_discrimination` beside them, by a kernel that is learned.

    Args:
        projections: how many numbers are added.
        dimensions: of each projection.
        compute: how to compute; distances are in at least float32.
    """

    projections: int = 32
    dimensions: int = 5
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b a"]) -> Float[Array, "b a2"]:
        """Add the numbers behind those of x."""
        checks.counts(self, "projections", "dimensions")
        shape = (x.shape[-1], self.projections * self.dimensions)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        kernel = packed.as_array(parameter(self, "kernel", initializers.kernel(), shape), wide)
        near = minibatch_discrimination(
            x.astype(wide), kernel.reshape(-1, self.projections, self.dimensions), self.compute.precision
        )
        return jnp.concatenate([x, near.astype(x.dtype)], -1)


class MinibatchDeviation(nn.Module):
    """Features, or maps of them, with their `minibatch_deviation` as one more channel. It has no parameters.

    Args:
        group: as for `minibatch_deviation`.
    """

    group: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space d"]:
        """Add a channel behind those of x, the same number at every place."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        spread = minibatch_deviation(wide, self.group).astype(x.dtype)
        return jnp.concatenate([x, jnp.broadcast_to(spread.reshape(-1, *(1,) * (x.ndim - 1)), (*x.shape[:-1], 1))], -1)
