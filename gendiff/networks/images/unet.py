"""The U-Net of diffusion models (Ho et al., 2020; Dhariwal & Nichol, 2021): of ADM, of `diffusers`, and between."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks
from gendiff.core.condition_records import Text
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.blocks.image_transformer import DESIGNS, ImageTransformer
from gendiff.networks.blocks.residual_block import Downsample, ResidualBlock, Upsample
from gendiff.networks.fast.feature_cache import DeepFeatures
from gendiff.networks.inputs.conditioning import Condition, Conditions, check_fields, checked_conditions
from gendiff.networks.inputs.seen_tokens import SeenTokens
from gendiff.networks.layers import Compute, GroupNorm, dtype_of, image_inputs
from gendiff.networks.layers.attention import ImageAttention
from gendiff.networks.layers.convolution import Convolution
from gendiff.networks.layers.embeddings import Embedding


class UNet(nn.Module):
    """The U-Net of images (b, h, w, c), whose sides 2^(levels − 1) divides; the output starts at 0.

    Args:
        channels: of each level, the finest first; each level halves the size.
        blocks: residual blocks per level on the way down; there is one more on the way up.
        attention: sizes of feature maps (the longer side, in pixels) that get self-attention after each block. Its
            place then depends on the size of x, so parameters serve the sizes that agree with those they were made for;
            others are refused.
        middle_attention: self-attention at the coarsest size, between the two middle blocks.
        head_size: channels of an attention head.
        heads: number of attention heads, or one for each level, which replaces head_size; None for head_size. The
            middle has the last.
        groups: of the group norms; divides the channels of every level.
        modulation: how time and label enter a block: "scale_shift" or "shift".
        resampling: the size changes by "convolution" or by a residual "block".
        dropout: share of activations dropped in training, where the network is called with a key, in [0, 1).
        num_classes: the condition is then a label in 0 … num_classes − 1, or NO_LABEL. None: no condition.
        out_channels: None for those of x.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        convolution: which of several equal implementations (see convolution.py).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers and convolutions; both gather parameters that devices share late.
        epsilon: what the norms add to a variance.
        downsample_padding: zeros above and to the left of what a convolution halves, 1 or 0 (see blocks.py).
        frequency_shift: of the sinusoidal time, 0 or 1 (see embeddings.py).
        attention_levels: levels, 0 the finest, that get self-attention whatever the size of x. None: `attention` says
            which.
        text_channels: of the tokens of a `Text`, which is then a condition. A transformer layer with self-attention,
            cross-attention to the text and an MLP takes the place of self-attention. None: no text.
        pooled_channels: of its pooled encoding, which joins the time. None: it has none.
        null_text: True: a text of which no token is there (NO_TEXT) is one learned token. False: there is nothing to
            look at.
        image_size: whether an `ImageSize` is a condition; it joins the time. "score": one whose score stands in place
            of its target.
        transformer_depth: blocks in each transformer layer that reads the text, or one number for each level. The
            middle has the last.
        transformer: what these blocks are made of: "plain" or "stable_diffusion" (see image_transformer.py).
        guidance: whether a `GuidanceScale` is a condition; it joins the time, and is without effect at first.
        second_time: whether an `EndTime` is a condition; it joins the time, and is without effect at first.
        circular: images are tori: convolutions go on at the other side (circular padding). Moving x by multiples of
            2^(levels − 1) pixels then moves the output, and changes nothing else.

    References:
        Ho et al., 2020, App. B; Dhariwal & Nichol, 2021, section 3; Rombach et al., 2022, section 3.3, for text; Podell
        et al., 2023, section 2, for sizes and depths (from memory).
    """

    channels: tuple[int, ...] = (64, 128, 128)
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    middle_attention: bool = True
    head_size: int = 32
    heads: int | tuple[int, ...] | None = None
    groups: int = 32
    modulation: str = "scale_shift"
    resampling: str = "convolution"
    dropout: float = 0.0
    num_classes: int | None = None
    out_channels: int | None = None
    dtype: DType | None = None
    precision: str | None = None
    convolution: str = "direct"
    attention_implementation: str = "auto"
    remat: bool | str = False
    epsilon: float = 1e-5
    downsample_padding: int = 1
    frequency_shift: int = 0
    attention_levels: tuple[int, ...] | None = None
    text_channels: int | None = None
    pooled_channels: int | None = None
    null_text: bool = True
    image_size: bool | str = False
    transformer_depth: int | tuple[int, ...] = 1
    transformer: str = "plain"
    guidance: bool = False
    second_time: bool = False
    circular: bool = False

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "b h w c"], t: Shaped[ArrayLike, " b"], *condition: Condition
    ) -> Float[Array, "b h w d"] | tuple[Float[Array, "b h w d"], DeepFeatures]:
        """Predict from x, in the dtype of x. With `DeepFeatures`, return what was predicted, and them.

        Args:
            x: (b, h, w, c) images.
            t: (b,) one time per sample.
            *condition: a label (b,) or (), a `Text`, an `ImageSize`, a `GuidanceScale` and an `EndTime`, those that
                the fields name, in any order, and `Residuals` of a ControlNet or `DeepFeatures` or not. NO_LABEL and a
                text of which no token is there stand for nothing.

        Raises:
            ValueError: for inputs or fields against the rules above, residuals and deep features together, and for
                parameters whose attention stands elsewhere.
            TypeError: for inputs of the wrong type.
        """
        conditions, compute = self._prepared(x, t, condition, ("residuals", "deep features"))
        deep = conditions.deep
        if deep is not None and conditions.residuals is not None:
            raise ValueError(
                "residuals change every level, and deep features keep levels as they were: give one of them"
            )
        embedding, count = self._embedded(t, conditions, compute), len(self.channels) * (self.blocks + 1)
        shallow = 0 if deep is None else deep.checked(count).shallow
        y = Convolution(self.channels[0], compute=compute, name="input")(jnp.asarray(x).astype(compute.dtype))
        if deep is None or deep.features is None or self.is_initializing():
            skips = self._down(y, embedding, conditions.text, compute, count)
            y = self._middle(skips[-1], embedding, conditions.text, compute)
            if conditions.residuals is not None:
                skips, y = conditions.residuals.added(skips, y)
            y = self._up(y, skips[shallow:], shallow, embedding, conditions.text, compute)
            deep = None if deep is None else deep.with_features(y)
        else:
            skips = self._down(y, embedding, conditions.text, compute, shallow)
            y = deep.features_like(skips[-1].shape, compute.dtype)
        y = self._up(y, skips[:shallow], 0, embedding, conditions.text, compute)
        y = GroupNorm(self.groups, compute, self.epsilon, silu=True, name="output_norm")(y)
        y = Convolution(self.out_channels or x.shape[-1], zero=True, compute=compute, name="output")(y)
        return y.astype(x.dtype) if deep is None else (y.astype(x.dtype), deep)

    def _prepared(
        self, x: ArrayLike, t: ArrayLike, condition: tuple[Condition, ...], takes: tuple[str, ...]
    ) -> tuple[Conditions, Compute]:
        """Inputs checked: the conditions, with the tokens that are seen, and how to compute."""
        self._check()
        image_inputs.check(x, t, 2 ** (len(self.channels) - 1), "downsampling")
        fields = (
            self.num_classes,
            self.text_channels,
            self.pooled_channels,
            self.image_size,
            self.guidance,
            self.second_time,
        )
        conditions = checked_conditions(condition, x.shape[0], *fields, takes=takes)
        compute = self._compute(x)
        if conditions.text is not None:
            self._check_reader(x.shape)
            conditions = conditions._replace(text=SeenTokens(self.null_text, compute, name="text")(conditions.text))
        return conditions, compute

    def _compute(self, x: ArrayLike) -> Compute:
        how = self.precision, self.convolution, self.attention_implementation, bool(self.remat)
        return Compute(dtype_of(self.dtype, x), *how, self.circular)

    def _embedded(self, t: ArrayLike, conditions: Conditions, compute: Compute) -> jax.Array:
        width = self.channels[0]
        embed = Embedding(width, 4 * width, self.num_classes, compute, self.frequency_shift, name="embedding")
        inputs = conditions.label, conditions.added(compute.dtype), conditions.guidance, conditions.second_time
        embedding = embed(jnp.asarray(t), *inputs)
        return fast.silu(embedding)  # every block begins with it: once is enough

    def _down(self, y: Array, embedding: Array, context: object, compute: Compute, count: int) -> list[Array]:
        """The first `count` maps that the way down keeps for the way up; the last one of all is where it ends."""
        skips = [y]
        for number in range(count - 1):
            level, block = divmod(number, self.blocks + 1)
            features = self.channels[level]
            if block == self.blocks:
                y = self._resize(f"down_{level}_resize", "half", features, compute)(y, embedding)
            else:
                y = self._block(f"down_{level}_{block}", features, compute)(y, embedding)
                y = self._attention(
                    f"down_{level}_{block}_attention", y, compute, level, self._attends(level, y.shape), context
                )
            skips.append(y)
        return skips

    def _up(
        self, y: Array, skips: list[Array], first: int, embedding: Array, context: object, compute: Compute
    ) -> Array:
        """The blocks on the way up that read these maps, the deepest of them first.

        The maps are numbered from `first` on.
        """
        for number, skip in reversed(list(enumerate(skips, first))):
            level, left = divmod(number, self.blocks + 1)
            name, features = f"up_{level}_{self.blocks - left}", self.channels[level]
            y = self._block(name, features, compute)(jnp.concatenate([y, skip], -1), embedding)
            y = self._attention(f"{name}_attention", y, compute, level, self._attends(level, y.shape), context)
            if not left and level:
                y = self._resize(f"up_{level}_resize", "double", features, compute)(y, embedding)
        return y

    def _middle(self, y: jax.Array, embedding: jax.Array, context: object, compute: Compute) -> jax.Array:
        y = self._block("middle_0", self.channels[-1], compute)(y, embedding)
        y = self._attention("middle_attention", y, compute, len(self.channels) - 1, self.middle_attention, context)
        return self._block("middle_1", self.channels[-1], compute)(y, embedding)

    def _check(self) -> None:
        checks.choice("modulation", self.modulation, ("scale_shift", "shift"))
        checks.choice("resampling", self.resampling, ("convolution", "block"))
        checks.choice("transformer", self.transformer, DESIGNS)
        checks.in_range("dropout", self.dropout, 0.0, 1.0, open_high=True)
        checks.counts(self, "blocks", "groups", "head_size", optional=("num_classes", "out_channels"))
        for number in self.channels:
            checks.integer("channels", number, 1)
        checks.integer("downsample_padding", self.downsample_padding, 0, 1)
        checks.in_range("epsilon", self.epsilon, 0.0, float("inf"))
        if not self.channels:
            raise ValueError("channels = () has no level: give the channels of each, the finest first")
        for level in self.attention_levels or ():
            checks.integer("attention_levels", level, 0, len(self.channels) - 1)
        for name in ("heads", "transformer_depth"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.channels):
                raise ValueError(
                    f"{name} = {value} must be one number, or one for each of the {len(self.channels)} levels"
                )
            for each in value if isinstance(value, tuple) else () if value is None else (value,):
                checks.integer(name, each, 1)
        check_fields(self.text_channels, self.pooled_channels)

    def _check_reader(self, shape: tuple[int, ...]) -> None:
        maps = [(shape[0], shape[1] // 2**level, shape[2] // 2**level, 1) for level in range(len(self.channels))]
        if not (self.middle_attention or any(self._attends(level, sizes) for level, sizes in enumerate(maps))):
            where = (
                f"attention = {self.attention}, attention_levels = {self.attention_levels}, middle_attention = False"
            )
            raise ValueError(f"no layer would read the text of an x of shape {shape}: {where}")

    def _attends(self, level: int, shape: tuple[int, ...]) -> bool:
        return max(shape[1:3]) in self.attention if self.attention_levels is None else level in self.attention_levels

    def _block(self, name: str, features: int, compute: Compute) -> ResidualBlock:
        build = fast.remat(ResidualBlock, self.remat)
        return build(features, self.groups, self.modulation, None, self.dropout, compute, self.epsilon, name=name)

    def _attention(self, name: str, y: Array, compute: Compute, level: int, attention: bool, context: object) -> Array:
        """The map after its attention, if there is one here; context: what it looks at beside the map, as a `Text`."""
        heads = self._heads(name, y, level, attention)
        if heads is None:
            return y
        if not isinstance(context, Text):
            return fast.remat(ImageAttention, self.remat)(heads, self.groups, compute, self.epsilon, name=name)(y)
        depth = self.transformer_depth[level] if isinstance(self.transformer_depth, tuple) else self.transformer_depth
        build = fast.remat(ImageTransformer, self.remat)
        reader = build(heads, self.groups, compute, self.epsilon, depth, self.transformer, name=name)
        return reader(y, jnp.asarray(context.tokens), jnp.asarray(context.mask))

    def _heads(self, name: str, y: Array, level: int, attention: bool) -> int | None:
        """How many heads, or None where there is no attention. ValueError for parameters that have it elsewhere."""
        if not self.is_initializing() and attention != self.has_variable("params", name):
            raise ValueError(
                f"the parameters {'lack' if attention else 'have'} {name}, which the network "
                f"{'needs' if attention else 'has not'} at a feature map of shape {y.shape}. attention = "
                f"{self.attention} names sizes, so its place moves with the size of x: name levels instead, as in "
                "attention_levels=(1,)"
            )
        if not attention:
            return None
        return self._head_count(name, level)

    def _head_count(self, name: str, level: int) -> int:
        heads, channels = self.heads[level] if isinstance(self.heads, tuple) else self.heads, self.channels[level]
        if heads is None and channels % self.head_size:
            raise ValueError(f"head_size = {self.head_size} does not divide the {channels} channels of {name}")
        return heads or channels // self.head_size

    def _resize(self, name: str, resize: str, features: int, compute: Compute) -> nn.Module:
        if self.resampling == "block":
            build = fast.remat(ResidualBlock, self.remat)
            return build(features, self.groups, self.modulation, resize, self.dropout, compute, self.epsilon, name=name)
        if resize == "half":
            return Downsample(features, compute, self.downsample_padding, name=name)
        return Upsample(features, compute, name=name)


def adm(
    base: int = 192,
    multipliers: tuple[int, ...] = (1, 2, 3, 4),
    blocks: int = 3,
    attention: tuple[int, ...] = (32, 16, 8),
    num_classes: int | None = 1000,
    **options: object,
) -> UNet:
    """The U-Net of ADM, by default the one for ImageNet at 64 × 64.

    256 × 256 has base = 256, multipliers = (1, 1, 2, 2, 4, 4), blocks = 2. Networks that learn a variance have
    out_channels = 6.

    Args:
        base: channels of the finest level, before its multiplier.
        multipliers: channels of each level over the base.
        blocks: residual blocks per level.
        attention: sizes of feature maps with self-attention.
        num_classes: None for no condition.
        **options: any other field of UNet.

    References:
        Dhariwal & Nichol, 2021, Table 4 and App. I (from memory).
    """
    channels = tuple(base * m for m in multipliers)
    build: Callable[..., UNet] = functools.partial(
        UNet, channels, blocks, attention, head_size=64, modulation="scale_shift", resampling="block"
    )
    return build(num_classes=num_classes, **options)


def diffusers_unet(
    channels: tuple[int, ...] = (224, 448, 672, 896),
    blocks: int = 2,
    attention_levels: tuple[int, ...] = (1, 2, 3),
    head_size: int = 8,
    **options: object,
) -> UNet:
    """The network of UNet2DModel in `diffusers`, with its default options: equal outputs for equal weights.

    Args:
        channels: its block_out_channels.
        blocks: its layers_per_block.
        attention_levels: where its Attn blocks stand, 0 the finest.
        head_size: its attention_head_dim.
        **options: any other field of UNet. Its num_class_embeds rows are num_classes rows and that of the null class.
    """
    build: Callable[..., UNet] = functools.partial(UNet, modulation="shift", resampling="convolution")
    return build(channels, blocks, (), attention_levels=attention_levels, head_size=head_size, **options)
