"""Spoken digits: the words zero to nine by voices of eSpeak NG, as folders of WAV files.

Training and held-out sounds have the same voices at other pitches and speeds, no two alike. The sounds of the judge
have voices of their own. eSpeak NG is under GPL-3.0 or later and speaks in a process of its own; what it says is not
under that licence.
"""

import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gendiff.core import extras
from gendiff.core.errors import DataError
from gendiff.data import random_access, scaling, sources
from gendiff.data.audio import Spectrogram

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAINING, HELD_OUT, JUDGE = "training", "held_out", "judge"
"""Folders of sounds."""
VOICES = ("m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f4", "f5")
"""Of training and held-out sounds: variants of American English."""
OTHER_VOICES = (
    *("Alex", "Annie", "Denis", "Hugo", "Lee", "Mike"),
    *("belinda", "edward", "linda", "max", "steph", "zac"),
)
"""Of the sounds of the judge."""
PITCHES, SPEEDS = range(30, 71), range(150, 211)
"""In eSpeak NG's unit, of which 50 is usual; and in words per minute."""
SPECTROGRAM = Spectrogram(rate=16_000, mels=40, frames=32)
"""0.51 s, in which 95 of 100 sounds end."""
PROGRAM = Path(__file__).with_name("espeak_program.py")
Requests: TypeAlias = list[tuple[str, str, str, int, int]]


def requests(counts: Mapping[str, int], seed: int) -> Requests:
    """(file, word, voice, pitch, speed) of every sound, as `write` has it spoken.

    Args:
        counts: sounds of each folder, equally many of each digit.
        seed: of the choice of voices, pitches and speeds.
    """
    result: Requests = []
    for label, word in enumerate(WORDS):
        for voices, folders in ((VOICES, (TRAINING, HELD_OUT)), (OTHER_VOICES, (JUDGE,))):
            numbers = [(folder, number) for folder in folders for number in range(counts[folder] // len(WORDS))]
            sizes = len(voices), len(PITCHES), len(SPEEDS)
            rng = np.random.default_rng((seed, label, len(folders)))
            chosen = np.unravel_index(rng.choice(np.prod(sizes), len(numbers), replace=False), sizes)
            for (folder, number), voice, pitch, speed in zip(numbers, *chosen, strict=True):
                file = f"{folder}/{label}/{number:04d}_{voices[voice]}.wav"
                result.append((file, word, f"en-us+{voices[voice]}", PITCHES[pitch], SPEEDS[speed]))
    return result


def write(folder: Path, counts: Mapping[str, int], seed: int = 0) -> None:
    """Speak every sound, unless the folder is there; it appears when all of them have been spoken.

    Args:
        folder: gets a folder for each of TRAINING, HELD_OUT and JUDGE, in it one for each digit, and in it the sounds.
        counts: as of `requests`.
        seed: as of `requests`.

    Raises:
        ImportError: without the package of the extra `speech`.
        DataError: folder first, where eSpeak NG fails.
    """
    if folder.is_dir():
        return
    if importlib.util.find_spec("espeakng_loader") is None:
        raise ImportError(extras.needs("spoken digits need", "espeakng-loader", "speech"))
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name, label in itertools.product(counts, range(len(WORDS))):
        (partial / name / str(label)).mkdir(parents=True)
    command = [sys.executable, str(PROGRAM)]
    ended = subprocess.run(
        command, cwd=partial, input=json.dumps(requests(counts, seed)), capture_output=True, text=True, check=False
    )
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or [f"exit {ended.returncode}"])[-1]
        raise DataError(f"{folder}: no sounds: {reason}; {extras.install('speech')}")
    os.replace(partial, folder)


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the sounds of one folder that `write` filled.

    Returns:
        Spectrograms (n, mels, frames, 1) float32 in [-1, 1] and labels (n,) int32 0 … 9.

    Raises:
        DataError: path first, for a folder that is not whole.
        ImportError: without soundfile.
    """
    source = sources.open(folder, spectrogram=SPECTROGRAM, scan=False)
    images = np.stack(random_access.in_threads(source.image, range(len(source))))
    return np.asarray(scaling.to_unit(images, 256)), source.labels


def there_and_back(images: np.ndarray) -> np.ndarray:
    """Spectrograms (n, mels, frames, 1) in [-1, 1] of the sounds that Griffin-Lim makes of such spectrograms."""
    settings = SPECTROGRAM
    sounds = random_access.in_threads(lambda image: settings.to_image(settings.to_sound(image)), images)
    return np.asarray(scaling.to_unit(np.stack(sounds), 256))
