"""Where samples go: each is a file of its own as soon as it is drawn, so that an interrupted command goes on where it
stopped.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gendiff.core import files
from gendiff.core.errors import ConfigError
from gendiff.core.types import NO_LABEL
from gendiff.data.audio import Spectrogram, sound_files
from gendiff.runs import ranges
from gendiff.runs.reporting import figures, json_files
from gendiff.training import compatibility

COLUMNS = 8
SETTINGS = "samples.json"


class SampleFiles:
    """The samples of one command: a folder with one PNG or WAV per sample, or one file (a grid .png or an .npz) made of
    all of them.

    The single samples of one file wait in a hidden folder beside it until all are there.
    """

    def __init__(
        self,
        out: Path,
        shape: tuple[int, ...],
        settings: dict[str, object],
        force: bool,
        classes: Sequence[str] = (),
        sound: Spectrogram | None = None,
    ) -> None:
        """settings: what a sample depends on beside its index and label; samples of other settings are never mixed with
        these.

        classes: the name of each label, which names of files and an archive carry. sound: of samples that are sounds.

        Raises ConfigError where nothing of this kind may be written to `out`.
        """
        self._out, self._settings, self._classes, self._sound = out, settings, tuple(classes), sound
        self._single = out.suffix != ""
        self._folder = out.with_name(f".{out.name}.parts") if self._single else out
        _check(out, shape)
        if self._single:
            ranges.replaceable(out, force)
        if self._folder.exists():
            self._check_folder(force)

    def missing(self, index: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The places within `index` whose samples are not on disk yet."""
        return np.flatnonzero([not path.exists() for path in self._paths(index, labels)])

    def write(self, images: np.ndarray, index: np.ndarray, labels: np.ndarray) -> None:
        """Writes each sample, whole or not at all."""
        self._folder.mkdir(exist_ok=True)
        if not (self._folder / SETTINGS).exists():
            json_files.write(self._folder / SETTINGS, self._settings)
        for image, path in zip(images, self._paths(index, labels), strict=True):
            if self._single:
                with files.replacing(path) as file:
                    np.save(file, image)
            elif self._sound is not None:
                json_files.write_bytes(path, wav(self._sound, image))
            else:
                figures.grid(image[None], 1, path, "", scale=1, gap=0)

    def finish(self, index: np.ndarray, labels: np.ndarray) -> None:
        """Makes the one file of the single samples, where one file is wanted."""
        if not self._single:
            return
        images = np.stack([np.load(path) for path in self._paths(index, labels)])
        if self._out.suffix == ".npz":
            with files.replacing(self._out) as file:
                np.savez(file, images=images, labels=labels, index=index, classes=np.array(self._classes, np.str_))
        else:
            figures.grid(images, min(COLUMNS, len(images)), self._out, "", ground=255)
        shutil.rmtree(self._folder)

    def _paths(self, index: np.ndarray, labels: np.ndarray) -> list[Path]:
        suffix = ".npy" if self._single else ".png" if self._sound is None else ".wav"
        named = zip(index, labels, strict=True)
        return [self._folder / (name(number, label, self._classes) + suffix) for number, label in named]

    def _check_folder(self, force: bool) -> None:
        """Lets samples of the same settings stay, and removes others where that is allowed."""
        known, rows = self._folder / SETTINGS, []
        if known.exists():
            rows = compatibility.in_config(json_files.read(known, dict), json_files.encode(self._settings))
            if not (rows or force):
                return
        if not (force or self._single) and any(self._folder.iterdir()):
            reason = (
                f"samples of other settings\n{compatibility.table(rows, most=7)}"
                if rows
                else f"files but no {SETTINGS}"
            )
            raise ConfigError(f"{self._folder}: add --force to replace it, or choose another --out; it holds {reason}")
        if any(
            path.is_dir() or path.suffix not in (".png", ".npy", ".wav")
            for path in self._folder.iterdir()
            if path.name != SETTINGS
        ):
            raise ConfigError(
                f"{self._folder} holds more than samples, so --force does not replace it: choose another --out"
            )
        shutil.rmtree(self._folder)


def wav(sound: Spectrogram, image: np.ndarray) -> bytes:
    """The sound of one sample, as a WAV file."""
    return sound_files.to_wav(sound.to_sound(image), sound.rate)


def name(number: int, label: int, classes: Sequence[str]) -> str:
    """Of the file of a sample, without its suffix: 000003_label1_cat, or 000003_label1 where classes have numbers
    alone.
    """
    if label == NO_LABEL:
        return f"{number:06d}"
    word = re.sub(r"[^\w.-]+", "_", classes[label]) if label < len(classes) and classes[label] != str(label) else ""
    return f"{number:06d}_label{label}" + (f"_{word}" if word else "")


def _check(out: Path, shape: tuple[int, ...]) -> None:
    if out.suffix not in ("", ".png", ".npz"):
        raise ConfigError(
            f"--out {out} ends in {out.suffix!r}: give a folder name (one PNG or WAV each), a .png (one grid) or an "
            ".npz (arrays)"
        )
    drawable = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if out.suffix != ".npz" and not drawable:
        raise ConfigError(f"samples of shape {shape} are no images: give --out NAME.npz")
    if out.exists() and out.is_dir() != (out.suffix == ""):
        raise ConfigError(
            f"{out} is a {'folder' if out.is_dir() else 'file'}, which --force does not replace: choose another --out"
        )
    for folder in (out.parent, *([out] if out.is_dir() else [])):
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f"--out: the folder {folder} is absent or not writable")
