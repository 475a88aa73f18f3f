"""Which shapes an image shows, read from its pixels with no training: least squares against rendered templates.

Each quarter of the image is read alone. Its pixels, less the background, are fitted by `coverage × colour` for each
shape and size, with the colour and the centre free; the best fit names shape and size, the direction of its colour the
colour, the quarter the position. What no template explains is said to be unclear, and an image with one unclear
quarter, or with four objects, is unclear as a whole.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float, Float64, Int32

from experiments.tasks import rendering, shapes
from gendiff.core import checks, records

UNCLEAR = -2
"""All attributes of every object of an image that does not show a scene; never equal to an attribute, nor to
shapes.ABSENT.
"""
NOISE = 0.15
"""Root mean square deviation per channel that a quarter may have beyond what its object explains."""
FORM = 0.12
"""Share of an object's energy that may differ from its template, on top of NOISE: blur and small dents."""
CONTRAST = (0.6, 1.6)
"""A colour's contrast to the background, relative to the palette's."""
ANGLE = 15.0
"""Degrees between a colour's contrast to the background and the palette's; the nearest two, orange and yellow, are 25
apart.
"""
DRIFT = 0.25
"""By how much, per channel, an image's background may differ from the renderer's, as guidance shifts it."""
LEAD = (0.003, 0.033)
"""Share of its energy by which the best template must beat every other shape and size: at 16 pixels, and from 32 on;
linear between. Renders have 0.012 and 0.07 at the least under noise of 0.05."""
STRAY = 0.02
"""Image sides by which a centre may leave the place that scenes give it."""
STEPS = 2
"""Gauss-Newton steps to the centre; the centroid they start from is off by a fraction of a pixel."""
BLURS = (0.107, 0.178)
"""Weights of a neighbour in the blurs that templates are tried with, besides none: Gaussian ones of about 0.5 and 0.7
pixels.
"""
CHUNK = 2**17
"""Pixels fitted at a time: few enough to stay in the processor's cache."""


@records.record
class Reading:
    """What each quarter of an image holds.

    Args:
        attributes: (b, 4 quarters, 4) int32; a quarter is ABSENT, UNCLEAR or an object.
        centres: (b, 4, 2) of the objects, as in shapes.Scenes, NaN elsewhere.
        residual: (b, 4) root mean square per channel of what the object (or the background) leaves unexplained.
    """

    attributes: np.ndarray
    centres: np.ndarray
    residual: np.ndarray


def read(images: Float[np.ndarray, "b h w 3"]) -> Int32[np.ndarray, "b 3 4"]:
    """Read the attributes of each image as in shapes.Scenes: objects in the order of their positions, ABSENT ones last.

    All are UNCLEAR where an image is no clear scene: noise, NaN, an off-palette colour, a broken or fourth object. All
    are ABSENT for an empty background.

    Args:
        images: (b, size, size, 3) of 16 pixels or more, in [-1, 1]; values outside are clipped.

    Raises:
        TypeError: for images that are not floating.
        ValueError: for another shape.
    """
    quarters = inspect(images).attributes
    present = quarters[:, :, 0] >= 0
    order = np.argsort(~present, axis=1, kind="stable")[:, : shapes.MOST_OBJECTS]
    scene = np.take_along_axis(quarters, order[:, :, None], axis=1)
    broken = np.any(quarters[:, :, 0] == UNCLEAR, axis=1) | (present.sum(axis=1) > shapes.MOST_OBJECTS)
    return np.where(broken[:, None, None], UNCLEAR, scene).astype(np.int32)


def guess(images: Float[np.ndarray, "b h w 3"]) -> Int32[np.ndarray, "b 4"]:
    """The likeliest colour, shape, size and position of the one object of each image, each by itself.

    Nothing is unclear: an image that shows no scene gets some answer. So one attribute may be right where others are
    not, which `read` never says. The object is in the quarter that differs most from the background.

    Args:
        images: as for `read`.

    Raises:
        ValueError: as `read` does, and for images that are not finite.
        TypeError: as `read` does.
    """
    _check(images)
    if not np.isfinite(images).all():
        raise ValueError("images hold numbers that are not finite")
    clipped = np.clip(images, -1.0, 1.0)
    background = _background(clipped)
    quarters = np.stack([_quarter(clipped, background, position) for position in range(len(shapes.POSITIONS))])
    position = np.argmax(np.mean(quarters**2, axis=(2, 3, 4)), 0)
    fit = _best_fit(quarters[position, np.arange(len(images))], np.arange(quarters.shape[2] + 1) / images.shape[1])
    return np.stack([_nearest_colour(fit.colour)[0], fit.shape, fit.size, position], 1).astype(np.int32)


def inspect(images: Float[np.ndarray, "b h w 3"]) -> Reading:
    """Read what each quarter of each image holds, so that a scene with one broken object still counts its other ones.

    Args:
        images: as for `read`.

    Raises:
        ValueError: as `read` does.
    """
    _check(images)
    size = images.shape[1]
    tall = -(-size // 2)
    shape = (len(images), len(shapes.POSITIONS))
    reading = Reading(np.full((*shape, 4), UNCLEAR, np.int32), np.full((*shape, 2), np.nan), np.full(shape, np.nan))
    chunk = max(1, CHUNK // tall**2)
    clipped = np.clip(images, -1.0, 1.0)
    background = _background(clipped)
    for position in range(len(shapes.POSITIONS)):
        corner = _corner(position, size)
        edges = np.arange(tall + 1) / size
        for start in range(0, len(images), chunk):
            rows = slice(start, start + chunk)
            contrast = _quarter(clipped[rows], background[rows], position)
            attributes, centres, residual = _read_quarter(
                contrast, edges, shapes.corner(np.array(position)) - corner / size
            )
            attributes[attributes[:, 0] >= 0, 3] = position
            reading.attributes[rows, position] = attributes
            reading.centres[rows, position] = centres + corner / size
            reading.residual[rows, position] = residual
    return reading


def _check(images: np.ndarray) -> None:
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images must be square, (b, size, size, 3), got {images.shape}")
    rendering.check_size(images.shape[1])
    checks.floating("images", images)


def _corner(position: int, size: int) -> np.ndarray:
    """The first pixel of a quarter, down and right."""
    return np.floor(shapes.corner(np.array(position)) * size).astype(np.int64)


def _quarter(images: np.ndarray, background: np.ndarray, position: int) -> Float64[np.ndarray, "b h w 3"]:
    """A quarter of each image less its background. An odd size's middle row belongs to two: MARGIN keeps it free."""
    size = images.shape[1]
    down, right = _corner(position, size)
    tall = -(-size // 2)
    crop = images[:, down : down + tall, right : right + tall].astype(np.float64)
    return crop - background[:, None, None, :]


def _background(images: Float[np.ndarray, "b h w 3"]) -> Float64[np.ndarray, "b 3"]:
    """The mean colour of the pixels near the median colour, at most DRIFT from the renderer's: objects cover less than
    half an image.
    """
    pixels = images.reshape(len(images), images.shape[1] * images.shape[2], 3)
    # objects pull the median of noisy pixels by some of the noise, hence the mean
    median = np.median(pixels, axis=1, keepdims=True)
    near = np.all(np.abs(pixels - median) < 0.35, axis=2)
    mean = np.einsum("bp,bpc->bc", near, pixels) / np.maximum(near.sum(axis=1), 1)[:, None]
    return np.clip(mean, rendering.BACKGROUND - DRIFT, rendering.BACKGROUND + DRIFT).astype(np.float64)


def _read_quarter(
    contrast: np.ndarray, edges: np.ndarray, corner: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attributes (n, 4) without the position, centres (n, 2) and residuals (n,) of n quarters (n, h, h, 3) less their
    background.

    `edges` are the borders of the pixels, `corner` the quarter's own corner in that unit.
    """
    deviation = np.sqrt(np.mean(contrast**2, axis=(1, 2, 3)))
    attributes = np.full((len(contrast), 4), UNCLEAR, dtype=np.int32)
    centres, residual = np.full((len(contrast), 2), np.nan), deviation.copy()
    attributes[deviation <= NOISE] = shapes.ABSENT  # a NaN is neither above nor below
    rows = np.flatnonzero(deviation > NOISE)
    if len(rows):
        fit = _best_fit(contrast[rows], edges)
        colour, near = _nearest_colour(fit.colour)
        unexplained = np.maximum(deviation[rows] ** 2 - fit.explained, 0.0)
        centred = np.all(np.abs(fit.centre - corner - 0.25) <= fit.reach[:, None], axis=1)
        lead = np.interp(1 / (edges[1] - edges[0]), (16, 32), LEAD)
        alone = fit.explained - fit.rival >= lead * fit.explained
        clear = near & centred & alone & (unexplained <= NOISE**2 + FORM * fit.explained)
        residual[rows] = np.sqrt(unexplained)
        centres[rows[clear]] = fit.centre[clear]
        attributes[rows[clear]] = np.stack([colour, fit.shape, fit.size, colour], axis=1)[clear]
    return attributes, centres, residual


@records.record
class _Fit:
    """A template on each crop.

    explained: mean square per value. rival: the most that any template of another shape or size explains. reach: how
    far, per axis, the centre may be from the quarter's.
    """

    shape: np.ndarray
    size: np.ndarray
    centre: np.ndarray
    colour: np.ndarray
    explained: np.ndarray
    rival: np.ndarray
    reach: np.ndarray


def _best_fit(contrast: Float64[np.ndarray, "n h w 3"], edges: np.ndarray) -> _Fit:
    """Every shape and size fitted to each crop's strongest colour; the one that explains most."""
    strength = np.einsum("nhwc,nc->nhw", contrast, _main_colour(contrast))
    kinds = [(shape, size) for shape in range(len(shapes.SHAPES)) for size in range(len(shapes.SIZES))]
    fits = [_fit(contrast, strength, shape, size, edges) for shape, size in kinds]
    best = fits[0]
    for fit in fits[1:]:
        rival = np.maximum(best.rival, np.minimum(best.explained, fit.explained))
        best = records.replace(_where(fit.explained > best.explained, fit, best), rival=rival)
    return best


def _fit(contrast: np.ndarray, strength: np.ndarray, shape: int, size: int, edges: np.ndarray) -> _Fit:
    """One shape and size, as blurred as explains most."""
    radius, count = shapes.RADII[size], len(contrast)
    centre, sharp = _fit_centre(strength, shape, radius, edges)
    colour, explained = _fit_colour(contrast, sharp)
    reach = np.full(count, 0.25 - shapes.MARGIN - radius + STRAY)
    best = _Fit(np.full(count, shape), np.full(count, size), centre, colour, explained, np.zeros(count), reach)
    for blur in BLURS:
        colour, explained = _fit_colour(contrast, _blurred(sharp, blur))
        best = _where(explained > best.explained, records.replace(best, colour=colour, explained=explained), best)
    return best


def _where(chosen: Bool[np.ndarray, "n"], new: _Fit, old: _Fit) -> _Fit:
    return jax.tree.map(lambda a, b: np.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)


def _fit_colour(
    contrast: Float64[np.ndarray, "n h w 3"], template: Float64[np.ndarray, "n h w"]
) -> tuple[np.ndarray, np.ndarray]:
    """The colour (n, 3) that fits a template best, and the mean square (n,) that it explains."""
    norm = np.maximum(np.sum(template**2, axis=(1, 2)), 1e-12)  # a template may lie outside the crop
    weights = np.einsum("nhw,nhwc->nc", template, contrast)
    return weights / norm[:, None], np.sum(weights**2, axis=1) / norm / contrast[0].size


def _blurred(template: Float64[np.ndarray, "n h w"], outer: float) -> Float64[np.ndarray, "n h w"]:
    """Each pixel mixed with its neighbours, down and right, by (outer, 1 - 2 outer, outer); nothing lies beyond the
    crop.
    """
    for axis in (1, 2):
        inner = np.moveaxis(template, axis, 1)
        mixed = (1 - 2 * outer) * inner
        mixed[:, 1:] += outer * inner[:, :-1]
        mixed[:, :-1] += outer * inner[:, 1:]
        template = np.moveaxis(mixed, 1, axis)
    return template


def _main_colour(contrast: Float64[np.ndarray, "n h w 3"]) -> Float64[np.ndarray, "n 3"]:
    """The unit direction of most energy, pointing to the side on which the pixels are."""
    _, vectors = np.linalg.eigh(np.einsum("nhwc,nhwd->ncd", contrast, contrast))
    main = vectors[:, :, -1]
    return main * np.where(np.einsum("nhwc,nc->n", contrast, main) < 0, -1.0, 1.0)[:, None]


def _fit_centre(
    strength: Float64[np.ndarray, "n h w"], shape: int, radius: float, edges: np.ndarray
) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, "n h w"]]:
    """The centre that fits one template best, by Gauss-Newton from the centroid of the bright pixels, and the template
    there.
    """
    middles = (edges[1:] + edges[:-1]) / 2
    bright = strength * (strength > 0.35 * strength.max(axis=(1, 2), keepdims=True))
    total = np.maximum(bright.sum(axis=(1, 2)), 1e-12)
    centre = np.stack([bright.sum(axis=2) @ middles, bright.sum(axis=1) @ middles], axis=1) / total[:, None]
    centre[:, 0] -= _LOWER[shape] * radius
    size = np.full(len(strength), radius)
    template = rendering.coverage(shape, size, centre, edges)
    for _ in range(STEPS):
        slopes = [-np.gradient(template, edges[1] - edges[0], axis=axis) for axis in (1, 2)]
        parts = [template, *slopes]
        normal = np.stack([[np.einsum("nhw,nhw->n", a, b) for a in parts] for b in parts]).transpose(2, 0, 1)
        right = np.stack([np.einsum("nhw,nhw->n", a, strength) for a in parts], axis=1)
        solution = np.linalg.solve(normal + 1e-9 * np.eye(3), right[:, :, None])[:, :, 0]
        # strength = a (template + slopes · move)
        move = solution[:, 1:] / np.where(solution[:, :1] > 1e-6, solution[:, :1], np.inf)
        centre = np.clip(centre + np.clip(move, -0.5 * radius, 0.5 * radius), edges[0], edges[-1])
        template = rendering.coverage(shape, size, centre, edges)
    return centre, template


def _nearest_colour(contrast: Float64[np.ndarray, "n 3"]) -> tuple[np.ndarray, Bool[np.ndarray, "n"]]:
    """The palette's colour nearest in direction, and whether direction and contrast are near enough to call it that."""
    palette = rendering.PALETTE - rendering.BACKGROUND
    lengths, length = np.linalg.norm(palette, axis=1), np.maximum(np.linalg.norm(contrast, axis=1), 1e-12)
    cosines = contrast @ palette.T / lengths / length[:, None]
    colour = np.argmax(cosines, axis=1)
    ratio = length / lengths[colour]
    close = cosines[np.arange(len(colour)), colour] >= np.cos(np.deg2rad(ANGLE))
    return colour, close & (ratio >= CONTRAST[0]) & (ratio <= CONTRAST[1])


_LOWER = (0.0, 0.0, 1 / 3, 0.0)
"""How far, in radii, the centroid of a shape lies below the middle of its bounding box."""
