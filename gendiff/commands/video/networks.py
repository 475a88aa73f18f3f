"""The three networks: how each sees a clip, what it is trained by, and the operations of everything that it does."""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.video.config import CAUSAL, CONTEXT, FULL, Config
from gendiff.core import records
from gendiff.core.types import Condition, Loss, Metrics, Params
from gendiff.data import digits
from gendiff.diffusion import parameterization, process, schedules, video, weighting
from gendiff.diffusion.types import Batch, Level, Predict
from gendiff.runs import devices
from gendiff.scaling import accounting

T = TypeVar("T")
SCHEDULE, FORM = schedules.shifted(schedules.flow(), 2.0), parameterization.clean()
"""The noise path, and what the output of a network means. Frames of a clip tell the same, so that it takes more noise
to hide it.
"""
PREVIOUS = 2
"""Frames before each one that the causal network reads as channels: two tell how the digit moves."""
INK = 3.0
"""By how much more the error of a pixel of a digit counts than that of the ground, where the frame has no noise."""


def network(config: Config, attention: str) -> networks.VideoUNet:
    """The network of an attention. The causal one works frame by frame, and sees as many frames as a training clip
    has.
    """
    causal = attention == CAUSAL
    return networks.VideoUNet(
        channels=config.channels,
        blocks=config.blocks,
        attention=(),
        attention_levels=tuple(range(1, len(config.channels))),
        heads=config.heads,
        groups=config.groups,
        num_classes=digits.CLASSES,
        circular=True,
        along_time=attention,
        window=config.frames if causal else None,
        previous=PREVIOUS if causal else 0,
    )


@functools.lru_cache(maxsize=8)  # one object, so that all that is made of it is compiled once
def predict(config: Config, attention: str) -> networks.module.PureFunction:
    """The network as a function of its parameters."""
    return networks.pure(network(config, attention))


def example(
    config: Config, attention: str, clips: int = 1, *, frames: int | None = None, side: int | None = None
) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """Shapes of clips, of what the network is told of their noise in training, and of labels; None takes those of
    training clips.
    """
    frames, side = frames or config.frames, side or config.side
    times = (clips, frames) if attention == CAUSAL else (clips,)
    x = jax.ShapeDtypeStruct((clips, frames, side, side, 1), np.float32)
    return x, jax.ShapeDtypeStruct(times, np.float32), jax.ShapeDtypeStruct((clips,), np.int32)


def init(config: Config, attention: str, key: jax.Array) -> Params:
    """Fresh parameters."""
    return networks.init(network(config, attention), key, *example(config, attention))


def loss(config: Config, attention: str) -> Loss:
    """The error of the clean clip, most of it that of the digit: at one level per clip, or for the causal network as
    `CausalLoss` says.
    """
    apply = predict(config, attention)
    return CausalLoss(apply, config.pictures) if attention == CAUSAL else WholeLoss(apply)


@records.record
class WholeLoss:
    """The loss of clips whose frames have one level."""

    predict: Predict = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics for one batch of clips with their labels."""

        def answer(params: Params, x: jax.Array, t: jax.Array, *condition: Condition) -> jax.Array:
            return on_digits(self.predict(params, x, t, *condition), jnp.asarray(batch.clean), t)

        return _forcing(answer, shared=1.0)(params, key, batch)


@records.record
class CausalLoss:
    """The loss of a causal network: frames have a level each, and see earlier ones as a rollout does.

    The frames before each one, as channels, have at most the noise of a context. In half of the clips the first frames
    have it, too, in all that later ones see of them, so that the next one is drawn as in a rollout. Single frames learn
    how a clip begins, of which clips alone have one in each.

    Args:
        predict: the network.
        pictures: how many clips, the last of a batch, show their first frame alone.

    References:
        Chen et al., 2024 (diffusion forcing), Alg. 1 (from memory).
    """

    predict: Predict = records.static()
    pictures: int = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics for one batch of clips with their labels: the mean over frames."""
        clips, pictures = (
            jax.tree.map(lambda leaf, part=part: leaf[part], batch)
            for part in (slice(None, -self.pictures), slice(-self.pictures, None))
        )
        pictures = records.replace(pictures, clean=pictures.clean[:, :1])
        keys = jax.random.split(key, (2, 2))
        errors = [
            _forcing(self._rolled(part.clean, history_key))(params, noise_key, part)
            for part, (history_key, noise_key) in zip((clips, pictures), keys, strict=True)
        ]
        frames = [part.clean.shape[0] * part.clean.shape[1] for part in (clips, pictures)]
        average: tuple[jax.Array, Metrics] = jax.tree.map(
            lambda *each: sum(n * value for n, value in zip(frames, each, strict=True)) / sum(frames), *errors
        )
        return average

    def _rolled(self, clean: jax.Array, key: jax.Array) -> Predict:
        """The network of clips (b, f, h, w, 1) that sees earlier frames as a rollout does."""
        b, f = clean.shape[:2]
        level_key, noise_key, some_key, count_key = jax.random.split(key, 4)
        level = SCHEDULE.at(jax.random.uniform(level_key, (b,), maxval=CONTEXT))
        history = process.add_noise(clean, jax.random.normal(noise_key, clean.shape), level)
        count = jax.random.randint(count_key, (b,), 0, f) * jax.random.bernoulli(some_key, 0.5, (b,))
        known = jnp.arange(f)[None] < count[:, None]

        def answer(params: Params, x: jax.Array, t: jax.Array, label: jax.Array) -> jax.Array:
            held = known[..., None, None, None]
            x, t = jnp.where(held, history, x), jnp.where(known, level.t[:, None], t)
            output = self.predict(params, x, t, label, networks.History(history))
            return on_digits(jnp.where(held, clean, output), clean, t)

        return answer


def on_digits(output: jax.Array, clean: jax.Array, t: jax.Array) -> jax.Array:
    """What a network answers to clips (b, f, h, w, 1) at times (b, f), with errors √weight times as large.

    The weight of pixels of digits grows as noise goes. In noise alone nobody knows where the digit will be, and a
    weight by what is hidden would only make pictures brighter.
    """
    weights = 1 + INK * (1 - t / 1000)[..., None, None, None] * (clean > -1)
    return clean + jnp.sqrt(weights) * (output - clean)


def _forcing(answer: Predict, shared: float = 0.0) -> Loss:
    return video.diffusion_forcing(
        answer,
        SCHEDULE,
        FORM,
        weight=_weight,
        levels=weighting.stratified_levels(),
        drop_condition=0.0,
        stochastic=False,
        shared=shared,
    )


def _weight(level: Level, gain: jax.Array) -> jax.Array:
    """Of the error of a clean frame: 1 in noise alone, where a digit begins, and at most 6."""
    return 1 + weighting.min_snr(5.0)(level, gain)


def libraries() -> bool:
    """Whether libraries do the work (see `devices.compiler_options`): they are faster and take long to compile, so a
    smoke run has none.
    """
    return not jax.config.read("jax_disable_most_optimizations")


def jit(function: Callable[..., T]) -> Callable[..., T]:
    """`devices.jit`, as `libraries` says."""
    return devices.jit(function, libraries=libraries())


def forward_flops(config: Config, attention: str, frames: int, side: int) -> float:
    """Operations of one evaluation of one clip, 2 per multiplication and addition, as `accounting.count` has them."""
    pixels, total = (side / config.side) ** 2, 0.0
    for path, operations in _of_a_frame(config, attention).items():
        layer = path.rpartition("/")[2]
        if "embedding" in path:
            total += operations * frames
        elif layer.endswith("along_time"):
            total += operations * frames**2 * pixels
        elif layer.endswith("attention"):
            total += operations * (frames * pixels) ** 2 / (1 if attention == FULL else frames)
        else:
            total += operations * frames * pixels
    return total


@functools.lru_cache(maxsize=8)
def _of_a_frame(config: Config, attention: str) -> dict[str, int]:
    """Operations of layers, by path, for a clip of one frame."""
    clip = example(config, attention, frames=1)
    return accounting.count(network(config, attention), *clip, embeddings=False).layers


def step_flops(config: Config, attention: str) -> float:
    """Operations of a step of training, which takes three forward passes."""
    clips = config.batch * forward_flops(config, attention, config.frames, config.side)
    pictures = config.pictures * forward_flops(config, attention, 1, config.side) if attention == CAUSAL else 0.0
    return 3 * (clips + pictures)


def steps(config: Config, attention: str) -> int:
    """Of a training: as many as its operations allow, at least two."""
    return max(2, round((1.0 if attention == CAUSAL else config.others) * config.flops / step_flops(config, attention)))


def spent(config: Config, attention: str) -> float:
    """Operations of a training of one seed."""
    return steps(config, attention) * step_flops(config, attention)


def cached_flops(config: Config) -> float:
    """Operations of one evaluation of the causal network on one frame, when the cache is full."""
    shapes = network(config, CAUSAL).cache_shapes(config.side, config.side)
    earlier = sum(4 * tokens * heads * size * (config.frames - 1) for tokens, heads, size in shapes.layers)
    return forward_flops(config, CAUSAL, 1, config.side) + earlier


def parameters(config: Config, attention: str) -> int:
    """How many numbers a network has."""
    return networks.count(jax.eval_shape(functools.partial(init, config, attention), jax.random.key(0)))


def zeros(config: Config, attention: str, *, frames: int, side: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One clip of zeros with all that the network is told."""
    x, t, label = example(config, attention, frames=frames, side=side)
    return jnp.zeros(x.shape), jnp.zeros(t.shape), jnp.zeros(label.shape, jnp.int32)
