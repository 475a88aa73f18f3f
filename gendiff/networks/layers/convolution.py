"""Convolutions of channels-last images, by two equal implementations.

direct: XLA's own. The default; both kinds of differentiation work.
fast_backward: the gradients are written as channels-last convolutions too. XLA:CPU moves a convolution to its fast
layout only outside of loops, so inside `scan` or `fori_loop` (gradient accumulation, several steps a call) training is
3 to 25 times faster with this one. On a CPU it sums the gradient of a kernel over strips of rows, which is faster
outside of loops too where a batch has many pixels. It has no forward mode: `jax.jvp` and `jax.linearize` raise.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import checks, packed
from gendiff.networks import fast
from gendiff.networks.layers import initializers
from gendiff.networks.layers.compute import Compute, parameter


class Convolution(nn.Module):
    """A square convolution with bias.

    Args:
        features: channels of the output.
        size: side of the kernel.
        stride: 1 keeps the size of an image, 2 halves an even one, unless a pair of paddings says otherwise.
        zero: start at 0.
        compute: how to compute.
        padding: as for `convolve`.
        gain: of the spread that the kernel starts with.
    """

    features: int
    size: int = 3
    stride: int = 1
    zero: bool = False
    compute: Compute = Compute()
    padding: int | tuple[int, int] | None = None
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Convolve, then add the bias."""
        start = initializers.zeros if self.zero else initializers.kernel(self.gain)
        kernel = parameter(self, "kernel", start, (self.size, self.size, x.shape[-1], self.features))
        bias: jax.Array = parameter(self, "bias", initializers.zeros, (self.features,))
        dtype = self.compute.dtype
        # or a loop over steps would unpack all kernels before it, and hold them
        if self.compute.late or packed.is_packed(kernel):
            x, kernel = fast.computed_once(x, kernel)
        y = convolve(
            x.astype(dtype),
            packed.as_array(kernel, dtype),
            self.stride,
            self.padding,
            circular=self.compute.circular,
            implementation=self.compute.convolution,
            precision=self.compute.precision,
        )
        return y + bias.astype(dtype).reshape(1, 1, 1, -1)


class GroupedConvolution(nn.Module):
    """A grouped convolution of 3 × 3 pixels with bias: each group of channels reads the same group of the input.

    Its kernel is (3, 3, group_width, c).

    Args:
        group_width: channels of a group; divides those of the input.
        compute: how to compute.
        gain: of the spread that the kernel starts with.

    References:
        Xie et al., 2017, Figure 3c (from memory).
    """

    group_width: int
    compute: Compute = Compute()
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Convolve, then add the bias.

        Raises:
            ValueError: when the group's width does not divide the channels.
        """
        channels, dtype = x.shape[-1], self.compute.dtype
        if channels % self.group_width:
            raise ValueError(
                f"group_width = {self.group_width} does not divide the {channels} channels of {self.name}: choose one "
                "that does"
            )
        kernel = parameter(self, "kernel", initializers.kernel(self.gain), (3, 3, self.group_width, channels))
        bias: jax.Array = parameter(self, "bias", initializers.zeros, (channels,))
        how = self.compute.convolution, self.compute.precision
        y = convolve_groups(x.astype(dtype), packed.as_array(kernel, dtype), implementation=how[0], precision=how[1])
        return y + bias.astype(dtype).reshape(1, 1, 1, -1)


def convolve(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "u v c d"],
    stride: int = 1,
    padding: int | tuple[int, int] | None = None,
    *,
    circular: bool = False,
    implementation: str = "direct",
    precision: str | None = None,
) -> Float[Array, "b h2 w2 d"]:
    """Cross-correlate images with a kernel, between zeros or on a torus.

    On a torus an image goes on at its other side (circular padding). Moving the image by a multiple of the stride then
    moves the output, and changes nothing else.

    Args:
        x: (b, h, w, c).
        kernel: (u, v, c, d).
        stride: in both directions, at least 1.
        padding: zeros above and to the left, in [0, size − 1]; what is left of size − 1 goes below and to the
            right. None: size // 2. A pair is (above and to the left, below and to the right), both in [0, size − 1].
        circular: pixels of the other side take the place of the zeros.
        implementation: "direct" or "fast_backward", see the top of this file.
        precision: of the products: None, "default", "high" or "highest".

    Raises:
        ValueError: for an unknown implementation, or a padding out of range.
    """
    checks.choice("convolution", implementation, IMPLEMENTATIONS)
    vertical, horizontal = (_around(size, padding) for size in kernel.shape[:2])
    if circular:
        x = jnp.pad(x, ((0, 0), vertical, horizontal, (0, 0)), mode="wrap")
        vertical, horizontal = (0, 0), (0, 0)
    if any(sum(zeros) >= size for zeros, size in zip((vertical, horizontal), kernel.shape[:2], strict=True)):
        # the output could be larger than the input: XLA:CPU takes 50 times as long for the gradient of such a kernel
        x, vertical, horizontal = jnp.pad(x, ((0, 0), vertical, horizontal, (0, 0))), (0, 0), (0, 0)
    return IMPLEMENTATIONS[implementation](x, kernel, stride, (vertical, horizontal), precision)


MOST_CONVOLUTIONS = 8
"""How many convolutions `convolve_groups` becomes at most: each is compiled."""


def convolve_groups(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "u v e d"],
    *,
    implementation: str = "direct",
    precision: str | None = None,
) -> Float[Array, "b h w d"]:
    """Convolve each group of e channels with its part of the kernel, as cross-correlation of the same size.

    There is one convolution per group. XLA's own grouped convolution is many times slower on a CPU, above all in the
    gradient of its kernel. Of more than eight groups, several share a convolution, whose kernel is 0 between groups.

    Args:
        x: (b, h, w, c), with c / e groups of channels.
        kernel: (u, v, e, d); group i reads and gives the i-th part of the channels.
        implementation: as for `convolve`.
        precision: of the products.
    """
    depth, groups = kernel.shape[2], x.shape[-1] // kernel.shape[2]
    parts = next(number for number in range(min(groups, MOST_CONVOLUTIONS), 0, -1) if groups % number == 0)
    together, features = groups // parts, kernel.shape[3] // groups
    # a group's channels meet its own kernel alone
    diagonal = np.kron(np.eye(together), np.ones((depth, features)))[None, None]
    answers = []
    for images, part in zip(jnp.split(x, parts, -1), jnp.split(kernel, parts, -1), strict=True):
        block = part if together == 1 else jnp.tile(part, (1, 1, together, 1)) * jnp.asarray(diagonal, kernel.dtype)
        answers.append(convolve(images, block, implementation=implementation, precision=precision))
    return jnp.concatenate(answers, -1)


def double(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Repeat each pixel to 2 × 2."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def halve(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Return the mean of each 2 × 2 pixels."""
    b, h, w, c = x.shape
    return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))


def _around(size: int, padding: int | tuple[int, int] | None) -> tuple[int, int]:
    """Zeros on both sides of an axis."""
    before, after = padding if isinstance(padding, tuple) else (size // 2 if padding is None else padding, None)
    for zeros in (before, after):
        if zeros is not None:
            checks.integer("padding", zeros, 0, size - 1)
    return before, size - 1 - before if after is None else after


IMPLEMENTATIONS: dict[str, Callable[..., jax.Array]] = {
    "direct": fast.direct_convolution,
    "fast_backward": fast.fast_backward_convolution,
}
