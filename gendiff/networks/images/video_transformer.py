"""The diffusion transformer of clips, with full, factorised or causal attention over space and time.

Causal attention is by blocks of frames, with a cache.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.blocks.transformer import EPSILON, TransformerBlock
from gendiff.networks.fast.frame_cache import CacheShapes, FrameCache, SeenFrames
from gendiff.networks.images.dit import image, patches
from gendiff.networks.inputs.conditioning import Condition, checked_conditions
from gendiff.networks.layers import NORMS, Compute, dense, dtype_of, image_inputs
from gendiff.networks.layers.axial import Axial
from gendiff.networks.layers.embeddings import Embedding, grid_positions
from gendiff.networks.layers.rotary import Rotary, clip_channels

ATTENTIONS = ("full", "factorised", "causal")


class VideoTransformer(nn.Module):
    """The diffusion transformer of clips (b, f, h, w, c), whose sides `patch` divides; the output starts at 0.

    Its tokens are patches of frames, and rotary positions tell their frame, row and column. A clip of one frame is a
    picture to attention = "full" and "causal", and without `added_positions` the network is then a `DiT` with
    `rotary_channels` and the same parameters.

    Args:
        patch: side of a token's square of pixels.
        width: channels of a token, divisible by heads.
        depth: number of blocks.
        heads: number of attention heads.
        expansion: width of the MLPs over that of the tokens.
        num_classes: the condition is then a label in 0 … num_classes − 1, or NO_LABEL. None: no condition.
        attention: "full" lets every token see all. "factorised" lets the tokens of a frame see each other in blocks 0,
            2, …, and those at one place of all frames in blocks 1, 3, …. "causal" lets a frame see its own block of
            frames and those before, and no later one.
        block: frames of a block, for "causal".
        window: how many frames are seen, those of the block included, for "causal": a multiple of `block`. None: all.
        rotary_channels: of a head, even numbers that frame, row and column turn, whose sum is the head size. None:
            shares as equal as can be.
        rotary_base: of the frequencies of rotary positions, above 1. Short clips of few patches need a small one, such
            as 10: at 10,000 most channels hardly turn.
        added_positions: fixed positions of row and column are added to the tokens, too, as in a `DiT` without rotary
            positions; the width is then divisible by 4. Rotary positions alone tell a token what it sees at a distance,
            and not where: networks with few heads learn motion slowly from them.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers; both gather parameters that devices share late.

    References:
        Peebles & Xie, 2023, for the blocks; Ho et al., 2022 (video diffusion models), section 3, for factorised
        attention, which has both kinds in each block; Ma et al., 2024 (Latte), section 3.2, for blocks that take turns,
        so that parameters are those of "full"; Chen et al., 2024 (diffusion forcing), for a time of each frame (all
        from memory).
    """

    patch: int = 2
    width: int = 384
    depth: int = 12
    heads: int = 6
    expansion: int = 4
    num_classes: int | None = None
    attention: str = "full"
    block: int = 1
    window: int | None = None
    rotary_channels: tuple[int, int, int] | None = None
    rotary_base: float = 10_000.0
    added_positions: bool = False
    dtype: DType | None = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False

    @nn.compact
    def __call__(
        self,
        x: Float[ArrayLike, "b f h w c"],
        t: Shaped[ArrayLike, " b"] | Shaped[ArrayLike, "b f"],
        *condition: Condition,
    ) -> Float[Array, "b f h w c"] | tuple[Float[Array, "b f h w c"], FrameCache]:
        """Predict from x, in the dtype of x.

        With a `FrameCache`, return what was predicted, and the cache with these frames in it.

        Args:
            x: (b, f, h, w, c) clips. With a cache, the frames behind those in it: whole blocks.
            t: (b,) one time per clip, or (b, f) one per frame.
            *condition: a label (b,) or (), if the network has classes, and a `FrameCache` or not, in any order. Under
                jit, where numbers cannot be looked at, clips with more earlier frames than the cache holds are answered
                NaN.

        Raises:
            ValueError: for inputs or fields against the rules above.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check_clips(x, t, self.patch, "patch")
        b, f, height, width, channels = x.shape
        takes = ("frame cache",) if self.attention == "causal" else ()
        conditions = checked_conditions(condition, b, self.num_classes, None, None, False, takes=takes)
        if conditions.cache is not None and f % self.block:
            raise ValueError(
                f"{f} frames are no whole blocks of {self.block} (block): what a cache keeps must have seen its whole "
                "block"
            )
        rows, columns = height // self.patch, width // self.patch
        compute = Compute(
            dtype_of(self.dtype, x), self.precision, attention=self.attention_implementation, late=bool(self.remat)
        )
        embedding = self._embedding(jnp.asarray(t), conditions.label, compute)

        frames = jnp.asarray(x).astype(compute.dtype).reshape(b * f, height, width, channels)
        y = dense(self.width, compute, "input")(patches(frames, self.patch).reshape(b, f * rows * columns, -1))
        if self.added_positions:
            y = y + jnp.tile(jnp.asarray(grid_positions(rows, columns, self.width), compute.dtype), (f, 1))[None]
        y, cache = self._blocks(y, (f, rows, columns), embedding, compute, conditions.cache)

        shift, scale = jnp.split(dense(2 * self.width, compute, "output_modulation", zero=True)(embedding), 2, -1)
        y = NORMS["layer"](compute, EPSILON, name="output_norm")(y, scale, shift)
        y = dense(self.patch**2 * channels, compute, "output", zero=True)(y)
        y = image(y.reshape(b * f, rows * columns, -1), rows, columns, self.patch).reshape(x.shape).astype(x.dtype)
        return y if cache is None else (y, cache)

    def _check(self) -> None:
        checks.counts(self, "patch", "width", "depth", "heads", "expansion", "block", optional=("num_classes",))
        checks.choice("attention", self.attention, ATTENTIONS)
        if self.attention != "causal" and (self.block != 1 or self.window is not None):
            raise ValueError(f"block and window are for attention = 'causal', and here it is {self.attention!r}")
        if self.window is not None:
            checks.integer("window", self.window, self.block)
            if self.window % self.block:
                raise ValueError(f"window = {self.window} must be a multiple of block = {self.block}")
        if self.added_positions and self.width % 4:
            raise ValueError(
                f"width = {self.width} must be a multiple of 4: a quarter of it is for each wave of added positions"
            )
        if self.attention == "factorised" and self.depth < 2:
            raise ValueError(
                "depth = 1 has no block along time, so that frames would not see each other: factorised needs 2 or more"
            )

    def _embedding(
        self, t: jax.Array, label: jax.Array | None, compute: Compute
    ) -> Float[Array, "b e"] | Float[Array, "b f e"]:
        """Time and label as one vector per clip, or per frame where each has a time."""
        embed = Embedding(256, self.width, self.num_classes, compute, name="embedding")
        if label is not None and t.ndim == 2:
            label = jnp.repeat(label, t.shape[1])
        return fast.silu(embed(t.reshape(-1), label)).reshape(*t.shape, -1)

    def _blocks(
        self, y: jax.Array, size: tuple[int, int, int], embedding: jax.Array, compute: Compute, cache: FrameCache | None
    ) -> tuple[jax.Array, FrameCache | None]:
        """The tokens after all blocks, and the cache with them."""
        build, rotary = (
            fast.remat(TransformerBlock, self.remat),
            Rotary(self.rotary_base, channels=self._rotary_channels()),
        )
        positions, mask, layers = self._positions(y.shape[0], size, cache), self._mask(size, cache), []
        for number in range(self.depth):
            axial = Axial(size[0], columns=number % 2 == 1) if self.attention == "factorised" else None
            block = build(self.heads, self.expansion, compute, name=f"block_{number}", rotary=rotary, axial=axial)
            y, layer = block(y, embedding, positions, mask, None if cache is None else cache.layers[number])
            layers.append(layer)
        if cache is None:
            return y, None
        y = jnp.where(positions[:, :, :1] >= 0, y, jnp.nan)
        return y, cache.advanced(tuple(layers), size[0])

    def cache_shapes(self, height: int, width: int) -> CacheShapes:
        """What a cache of this network holds of each frame (see `frame_cache`).

        Args:
            height: of a frame, in pixels.
            width: of a frame, in pixels.

        Raises:
            ValueError: for a network whose frames see later ones, and sides that the patch does not divide.
        """
        if self.attention != "causal":
            raise ValueError(
                f"attention = {self.attention!r} lets frames see later ones: a cache is for attention = 'causal'"
            )
        if height % self.patch or width % self.patch:
            raise ValueError(f"height and width, {height} and {width}, must be multiples of {self.patch} (patch)")
        tokens = (height // self.patch) * (width // self.patch)
        reach = None if self.window is None else self.window - self.block
        return CacheShapes(((tokens, self.heads, self.width // self.heads),) * self.depth, reach)

    def _positions(self, batch: int, size: tuple[int, int, int], cache: FrameCache | None) -> jax.Array:
        """Frame, row and column of each token (b, s, 3).

        The frames of a clip whose earlier ones are lost are below 0.
        """
        places = jnp.asarray(np.indices(size).reshape(3, -1).T.astype(np.int32))
        places = jnp.broadcast_to(places[None], (batch, *places.shape))
        if cache is None:
            return places
        reach = None if self.window is None else self.window - self.block
        first = cache.opened(batch, (size[1] * size[2],) * self.depth, reach)[:, None]
        return places.at[:, :, 0].set(jnp.where(first >= 0, places[:, :, 0] + first, -1))

    def _mask(self, size: tuple[int, int, int], cache: FrameCache | None) -> SeenFrames | jax.Array | None:
        """Which tokens each one sees: a rule with a cache, a mask (1, 1, s, s) without one, and None for all."""
        rule = SeenFrames(self.block, self.window)
        if cache is not None:
            return rule
        if self.attention != "causal" or size[0] <= self.block:
            return None
        frames = jnp.repeat(jnp.arange(size[0]), size[1] * size[2])[None]
        mask: jax.Array = rule(frames, frames)
        return mask

    def _rotary_channels(self) -> tuple[int, int, int]:
        """Channels of a head for frame, row and column."""
        if self.rotary_channels is not None:
            return self.rotary_channels
        return clip_channels(self.width // self.heads)
