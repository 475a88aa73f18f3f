"""Notes of real instruments, from packages of npm: recordings to learn from, and others to judge by.

The samples of tonejs-instruments are under CC BY 3.0. It collected them from VSCO 2, the University of Iowa, Karoryfer
and freesound (the cello by flcellogrl, the harmonium by donyaquick), and edited them. Recordings are split by their
pitch, C to F and F♯ to B. So what a package makes of one recording by a small change of pitch stays on one side: the
acoustic guitar's D2, D♯2 and E2 are one, by the correlation of their whitened waveforms.
"""

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.data import random_access, scaling
from gendiff.data.audio import Spectrogram, sound_files

INSTRUMENTS = (
    *("bass-electric", "cello", "guitar-acoustic", "harmonium", "harp"),
    *("organ", "piano", "saxophone", "trombone", "violin"),
)
"""The classes: instruments of 15 notes or more, and of the guitars the acoustic one."""
OTHERS = ("bassoon", "clarinet", "flute", "trumpet")
"""Those that nobody learns from."""
VERSIONS = {
    "1.1.1": ("cello", "harmonium", "harp", "organ", "violin"),
    "1.1.2": (
        *("bass-electric", "bassoon", "clarinet", "flute", "guitar-acoustic"),
        *("piano", "saxophone", "trombone", "trumpet"),
    ),
}
"""Of the packages."""
LEARNED, JUDGED = ("C", "Cs", "D", "Ds", "E", "F"), ("Fs", "G", "Gs", "A", "As", "B")
"""Sides: pitches of the recordings that the generator learns from, and of those that judge it."""
ATTRIBUTION = "tonejs-instruments by N. Brosowsky, https://github.com/nbrosowsky/tonejs-instruments. License: CC BY 3.0"
SPECTROGRAM = Spectrogram(rate=16_000, mels=40, frames=48)
"""0.77 s: the attack, and some of the tone behind it."""
RATES = range(14_300, 18_000, 100)
"""Hz to read at what is played at SPECTROGRAM.rate: at most 2 semitones up or down. Multiples of 100 resample fast."""
STARTS = range(0, 401, 20)
"""Samples left out before a note, whose first 25 ms are silence."""


class Package(NamedTuple):
    """What npm installed of an instrument.

    Args:
        files: its recordings, sorted.
        version: of the package.
        digest: SHA-256 of all recordings, hexadecimal.
    """

    files: tuple[Path, ...]
    version: str
    digest: str

    def side(self, pitches: tuple[str, ...]) -> list[Path]:
        """The recordings of one side."""
        return [file for file in self.files if re.sub(r"\d.*", "", file.stem) in pitches]


def command(folder: str | Path) -> str:
    """How npm installs the packages below a folder, in bash."""
    packages = (f"tonejs-instrument-{{{','.join(names)}}}-mp3@{version}" for version, names in VERSIONS.items())
    return f"npm install --prefix {shlex.quote(str(folder))} --omit=peer {' '.join(packages)}"


def package(folder: str | Path, name: str) -> Package:
    """Find the recordings of an instrument.

    Args:
        folder: where npm installed its package (its --prefix).
        name: of INSTRUMENTS or OTHERS.

    Raises:
        DataError: with `command`, where the package or its recordings of one side are absent.
    """
    prefix = foreign_files.expanded(folder)
    path = prefix / "node_modules" / f"tonejs-instrument-{name}-mp3"
    files = tuple(sorted(file for file in path.glob("*") if file.suffix in sound_files.SUFFIXES))
    digest = random_access.fingerprint(*(part for file in files for part in (file.name, file.read_bytes())))
    version = foreign_files.json_object(path / "package.json").get("version", "") if files else ""
    result = Package(files, str(version), digest)
    if not result.side(LEARNED) or not result.side(JUDGED):
        raise DataError(f"{path}: recordings are not there; install them by `{command(prefix)}` in bash")
    return result


def load(
    folder: str | Path, pitches: tuple[str, ...], count: int, names: tuple[str, ...] = INSTRUMENTS, skip: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Read variants of the recordings of one side: equally many of each instrument, of its recordings in turn.

    Each starts a little later and sounds a little higher or lower than its recording, as no other variant of it.

    Args:
        folder: as of `package`.
        pitches: LEARNED or JUDGED, or both together.
        count: variants of all instruments; with `skip` at most 777 of each.
        names: the instruments.
        skip: variants to leave out before them, of all instruments: those of an earlier call.

    Returns:
        Spectrograms (n, mels, frames, 1) float32 in [-1, 1] and labels (n,) int32, the positions in `names`.

    Raises:
        DataError: as of `package`, and path first, for a recording that is not whole.
        ImportError: without soundfile.
    """
    variants: list[tuple[Path, int, int]] = []
    first, last = skip // len(names), (skip + count) // len(names)
    for label, name in enumerate(names):
        files = package(folder, name).side(pitches)
        order = np.random.default_rng(label).permutation(len(RATES) * len(STARTS))
        rates, starts = np.unravel_index(order, (len(RATES), len(STARTS)))
        variants += [(files[i % len(files)], RATES[rates[i]], STARTS[starts[i]]) for i in range(first, last)]
    images = np.stack(random_access.in_threads(_image, variants))
    labels = np.repeat(np.arange(len(names), dtype=np.int32), count // len(names))
    return np.asarray(scaling.to_unit(images, 256)), labels


def there_and_back(images: np.ndarray) -> np.ndarray:
    """Spectrograms (n, mels, frames, 1) in [-1, 1] of the sounds that Griffin-Lim makes of such spectrograms."""
    settings = SPECTROGRAM
    sounds = random_access.in_threads(lambda image: settings.to_image(settings.to_sound(image)), images)
    return np.asarray(scaling.to_unit(np.stack(sounds), 256))


def write_tones(folder: Path) -> None:
    """Write tones by formula for all instruments, as npm would leave recordings: for smoke runs and tests."""
    time = np.arange(SPECTROGRAM.length + 1024) / SPECTROGRAM.rate
    for number, name in enumerate(INSTRUMENTS + OTHERS):
        path = folder / "node_modules" / f"tonejs-instrument-{name}-mp3"
        path.mkdir(parents=True, exist_ok=True)
        (path / "package.json").write_text(json.dumps({"version": "0.0.0"}))
        for pitch, hertz in (("C3", 131), ("D4", 294), ("G3", 196), ("A4", 440)):
            loudness = np.exp(-time * number) / np.arange(1, 9)[:, None] ** (number / 4)
            tone = 0.05 * (loudness * np.sin(2 * np.pi * hertz * np.arange(1, 9)[:, None] * time)).sum(axis=0)
            (path / f"{pitch}.wav").write_bytes(sound_files.to_wav(tone, SPECTROGRAM.rate))


def _image(variant: tuple[Path, int, int]) -> np.ndarray:
    file, rate, start = variant
    sound = sound_files.read(file, rate=rate, length=start + SPECTROGRAM.length)
    return SPECTROGRAM.to_image(sound[start:])
