"""Measures of clips: displacement between frames by phase correlation, identity, features, drift over time.

The frames are pictures of a torus: what leaves at one border comes back at the opposite one. Then a frame that moves by
d has the spectrum of the frame before times exp(-i k·d), and the sum of w(k) exp(i k·d') over the frequencies k has its
largest value at d' = d.
"""

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import features, validation

FADING = 0.1
"""Share of the largest power at which a frequency has half of its weight.

Frequencies with less power hold more noise than motion.
"""
SMALLEST = 3
"""Pixels of a side: with fewer, no frequency below the highest one tells where anything is."""
SEARCH = (0.25, 0.0625)
"""Pixels between the places that are tried about the best one so far, two on each side, first coarse and then fine."""
NEWTON_STEPS = 5
"""From a place that is off by at most 1/32 pixel."""
CHUNK = 2**19
"""Numbers of clips that are measured at a time."""


def displacements(clips: Shaped[ArrayLike, "n f h w c"]) -> Float64[np.ndarray, "n g 2"]:
    """Measure by how much each frame moves to the next, in pixels (down, right), by phase correlation.

    A shift on the torus is found to rounding: any shift by whole pixels, and one by fractions that shifts every wave. A
    frequency has the weight |p| / (|p| + FADING · max |p|), where p is the product of the two spectra, summed over
    channels. The highest frequency of an even side has none, since it cannot tell directions apart. Where several
    displacements fit equally well, the shortest is taken.

    Args:
        clips: (n, f, h, w, c) in any unit, f at least 2, h and w at least 3.

    Returns:
        (n, f - 1, 2) within half a side, [-h/2, h/2] and [-w/2, w/2]; NaN where one of the two frames is of one colour.

    Raises:
        ValueError: for another shape, and clips that are not finite.

    References:
        Kuglin & Hines, 1975; for the refinement by a Fourier sum at places between pixels, Guizar-Sicairos et al.,
        2008, section 2 (both from memory).
    """
    values = _as_clips(clips, frames=2)
    size = max(1, CHUNK // values[0].size)
    return np.concatenate([_displacements(values[start : start + size]) for start in range(0, len(values), size)])


def displacement_error(
    clips: Shaped[ArrayLike, "n f h w c"], velocities: Shaped[ArrayLike, "n 2"] | None = None
) -> Float64[np.ndarray, "n g"]:
    """Measure how far each move of a clip is from a constant velocity, in pixels.

    Args:
        clips: (n, f, h, w, c) as for `displacements`.
        velocities: (n, 2) pixels per frame (down, right). None: the clip's own mean displacement, a circular mean along
            each axis, which needs f of at least 3.

    Returns:
        (n, f - 1) lengths of the shortest difference on the torus. A move that has no displacement counts as the
        largest error that there is, half a diagonal.

    Raises:
        ValueError: as `displacements` does, and for velocities of another shape or that are not finite.
    """
    moves = displacements(clips)
    sides = np.array(np.shape(clips)[2:4], np.float64)
    if velocities is None:
        if moves.shape[1] < 2:
            raise ValueError(
                f"clips have {moves.shape[1] + 1} frames: without velocities, at least 3 are needed to compare their "
                "moves"
            )
        expected = _mean_on_torus(moves, sides)
    else:
        expected = np.asarray(velocities, np.float64)
        if expected.shape != (len(moves), 2):
            raise ValueError(f"velocities must be (n, 2) for the {len(moves)} clips, got shape {expected.shape}")
        checks.finite("velocities", expected)
    errors = np.linalg.norm(_wrapped(moves - expected[:, None], sides), axis=-1)
    return np.where(np.isnan(errors), np.linalg.norm(sides) / 2, errors)


def identity_kept(
    predicted: Shaped[ArrayLike, "n f"] | Shaped[ArrayLike, "n f k"], expected: Shaped[ArrayLike, "n"] | None = None
) -> Float64[np.ndarray, "n f"]:
    """Return for each frame whether it shows the class of its clip.

    The mean over frames is the share of preserved identity.

    Args:
        predicted: (n, f) the class 0, 1, … that a judge predicts for each frame, or (n, f, k) its probabilities of k
            classes.
        expected: (n,) the class of each clip. None: the one that its first frame shows most likely.

    Returns:
        (n, f): 1 where a frame shows the class and 0 elsewhere, or the probability of that class.

    Raises:
        ValueError: for another shape, labels that are no whole numbers >= 0, rows that are no probabilities, and a
            class that has none.
    """
    answers = np.asarray(predicted)
    if answers.ndim not in (2, 3) or 0 in answers.shape:
        raise ValueError(f"predicted must be classes (n, f) or probabilities (n, f, k), got shape {answers.shape}")
    if answers.ndim == 2:
        validation.as_labels("predicted", answers.ravel(), answers.size)
        labels: np.ndarray = (
            answers[:, 0] if expected is None else validation.as_labels("expected", expected, len(answers))
        )
        share: np.ndarray = (answers == labels[:, None]).astype(np.float64)
        return share
    share = validation.as_probabilities("predicted", answers.reshape(-1, answers.shape[2])).reshape(answers.shape)
    labels = (
        np.asarray(np.argmax(share[:, 0], axis=1))
        if expected is None
        else validation.as_labels("expected", expected, len(answers))
    )
    if labels.max() >= answers.shape[2]:
        raise ValueError(
            f"expected holds {labels.max()}, but predicted has the probabilities of {answers.shape[2]} classes"
        )
    return np.take_along_axis(share, labels[:, None, None], axis=2)[:, :, 0]


def clip_features(
    clips: Shaped[ArrayLike, "n f h w c"], function: features.Features | None = None, *, batch: int = 500
) -> Float64[np.ndarray, "n d"]:
    """Compute features of clips, for a Fréchet distance between sets of clips (Fréchet video distance, FVD).

    They are the means over a clip of the features of its frames, then of the features of (next frame - frame) / 2.
    Frames in another order keep the first half and change the second.

    Args:
        clips: (n, f, h, w, c) in [-1, 1], f at least 2.
        function: pictures (b, h, w, c) -> (b, d/2). None: `features.random_convolutions(0, widths=(16, 32))`, for which
            d is 192.
        batch: pictures per call, >= 1.

    Raises:
        ValueError: as `displacements` and `features.extract` do.
    """
    values = _as_clips(clips, frames=2)
    used = features.random_convolutions(0, widths=(16, 32)) if function is None else function
    return np.concatenate(
        [_mean_features(used, part, batch) for part in (values, (values[:, 1:] - values[:, :-1]) / 2)], axis=1
    )


def drift(values: Shaped[ArrayLike, "n f"], length: int) -> Float64[np.ndarray, "n k"]:
    """Measure how a value per frame changes with length.

    The change is its mean over each part of `length` frames, less the mean over the first part.

    Args:
        values: (n, f) one number per clip and frame, such as `identity_kept`, or one per move, such as
            `displacement_error`.
        length: frames of a part, 1 … f, such as those of the clips of a training. What is left behind the last full
            part is not used.

    Returns:
        (n, ⌊f / length⌋), the first of them 0.

    Raises:
        ValueError: for another shape, values that are not finite, and a length out of range.
    """
    numbers = validation.as_features("values", values, at_least=1)
    checks.integer("length", length, 1, numbers.shape[1])
    parts = numbers.shape[1] // length
    means = numbers[:, : parts * length].reshape(-1, parts, length).mean(axis=2)
    return means - means[:, :1]


def _as_clips(clips: ArrayLike, frames: int) -> np.ndarray:
    values = validation.as_images("clips", clips, at_least=1)
    if values.ndim != 5 or values.shape[1] < frames or min(values.shape[2:4]) < SMALLEST:
        needed = f"at least {frames} frames of at least {SMALLEST} x {SMALLEST} pixels"
        raise ValueError(f"clips must be (n, f, h, w, c) with {needed}, got shape {values.shape}")
    return values


def _mean_features(function: features.Features, clips: np.ndarray, batch: int) -> np.ndarray:
    rows = features.extract(function, clips.reshape(-1, *clips.shape[2:]), batch=batch)
    return rows.reshape(*clips.shape[:2], -1).mean(axis=1)


def _displacements(clips: Float64[np.ndarray, "n f h w c"]) -> Float64[np.ndarray, "n g 2"]:
    count, _, height, width, _ = clips.shape
    blank = np.all(np.ptp(clips, axis=(2, 3)) == 0, axis=-1)
    spectra = np.fft.fft2(clips - clips.mean(axis=(2, 3), keepdims=True), axes=(2, 3))
    product = np.sum(np.conj(spectra[:, :-1]) * spectra[:, 1:], axis=-1).reshape(-1, height, width)
    weights = _evened(product)
    moves = _wrapped(_newton(weights, _searched(weights)), np.array([height, width], np.float64)).reshape(count, -1, 2)
    return np.where((blank[:, :-1] | blank[:, 1:])[:, :, None], np.nan, moves)


def _evened(product: np.ndarray) -> np.ndarray:
    """Weights (m, h, w), complex: the phases of a product of spectra, with strength near 1 where there is power."""
    for axis in (1, 2):
        if product.shape[axis] % 2 == 0:
            np.moveaxis(product, axis, 0)[product.shape[axis] // 2] = 0
    strength = np.abs(product)
    largest = np.max(strength, axis=(1, 2), keepdims=True)
    return product / (strength + FADING * largest + np.finfo(np.float64).tiny)


def _searched(weights: np.ndarray) -> Float64[np.ndarray, "m 2"]:
    """Search the best displacement: among whole pixels, then among fractions of pixels."""
    height, width = weights.shape[1:]
    sums = np.stack(
        np.meshgrid(*(np.rint(np.fft.fftfreq(side) * side) for side in (height, width)), indexing="ij"), -1
    ).reshape(-1, 2)
    best = _best(
        np.fft.ifft2(weights, norm="forward").real.reshape(len(weights), -1),
        np.broadcast_to(sums, (len(weights), *sums.shape)),
    )
    for step in SEARCH:
        places = best[:, None] + step * np.arange(-2, 3)[:, None]  # (m, 5, 2)
        down, right = (_waves(places[:, :, axis], side) for axis, side in enumerate((height, width)))
        values = (down @ weights @ right.transpose(0, 2, 1)).real.reshape(len(weights), -1)
        pairs = np.stack([np.repeat(places[:, :, 0], 5, axis=1), np.tile(places[:, :, 1], 5)], -1)
        best = _best(values, pairs)
    return best


def _best(values: Float64[np.ndarray, "m k"], places: Float64[np.ndarray, "m k 2"]) -> Float64[np.ndarray, "m 2"]:
    """The position of the largest value; among values that are equal up to rounding, the shortest displacement."""
    most = values.max(axis=1, keepdims=True)
    lengths = np.where(values >= most - 1e-9 * np.abs(most), np.sum(places**2, axis=2), np.inf)
    return np.take_along_axis(places, np.argmin(lengths, axis=1)[:, None, None], axis=1)[:, 0]


def _newton(weights: np.ndarray, start: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 2"]:
    """The maximum of the sum of waves near an approximate position, by Newton steps."""
    position, (down, right) = start, (2 * np.pi * np.fft.fftfreq(side) for side in weights.shape[1:])
    for _ in range(NEWTON_STEPS):
        terms = weights * _waves(position[:, 0], len(down))[:, :, None] * _waves(position[:, 1], len(right))[:, None, :]
        slope = -np.stack([terms.imag.sum(2) @ down, terms.imag.sum(1) @ right], -1)
        both = np.einsum("mhw,h,w->m", terms.real, down, right)
        bend = -np.stack([terms.real.sum(2) @ down**2, both, both, terms.real.sum(1) @ right**2], -1).reshape(-1, 2, 2)
        # a direction without waves stays as it is
        move = np.linalg.pinv(bend, rcond=1e-9, hermitian=True) @ slope[:, :, None]
        position = position - np.clip(move[:, :, 0], -SEARCH[-1], SEARCH[-1])
    return position


def _waves(places: np.ndarray, side: int) -> np.ndarray:
    """The value exp(i k·d) for places (…) along one axis and its frequencies (…, side)."""
    return np.exp(2j * np.pi * places[..., None] * np.fft.fftfreq(side))


def _mean_on_torus(moves: Float64[np.ndarray, "n g 2"], sides: np.ndarray) -> Float64[np.ndarray, "n 2"]:
    mean: np.ndarray = np.angle(np.nansum(np.exp(2j * np.pi * moves / sides), axis=1)) * sides / (2 * np.pi)
    return mean


def _wrapped(difference: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The shortest way on the torus."""
    shortest: np.ndarray = difference - sides * np.rint(difference / sides)
    return shortest
