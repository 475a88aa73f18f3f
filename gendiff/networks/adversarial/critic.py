"""Critics of a GAN, which judge whether a point or an image is real.

`r3gan` and `progressive` have two more, and `discriminator` judges patches. All are called as (params, x, *condition)
-> logits (b,), larger where x looks real. None has batch norm. With `features` other than "none" an answer depends on
the whole batch (see minibatch.py).
"""

import abc

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks, packed
from gendiff.core.types import ArrayLike, DType
from gendiff.networks.adversarial import minibatch
from gendiff.networks.adversarial.pyramid import FIRST, GAIN, DCGANPyramid, Pyramid, checked_classes, leaky
from gendiff.networks.layers import Compute, dense, dtype_of, image_inputs, initializers, parameter
from gendiff.networks.layers.convolution import Convolution
from gendiff.networks.layers.embeddings import Label, rows
from gendiff.networks.layers.resampling import HalvingConvolution


class CriticHead(nn.Module):
    """The last layer of a critic: features y of a row, and those of its batch, to one logit, w · y + b + v_label · y.

    Args:
        features: what of the batch is added to y: "none", "deviation" or "discrimination".
        num_classes: rows of labels, after which comes that of NO_LABEL. None: no labels.
        compute: how to compute.

    References:
        Miyato & Koyama, 2018, Eq. 3, for the label (from memory).
    """

    features: str = "none"
    num_classes: int | None = None
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, y: Float[Array, "b a"], label: Shaped[Array, " b"] | None) -> Float[Array, " b"]:
        """Return a logit per row."""
        checks.choice("features", self.features, minibatch.FEATURES)
        if self.features == "deviation":
            y = minibatch.MinibatchDeviation()(y)
        elif self.features == "discrimination":
            y = minibatch.MinibatchDiscrimination(compute=self.compute, name="discrimination")(y)
        logits = dense(1, self.compute, "output")(y)[:, 0]
        if self.num_classes is None or label is None:
            return logits
        shape = (self.num_classes + 1, y.shape[-1])
        table = packed.as_array(
            parameter(self, "label", initializers.normal(shape[1] ** -0.5), shape), self.compute.dtype
        )
        return logits + jnp.sum(rows(table, label) * y, -1)


class DenseCritic(nn.Module):
    """Points to logits by linear layers and leaky ReLU.

    Args:
        width: of each hidden layer.
        depth: how many hidden layers there are, at least 1.
        features: what of the batch joins the last features: "none", "deviation" or "discrimination".
        num_classes: the condition is then a label in 0 … num_classes − 1, or NO_LABEL. None: no condition.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).

    References:
        Gulrajani et al., 2017, `gan_toy.py`: width 512, depth 3, with ReLU.
    """

    width: int = 128
    depth: int = 3
    features: str = "none"
    num_classes: int | None = None
    dtype: DType | None = None
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b d"], label: Label = None) -> Float[Array, " b"]:
        """Return a logit per point, in the dtype of x.

        Args:
            x: (b, d) points.
            label: (b,) or (), for a network with classes.

        Raises:
            ValueError: for other shapes, labels or fields.
            TypeError: for inputs of the wrong type.
        """
        checks.floating("x", x)
        if x.ndim != 2:
            raise ValueError(f"x has shape {x.shape}: points are (batch, numbers)")
        checks.counts(self, "width", "depth")
        labels = checked_classes(label, self.num_classes, x.shape[0])
        compute = Compute(dtype_of(self.dtype, x), self.precision)
        y = jnp.asarray(x)
        for layer in range(self.depth):
            y = leaky(dense(self.width, compute, f"hidden_{layer}", gain=GAIN)(y))
        return CriticHead(self.features, self.num_classes, compute, name="head")(y, labels).astype(x.dtype)


class PictureCritic(Pyramid, abc.ABC):
    """Pictures to logits. A kind of critic defines `_judged`.

    Args:
        features: what of the batch joins the last features: "none", "deviation" or "discrimination".
    """

    features: str = "none"

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w c"], label: Label = None) -> Float[Array, " b"]:
        """Return a logit per picture, in the dtype of x.

        Args:
            x: (b, size, size, image_channels) pictures, in [-1, 1] by custom.
            label: (b,) or (), for a network with classes.

        Raises:
            ValueError: for other shapes, labels or fields.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check_square(x, self.size, self.image_channels)
        labels, compute = checked_classes(label, self.num_classes, x.shape[0]), self._compute(x)
        y = self._judged(jnp.asarray(x), compute)
        return CriticHead(self.features, self.num_classes, compute, name="head")(y, labels).astype(x.dtype)

    @abc.abstractmethod
    def _judged(self, y: Float[Array, "b h w c"], compute: Compute) -> Float[Array, "b a"]:
        """The last features of the pictures."""


class DCGANCritic(DCGANPyramid, PictureCritic):
    """The critic of DCGAN: images to logits, by convolutions that halve the size and a linear layer.

    The convolutions are of 4 × 4 pixels with leaky ReLU, down to maps of 4 × 4. There is no norm. DCGAN has batch norm,
    which the gradient penalty does not allow: the gradient of an answer would be that of the whole batch. A picture of
    4 × 4 pixels is read by a convolution of 3 × 3.

    The fields are those of `Pyramid` and `PictureCritic`; the finest maps have half of the size, as the first
    convolution halves the picture.

    References:
        Radford et al., 2016, section 3; Gulrajani et al., 2017, section 4, for norms in a critic (from memory).
    """

    def _judged(self, y: Float[Array, "b h w c"], compute: Compute) -> Float[Array, "b a"]:
        if self.size == FIRST:
            y = leaky(Convolution(self._channels(FIRST), compute=compute, gain=GAIN, name="input")(y))
        else:
            for side in reversed(self._sides()):
                y = leaky(HalvingConvolution(self._channels(side), compute, GAIN, name=f"halve_{side}")(y))
        return y.reshape(y.shape[0], -1)
