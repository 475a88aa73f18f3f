"""Generators of a GAN: noise to points, and noise to pictures as DCGAN draws them.

`r3gan` and `progressive` have two more.

All are called as (params, noise, *condition) -> x. None has batch norm: a sample is a function of its own noise and
label.
"""

import abc

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks, packed
from gendiff.core.types import ArrayLike, DType
from gendiff.networks.adversarial.pyramid import FIRST, DCGANPyramid, Pyramid, checked_classes
from gendiff.networks.layers import Compute, RMSNorm, dense, dtype_of, image_inputs, initializers, parameter
from gendiff.networks.layers.convolution import Convolution
from gendiff.networks.layers.embeddings import Label, rows
from gendiff.networks.layers.resampling import DoublingConvolution


class LabelledNoise(nn.Module):
    """Noise, and behind it a learned vector of the label, of the same size. Without classes it is the noise.

    Args:
        num_classes: rows of labels, after which comes that of NO_LABEL. None: no labels.
        compute: how to compute.
    """

    num_classes: int | None
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, noise: Float[ArrayLike, "b d"], label: Shaped[Array, " b"] | None) -> Float[Array, "b e"]:
        """Join both."""
        z = jnp.asarray(noise).astype(self.compute.dtype)
        if self.num_classes is None or label is None:
            return z
        # as far apart as noise
        table = parameter(self, "label", initializers.normal(1.0), (self.num_classes + 1, z.shape[-1]))
        return jnp.concatenate([z, rows(packed.as_array(table, self.compute.dtype), label)], -1)


class DenseGenerator(nn.Module):
    """Noise to points by linear layers and ReLU.

    Args:
        width: of each hidden layer.
        depth: how many hidden layers there are, at least 1.
        out: numbers of a point.
        num_classes: the condition is then a label in 0 … num_classes − 1, or NO_LABEL. None: no condition.
        dtype: of activations: "float32", "bfloat16", or None for that of the noise, at least float32. Parameters stay
            float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).

    References:
        Gulrajani et al., 2017, `gan_toy.py`: width 512, depth 3, noise of 2 numbers.
    """

    width: int = 128
    depth: int = 3
    out: int = 2
    num_classes: int | None = None
    dtype: DType | None = None
    precision: str | None = None

    @nn.compact
    def __call__(self, noise: Float[ArrayLike, "b d"], label: Label = None) -> Float[Array, "b e"]:
        """Return points (b, out), in the dtype of the noise.

        Args:
            noise: (b, d), standard normal by custom.
            label: (b,) or (), for a network with classes.

        Raises:
            ValueError: for other shapes, labels or fields.
            TypeError: for inputs of the wrong type.
        """
        image_inputs.check_noise(noise)
        checks.counts(self, "width", "depth", "out")
        labels = checked_classes(label, self.num_classes, noise.shape[0])
        compute = Compute(dtype_of(self.dtype, noise), self.precision)
        y = LabelledNoise(self.num_classes, compute, name="noise")(noise, labels)
        for layer in range(self.depth):
            y = nn.relu(dense(self.width, compute, f"hidden_{layer}", gain=2**0.5)(y))
        return dense(self.out, compute, "output")(y).astype(noise.dtype)


class PictureGenerator(Pyramid, abc.ABC):
    """Noise to pictures. A kind of generator defines `_drawn`."""

    @nn.compact
    def __call__(self, noise: Float[ArrayLike, "b d"], label: Label = None) -> Float[Array, "b h w c"]:
        """Return pictures (b, size, size, image_channels), in the dtype of the noise.

        Args:
            noise: (b, d), standard normal by custom.
            label: (b,) or (), for a network with classes.

        Raises:
            ValueError: for other shapes, labels or fields.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check_noise(noise)
        labels, compute = checked_classes(label, self.num_classes, noise.shape[0]), self._compute(noise)
        z = LabelledNoise(self.num_classes, compute, name="noise")(noise, labels)
        return self._drawn(z, compute).astype(noise.dtype)

    @abc.abstractmethod
    def _drawn(self, z: Float[Array, "b d"], compute: Compute) -> Float[Array, "b h w c"]:
        """The pictures of the noise and its label."""


class DCGANGenerator(DCGANPyramid, PictureGenerator):
    """The generator of DCGAN: noise to images in [-1, 1], by transposed convolutions that double the size.

    A linear layer gives 4 × 4 pixels, and tanh comes last. The convolutions are of 4 × 4 pixels. Between them stand RMS
    norm over the channels of a pixel and ReLU. DCGAN has batch norm there, by which a picture depends on the others of
    its batch. The norm of a pixel does what it is needed for: activations keep their size whatever the parameters do.
    Kernels start as those of all networks here do, not with a deviation of 0.02. A picture of 4 × 4 pixels is drawn by
    a convolution of 3 × 3.

    The fields are those of `Pyramid`; the finest maps have half of the size, as the last transposed convolution draws
    the picture.

    References:
        Radford et al., 2016, section 3 and Figure 1; Karras et al., 2018, section 4.2, for the norm of a pixel (from
        memory).
    """

    def _drawn(self, z: Float[Array, "b d"], compute: Compute) -> Float[Array, "b h w c"]:
        channels = self._channels(FIRST)
        y = dense(FIRST * FIRST * channels, compute, "input")(z).reshape(-1, FIRST, FIRST, channels)
        for side in self._sides():
            if side > FIRST:
                y = DoublingConvolution(self._channels(side), compute, name=f"double_{side}")(y)
            y = nn.relu(RMSNorm(compute, name=f"norm_{side}")(y))
        if self.size > FIRST:
            y = DoublingConvolution(self.image_channels, compute, name="output")(y)
        else:
            y = Convolution(self.image_channels, compute=compute, name="output")(y)
        return jnp.tanh(y)
