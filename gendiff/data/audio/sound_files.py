"""One sound file -> samples of one channel at one rate, and samples -> a WAV file."""

import importlib
import io
import math
import os
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gendiff.core import extras
from gendiff.core.errors import DataError
from gendiff.data.audio.spectrogram import WINDOW
from gendiff.data.images import random_access
from gendiff.data.images.random_access import printable

SUFFIXES = (".flac", ".mp3", ".ogg", ".wav")
MOST_CHANNELS, LOWEST_RATE, HIGHEST_RATE = 8, 1000, 384_000
MOST_SECONDS = 86_400
"""A forged header may promise any number."""
_REACH = 16
"""Samples of the slower rate behind the last one that its resampling depends on, and some more."""


class Header(NamedTuple):
    """What a file states of its sound.

    Args:
        rate: samples per second.
        channels: 2 for stereo.
        samples: of each channel.
    """

    rate: int
    channels: int
    samples: int


def read(path: str | os.PathLike[str], *, rate: int, length: int) -> Float[np.ndarray, "n"]:
    """Read the first samples of one file.

    - Several channels are mixed to one, their mean.
    - Another rate is resampled by a polyphase filter (`scipy.signal.resample_poly`), which lets nothing above half of
      the lower rate pass.
    - No volume is changed.

    Args:
        path: of a FLAC, MP3, Ogg Vorbis or WAV file.
        rate: samples per second of the result.
        length: the most samples of the result.

    Returns:
        (n,) float32, full scale is [-1, 1], n ≤ length.

    Raises:
        DataError: path first, for a file that is none of these or not whole, without samples, too short for one frame
            (WINDOW samples), with samples that are not finite, or whose header promises what no sound has.
        ImportError: without soundfile.
    """
    name, soundfile = printable(path), _soundfile()
    if os.path.exists(path) and not os.access(path, os.R_OK):
        raise DataError(random_access.forbidden(path))
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            header = _checked(name, Header(file.samplerate, file.channels, file.frames))
            needed = min(header.samples, math.ceil((length + _REACH) * header.rate / rate) + _REACH)
            samples = file.read(needed, dtype="float64", always_2d=True)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # libsndfile's decoders raise whatever they trip over
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise DataError(f"{name}: not a whole sound: {reason}") from error
    if len(samples) < needed:
        raise DataError(f"{name}: not a whole sound: {len(samples)} of {needed} samples are there")
    if not np.isfinite(samples).all():
        count = int((~np.isfinite(samples)).sum())
        raise DataError(f"{name}: samples that are not finite: {count} are NaN or infinite")
    mono = samples.mean(axis=1)
    if header.rate != rate:
        from scipy import signal  # it loads for half a second

        divisor = math.gcd(rate, header.rate)
        mono = signal.resample_poly(mono, rate // divisor, header.rate // divisor)
    if len(mono) < WINDOW:
        raise DataError(
            f"{name}: too short: {len(mono) / rate:.3f} s at {rate} Hz, and {WINDOW / rate:.3f} s are needed"
        )
    result: np.ndarray = mono[:length].astype(np.float32)
    return result


def header(path: str | os.PathLike[str]) -> Header | None:
    """What the header of a sound file states; None for a file without one."""
    try:
        with _soundfile().SoundFile(os.fspath(path)) as file:
            return Header(file.samplerate, file.channels, file.frames)
    except ImportError:
        raise
    except Exception:  # `read` says what is wrong
        return None


def tags(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the tags of one file, such as "artist", "copyright" and "license", those that are not empty.

    libsndfile finds them in WAV (the list INFO), FLAC and Ogg (Vorbis comments), and MP3 (ID3, without the copyright).

    Raises:
        DataError: path first, for a file that cannot be opened as a sound.
        ImportError: without soundfile.
    """
    name, soundfile = printable(path), _soundfile()
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            return {tag: text for tag, value in file.copy_metadata().items() if (text := " ".join(value.split()))}
    except Exception as error:  # libsndfile's decoders raise whatever they trip over
        raise DataError(f"{name}: its tags cannot be read: {str(error).rpartition(': ')[2].rstrip('.')}") from error


def to_wav(samples: Float[np.ndarray, "n"], rate: int) -> bytes:
    """Encode a sound as a WAV file of 16 bits and one channel.

    Args:
        samples: (n,) in [-1, 1]; what is louder is clipped.
        rate: samples per second.
    """
    from scipy.io import wavfile

    stream = io.BytesIO()
    wavfile.write(stream, rate, np.rint(np.clip(samples, -1.0, 1.0) * 32_767).astype(np.int16))
    return stream.getvalue()


def check_installed() -> None:
    """Raise ImportError without soundfile."""
    _soundfile()


def _checked(name: str, header: Header) -> Header:
    if not LOWEST_RATE <= header.rate <= HIGHEST_RATE:
        raise DataError(f"{name}: rate of {header.rate} Hz: {LOWEST_RATE} … {HIGHEST_RATE} are read")
    if header.channels > MOST_CHANNELS:
        raise DataError(f"{name}: {header.channels} channels: at most {MOST_CHANNELS} are mixed")
    if header.samples > MOST_SECONDS * header.rate:
        raise DataError(f"{name}: too large: its header promises {header.samples} samples, more than a day")
    if header.samples < 1:
        raise DataError(f"{name}: empty: no samples in it")
    return header


def _soundfile() -> ModuleType:
    try:
        return importlib.import_module("soundfile")
    except (ImportError, OSError) as error:  # OSError: without libsndfile
        raise ImportError(extras.needs("sound files need", "soundfile", "audio")) from error
