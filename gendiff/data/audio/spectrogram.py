"""A sound as a log-mel spectrogram, and the sound of a spectrogram by Griffin-Lim."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Complex, Float, Shaped, UInt8

from gendiff.core import checks
from gendiff.data import scaling

HOP, WINDOW = 256, 1024
"""Samples between two frames, and in one."""
FLOOR = -80.0
"""Decibels of the darkest pixel; a sine of full scale reaches 0 dB, the brightest."""
INVERSION_STEPS, PHASE_STEPS, MOMENTUM = 30, 60, 0.99
_LEVELS = 256
_MARGIN = (WINDOW - HOP) // 2
_SCALE = WINDOW / 4
"""What the window makes of a sine of amplitude 1 at the frequency of a bin."""


@dataclasses.dataclass(frozen=True)
class Spectrogram:
    """How a sound becomes a picture of `mels` × `frames` pixels, and a picture a sound.

    Also known as: log-mel spectrogram, mel filter bank, vocoder.

    Args:
        rate: samples per second, 4000 … 192000.
        mels: bins of pitch, 8 … 512: rows of the picture, the highest pitch first.
        frames: columns of the picture, 8 … 8192; each is HOP samples after the one before it.

    Raises:
        TypeError: for numbers that are no integers.
        ValueError: for numbers out of range, and for bins so narrow that no frequency lies in one.

    References:
        Stevens, Volkmann & Newman (1937), the mel scale; here as in Slaney's Auditory Toolbox (1998).
        Griffin & Lim (1984); Perraudin, Balazs & Søndergaard (2013), Algorithm 2 (from memory).
    """

    rate: int = 16_000
    mels: int = 64
    frames: int = 64

    def __post_init__(self) -> None:
        checks.integer("rate", self.rate, 4000, 192_000)
        checks.integer("mels", self.mels, 8, 512)
        checks.integer("frames", self.frames, 8, 8192)
        if not filters(self.rate, self.mels).any(axis=1).all():
            raise ValueError(
                f"mels = {self.mels} at rate = {self.rate} leaves bins without a frequency: give fewer, or a lower rate"
            )

    @property
    def length(self) -> int:
        """Samples of a sound."""
        return self.frames * HOP

    @property
    def seconds(self) -> float:
        """Seconds of a sound."""
        return self.length / self.rate

    def to_image(self, samples: Float[np.ndarray, "n"]) -> UInt8[np.ndarray, "mels frames 1"]:
        """Draw the spectrogram of a sound.

        Args:
            samples: (n,) finite, full scale is [-1, 1], at `rate`. What is not shorter than `length` is cut off
                and fades out over its last HOP samples, without a click; silence follows what is shorter.

        Returns:
            (mels, frames, 1) levels 0 … 255 that are 0.31 dB apart, from FLOOR up to 0 dB.
        """
        sound = np.zeros(self.length)
        sound[: len(samples)] = samples[: self.length]
        if len(samples) >= self.length:
            sound[-HOP:] *= np.cos(np.linspace(0, np.pi / 2, HOP)) ** 2
        power = filters(self.rate, self.mels) @ np.square(np.abs(_transform(sound)) / _SCALE)
        decibels = 10 * np.log10(np.maximum(power, 10 ** (FLOOR / 10)))
        unit = np.clip(1 - 2 * decibels / FLOOR, -1.0, 1.0)
        return np.asarray(scaling.from_unit(unit[::-1, :, None].astype(np.float32), _LEVELS))

    def to_sound(self, image: Shaped[np.ndarray, "mels frames 1"]) -> Float[np.ndarray, "n"]:
        """Find a sound that has about this spectrogram.

        The pixels say nothing of phases, which Griffin-Lim finds from a start that is the same for all: equal pictures
        give equal sounds, whatever is computed beside them.

        Args:
            image: (mels, frames, 1) levels 0 … 255, or floats, which are clipped to [-1, 1]; finite.

        Returns:
            (length,) float32 in [-1, 1], at `rate`.

        Raises:
            ValueError: for another shape.
        """
        if image.shape != (self.mels, self.frames, 1):
            raise ValueError(f"image has shape {image.shape}, and {(self.mels, self.frames, 1)} is needed")
        unit = scaling.to_unit(image, _LEVELS) if np.issubdtype(image.dtype, np.integer) else image
        decibels = FLOOR * (1 - np.clip(np.asarray(unit, np.float64)[::-1, :, 0], -1.0, 1.0)) / 2
        power = np.where(decibels > FLOOR, 10 ** (decibels / 10), 0.0)
        sound = _with_phases(_SCALE * np.sqrt(_all_frequencies(power, filters(self.rate, self.mels))))
        result: np.ndarray = np.clip(sound, -1.0, 1.0).astype(np.float32)
        return result


@functools.lru_cache(maxsize=16)
def filters(rate: int, mels: int) -> Float[np.ndarray, "mels bins"]:
    """Weigh the frequencies of each bin of pitch: triangles of height 1 that are evenly spaced on the mel scale."""
    edges = _frequency(np.linspace(0.0, _mel(rate / 2), mels + 2))
    low, middle, high = (edges[start : start + mels, None] for start in range(3))
    frequencies = np.fft.rfftfreq(WINDOW, 1 / rate)
    weights = np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle))
    result: np.ndarray = np.maximum(weights, 0.0)
    return result


def _mel(frequency: float) -> float:
    return 3 * frequency / 200 if frequency < 1000 else 15 + 27 * float(np.log(frequency / 1000) / np.log(6.4))


def _frequency(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


def _window() -> np.ndarray:
    window: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return window


def _transform(sound: Float[np.ndarray, "n"]) -> Complex[np.ndarray, "bins frames"]:
    """The short-time Fourier transform; frame k is around the middle of the samples k HOP … (k + 1) HOP."""
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(sound, _MARGIN), WINDOW)[::HOP]
    spectrum: np.ndarray = np.fft.rfft(pieces * _window()).T
    return spectrum


def _inverse(spectrum: Complex[np.ndarray, "bins frames"]) -> Float[np.ndarray, "n"]:
    """The sound whose transform is nearest."""
    window = _window()
    sound: np.ndarray = _added(np.fft.irfft(spectrum.T) * window) / _added(
        np.broadcast_to(window**2, (spectrum.shape[1], WINDOW))
    )
    return sound


def _added(pieces: Float[np.ndarray, "frames window"]) -> Float[np.ndarray, "n"]:
    """Overlapping pieces, added up."""
    count, overlap = len(pieces), WINDOW // HOP
    blocks, total = pieces.reshape(count, overlap, HOP), np.zeros((count + overlap - 1, HOP))
    for number in range(overlap):
        total[number : number + count] += blocks[:, number]
    return total.reshape(-1)[_MARGIN:-_MARGIN]


def _all_frequencies(
    power: Float[np.ndarray, "mels frames"], weights: Float[np.ndarray, "mels bins"]
) -> Float[np.ndarray, "bins frames"]:
    """A power of each frequency that the bins see as `power`, by steps of Richardson-Lucy, so that none is negative."""
    reach, tiny = weights.sum(axis=0)[:, None], np.finfo(np.float64).tiny
    result: np.ndarray = weights.T @ (power / weights.sum(axis=1, keepdims=True))
    for _ in range(INVERSION_STEPS):
        result *= weights.T @ (power / np.maximum(weights @ result, tiny)) / np.maximum(reach, tiny)
    return result


def _with_phases(magnitude: Float[np.ndarray, "bins frames"]) -> Float[np.ndarray, "n"]:
    """The sound after so many steps between transforms of a sound and transforms of this magnitude."""
    angles = np.random.default_rng(0).uniform(0.0, 2 * np.pi, magnitude.shape)
    phases, before = np.exp(1j * angles), np.zeros(magnitude.shape, complex)
    for _ in range(PHASE_STEPS):
        rebuilt = _transform(_inverse(magnitude * phases))
        ahead = rebuilt + MOMENTUM * (rebuilt - before)
        phases, before = ahead / np.maximum(np.abs(ahead), np.finfo(np.float64).tiny), rebuilt
    return _inverse(magnitude * phases)
