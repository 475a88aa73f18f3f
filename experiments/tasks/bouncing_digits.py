"""Clips of pictures that move, with positions and velocities that are known: on a torus, or between walls and one
behind another.

A sprite is a small picture, such as a digit or an emoji, over one colour of background. Where it lies between pixels,
each of its pixels goes to the four below it by linear interpolation, so that values stay between those of the data and
the centre of mass is kept.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, Integer, Shaped

from gendiff.core import checks

UNIFORMS = 5
"""Random numbers per sprite: which one, where it begins (2), and how it moves (2)."""


class Clips(NamedTuple):
    """Clips of one sprite each.

    Attributes:
        clips: in [-1, 1].
        labels: of the sprites.
        positions: of the top left corner of the sprite in each frame, in pixels (down, right), in [0, size).
        velocities: in pixels per frame (down, right).
    """

    clips: Float32[np.ndarray, "n f h w c"]
    labels: Int32[np.ndarray, " n"]
    positions: Float64[np.ndarray, "n f 2"]
    velocities: Float64[np.ndarray, "n 2"]


class BouncingClips(NamedTuple):
    """Clips of several sprites each, the last one in front.

    Attributes:
        clips: in [-1, 1].
        labels: of the sprites.
        positions: of the top left corner of each sprite in each frame, in pixels (down, right), in [0, size - sprite].
        velocities: in pixels per frame (down, right) as they begin.
        visible: share, 0 … 1, of each sprite that nothing in front of it hides.
    """

    clips: Float32[np.ndarray, "n f h w c"]
    labels: Int32[np.ndarray, "n m"]
    positions: Float64[np.ndarray, "n f m 2"]
    velocities: Float64[np.ndarray, "n m 2"]
    visible: Float64[np.ndarray, "n f m"]


def moving_clips(
    sprites: Shaped[np.ndarray, "k s s c"],
    labels: Integer[np.ndarray, "k"],
    seed: int,
    index: Int[np.ndarray, "n"],
    *,
    frames: int = 8,
    size: int = 16,
    fastest: int = 2,
    subpixel: bool = False,
    background: int | float = -1.0,
) -> Clips:
    """Draw clips in which a sprite moves over a torus at constant velocity: clip i is a function of (seed, index[i])
    and the settings.

    The sprite and its first place are uniform. So is the velocity: over all pairs of whole numbers -fastest … fastest
    but (0, 0), and with `subpixel` over the square [-fastest, fastest]²; then the first place lies anywhere, too.

    Args:
        sprites: (k, s, s, c) in [-1, 1], such as `digits.load().train_images`.
        labels: (k,) their classes.
        seed: the stream, 0 … 2³² - 1.
        index: (n,) the numbers 0, 1, … of the clips in that stream, such as `batches.endless_at` counts them.
        frames: of a clip, at least 1.
        size: of both sides in pixels, more than s.
        fastest: pixels per frame along an axis, 1 … (size - 1) // 2: a faster move could be one in the other direction.
        subpixel: places and velocities are any real numbers. False: they are whole.
        background: the value of all channels behind the sprites, which is also that of the sprites where they show
            nothing; -1 for digits.

    Raises:
        ValueError: for numbers outside these ranges, and for sprites of another shape.
    """
    _check(sprites, labels, seed, index, frames, size, background)
    checks.integer("fastest", fastest, 1, (size - 1) // 2)
    uniform = _uniform(seed, index, 1)[:, 0]
    row, begin, velocities = (
        _row(uniform, len(sprites)),
        _between(uniform[:, 1:3], size, subpixel),
        _velocities(uniform, fastest, subpixel),
    )
    positions = (begin[:, None] + velocities[:, None] * np.arange(frames)[:, None]) % size
    cover, painted = _placed(sprites[row], positions, size, background)
    return Clips(_over(background, [(cover, painted)]), labels[row].astype(np.int32), positions, velocities)


def bouncing_clips(
    sprites: Shaped[np.ndarray, "k s s c"],
    labels: Integer[np.ndarray, "k"],
    seed: int,
    index: Int[np.ndarray, "n"],
    *,
    count: int = 2,
    frames: int = 8,
    size: int = 16,
    fastest: int = 2,
    subpixel: bool = False,
    background: int | float = -1.0,
    bar: tuple[int, int] | None = None,
    bar_value: int | float = 1.0,
) -> BouncingClips:
    """Draw clips in which sprites bounce off the borders, as light does, and hide each other: the last one is in front.

    They do not push each other. Clip i is a function of (seed, index[i]) and the settings; the law of places and
    velocities is that of `moving_clips`, with places within the borders.

    Args:
        sprites: (k, s, s, c) in [-1, 1].
        labels: (k,) their classes.
        seed: the stream, 0 … 2³² - 1.
        index: (n,) the numbers 0, 1, … of the clips in that stream.
        count: sprites of a clip, at least 1. With one more, those there were stay as they are.
        frames: of a clip, at least 1.
        size: of both sides in pixels, more than s.
        fastest: pixels per frame along an axis, 1 … size - s.
        subpixel: places and velocities are any real numbers. False: they are whole.
        background: as for `moving_clips`. A pixel of a sprite that has this value in all channels is transparent.
        bar: (first column, width) of a vertical bar in front of everything, or None.
        bar_value: of all its channels, in [-1, 1].

    Raises:
        ValueError: for numbers outside these ranges, and for sprites of another shape.
    """
    _check(sprites, labels, seed, index, frames, size, background)
    room = size - sprites.shape[1]
    checks.integer("count", count, 1)
    checks.integer("fastest", fastest, 1, room)
    uniform = _uniform(seed, index, count)
    row, velocities = _row(uniform, len(sprites)), _velocities(uniform, fastest, subpixel)
    begin = _between(uniform[..., 1:3], room if subpixel else room + 1, subpixel)
    straight = (begin[:, None] + velocities[:, None] * np.arange(frames)[:, None, None]) % (2 * room)
    positions = np.minimum(straight, 2 * room - straight)
    layers = [_placed(sprites[row[:, m]], positions[:, :, m], size, background) for m in range(count)]
    if bar is not None:
        layers.append(_bar(bar, bar_value, layers[0][1]))
    visible = np.stack([_visible(layers, m) for m in range(count)], -1)
    return BouncingClips(_over(background, layers), labels[row].astype(np.int32), positions, velocities, visible)


def centred(
    pictures: Shaped[np.ndarray, "n h w c"], size: int, *, background: int | float = -1.0
) -> Shaped[np.ndarray, "n size size c"]:
    """Cut the middle out of pictures of a torus, whose centre of mass is moved there by whole pixels.

    So a judge of small pictures sees what a frame shows, wherever it is. It must be trained on pictures from here, too,
    since the centre of mass is not the centre of a sprite.

    Args:
        pictures: (n, h, w, c) frames, such as `clips.reshape(-1, *clips.shape[2:])`.
        size: of both sides of the result, 1 … min(h, w).
        background: the value of no mass. The mass of a pixel is its distance from it, summed over channels.

    Raises:
        ValueError: for another shape, and a size out of range.
    """
    if np.ndim(pictures) != 4:
        raise ValueError(
            f"pictures must be (n, h, w, c), got shape {np.shape(pictures)}; join the frames of clips first"
        )
    checks.integer("size", size, 1, min(pictures.shape[1:3]))
    mass = np.abs(pictures.astype(np.float64) - background).sum(axis=3)
    rows, columns = (_window(_circular_middle(mass.sum(axis=axis)), size, mass.shape[3 - axis]) for axis in (2, 1))
    return pictures[np.arange(len(pictures))[:, None, None], rows[:, :, None], columns[:, None, :]]


def _circular_middle(mass: Float64[np.ndarray, "n p"]) -> Float64[np.ndarray, "n"]:
    """The direction of the first wave of the mass, as a place 0 … p."""
    side = mass.shape[1]
    return np.angle(mass @ np.exp(2j * np.pi * np.arange(side) / side)) * side / (2 * np.pi) % side


def _window(middle: Float64[np.ndarray, "n"], size: int, side: int) -> Int[np.ndarray, "n p"]:
    """Places on a circle of `side` pixels whose middle is nearest to the one that is given; halves go up, whatever
    rounding says.
    """
    return (np.floor(middle - (size - 1) / 2 + 0.5 + 1e-9).astype(np.int64)[:, None] + np.arange(size)) % side


def _uniform(seed: int, index: np.ndarray, count: int) -> Float64[np.ndarray, "n m u"]:
    uniform = [np.random.default_rng((int(seed), int(i))).random((count, UNIFORMS)) for i in index]
    return np.array(uniform).reshape(len(index), count, UNIFORMS)


def _row(uniform: np.ndarray, count: int) -> Int[np.ndarray, "*n"]:
    return np.floor(uniform[..., 0] * count).astype(np.int64)


def _between(uniform: np.ndarray, side: int, subpixel: bool) -> np.ndarray:
    """Places in [0, side), whole ones unless `subpixel`."""
    return uniform * side if subpixel else np.floor(uniform * side)


def _velocities(uniform: np.ndarray, fastest: int, subpixel: bool) -> Float64[np.ndarray, "*n 2"]:
    if subpixel:
        return (2 * uniform[..., 3:5] - 1) * fastest
    across = 2 * fastest + 1
    pair = np.floor(uniform[..., 3] * (across**2 - 1))
    pair += pair >= across**2 // 2  # leaves out the pair in the middle, which stands still
    return np.stack([pair // across, pair % across], -1) - fastest


def _placed(
    sprites: np.ndarray, positions: Float64[np.ndarray, "n f 2"], size: int, background: float
) -> tuple[np.ndarray, np.ndarray]:
    """One sprite per clip where it is in each frame: its share of each pixel (n, f, h, w, 1), and share times value (n,
    f, h, w, c).
    """
    opaque = np.any(sprites != background, axis=3, keepdims=True).astype(np.float64)
    both = np.concatenate([opaque, opaque * sprites], -1)[:, None]
    corner = np.floor(positions).astype(np.int64)
    rest = (positions - corner)[:, :, :, None, None, None]
    clips, frames = positions.shape[:2]
    canvas = np.zeros((clips * frames * size * size, both.shape[-1]))
    number, along = np.arange(clips * frames).reshape(clips, frames, 1, 1), np.arange(sprites.shape[1])
    for down, right in np.ndindex(2, 2):
        share = (rest[:, :, 0] if down else 1 - rest[:, :, 0]) * (rest[:, :, 1] if right else 1 - rest[:, :, 1])
        if share.any():
            rows, columns = (
                (corner[:, :, axis, None] + along + step) % size for axis, step in enumerate((down, right))
            )
            canvas[(number * size + rows[..., None]) * size + columns[..., None, :]] += share * both
    canvas = canvas.reshape(clips, frames, size, size, both.shape[-1])
    return canvas[..., :1], canvas[..., 1:]


def _bar(bar: tuple[int, int], value: float, like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, width = bar
    checks.integer("bar[0]", first, 0, like.shape[3] - 1)
    checks.integer("bar[1]", width, 1, like.shape[3] - first)
    checks.in_range("bar_value", value, -1.0, 1.0)
    cover = np.zeros((*like.shape[:4], 1))
    cover[:, :, :, first : first + width] = 1
    return cover, np.broadcast_to(cover * value, like.shape)


def _over(background: float, layers: list[tuple[np.ndarray, np.ndarray]]) -> Float32[np.ndarray, "n f h w c"]:
    """The layers over the background, the last one in front."""
    clips = np.full(layers[0][1].shape, background)
    for cover, painted in layers:
        clips = clips * (1 - cover) + painted
    return clips.astype(np.float32)


def _visible(layers: list[tuple[np.ndarray, np.ndarray]], number: int) -> Float64[np.ndarray, "n f"]:
    """The share of a layer that none in front of it covers."""
    cover = visible = layers[number][0]
    for front, _ in layers[number + 1 :]:
        visible = visible * (1 - front)
    return visible.sum(axis=(2, 3, 4)) / np.maximum(cover.sum(axis=(2, 3, 4)), np.finfo(np.float64).tiny)


def _check(
    sprites: np.ndarray, labels: np.ndarray, seed: int, index: np.ndarray, frames: int, size: int, background: float
) -> None:
    if np.ndim(sprites) != 4 or sprites.shape[1] != sprites.shape[2] or not len(sprites):
        raise ValueError(f"sprites must be square pictures (k, s, s, c), at least one, got shape {np.shape(sprites)}")
    checks.floating("sprites", sprites)
    checks.in_range("sprites", sprites, -1.0, 1.0)
    if np.shape(labels) != (len(sprites),):
        raise ValueError(f"labels has shape {np.shape(labels)}, but {len(sprites)} sprites need ({len(sprites)},)")
    checks.integer("seed", seed, 0, 2**32 - 1)
    if len(index) and index.min() < 0:
        raise ValueError(f"index holds {index.min()}; clips are numbered 0, 1, …")
    checks.integer("frames", frames, 1)
    checks.integer("size", size, sprites.shape[1] + 1)
    checks.in_range("background", background, -1.0, 1.0)
