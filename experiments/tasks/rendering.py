"""Scenes as images: each pixel holds the exact share of its square that a shape covers.

Rendering 2n × 2n pixels and averaging 2 × 2 of them is rendering n × n pixels, to rounding. The background is dark
grey, -0.6 in each channel; colours have channels within ±0.8, so that a sampler's overshoot towards ±1 and beyond can
be told from the data.
"""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from experiments.tasks import captions, shapes
from gendiff.core import checks
from gendiff.data import scaling
from gendiff.data.images import Images

SMALLEST = 16
BACKGROUND = -0.6
PALETTE = 0.8 * np.array(
    [[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1], [1, 1, 1], [1, -0.125, -1]],
    dtype=np.float64,
)
"""(8, 3) red, green and blue of shapes.COLOURS, in [-1, 1]."""


def render(scenes: shapes.Scenes, size: int) -> Float32[np.ndarray, "b h w 3"]:
    """Render scenes as images of size × size pixels.

    Raises:
        ValueError: for a size below 16, where shapes cannot be told apart.
    """
    check_size(size)
    edges = np.arange(size + 1) / size
    images = np.full((len(scenes), size, size, 3), BACKGROUND)
    for slot in range(shapes.MOST_OBJECTS):
        colour, shape, radius = (scenes.attributes[:, slot, column] for column in range(3))
        for kind in range(len(shapes.SHAPES)):
            rows = np.flatnonzero(shape == kind)
            share = coverage(kind, np.array(shapes.RADII)[radius[rows]], scenes.centres[rows, slot], edges)
            images[rows] += share[..., None] * (PALETTE[colour[rows]] - BACKGROUND)[:, None, None, :]
    return images.astype(np.float32)


def labelled_images(
    recipe: shapes.Recipe, size: int, seed: int, index: Int[np.ndarray, "b"], *, unseen: bool = False
) -> Images:
    """Render the scenes `shapes.draw(recipe, seed, index, unseen=unseen)`, rounded to 256 levels, with their classes.

    A scene of several objects has NO_LABEL. `classes` holds each class in words.

    Args:
        recipe: which scenes there are.
        size: pixels per side, >= 16.
        seed: as for `shapes.draw`.
        index: (b,) as for `shapes.draw`.
        unseen: as for `shapes.draw`.

    Raises:
        ValueError: as `shapes.draw` and `render` do.
    """
    scenes = shapes.draw(recipe, seed, index, unseen=unseen)
    clean = np.asarray(scaling.round_to_levels(render(scenes, size), 256))
    attributes = shapes.class_attributes(recipe, np.arange(recipe.num_classes))
    return Images(
        clean, shapes.labels(recipe, scenes.attributes), classes=tuple(captions.phrase(one) for one in attributes)
    )


def coverage(
    shape: int, radius: Float64[np.ndarray, "n"], centre: Float64[np.ndarray, "n 2"], edges: Float64[np.ndarray, "e"]
) -> Float64[np.ndarray, "n h w"]:
    """Compute the share, 0…1, of each pixel that n objects of one shape cover.

    It comes from the area up to each corner of the pixels and its differences.

    Args:
        shape: its number in shapes.SHAPES.
        radius: (n,) of the objects.
        centre: (n, 2) of the objects, down and right.
        edges: (h + 1,) borders of the pixels, both down and right, evenly spaced, in the unit of radius and centre.
    """
    scaled = [(edges - centre[:, axis, None]) / radius[:, None] for axis in (0, 1)]
    area = _AREAS[shape](np.clip(scaled[0], -1, 1)[:, :, None], np.clip(scaled[1], -1, 1)[:, None, :])
    share = np.diff(np.diff(area, axis=1), axis=2) * (radius / (edges[1] - edges[0]))[:, None, None] ** 2
    return np.clip(share, 0.0, 1.0)  # rounding alone leaves [0, 1]


def check_size(size: int) -> None:
    """Raise ValueError for a size below 16."""
    checks.integer("size", size)
    if size < SMALLEST:
        raise ValueError(
            f"size = {size}: shapes cannot be told apart below {SMALLEST} x {SMALLEST} pixels; use size >= {SMALLEST}"
        )


# Area of a shape of radius 1 about the origin that lies above y and left of x, for x and y in [-1, 1]; y points down.


def _circle(y: Float[np.ndarray, "n h 1"], x: Float[np.ndarray, "n 1 w"]) -> Float[np.ndarray, "n h w"]:
    half = np.sqrt(1 - y * y)  # of the chord at height y
    cap = (
        -np.abs(y) * (np.clip(x, -half, half) + half)
        + np.clip(_segment(x), -_segment(half), _segment(half))
        + _segment(half)
    )
    # below the middle: all that is left of x, less the lower cap
    return np.where(y <= 0, cap, 2 * _segment(x) + np.pi / 2 - cap)


def _segment(u: np.ndarray) -> np.ndarray:
    """∫₀ᵘ √(1 - v²) dv, which grows with u."""
    return 0.5 * (u * np.sqrt(1 - u * u) + np.arcsin(u))


def _square(y: Float[np.ndarray, "n h 1"], x: Float[np.ndarray, "n 1 w"]) -> Float[np.ndarray, "n h w"]:
    return (y + 1) * (x + 1)


def _triangle(y: Float[np.ndarray, "n h 1"], x: Float[np.ndarray, "n 1 w"]) -> Float[np.ndarray, "n h w"]:
    """Tip (0, -1), base from (-1, 1) to (1, 1)."""
    height = y + 1
    outside = np.maximum(height - 2 * np.abs(x), 0) ** 2 / 4  # the part beyond the vertical line through |x|
    return np.where(x <= 0, outside, height**2 / 2 - outside)


def _cross(y: Float[np.ndarray, "n h 1"], x: Float[np.ndarray, "n 1 w"]) -> Float[np.ndarray, "n h w"]:
    """A plus sign of two bars, each 2 long and 2/3 wide."""
    inner_y, inner_x = (np.clip(u, -1 / 3, 1 / 3) + 1 / 3 for u in (y, x))
    return (y + 1) * inner_x + inner_y * (x + 1) - inner_y * inner_x


_AREAS = (_circle, _square, _triangle, _cross)
