"""Progressive growing: a generator and a critic from images of 4 × 4 pixels to twice the size at each stage.

Karras et al., 2018 (ProGAN). Parameters of all stages are made at once, and `network.clone(stage=…)` says which stage
is computed. A new stage enters with a weight from 0 to 1 that is data, so that its steps are one program. At weight 0
the generator gives the pictures of the stage before, each pixel repeated to 2 × 2, and the critic judges pictures as
the stage before judges the means of their squares of 2 × 2 pixels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, PyTree
from gendiff.networks.adversarial.critic import CriticHead
from gendiff.networks.adversarial.generator import LabelledNoise
from gendiff.networks.adversarial.pyramid import FIRST, GAIN, Pyramid, checked_classes, leaky
from gendiff.networks.layers import Compute, RMSNorm, dense, image_inputs
from gendiff.networks.layers.convolution import Convolution, double, halve

Condition = Shaped[ArrayLike, "..."] | np.generic | int | float | None
"""A label (integers) or a weight (floating), each () or (b,)."""


class GrowingBlock(nn.Module):
    """Twice a convolution of 3 × 3 pixels with leaky ReLU.

    Args:
        features: channels after each convolution.
        norm: RMS norm over the channels of a pixel after each convolution.
        compute: how to compute.
    """

    features: tuple[int, ...]
    norm: bool = False
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """Convolve and bend."""
        for number, features in enumerate(self.features):
            x = Convolution(features, compute=self.compute, gain=GAIN, name=f"convolution_{number}")(x)
            x = leaky(RMSNorm(self.compute, name=f"norm_{number}")(x) if self.norm else x)
        return x


class ProgressivePyramid(Pyramid):
    """The field that both networks have beside those of `Pyramid`.

    Args:
        stage: which stage is computed, 0 for pictures of 4 × 4 pixels. None: the last, for pictures of `size`.
    """

    stage: int | None = None

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self._sides())

    @property
    def side(self) -> int:
        """Pixels per side of a picture at this stage."""
        return FIRST << self._stage

    @property
    def _stage(self) -> int:
        return self.stages - 1 if self.stage is None else self.stage

    def _check(self) -> None:
        super()._check()
        if self.stage is not None:
            checks.integer("stage", self.stage, 0, self.stages - 1)

    def _conditions(self, condition: tuple[Condition, ...], x: jax.Array) -> tuple[jax.Array | None, jax.Array | None]:
        """Label and weight; the weight is None where the stage is all there is."""
        by_kind: dict[str, PyTree] = {}
        for value in condition:
            if value is None:
                continue
            kind = "weight" if jnp.issubdtype(jnp.result_type(value), jnp.floating) else "label"
            if kind in by_kind:
                raise ValueError(f"two conditions are each a {kind}: a label holds integers, and a weight is floating")
            by_kind[kind] = value
        label, weight = by_kind.get("label"), by_kind.get("weight")
        if weight is not None:
            checks.in_range("weight", weight, 0.0, 1.0)
            weight = arrays.expand(weight, jnp.zeros((x.shape[0], 1, 1, 1), x.dtype))
        return checked_classes(label, self.num_classes, x.shape[0]), weight if self._stage else None


class ProgressiveGenerator(ProgressivePyramid):
    """Noise to pictures, by as many stages as were added so far.

    Stage 0 is a linear layer to 4 × 4 pixels and a convolution of 3 × 3. Each other stage repeats pixels to 2 × 2, then
    has two such convolutions. RMS norm over the channels of a pixel and leaky ReLU follow each of them. Every stage has
    a linear layer of its own from maps to pictures, and no function after it. Parameters start as those of all networks
    here do; the paper's rescaling of them in every step (its "equalized learning rate") is left out.

    The fields are those of `Pyramid`, and stage as `ProgressivePyramid` has it.

    References:
        Karras et al., 2018, section 2, Figure 2 and Table 2 (from memory).
    """

    @nn.compact
    def __call__(self, noise: Float[ArrayLike, "b d"], *condition: Condition) -> Float[Array, "b h w c"]:
        """Return pictures (b, side, side, image_channels) of any value, in the dtype of the noise.

        Args:
            noise: (b, d), standard normal by custom.
            *condition: a label, integers (b,) or (), for a network with classes; and a weight in [0, 1] of the newest
                stage, floating, () or (b,), whose absence is 1 and leaves out the stage before. In any order.

        Raises:
            ValueError: for other shapes, conditions or fields.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check_noise(noise)
        compute = self._compute(noise)
        z = jnp.asarray(noise).astype(compute.dtype)
        labels, weight = self._conditions(condition, z)
        y = LabelledNoise(self.num_classes, compute, name="noise")(z, labels)
        channels = self._channels(FIRST)
        y = dense(FIRST * FIRST * channels, compute, "input", gain=GAIN)(y).reshape(-1, FIRST, FIRST, channels)
        y = leaky(RMSNorm(compute, name="input_norm")(y))
        maps: list[jax.Array] = []
        for stage, side in enumerate(self._sides()):
            if stage <= self._stage or self.is_initializing():
                features = (self._channels(side),) * (2 if stage else 1)
                y = GrowingBlock(features, True, compute, name=f"stage_{stage}")(double(y) if stage else y)
                maps.append(y)

        stages = {self._stage} if weight is None else {self._stage - 1, self._stage}
        pictures = {}
        for stage in range(len(maps)) if self.is_initializing() else sorted(stages):
            pictures[stage] = dense(self.image_channels, compute, f"picture_{stage}")(maps[stage])
        picture = pictures[self._stage]
        if weight is not None:
            picture = (1 - weight) * double(pictures[self._stage - 1]) + weight * picture
        return picture.astype(noise.dtype)


class ProgressiveCritic(ProgressivePyramid):
    """Pictures to logits, by as many stages as were added so far: the mirror of `ProgressiveGenerator`, without norms.

    Each stage but 0 has two convolutions of 3 × 3 pixels and halves the size; stage 0 has one and a linear layer. Every
    stage has a linear layer of its own from pictures to maps.

    The fields are those of `Pyramid`, and stage as `ProgressivePyramid` has it.

    Args:
        features: what of the batch joins the last features: "none", "deviation" or "discrimination". The paper has
            "deviation", before the last convolution.

    References:
        Karras et al., 2018, section 2, Figure 2 and Table 2 (from memory).
    """

    features: str = "none"

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w c"], *condition: Condition) -> Float[Array, " b"]:
        """Return a logit per picture, in the dtype of x.

        Args:
            x: (b, side, side, image_channels) pictures, in [-1, 1] by custom.
            *condition: as for the generator.

        Raises:
            ValueError: for other shapes, conditions or fields.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check_square(x, self.side, self.image_channels)
        compute = self._compute(x)
        image = jnp.asarray(x).astype(compute.dtype)
        labels, weight = self._conditions(condition, image)
        if self.is_initializing():
            weight = None  # or a layer would be made twice
            self._make_the_others(compute)
        y = self._seen(self._stage, image, compute)
        for stage in range(self._stage, -1, -1):
            y = self._staged(stage, y, compute)
            if weight is not None and stage == self._stage:
                y = (1 - weight) * self._seen(stage - 1, halve(image), compute) + weight * y
        return CriticHead(self.features, self.num_classes, compute, name="head")(
            y.reshape(y.shape[0], -1), labels
        ).astype(x.dtype)

    def _seen(self, stage: int, image: jax.Array, compute: Compute) -> jax.Array:
        """Maps of a picture."""
        return leaky(dense(self._channels(FIRST << stage), compute, f"picture_{stage}", gain=GAIN)(image))

    def _staged(self, stage: int, y: jax.Array, compute: Compute) -> jax.Array:
        """What a stage makes of its maps: those of the stage below, or the last ones."""
        side = FIRST << stage
        after = (self._channels(side), self._channels(side // 2)) if stage else (self._channels(FIRST),)
        y = GrowingBlock(after, False, compute, name=f"stage_{stage}")(y)
        return halve(y) if stage else y

    def _make_the_others(self, compute: Compute) -> None:
        """Make the layers that this stage leaves alone."""
        for stage, side in enumerate(self._sides()):
            if stage != self._stage:
                y = self._seen(stage, jnp.zeros((1, side, side, self.image_channels), compute.dtype), compute)
                if stage > self._stage:
                    self._staged(stage, y, compute)
