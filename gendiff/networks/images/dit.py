"""The diffusion transformer (DiT): patches as tokens, and adaLN-zero.

Peebles & Xie, 2023, and its successors that read text (Esser et al., 2024, MM-DiT).
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks, packed
from gendiff.core.condition_records import Text
from gendiff.core.types import ArrayLike, Config, DType
from gendiff.networks import fast
from gendiff.networks.blocks.transformer import EPSILON, TransformerBlock
from gendiff.networks.fast.feature_cache import BlockChange
from gendiff.networks.inputs import condition_checks
from gendiff.networks.inputs.conditioning import Condition, check_fields, checked_conditions
from gendiff.networks.inputs.seen_tokens import SeenTokens
from gendiff.networks.layers import NORMS, Compute, dense, dtype_of, image_inputs, parameter
from gendiff.networks.layers.embeddings import Embedding, grid_positions, grid_table
from gendiff.networks.layers.rotary import Rotary

Tokens = jax.Array | tuple[jax.Array, ...]
"""Those of an image, or of an image and a text beside it."""


class DiT(nn.Module):
    """The diffusion transformer of images (b, h, w, c), whose sides `patch` divides; the output starts at 0.

    `weights` loads the parameters of DiT, Stable Diffusion 3 and FLUX.1, which are settings of it.

    Args:
        patch: side of a token's square of pixels.
        width: channels of a token, divisible by 4 and by heads.
        depth: number of blocks.
        heads: number of attention heads.
        expansion: width of the MLPs over that of the tokens.
        num_classes: the condition is then a label in 0 … num_classes − 1, or NO_LABEL. None: no condition.
        out_channels: None for those of x.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers and convolutions; both gather parameters that devices share late.
        mlp_epsilon: what the norms before the MLPs add to a variance; elsewhere it is 1e-6.
        frequency_shift: of the sinusoidal time, 0 or 1 (see embeddings.py).
        text_channels: of the tokens of a `Text`, which is then a condition. None: no text.
        pooled_channels: of its pooled encoding, which joins the time. None: it has none.
        text_attention: "cross" lets the image look at the text after self-attention; "joint" makes the text a second
            stream with weights of its own, and has one attention over both.
        null_text: True: a text of which no token is there (NO_TEXT) is one learned token. False: there is nothing to
            look at.
        image_size: whether an `ImageSize` is a condition; it joins the time. "score": one whose score stands in place
            of its target.
        guidance: whether a `GuidanceScale` is a condition; it joins the time, and is without effect at first.
        second_time: whether an `EndTime` is a condition; it joins the time, and is without effect at first.
        norm_heads: QK-norm: normalise each head's query and key by their root mean square.
        own_attention: numbers of the blocks, from 0, in which the image also looks at itself alone; for
            text_attention = "joint".
        single_depth: how many blocks follow in which image and text are one sequence with the same weights, and
            attention and MLP stand side by side; for text_attention = "joint".
        position_table: side of a square of learned positions, of which each image takes the middle. None: they are
            fixed sines and cosines.
        rotary_channels: positions turn queries and keys (RoPE), and nothing is added to the tokens. These are the
            channels of a head that each coordinate turns, the last two for row and column. Every token stands at 0 in
            those before, and those of a text in all.
        norm: of the tokens: "layer" or "rms".
        activation: of the MLPs: "gelu_tanh", "gelu", "quick_gelu" or "silu".
        gated: multiply the activation of one linear layer by another one (SwiGLU with "silu").
        mlp_width: width of the MLPs. None: `expansion` says it.
        bias: whether linear layers have one.
        shared_modulation: all blocks are shifted, scaled and gated alike, by one linear layer of the condition for each
            stream and one for the blocks of one sequence, whose layers for attention and MLP are fused; for
            text_attention = "joint".
        rotary_base: of the frequencies of rotary positions, above 1.
        word_places: words stand in a row on the last coordinate of rotary_channels, where the image is at 0; row and
            column are then the two before it.
        reference_places: `ReferenceImages` may be a condition. The first one stands at this number on the first
            coordinate of rotary_channels, where x is at 0, the next one at twice this, and so on. None: it is none.
        skipped: numbers of the blocks, from 0, that are left out: the weaker network of skip-layer guidance, with the
            parameters of the whole one.

    References:
        Peebles & Xie, 2023. Chen et al., 2023, section 2.3, for "cross"; Esser et al., 2024, section 4, for "joint",
        and section 5.3.2 for normalised heads; the code of Stable Diffusion 3.5 for `own_attention` and of FLUX.1 for
        `single_depth`; Yao et al., 2025 (arXiv 2501.01423), section 4, for RMS norm, SwiGLU and rotary positions
        together (all from memory).
    """

    patch: int = 2
    width: int = 384
    depth: int = 12
    heads: int = 6
    expansion: int = 4
    num_classes: int | None = None
    out_channels: int | None = None
    dtype: DType | None = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False
    mlp_epsilon: float = EPSILON
    frequency_shift: int = 0
    text_channels: int | None = None
    pooled_channels: int | None = None
    text_attention: str = "cross"
    null_text: bool = True
    image_size: bool | str = False
    guidance: bool = False
    second_time: bool = False
    norm_heads: bool = False
    own_attention: tuple[int, ...] = ()
    single_depth: int = 0
    position_table: int | None = None
    rotary_channels: tuple[int, ...] | None = None
    norm: str = "layer"
    activation: str = "gelu_tanh"
    gated: bool = False
    mlp_width: int | None = None
    bias: bool = True
    shared_modulation: bool = False
    rotary_base: float = 10_000.0
    word_places: bool = False
    reference_places: int | None = None
    skipped: tuple[int, ...] = ()

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "b h w c"], t: Shaped[ArrayLike, " b"], *condition: Condition
    ) -> Float[Array, "b h w d"] | tuple[Float[Array, "b h w d"], BlockChange]:
        """Predict from x, in the dtype of x. With a `BlockChange`, return what was predicted, and it.

        Args:
            x: (b, h, w, c) images.
            t: (b,) one time per sample.
            *condition: a label (b,) or (), a `Text`, an `ImageSize`, a `GuidanceScale` and an `EndTime`, those that
                the fields name, in any order, and a `BlockChange`, or `ReferenceImages` where `reference_places` is
                set, or not. NO_LABEL and a text of which no token is there stand for nothing.

        Raises:
            ValueError: for inputs or fields against the rules above, and an image larger than the table of positions.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check(x, t, self.patch, "patch")
        fields = (
            self.num_classes,
            self.text_channels,
            self.pooled_channels,
            self.image_size,
            self.guidance,
            self.second_time,
        )
        takes = ("block change",) if self.reference_places is None else ("block change", "reference images")
        conditions = checked_conditions(condition, x.shape[0], *fields, takes=takes)
        images = x, *condition_checks.checked_references(conditions.references, x.shape, self.patch)
        compute = Compute(
            dtype_of(self.dtype, x), self.precision, attention=self.attention_implementation, late=bool(self.remat)
        )
        if conditions.text is not None:
            conditions = conditions._replace(text=SeenTokens(self.null_text, compute, name="text")(conditions.text))
        embed = Embedding(256, self.width, self.num_classes, compute, self.frequency_shift, self.bias, name="embedding")
        inputs = conditions.label, conditions.added(compute.dtype), conditions.guidance, conditions.second_time
        embedding = fast.silu(embed(jnp.asarray(t), *inputs))

        sizes = tuple((each.shape[1] // self.patch, each.shape[2] // self.patch) for each in images)
        cut = [patches(jnp.asarray(each).astype(compute.dtype), self.patch) for each in images]
        y = dense(self.width, compute, "input", bias=self.bias)(jnp.concatenate(cut, 1))
        rows, columns = sizes[0]
        if self.rotary_channels is None:
            y = y + self._added_positions(rows, columns, compute)[None]
        y, change = self._blocks(y, sizes, embedding, conditions.text, compute, conditions.change)

        shift, scale = jnp.split(dense(2 * self.width, compute, "output_modulation", True, self.bias)(embedding), 2, -1)
        y = NORMS[self.norm](compute, EPSILON, name="output_norm")(y, scale, shift)
        y = dense(self.patch**2 * (self.out_channels or x.shape[-1]), compute, "output", True, self.bias)(y)
        y = image(y, rows, columns, self.patch).astype(x.dtype)
        return y if change is None else (y, change)

    def _check(self) -> None:
        optional = "num_classes", "out_channels", "position_table", "mlp_width"
        checks.counts(self, "patch", "width", "depth", "heads", "expansion", optional=optional)
        checks.in_range("mlp_epsilon", self.mlp_epsilon, 0.0, float("inf"))
        checks.choice("text_attention", self.text_attention, ("cross", "joint"))
        check_fields(self.text_channels, self.pooled_channels)
        checks.integer("single_depth", self.single_depth, 0)
        for number in self.skipped:
            checks.integer("skipped", number, 0, self.depth + self.single_depth - 1)
        for number in self.own_attention:
            checks.integer("own_attention", number, 0, self.depth - 1)
        for name in ("own_attention", "single_depth"):
            value = getattr(self, name)
            if value and (self.text_channels is None or self.text_attention != "joint"):
                raise ValueError(
                    f"{name} = {value} is for a text beside the image: it needs text_attention = 'joint' and "
                    "text_channels"
                )
        if self.shared_modulation and (self.text_channels is None or self.text_attention != "joint"):
            raise ValueError("shared_modulation = True needs text_attention = 'joint' and text_channels")
        if self.word_places and len(self.rotary_channels or ()) < 3:
            raise ValueError(f"word_places = True needs three numbers of rotary_channels, not {self.rotary_channels}")
        if self.reference_places is not None:
            checks.integer("reference_places", self.reference_places, 1)
            needed = 4 if self.word_places else 3
            if len(self.rotary_channels or ()) < needed:
                raise ValueError(
                    f"reference_places = {self.reference_places} needs {needed} numbers of rotary_channels, the first "
                    f"for the images, not {self.rotary_channels}"
                )
        if self.rotary_channels is not None:
            if self.position_table is not None:
                raise ValueError(
                    f"position_table = {self.position_table} would add positions, and rotary_channels turn by them: "
                    "give one"
                )
            if len(self.rotary_channels) < 2:
                raise ValueError(
                    f"rotary_channels = {self.rotary_channels} must be two numbers or more: the last are for row and "
                    "column"
                )

    def _added_positions(self, rows: int, columns: int, compute: Compute) -> jax.Array:
        """Added positions of the tokens (s, d): fixed ones, or the middle of the table."""
        if self.position_table is None:
            return jnp.asarray(grid_positions(rows, columns, self.width), compute.dtype)
        side = self.position_table
        if max(rows, columns) > side:
            raise ValueError(
                f"an image of {rows} × {columns} patches is larger than the table of positions: position_table = {side}"
            )
        table = packed.as_array(parameter(self, "position", grid_table, (side**2, self.width)), compute.dtype)
        top, left = (side - rows) // 2, (side - columns) // 2
        return table.reshape(side, side, -1)[top : top + rows, left : left + columns].reshape(rows * columns, -1)

    def _coordinates(self, batch: int, sizes: Sequence[tuple[int, int]], words: int) -> jax.Array | None:
        """Where each token of x, of references and of the text stands (b, p, axes), where that turns it."""
        if self.rotary_channels is None:
            return None
        counts = [rows * columns for rows, columns in sizes]
        places = np.zeros((sum(counts) + words, len(self.rotary_channels)), np.int32)
        grid = slice(-3, -1) if self.word_places else slice(-2, None)
        of_images = places[: sum(counts)]
        of_images[:, grid] = np.concatenate([np.indices(size).reshape(2, -1).T for size in sizes])
        if self.reference_places is not None:
            of_images[:, 0] = self.reference_places * np.repeat(np.arange(len(counts)), counts)
        if self.word_places:
            places[sum(counts) :, -1] = np.arange(words)
        return jnp.broadcast_to(jnp.asarray(places)[None], (batch, *places.shape))

    def _blocks(
        self,
        y: jax.Array,
        sizes: Sequence[tuple[int, int]],
        embedding: jax.Array,
        text: Text | None,
        compute: Compute,
        feature_cache: BlockChange | None,
    ) -> tuple[jax.Array, BlockChange | None]:
        """The tokens of x after all blocks, and the change by those that are kept. sizes: of x and references."""
        tokens, total = self._streams(y, text, compute), self.depth + self.single_depth
        run_block = self._runner(y, sizes, embedding, text, compute)

        def run(number: int, tokens: Tokens) -> Tokens:
            return tokens if number in self.skipped else run_block(number, tokens)

        if feature_cache is None:
            for number in range(total):
                tokens = run(number, tokens)
        else:
            feature_cache = feature_cache.checked(total)
            for number in range(feature_cache.first):
                tokens = run(number, tokens)
            before = tokens
            if feature_cache.change is None or self.is_initializing():
                for number in range(feature_cache.first, feature_cache.last + 1):
                    tokens = run(number, tokens)
                feature_cache = feature_cache.with_change(self._as_after(feature_cache.last, before), tokens)
            else:
                tokens = feature_cache.added(self._as_after(feature_cache.last, before))
            for number in range(feature_cache.last + 1, total):
                tokens = run(number, tokens)
        tokens = tokens[0] if isinstance(tokens, tuple) else tokens
        rows, columns = sizes[0]
        return tokens[:, : rows * columns], feature_cache

    def _streams(self, y: jax.Array, text: Text | None, compute: Compute) -> Tokens:
        """Inputs of the first block: the tokens of the image, and for "joint" those of the text beside them."""
        if text is None or self.text_attention == "cross":
            return y
        return y, dense(self.width, compute, "text_0", bias=self.bias)(jnp.asarray(text.tokens))

    def _as_after(self, number: int, tokens: Tokens) -> Tokens:
        """The tokens in the form of that block's output."""
        if isinstance(tokens, tuple) and number >= self.depth:
            return jnp.concatenate(tokens, 1)
        return tokens[: self._answers(number)] if isinstance(tokens, tuple) else tokens

    def _answers(self, number: int) -> int | None:
        """Return how many streams a block gives back: 1 for the last block, and None (all) for the others.

        After the last block nothing reads the text.
        """
        return 1 if number == self.depth - 1 and not self.single_depth else None

    def _runner(
        self,
        y: jax.Array,
        sizes: Sequence[tuple[int, int]],
        embedding: jax.Array,
        text: Text | None,
        compute: Compute,
    ) -> Callable[[int, Tokens], Tokens]:
        """The function (number of a block, tokens) -> tokens."""

        def block(name: str, number: int, options: Config) -> TransformerBlock:
            return fast.remat(TransformerBlock, self.remat)(
                self.heads,
                self.expansion,
                compute,
                self.mlp_epsilon,
                activation=self.activation,
                norm=self.norm,
                norm_heads=self.norm_heads,
                mlp_width=self.mlp_width,
                gated=self.gated,
                bias=self.bias,
                rotary=rotary,
                name=f"{name}_{number}",
                **options,
            )

        rotary = Rotary(self.rotary_base, channels=self.rotary_channels)
        words = text.tokens.shape[1] if text is not None and self.text_attention == "joint" else 0
        places = self._coordinates(y.shape[0], sizes, words)
        if text is None:
            return lambda number, y: block("block", number, {})(y, embedding, places)[0]
        if self.text_attention == "cross":
            read = dense(self.width, compute, "text_1")(
                fast.gelu(dense(self.width, compute, "text_0")(jnp.asarray(text.tokens)))
            )
            return lambda number, y: block("block", number, {})(y, embedding, places, None, None, read, text.mask)[0]
        visible = jnp.concatenate([jnp.ones(y.shape[:2], bool), text.mask], 1)[:, None, None, :]

        shared = self._shared_changes(embedding, compute) if self.shared_modulation else {}

        def run(number: int, tokens: Tokens) -> Tokens:
            condition = shared or embedding
            if number < self.depth:
                options = {"answers": self._answers(number), "own_attention": number in self.own_attention}
                tokens, _ = block("block", number, options)(tokens, condition, places, visible)
                return tokens
            both = jnp.concatenate(tokens, 1) if isinstance(tokens, tuple) else tokens
            condition = {"": shared["single_"]} if shared else embedding
            options = {"parallel": True, "fused": self.shared_modulation}
            tokens, _ = block("single_block", number - self.depth, options)(both, condition, places, visible)
            return tokens

        return run

    def _shared_changes(self, embedding: jax.Array, compute: Compute) -> dict[str, jax.Array]:
        """What the condition gives all blocks, for each stream, and for one sequence."""
        numbers = {"": 6, "stream_1_": 6, "single_": 3}
        return {
            name: dense(number * self.width, compute, f"{name}modulation", True, self.bias)(embedding)
            for name, number in numbers.items()
        }


def patches(x: Float[Array, "b h w c"], patch: int) -> Float[Array, "b s p"]:
    """Cut an image into its squares of patch × patch pixels, row by row."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, (h // patch) * (w // patch), patch * patch * c)


def image(tokens: Float[Array, "b s p"], rows: int, columns: int, patch: int) -> Float[Array, "b h w c"]:
    """Invert `patches`."""
    b = tokens.shape[0]
    x = tokens.reshape(b, rows, columns, patch, patch, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, rows * patch, columns * patch, x.shape[-1])
