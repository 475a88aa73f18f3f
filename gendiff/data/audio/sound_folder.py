"""Sounds from a folder of files: the class is the sub-folder, and each sound is read as its spectrogram."""

import dataclasses
import os
from collections import Counter
from pathlib import Path

import numpy as np

from gendiff.core import checks
from gendiff.core.errors import DataError
from gendiff.data.audio import sound_files
from gendiff.data.audio.spectrogram import Spectrogram
from gendiff.data.images import image_files, image_folder, random_access
from gendiff.data.images.random_access import Source, printable


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SoundFolder(Source):
    """The sounds under a folder, each read when it is needed. `source` builds it."""

    files: tuple[str, ...]
    spectrogram: Spectrogram

    def image(self, i: int) -> np.ndarray:
        """Draw the spectrogram of sound i, uint8 (mels, frames, 1)."""
        file, settings = Path(self.files[i]), self.spectrogram
        image_folder.check_file(file, sound_files.SUFFIXES)
        return settings.to_image(sound_files.read(file, rate=settings.rate, length=settings.length))

    def name(self, i: int) -> str:
        """The path of sound i."""
        return printable(self.files[i])

    def notes(self) -> tuple[str, ...]:
        """What happens to some of the sounds, by their headers: resampled, mixed, cut, or followed by silence."""
        settings, headers = self.spectrogram, random_access.in_threads(self._header, range(len(self)))
        known = [header for header in headers if header is not None]
        seconds = [header.samples / header.rate for header in known]
        counts = {
            f"have another rate than {settings.rate} Hz and are resampled": sum(
                header.rate != settings.rate for header in known
            ),
            "have several channels and are mixed to one": sum(header.channels > 1 for header in known),
            f"are longer than {settings.seconds:.2f} s and are cut there": sum(
                each > settings.seconds for each in seconds
            ),
            f"are shorter than {settings.seconds:.2f} s and end in silence": sum(
                each < settings.seconds for each in seconds
            ),
        }
        return tuple(f"{count} of {len(self)} sounds {words}" for words, count in counts.items() if count)

    def _header(self, i: int) -> sound_files.Header | None:
        return sound_files.header(self.files[i]) if os.path.isfile(self.files[i]) else None


def recognises(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds sounds.

    Raises:
        DataError: path first, where pictures lie beside them.
    """
    try:
        suffixes = Counter(file.suffix.lower() for file in image_folder.visible_files(Path(path)))
    except DataError:  # who lists the folder says what is wrong
        return False
    sounds, images = (sum(suffixes[each] for each in kind.SUFFIXES) for kind in (sound_files, image_files))
    if sounds and images:
        raise DataError(
            f"{printable(path)}: mixed kinds: {sounds} sounds and {images} pictures; give a folder of one kind"
        )
    return sounds > 0


def source(
    path: str | os.PathLike[str],
    spectrogram: Spectrogram,
    *,
    on_bad: str = "raise",
    conditional: str = "auto",
) -> SoundFolder:
    """List every sound under `path`, at any depth, sorted by class and path; reading waits for access.

    Classes, hidden files, links, `on_bad` and `conditional` are as in `image_folder.source`.

    Args:
        path: the folder.
        spectrogram: what each sound becomes; its first `spectrogram.seconds` are read.
        on_bad: "raise" or "skip".
        conditional: "auto" or "none".

    Raises:
        DataError: path first, for no such folder, no sounds, a class without any, files beside class folders.
        ImportError: without soundfile.
    """
    sound_files.check_installed()
    checks.choice("on_bad", on_bad, random_access.ON_BAD)
    checks.choice("conditional", conditional, random_access.CONDITIONAL)
    root = Path(path)
    classes, listed, skipped = image_folder.listing(root, on_bad, conditional, sound_files.SUFFIXES)
    options = (dataclasses.astuple(spectrogram), classes)
    return SoundFolder(
        labels=np.array([label for _, label in listed], np.int32),
        classes=classes,
        skipped=tuple(skipped),
        fingerprint=image_folder.folder_fingerprint("sounds", options, root, listed, sound_files.SUFFIXES),
        on_bad=on_bad,
        files=tuple(str(file) for file, _ in listed),
        spectrogram=spectrogram,
    )
