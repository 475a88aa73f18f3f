"""The U-Net of clips: that of images in each frame, and attention along time."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks
from gendiff.core.condition_records import History
from gendiff.core.types import ArrayLike
from gendiff.networks import fast
from gendiff.networks.blocks.clip_attention import ClipAttention
from gendiff.networks.fast.frame_cache import CacheShapes, FrameCache, FrameLayer, SeenFrames
from gendiff.networks.images.unet import UNet
from gendiff.networks.images.video_transformer import ATTENTIONS
from gendiff.networks.inputs.conditioning import Condition, checked_conditions
from gendiff.networks.layers import Compute, GroupNorm, image_inputs
from gendiff.networks.layers.convolution import Convolution


@dataclasses.dataclass
class _Clip:
    """What layers that look along time share in one call. layers: of the cache, with the new frames in them."""

    batch: int
    first: jax.Array
    cache: FrameCache | None
    layers: list[FrameLayer] = dataclasses.field(default_factory=list)


class VideoUNet(UNet):
    """The U-Net of clips (b, f, h, w, c), whose sides 2^(levels − 1) divides; the output starts at 0.

    Each frame goes through the U-Net of images, and layers of attention look along time, too. Its fields are those of
    `UNet`, without those of a text and of sizes, and four of its own. A clip of one frame is a picture.

    Args:
        along_time: "full" lets every place of every frame see all, where the U-Net has attention. "factorised" lets
            places of a frame see each other, and then each place itself in all frames. "causal" is factorised, and lets
            a frame see those before it and no later one.
        window: how many frames are seen, its own included, for "causal". None: all.
        previous: how many frames before each one join it as channels, for "causal", so that the first convolution sees
            what moved. They come from x and the cache, or in training from a `History`; before the first frame they
            are 0.
        rotary_base: of the frequencies of rotary positions along time, above 1.

    References:
        Ho et al., 2022 (video diffusion models), section 3, for the network; Voleti et al., 2022 (MCVD), section 3,
        for previous frames as channels (from memory).
    """

    along_time: str = "factorised"
    window: int | None = None
    previous: int = 0
    rotary_base: float = 10.0

    @nn.compact
    def __call__(  # type: ignore[override]  # it shares the fields and the ways of a U-Net, and has one axis more
        self,
        x: Float[ArrayLike, "b f h w c"],
        t: Shaped[ArrayLike, " b"] | Shaped[ArrayLike, "b f"],
        *condition: Condition,
    ) -> Float[Array, "b f h w d"] | tuple[Float[Array, "b f h w d"], FrameCache]:
        """Predict from x, in the dtype of x.

        With a `FrameCache`, return what was predicted, and the cache with these frames in it.

        Args:
            x: (b, f, h, w, c) clips. With a cache, the frames behind those in it.
            t: (b,) one time per clip, or (b, f) one per frame.
            *condition: a label (b,) or (), if the network has classes, and a `FrameCache` or a `History` or neither, in
                any order. Under jit, clips with more earlier frames than the cache holds are answered NaN.

        Raises:
            ValueError: for inputs or fields against the rules above.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check_clips(x, t, 2 ** (len(self.channels) - 1), "downsampling")
        b, f, height, width, _ = x.shape
        takes = ("frame cache",) if self.along_time == "causal" else ()
        conditions = checked_conditions(
            condition, b, self.num_classes, None, None, False, takes=takes + ("history",) * bool(self.previous)
        )
        clip = _Clip(b, jnp.zeros(b, jnp.int32), conditions.cache)
        if clip.cache is not None:
            shapes = self.cache_shapes(height, width)
            clip.first = clip.cache.opened(b, tuple(tokens for tokens, _, _ in shapes.layers), shapes.reach)
        times, compute = jnp.asarray(t), self._compute(x)
        if conditions.label is not None:
            conditions = conditions._replace(label=jnp.repeat(conditions.label, f))
        times = jnp.broadcast_to(times.reshape(b, -1), (b, f)).reshape(-1)
        embedding, count = self._embedded(times, conditions, compute), len(self.channels) * (self.blocks + 1)

        y, last = self._with_previous(jnp.asarray(x).astype(compute.dtype), conditions.cache, conditions.history)
        y = Convolution(self.channels[0], compute=compute, name="input")(y.reshape(b * f, height, width, -1))
        skips = self._down(y, embedding, clip, compute, count)
        y = self._up(self._middle(skips[-1], embedding, clip, compute), skips, 0, embedding, clip, compute)
        y = GroupNorm(self.groups, compute, self.epsilon, silu=True, name="output_norm")(y)
        y = Convolution(self.out_channels or x.shape[-1], zero=True, compute=compute, name="output")(y)
        y = y.reshape(b, f, height, width, -1).astype(x.dtype)
        if clip.cache is None:
            return y
        y = jnp.where(clip.first.reshape(b, 1, 1, 1, 1) >= 0, y, jnp.nan)
        return y, clip.cache.advanced(tuple(clip.layers), f, last)

    def cache_shapes(self, height: int, width: int) -> CacheShapes:
        """What a cache of this network holds of each frame (see `frame_cache`).

        Args:
            height: of a frame, in pixels.
            width: of a frame, in pixels.

        Raises:
            ValueError: for a network whose frames see later ones, and sides that it cannot halve.
        """
        if self.along_time != "causal":
            raise ValueError(
                f"along_time = {self.along_time!r} lets frames see later ones: a cache is for along_time = 'causal'"
            )
        factor = 2 ** (len(self.channels) - 1)
        if height % factor or width % factor:
            raise ValueError(f"height and width, {height} and {width}, must be multiples of {factor} (downsampling)")
        way, last = range(len(self.channels)), len(self.channels) - 1
        attends = [self._attends(level, (0, height // 2**level, width // 2**level, 0)) for level in way]
        down = [level for level in way for _ in range(self.blocks) if attends[level]]
        up = [level for level in reversed(way) for _ in range(self.blocks + 1) if attends[level]]
        layers = []
        for level in (*down, *([last] * self.middle_attention), *up):
            heads = self._head_count("the network", level)
            layers.append((height * width // 4**level, heads, self.channels[level] // heads))
        return CacheShapes(tuple(layers), None if self.window is None else self.window - 1, self.previous)

    def _check(self) -> None:
        super()._check()
        checks.choice("along_time", self.along_time, ATTENTIONS)
        checks.integer("previous", self.previous, 0)
        if self.text_channels is not None or self.image_size or self.guidance or self.second_time:
            raise ValueError("a VideoUNet is told a label alone: leave out text, image_size, guidance and second_time")
        if self.along_time != "causal" and (self.window is not None or self.previous):
            raise ValueError(f"window and previous are for along_time = 'causal', and here it is {self.along_time!r}")
        if self.window is not None:
            checks.integer("window", self.window, 1)

    def _with_previous(
        self, x: jax.Array, cache: FrameCache | None, history: History | None
    ) -> tuple[jax.Array, jax.Array | None]:
        """The frames with those before each as further channels, the nearest first, and the last frames of all."""
        if not self.previous:
            return x, None
        if cache is not None and history is not None:
            raise ValueError("a frame cache holds the frames before: leave out the history")
        b, f, *size = x.shape
        before = jnp.zeros((b, self.previous, *size), x.dtype) if cache is None else jnp.asarray(cache.frames, x.dtype)
        frames = x if history is None else jnp.asarray(history.clips, x.dtype)
        if before.shape != (b, self.previous, *size) or frames.shape != x.shape:
            name, shape = ("cache", before.shape) if cache is not None else ("history", frames.shape)
            raise ValueError(f"the frames of the {name} have shape {shape}, and x has {x.shape}")
        frames = jnp.concatenate([before, frames], 1)
        earlier = [frames[:, self.previous - back : self.previous - back + f] for back in range(1, self.previous + 1)]
        y = jnp.concatenate([x, *earlier], -1)
        return y, None if cache is None else frames[:, f:].astype(jnp.result_type(cache.frames))

    def _attention(self, name: str, y: Array, compute: Compute, level: int, attention: bool, context: object) -> Array:
        joint = self.along_time == "full"
        heads = self._heads(name, y, level, attention)
        if heads is None or not isinstance(context, _Clip):
            return y
        if not joint:
            y, name = super()._attention(name, y, compute, level, attention, None), f"{name}_along_time"
        visible = SeenFrames(1, self.window) if self.along_time == "causal" else None
        build, cache = fast.remat(ClipAttention, self.remat), context.cache
        look = build(heads, self.groups, compute, self.epsilon, joint, visible, self.rotary_base, name=name)
        maps = y.reshape(context.batch, -1, *y.shape[1:])
        maps, layer = look(maps, context.first, None if cache is None else cache.layers[len(context.layers)])
        if layer is not None:
            context.layers.append(layer)
        return maps.reshape(y.shape)
