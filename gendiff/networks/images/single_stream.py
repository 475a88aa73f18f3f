"""The single-stream diffusion transformer of Z-Image (S3-DiT): patches and words are one sequence."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks
from gendiff.core.condition_records import Text
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.blocks.sandwich_block import SandwichBlock
from gendiff.networks.images import dit
from gendiff.networks.inputs.conditioning import Condition, checked_conditions
from gendiff.networks.layers import Compute, LayerNorm, RMSNorm, dense, dtype_of, image_inputs, initializers, parameter
from gendiff.networks.layers.embeddings import sinusoidal
from gendiff.networks.layers.rotary import Rotary

GROUP = 32
"""Patches, and words, are filled up to a multiple of this by learned tokens, which are seen."""
FREQUENCIES, TIME_WIDTH, CONDITION_WIDTH = 256, 1024, 256
NOISE = 1000.0
"""The time t of noise. Its own time runs the other way, and so does its answer; both are turned around here."""


class _Words(NamedTuple):
    tokens: Float[Array, "b s d"]
    positions: Shaped[Array, "b s axes"]
    visible: Shaped[Array, "b s"]
    places: Shaped[Array, " b"]
    """How many stand before the image, learned ones included."""


class SingleStreamTransformer(nn.Module):
    """A transformer of images (b, h, w, c) and texts, whose sides `patch` divides; the output starts at 0.

    A few blocks refine patches, and others words, before both are one sequence. Words stand in a row on the first of
    three coordinates, and the image behind them on the other two. Its answer is the velocity of flow matching, noise −
    clean. The defaults are those of Z-Image.

    Args:
        patch: side of a token's square of pixels.
        width: channels of a token, which `heads` divides.
        depth: number of blocks of the one sequence.
        refiners: number of blocks that each of patches and words has before.
        heads: number of attention heads.
        mlp_width: width of the MLPs.
        text_channels: of the tokens of a `Text`, which is a condition.
        out_channels: None for those of x.
        rotary_channels: channels of a head that each of the three coordinates turns; their sum is its size.
        rotary_base: of the frequencies of rotary positions, above 1.
        time_scale: its time of clean images.
        epsilon: what RMS norms add to a mean square.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers.

    References:
        Z-Image team, 2025, section 4 (from memory).
    """

    patch: int = 2
    width: int = 3840
    depth: int = 30
    refiners: int = 2
    heads: int = 30
    mlp_width: int = 10240
    text_channels: int = 2560
    out_channels: int | None = None
    rotary_channels: tuple[int, int, int] = (32, 48, 48)
    rotary_base: float = 256.0
    time_scale: float = 1000.0
    epsilon: float = 1e-5
    dtype: DType | None = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False

    pooled_channels, image_size, guidance = None, False, False
    """What other networks of texts are conditioned on as well."""

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "b h w c"], t: Shaped[ArrayLike, " b"], *condition: Condition
    ) -> Float[Array, "b h w d"]:
        """Predict from x, in the dtype of x.

        Args:
            x: (b, h, w, c) images.
            t: (b,) one time per sample, 0 for clean images to 1000 for noise.
            *condition: a `Text`.

        Raises:
            ValueError: for inputs or fields against the rules above.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check(x, t, self.patch, "patch")
        text = checked_conditions(condition, x.shape[0], None, self.text_channels, None, False).text
        if text is None:
            raise ValueError("the network reads a Text: give one as a condition")
        compute = Compute(
            dtype_of(self.dtype, x), self.precision, attention=self.attention_implementation, late=bool(self.remat)
        )
        embedding = self._time(jnp.asarray(t), compute)
        words = self._words(text, compute)
        rows, columns = x.shape[1] // self.patch, x.shape[2] // self.patch
        y = dense(self.width, compute, "input")(dit.patches(jnp.asarray(x).astype(compute.dtype), self.patch))
        y, positions = self._filled_image(y, (rows, columns), words.places, compute)
        for number in range(self.refiners):
            y = self._block(f"image_block_{number}", compute)(y, embedding, positions)

        y = jnp.concatenate([y, words.tokens], 1)
        visible = jnp.concatenate([jnp.ones(positions.shape[:2], bool), words.visible], 1)
        positions = jnp.concatenate([positions, words.positions], 1)
        for number in range(self.depth):
            y = self._block(f"block_{number}", compute)(y, embedding, positions, visible)

        scale = dense(self.width, compute, "output_modulation", zero=True)(fast.silu(embedding))
        y = LayerNorm(compute, name="output_norm")(y[:, : rows * columns], scale, jnp.zeros_like(scale))
        y = dense(self.patch**2 * (self.out_channels or x.shape[-1]), compute, "output", zero=True)(y)
        return -dit.image(y, rows, columns, self.patch).astype(x.dtype)

    def _check(self) -> None:
        checks.counts(
            self,
            *("patch", "width", "depth", "heads", "mlp_width", "text_channels"),
            optional=("out_channels",),
        )
        checks.integer("refiners", self.refiners, 0)
        checks.in_range("epsilon", self.epsilon, 0.0, float("inf"))
        if self.width % self.heads or sum(self.rotary_channels) != self.width // self.heads:
            raise ValueError(
                f"rotary_channels = {self.rotary_channels} must have width / heads = {self.width} / {self.heads} as "
                "their sum"
            )

    def _block(self, name: str, compute: Compute) -> SandwichBlock:
        rotary = Rotary(self.rotary_base, channels=self.rotary_channels)
        build = fast.remat(SandwichBlock, self.remat)
        return build(self.heads, self.mlp_width, rotary, compute, self.epsilon, name=name)

    def _time(self, t: jax.Array, compute: Compute) -> jax.Array:
        """The embedding (b, e) of its own time."""
        forward = self.time_scale * ((NOISE - t.astype(jnp.promote_types(t.dtype, jnp.float32))) / NOISE)
        y = dense(TIME_WIDTH, compute, "time_0")(sinusoidal(forward, FREQUENCIES).astype(compute.dtype))
        return dense(min(self.width, CONDITION_WIDTH), compute, "time_1")(fast.silu(y))

    def _words(self, text: Text, compute: Compute) -> _Words:
        """Those that are there, in their order, then learned ones, after their blocks."""
        mask, further = jnp.asarray(text.mask), -text.mask.shape[1] % GROUP
        tokens = jnp.where(mask[..., None], jnp.asarray(text.tokens).astype(compute.dtype), 0)
        tokens = jnp.pad(tokens, ((0, 0), (0, further), (0, 0)))
        mask = jnp.pad(mask, ((0, 0), (0, further)))
        tokens = jnp.take_along_axis(tokens, jnp.argsort(~mask, 1, stable=True)[..., None], 1)
        there, places = jnp.sum(mask, 1, dtype=jnp.int32), jnp.arange(mask.shape[1], dtype=jnp.int32)[None]
        count = jnp.maximum((there + GROUP - 1) // GROUP, 1) * GROUP
        visible = places < count[:, None]
        positions = jnp.pad(jnp.broadcast_to(places + 1, mask.shape)[..., None], ((0, 0), (0, 0), (0, 2)))

        y = RMSNorm(compute, self.epsilon, name="text_norm")(tokens)
        y = dense(self.width, compute, "text_0")(y)
        y = jnp.where((places < there[:, None])[..., None], y, self._learned("text_filling", compute))
        for number in range(self.refiners):
            y = self._block(f"text_block_{number}", compute)(y, None, positions, visible)
        return _Words(y, positions, visible, count)

    def _filled_image(
        self, y: jax.Array, size: tuple[int, int], before: jax.Array, compute: Compute
    ) -> tuple[jax.Array, jax.Array]:
        """(tokens of the image and learned ones behind them, where they stand): the latter all at 0."""
        count, batch = y.shape[1], y.shape[0]
        further = -count % GROUP
        filling = jnp.broadcast_to(self._learned("image_filling", compute), (batch, further, self.width))
        grid = np.indices(size).reshape(2, -1).T[None]
        first = jnp.broadcast_to((before + 1)[:, None, None], (batch, count, 1))
        positions = jnp.concatenate([first, jnp.broadcast_to(jnp.asarray(grid, jnp.int32), (batch, count, 2))], -1)
        return jnp.concatenate([y, filling], 1), jnp.pad(positions, ((0, 0), (0, further), (0, 0)))

    def _learned(self, name: str, compute: Compute) -> jax.Array:
        row: jax.Array = parameter(self, name, initializers.zeros, (self.width,))
        return row[None, None].astype(compute.dtype)
