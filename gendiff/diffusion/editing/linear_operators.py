"""Linear measurements y = A x of samples (b, …): what is seen of a masked, a small or a blurred image.

An operator is a record with forward(x) = A x, adjoint(y) = Aᵀ y and solve(y, signal, noise) = (signal · A Aᵀ + noise)⁻¹
y, in closed form. Measurements have the rank of samples, and each sample is measured by itself.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Scalar


@runtime_checkable
class LinearOperator(Protocol):
    """What posterior sampling asks of a measurement. `signal` and `noise` are variances >= 0, () or (b,)."""

    def forward(self, x: Array, /) -> Array:
        """A x."""

    def adjoint(self, y: Array, /) -> Array:
        """Aᵀ y."""

    def solve(self, y: Array, signal: Scalar, noise: Scalar, /) -> Array:
        """(signal · A Aᵀ + noise)⁻¹ y."""


@records.record
class Inpaint:
    """A sets masked entries to 0, and A Aᵀ is that again. Measurements have the shape of samples.

    Args:
        mask: of the rank of samples, each axis as long or 1.
    """

    mask: ArrayLike

    def forward(self, x: Float[ArrayLike, "b *shape"]) -> Float[Array, "b *shape"]:
        """A x."""
        return self._kept(x) * x

    def adjoint(self, y: Float[ArrayLike, "b *shape"]) -> Float[Array, "b *shape"]:
        """Aᵀ y."""
        return self._kept(y) * y

    def solve(self, y: Float[ArrayLike, "b *shape"], signal: Scalar, noise: Scalar) -> Float[Array, "b *shape"]:
        """(signal · A Aᵀ + noise)⁻¹ y."""
        return arrays.safe_divide(y, arrays.expand(signal, y) * self._kept(y) ** 2 + arrays.expand(noise, y))

    def _kept(self, like: ArrayLike) -> jax.Array:
        shape = np.shape(self.mask)
        if len(shape) != like.ndim or any(
            length not in (1, size) for length, size in zip(shape, like.shape, strict=True)
        ):
            raise ValueError(
                f"mask has shape {shape}, samples {like.shape}: each axis must be as long or 1, the first the samples' "
                "or 1"
            )
        return jnp.broadcast_to(1 - jnp.asarray(self.mask).astype(like.dtype), like.shape)


@records.record
class Downsample:
    """A averages boxes of entries along each spatial axis, and A Aᵀ = 1 / (entries of a box).

    Args:
        factor: entries per axis of a box.
    """

    factor: int = records.static()

    def forward(self, x: Float[ArrayLike, "b *shape"]) -> Float[Array, "b *small"]:
        """A x."""
        axes = _spatial(x)
        shape: tuple[int, ...] = x.shape[:1]
        for size in x.shape[1:-1]:
            if size % self.factor:
                raise ValueError(
                    f"an axis of {size} entries does not divide into boxes of factor = {self.factor}: crop or pad it"
                )
            shape += (size // self.factor, self.factor)
        return jnp.mean(jnp.asarray(x).reshape(*shape, x.shape[-1]), axis=tuple(2 * axis for axis in axes))

    def adjoint(self, y: Float[ArrayLike, "b *small"]) -> Float[Array, "b *shape"]:
        """Aᵀ y."""
        wide = jnp.asarray(y)
        for axis in _spatial(y):
            wide = jnp.repeat(wide, self.factor, axis=axis)
        return wide / self._box(y)

    def solve(self, y: Float[ArrayLike, "b *small"], signal: Scalar, noise: Scalar) -> Float[Array, "b *small"]:
        """(signal · A Aᵀ + noise)⁻¹ y."""
        return arrays.safe_divide(y, arrays.expand(signal, y) / self._box(y) + arrays.expand(noise, y))

    def _box(self, like: ArrayLike) -> int:
        return int(self.factor ** (like.ndim - 2))


@records.record
class Blur:
    """A convolves with a kernel along the first spatial axes, circularly: in the Fourier basis A Aᵀ is |transfer|².

    Args:
        kernel: (k,) or (k, l) or more.
    """

    kernel: ArrayLike

    def forward(self, x: Float[ArrayLike, "b *shape"]) -> Float[Array, "b *shape"]:
        """A x."""
        return self._filtered(x, self._transfer(x))

    def adjoint(self, y: Float[ArrayLike, "b *shape"]) -> Float[Array, "b *shape"]:
        """Aᵀ y."""
        return self._filtered(y, jnp.conj(self._transfer(y)))

    def solve(self, y: Float[ArrayLike, "b *shape"], signal: Scalar, noise: Scalar) -> Float[Array, "b *shape"]:
        """(signal · A Aᵀ + noise)⁻¹ y."""
        transfer, wide = self._transfer(y), jnp.asarray(y).astype(jnp.promote_types(y.dtype, jnp.float32))
        power = jnp.real(transfer) ** 2 + jnp.imag(transfer) ** 2
        # frequencies that rounding alone fills
        power = jnp.where(power > 64 * jnp.finfo(power.dtype).eps * jnp.max(power), power, 0.0)
        return self._filtered(
            y, arrays.safe_divide(1.0, arrays.expand(signal, wide) * power + arrays.expand(noise, wide))
        )

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, 1 + np.ndim(self.kernel)))

    def _transfer(self, like: ArrayLike) -> jax.Array:
        """The kernel's spectrum, of size 1 on all other axes. The middle entry, size // 2, shifts by nothing."""
        axes, kernel = self._axes(), jnp.asarray(self.kernel).astype(jnp.promote_types(like.dtype, jnp.float32))
        if like.ndim < 1 + len(axes) or any(n > like.shape[axis] for axis, n in zip(axes, kernel.shape, strict=True)):
            raise ValueError(f"a kernel of shape {kernel.shape} does not fit into axes {axes} of samples {like.shape}")
        wide = jnp.pad(kernel, [(0, like.shape[axis] - n) for axis, n in zip(axes, kernel.shape, strict=True)])
        spectrum = jnp.fft.fftn(jnp.roll(wide, [-(n // 2) for n in kernel.shape], range(len(axes))))
        return spectrum.reshape(1, *spectrum.shape, *(1,) * (like.ndim - 1 - len(axes)))

    def _filtered(self, x: ArrayLike, transfer: jax.Array) -> jax.Array:
        wide = jnp.asarray(x).astype(jnp.promote_types(x.dtype, jnp.float32))
        return jnp.real(jnp.fft.ifftn(transfer * jnp.fft.fftn(wide, axes=self._axes()), axes=self._axes())).astype(
            x.dtype
        )


def inpaint(mask: Shaped[ArrayLike, "..."]) -> Inpaint:
    """Measure all but the masked entries.

    Args:
        mask: (b, …) or (1, …), each axis as long as that of samples or 1; 1 or True where nothing is seen.

    Raises:
        ValueError: for entries outside [0, 1] and for rank below 2.
    """
    checks.in_range("mask", mask, 0.0, 1.0)
    if np.ndim(mask) < 2:
        raise ValueError(
            f"mask has shape {np.shape(mask)}: give it the rank of samples, with a first axis of 1 if it is the same "
            "for all"
        )
    return Inpaint(mask)


def downsample(factor: int) -> Downsample:
    """Measure means of boxes along every axis between the first and the last, which are samples and channels.

    Args:
        factor: entries per axis of a box, >= 1; each axis must be a multiple of it.
    """
    checks.integer("factor", factor, 1)
    return Downsample(factor)


def blur(kernel: Float[ArrayLike, "..."]) -> Blur:
    """Measure the circular convolution of the axes after the first, the same for all samples and channels.

    Args:
        kernel: (k,) or (k, l) or more, of any entries and sizes; data under jit. Entry size // 2 of each axis is its
            centre.

    Raises:
        TypeError: for a kernel that is not floating.
        ValueError: for a single number and for entries that are not finite.
    """
    checks.floating("kernel", kernel)
    checks.finite("kernel", kernel)
    if np.ndim(kernel) < 1:
        raise ValueError("kernel is a single number: give it an axis for each axis that is blurred")
    return Blur(kernel)


def _spatial(x: ArrayLike) -> tuple[int, ...]:
    if x.ndim < 3:
        raise ValueError(f"samples of shape {x.shape} have no axis between the samples and the channels")
    return tuple(range(1, x.ndim - 1))
