"""Feature functions: images (n, …) -> features (n, d), the space in which two sets are compared.

`pixels` and `random_convolutions` need no training, and `inception` needs parameters that others trained. A distance
means something only beside its floor in the same features.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike, Params
from gendiff.metrics import resizing, validation

Features = Callable[[np.ndarray], ArrayLike]
"""Images (b, …) as they were given -> features (b, d), in NumPy or JAX."""


def pixels(images: Shaped[ArrayLike, "n *shape"]) -> Float64[np.ndarray, "n d"]:
    """Flatten the images: the plainest feature function, and the one for 8×8 digits."""
    numbers = np.asarray(images)
    return numbers.reshape(len(numbers), -1).astype(np.float64)


def random_convolutions(seed: int, *, widths: tuple[int, ...] = (16, 32, 64)) -> Features:
    """Build a small convolutional network with random weights, for images (n, h, w, c) in [-1, 1] of any size.

    Layer i convolves with 3 × 3 kernels, normal with variance 2 / inputs, adds biases that are normal with standard
    deviation 0.1, applies ReLU, and halves the size by stride 2 from the second layer on (the border is zero). A layer
    gives the mean and the standard deviation of each channel over the pixels, so there are 2 · sum(widths) features. It
    sees texture and colour, and little of what is where.

    The weights are NumPy's frozen RandomState(seed) stream, drawn layer by layer, kernel before biases. Products have
    full float32 precision on every device, so that features are equal to 1e-5 everywhere.

    Args:
        seed: 0 … 2³² - 1.
        widths: channels of each layer, the first at full size.

    Raises:
        ValueError: for a seed or a width out of range. The function itself raises for images of another rank.
    """
    checks.integer("seed", seed, 0, 2**32 - 1)
    if not widths:
        raise ValueError("widths = () has no layer: give the channels of each")
    for width in widths:
        checks.integer("widths", width, 1)

    def features(images: np.ndarray) -> jax.Array:
        numbers = np.asarray(images)
        if numbers.ndim != 4:
            raise ValueError(f"images must be (n, h, w, c), got shape {numbers.shape}")
        rows: jax.Array = _statistics_of_layers(
            _random_layers(seed, (numbers.shape[-1], *widths)), jnp.asarray(numbers, jnp.float32)
        )
        return rows

    return features


def inception(
    predict: Callable[..., jax.Array],
    params: Params,
    *,
    resize: str = "clean-fid",
    size: int = 299,
    centre: float = 128.0,
    spread: float = 128.0,
) -> Features:
    """Build the features of a network of 8-bit images, such as FID's Inception.

    Images are (n, h, w, c) with 1 or 3 channels. Whole values 0 … 255 are taken as they are. Floats in [-1, 1] first
    become the nearest of them, as a stored image would. One channel is repeated to three. The values are resized,
    (value - centre) / spread is what the network sees, and `predict` is compiled once per shape. Inception's largest
    map takes 5.5 MB per image, so pass `batch=50`, say, to `extract`. This chapter imports no network:
    `predict = networks.pure(networks.Inception("fid"))`.

    Args:
        predict: (params, x of shape (b, size, size, 3), float32) -> features (b, d).
        params: its parameters.
        resize: "clean-fid" (bicubic with antialiasing) or "tf" (bilinear without), see `resizing`. Different rules do
            not compare.
        size: of both sides of x.
        centre: 128 for the network of 2015, 127.5 for pytorch-fid's scaling to [-1, 1].
        spread: 128, or 127.5.

    Raises:
        ValueError: for another rule, and numbers out of range. The function itself raises for images of other shapes,
            ranges and dtypes.

    References:
        Heusel et al., 2017, section 3; Parmar et al., 2022, section 3 (both from memory).
    """
    rule = resizing.rule(resize)
    checks.integer("size", size, 1)
    checks.finite("centre", centre)
    checks.in_range("spread", spread, 0.0, float("inf"), open_low=True, open_high=True)

    @jax.jit
    def network(params: Params, values: jax.Array) -> jax.Array:
        return predict(params, (rule(values, size) - centre) / spread)

    return lambda images: network(params, _eight_bits(images))


def extract(
    function: Features, images: Shaped[ArrayLike, "n *shape"], *, batch: int = 500
) -> Float64[np.ndarray, "n d"]:
    """Apply `function` to the images, a batch at a time.

    Args:
        function: images (b, …) as they were given -> features (b, d), in NumPy or JAX.
        images: (n, …), n >= 1.
        batch: images per call, >= 1; the last batch may be smaller.

    Returns:
        Features (n, d) in float64.

    Raises:
        ValueError: when the function returns anything but (b, d), or values that are not finite.
    """
    checks.integer("batch", batch, 1)
    numbers = np.asarray(images)
    if numbers.ndim == 0 or len(numbers) == 0:
        raise ValueError(f"images must be (n, …) with n >= 1, got shape {numbers.shape}")
    parts = []
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        rows = validation.as_features("the feature function's output", function(part), at_least=1)
        if len(rows) != len(part):
            raise ValueError(f"the feature function returned {len(rows)} rows for {len(part)} images")
        parts.append(rows)
    return np.concatenate(parts)


def _eight_bits(images: ArrayLike) -> Float32[np.ndarray, "n h w 3"]:
    """Whole values 0 … 255 of three channels."""
    numbers = np.asarray(images)
    if numbers.ndim != 4 or numbers.shape[-1] not in (1, 3):
        raise ValueError(f"images must be (n, h, w, c) with 1 or 3 channels, got shape {numbers.shape}")
    if jnp.issubdtype(numbers.dtype, jnp.floating):
        low, high = float(numbers.min()), float(numbers.max())
        if not (low >= -1 and high <= 1):
            raise ValueError(
                f"images lie in [{low:g}, {high:g}]: floats must lie in [-1, 1], so clip samples first, or pass uint8"
            )
        numbers = np.floor(127.5 * (numbers.astype(np.float32) + 1) + 0.5)
    elif numbers.dtype != np.uint8:
        raise ValueError(f"images must be uint8, or floats in [-1, 1], got {numbers.dtype}")
    return np.broadcast_to(numbers.astype(np.float32), (*numbers.shape[:3], 3))


@functools.cache
def _random_layers(seed: int, channels: tuple[int, ...]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """(kernel, bias) of each layer."""
    rng = np.random.RandomState(seed)  # its stream is frozen, which that of a Generator is not
    return tuple(
        (
            (rng.standard_normal((3, 3, inputs, outputs)) * np.sqrt(2 / (9 * inputs))).astype(np.float32),
            (0.1 * rng.standard_normal(outputs)).astype(np.float32),
        )
        for inputs, outputs in zip(channels, channels[1:], strict=False)
    )


@jax.jit
def _statistics_of_layers(layers: tuple[tuple[jax.Array, jax.Array], ...], images: jax.Array) -> jax.Array:
    y, statistics = images, []
    for number, (kernel, bias) in enumerate(layers):
        strides = (1, 1) if number == 0 else (2, 2)
        y = jax.lax.conv_general_dilated(
            y,
            kernel,
            strides,
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )
        y = jnp.maximum(y + bias.reshape(1, 1, 1, -1), 0)
        statistics += [jnp.mean(y, (1, 2)), jnp.std(y, (1, 2))]
    return jnp.concatenate(statistics, -1)
