"""The patch discriminator of latent diffusion (PatchGAN): is each patch real, or decoded by an autoencoder?

Isola et al., 2017.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.layers import Compute, GroupNorm, dtype_of, image_inputs
from gendiff.networks.layers.convolution import Convolution

SIZE, PADDING, SLOPE = 4, (1, 1), 0.2
"""Side of all kernels, the zeros around their inputs, and the slope of the leaky ReLU below 0."""


class PatchLevel(nn.Module):
    """A convolution of 4 × 4 pixels, group norm, leaky ReLU.

    Args:
        features: channels of the output.
        stride: of the convolution.
        groups: of the norm; None is without one.
        compute: how to compute.
    """

    features: int
    stride: int
    groups: int | None
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Convolve, normalise, bend."""
        y = Convolution(self.features, SIZE, self.stride, compute=self.compute, padding=PADDING, name="convolution")(x)
        if self.groups is not None:
            y = GroupNorm(self.groups, self.compute, name="norm")(y)
        return nn.leaky_relu(y, SLOPE)


class PatchDiscriminator(nn.Module):
    """PatchGAN: one answer per patch of a picture, larger where the patch looks real.

    Kernels of 4 × 4 pixels with one zero around, stride 2 at each level but the last, then one more to a single
    channel. With the four levels of the default an answer sees 70 × 70 pixels, and answers stand 8 pixels apart: this
    is the network of latent diffusion, except that it has no batch norm, whose answer about one picture depends on the
    others. Group norm stands in its place. Its mean and deviation are those of the whole picture, so that with it
    distant pixels reach an answer by these two numbers; `groups=None` has no norm, and then nothing outside of the
    patch counts. Kernels start as those of all networks here do, not with a deviation of 0.02.

    `diffusion.latent.adversarial(loss, networks.pure(discriminator))` trains it beside an autoencoder.

    Args:
        channels: of each level, the finest first; each level but the last halves the size.
        in_channels: of a picture.
        groups: of the group norms, of which the first level has none; divides the channels of the other levels. None is
            without norms.
        dtype: of activations: "float32", "bfloat16", or None for that of the input, at least float32. Parameters stay
            float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        convolution: which of several equal implementations (see convolution.py).
        remat: gradient checkpointing. True computes each level again in the backward pass, "products" all of it but
            convolutions.

    References:
        Isola et al., 2017, section 3.2.2 and App. 6.1.2; Rombach et al., 2022, App. G, for its place in the loss (from
        memory).
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    in_channels: int = 3
    groups: int | None = 32
    dtype: DType | None = None
    precision: str | None = None
    convolution: str = "direct"
    remat: bool | str = False

    @property
    def factor(self) -> int:
        """How many pixels lie between two neighbouring answers."""
        return 1 << len(self.channels) - 1

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the patch that the convolutions show to one answer: 9 · factor − 2."""
        return 9 * self.factor - 2

    @property
    def offset(self) -> int:
        """The first row and column that answer 0 sees, outside of the picture.

        Answer i sees pixels from offset + factor · i on.
        """
        return 1 - 3 * self.factor

    @property
    def smallest(self) -> int:
        """Pixels of the smallest side, for which there is one answer."""
        return 3 * self.factor

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h2 w2"]:
        """Return an answer of any sign per patch, (b, h // factor − 2, w // factor − 2), in the dtype of x.

        Args:
            x: (b, h, w, in_channels) pictures with sides of at least `smallest` pixels, in [-1, 1] by custom.

        Raises:
            ValueError: for other shapes, and for fields against the rules above.
            TypeError: unless x is floating.
        """
        self._check(x)
        compute = Compute(dtype_of(self.dtype, x), self.precision, self.convolution, late=bool(self.remat))
        build, last = fast.remat(PatchLevel, self.remat), len(self.channels) - 1
        y = jnp.asarray(x)
        for level, features in enumerate(self.channels):
            y = build(
                features, 1 if level == last else 2, self.groups if level else None, compute, name=f"level_{level}"
            )(y)
        return Convolution(1, SIZE, compute=compute, padding=PADDING, name="output")(y)[..., 0].astype(x.dtype)

    def _check(self, x: ArrayLike) -> None:
        if not self.channels:
            raise ValueError("channels = () has no level: give the channels of each, the finest first")
        for features in self.channels:
            checks.integer("channels", features, 1)
        checks.counts(self, "in_channels", optional=("groups",))
        image_inputs.check_images(x, 1, "discriminator")
        if x.shape[-1] != self.in_channels:
            hint = "; it looks channels-first: use numpy.moveaxis(x, 1, -1)" if x.shape[1] == self.in_channels else ""
            raise ValueError(
                f"x has {x.shape[-1]} channels: this discriminator is for pictures with in_channels = "
                f"{self.in_channels}{hint}"
            )
        if min(x.shape[1:3]) < self.smallest:
            raise ValueError(
                f"x has shape {x.shape}: with {len(self.channels)} levels, sides of at least {self.smallest} pixels "
                f"are needed; give larger pictures, or fewer channels = {self.channels}"
            )
