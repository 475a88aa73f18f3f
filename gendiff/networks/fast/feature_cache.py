"""Feature caches: a network reuses features of an earlier step of sampling and computes only the rest.

Also known as: DeepCache (U-Net), block caching, Δ-DiT. Features change little from step to step. Such a record stands
among the conditions. The network then answers (output, the record), and not the output alone. Without numbers in it
everything is computed, and the answer holds what is kept. With them, what they stand for is not computed.
"""

import jax
import jax.numpy as jnp

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, DType, PyTree


@records.record
class DeepFeatures:
    """The cached input of the last blocks on a U-Net's way up. Also known as: DeepCache.

    Given back to it, these blocks and the first layers are all that it computes.

    Args:
        shallow: how many of the last blocks are always computed, with the layers on the way down that they read, at
            least 1 and less than all. 1 is the first convolution, the last block and the output. It is no data.
        features: (b, h, w, c), or None for nothing kept.

    References:
        Ma et al., 2024 (DeepCache), section 3.2, where `shallow` is the skip branch (from memory).
    """

    shallow: int = records.static(default=1)
    features: ArrayLike | None = None

    def checked(self, blocks: int) -> "DeepFeatures":
        """Return itself, if a U-Net with this many blocks on the way up can keep it, and raise ValueError otherwise."""
        checks.integer("shallow", self.shallow, 1, blocks - 1)
        return self

    def with_features(self, y: jax.Array) -> "DeepFeatures":
        """Return it with these features (b, h, w, c)."""
        return DeepFeatures(self.shallow, y)

    def features_like(self, shape: tuple[int, ...], dtype: DType) -> jax.Array:
        """Return the features (b, h, w, c), whose batch and size must be those of `shape`."""
        features = jnp.asarray(self.features)
        if features.ndim != 4 or features.shape[:3] != shape[:3]:
            raise ValueError(
                f"features have shape {features.shape}, but the blocks that read them have {shape[:3]} and channels"
            )
        return features.astype(dtype)


@records.record
class BlockChange:
    """The cached change of tokens by consecutive blocks of a DiT. Also known as: block caching, Δ-DiT.

    Given back to it, they are not computed: the change is added.

    Args:
        first: number of the first such block, from 0. It is no data.
        last: number of the last one; single blocks are numbered on. It is no data.
        change: a pytree of (b, s, d), or None for nothing kept.

    References:
        Wimbauer et al., 2024 (block caching), section 3; Chen et al., 2024 (Δ-DiT), section 3, which keeps the change
        of several blocks (both from memory).
    """

    first: int = records.static()
    last: int = records.static()
    change: PyTree = None

    def checked(self, blocks: int) -> "BlockChange":
        """Return itself, if a DiT with this many blocks has these, and raise ValueError otherwise."""
        checks.integer("first", self.first, 0, blocks - 1)
        checks.integer("last", self.last, self.first, blocks - 1)
        return self

    def with_change(self, before: PyTree, after: PyTree) -> "BlockChange":
        """Return it with the change from the tokens before the first block to those after the last one."""
        return BlockChange(self.first, self.last, jax.tree.map(jnp.subtract, after, before))

    def added(self, before: PyTree) -> PyTree:
        """Return the tokens after the last block.

        Raises:
            ValueError: for a change of other streams or shapes.
        """
        stored, expected = (jax.tree.map(jnp.shape, tokens) for tokens in (self.change, before))
        if stored != expected:
            raise ValueError(f"the change has shape {stored}, but the tokens have {expected}")
        return jax.tree.map(
            lambda tokens, change: tokens + jnp.asarray(change).astype(tokens.dtype), before, self.change
        )


Kept = DeepFeatures | BlockChange
