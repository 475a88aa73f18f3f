"""Checks of the inputs of networks of images."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Scalar


def check(x: ArrayLike, t: ArrayLike, factor: int, what: str) -> None:
    """Refuse what is no batch of images with one time per sample.

    Args:
        x: should be floating, (b, h, w, c).
        t: should be (b,).
        factor: what must divide h and w.
        what: the cause of the factor, for the message.

    Raises:
        TypeError: unless x is floating.
        ValueError: unless the shapes are those.
    """
    check_images(x, factor, what)
    if np.shape(t) != x.shape[:1]:
        raise ValueError(f"t has shape {np.shape(t)}: one time per sample, {x.shape[:1]}, is needed")


def check_clips(x: ArrayLike, t: ArrayLike, factor: int, what: str) -> None:
    """Refuse what is no batch of clips with one time per clip or per frame. Arguments and errors are those of `check`.

    x should be (b, f, h, w, c), and t (b,) or (b, f).
    """
    checks.floating("x", x)
    if x.ndim != 5:
        raise ValueError(f"x has shape {x.shape}: clips are (batch, frames, height, width, channels)")
    if x.shape[2] % factor or x.shape[3] % factor:
        raise ValueError(f"x has shape {x.shape}: height and width of a frame must be multiples of {factor} ({what})")
    if np.shape(t) not in (x.shape[:1], x.shape[:2]):
        raise ValueError(
            f"t has shape {np.shape(t)}: one time per clip, {x.shape[:1]}, or one per frame, {x.shape[:2]}, is needed"
        )


def number_per_sample(name: str, value: Scalar, batch: int) -> jax.Array:
    """Return a number of each sample (b,), in float32 at least.

    Args:
        name: what it is, for the message.
        value: should be (b,) or () real numbers.
        batch: b.

    Raises:
        ValueError: for another shape.
        TypeError: for what are no real numbers.
    """
    if np.shape(value) not in ((), (batch,)):
        raise ValueError(f"{name} has shape {np.shape(value)}: one number () or one per sample ({batch},) is needed")
    dtype = jnp.result_type(value)
    if dtype == jnp.bool_ or jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{name} must hold numbers, got {dtype}")
    return jnp.broadcast_to(jnp.asarray(value, jnp.promote_types(dtype, jnp.float32)), (batch,))


def check_images(x: ArrayLike, factor: int, what: str, name: str = "x") -> None:
    """Refuse what is no batch of images. Arguments and errors are those of `check`, without the times.

    name: of x, for the message.
    """
    checks.floating(name, x)
    if x.ndim != 4:
        raise ValueError(f"{name} has shape {x.shape}: images are (batch, height, width, channels)")
    _, height, width, channels = x.shape
    likely = height <= 4 < channels and width == channels
    hint = "; it looks channels-first: use numpy.moveaxis(x, 1, -1)" if likely or height <= 4 < width else ""
    if likely or height % factor or width % factor:
        rule = f"height and width must be multiples of {factor} ({what})"
        raise ValueError(f"{name} has shape {x.shape}, read as (batch, height, width, channels): {rule}{hint}")


def check_size(size: int) -> None:
    """Refuse a side that no number of doublings of 4 pixels gives.

    Raises:
        TypeError: unless it is an integer.
        ValueError: unless it is a power of two of at least 4.
    """
    checks.integer("size", size, 4)
    if size & (size - 1):
        below = 1 << (int(size).bit_length() - 1)
        raise ValueError(
            f"size = {size} is no power of two: choose {below} or {2 * below}, and resize the pictures to it"
        )


def check_square(x: ArrayLike, size: int, channels: int) -> None:
    """Refuse what is no batch of square images of one size: (b, size, size, channels).

    Raises:
        TypeError: unless x is floating.
        ValueError: unless the shape is that.
    """
    check_images(x, 1, "critic")
    if x.shape[1:] != (size, size, channels):
        raise ValueError(
            f"x has shape {x.shape}: (batch, {size}, {size}, {channels}) is needed here, the size and the "
            "image_channels"
        )


def check_noise(noise: ArrayLike) -> None:
    """Refuse what is no batch of vectors of noise (b, d).

    Raises:
        TypeError: unless it is floating.
        ValueError: for another number of axes.
    """
    dtype = getattr(noise, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"noise must be a floating array, got {dtype or type(noise).__name__}: use jax.random.normal(key, (batch, "
            "size))"
        )
    if noise.ndim != 2:
        raise ValueError(f"noise has shape {noise.shape}: one vector per sample, (batch, size), is needed")


def check_finite(name: str, x: ArrayLike) -> None:
    """Refuse concrete samples (b, …) with a NaN or an infinity, and say which.

    Raises:
        ValueError: with the numbers of those samples.
    """
    if not arrays.is_concrete(x):
        return
    with jax.ensure_compile_time_eval():  # a concrete array may be closed over by a function that is traced
        if bool(jnp.all(jnp.isfinite(x))):
            return
    bad = np.flatnonzero(~np.isfinite(np.asarray(x)).reshape(len(x), -1).all(1))
    examples = ", ".join(map(str, bad[:8])) + (", …" if bad.size > 8 else "")
    raise ValueError(
        f"{name} of shape {x.shape} has numbers that are not finite, in sample {examples}: what made it diverged"
    )
