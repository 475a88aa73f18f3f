"""Images or sounds of a user, opened for random access: a folder, arrays, an ArrayRecord or a saved dataset."""

import os
import stat
from pathlib import Path
from types import ModuleType

from gendiff.core import checks, files
from gendiff.core.errors import DataError
from gendiff.data.audio import sound_files, sound_folder
from gendiff.data.audio.spectrogram import Spectrogram
from gendiff.data.images import array_records, image_files, image_folder, numpy_files, random_access, saved_datasets
from gendiff.data.images.random_access import Source

TAKEN = (
    "a folder of images or sounds",
    "an .npy or .npz file",
    f"an {array_records.SUFFIX} file",
    "a folder that datasets' save_to_disk has written",
)

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def open(
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    mode: str | None = None,
    background: tuple[int, int, int] | None = None,
    on_bad: str = "raise",
    conditional: str = "auto",
    scan: bool = True,
    spectrogram: Spectrogram | None = None,
) -> Source:
    """Open a set of pictures for random access, whatever its kind.

    The kind is recognised by the path: `image_folder`, `sound_folder`, `numpy_files`, `array_records` and
    `saved_datasets` state what each takes. A sound becomes a picture of its pitch over time. The whole of the data is
    read once for the fingerprint, 0.4 GB per second and core or more, and with `scan` every picture is decoded once.

    Args:
        path: the folder or file.
        size: the side of the square images, 1 … 8192: the shorter side is resized and the centre cropped. None keeps
            the pictures' own size, and all must have one.
        mode: "RGB" for 3 channels, "L" for 1. None is "RGB" for image files and keeps the channels of arrays.
        background: the colour under transparent pixels, each value 0 … 255; without one they are an error.
        on_bad: "raise" stops with one error that lists the bad pictures; "skip" leaves them out and lists them in
            `skipped`.
        conditional: "auto" uses the classes if there are 2 or more; "none" gives every picture NO_LABEL.
        scan: decode every picture now, so that a bad one is known before any training. Without it, `source[i]` raises
            at a bad picture; `cache.build` makes up for it.
        spectrogram: what sounds become; None is `Spectrogram()` with `size` bins of pitch. For them
            `mode` is "L" or None.

    Raises:
        DataError: path first, for what is none of these kinds, and as each kind states.
        ValueError: for an option outside its range, or one that the kind does not take.
        ImportError: where a kind needs a package of the extra `data` or `audio`.
    """
    checks.choice("on_bad", on_bad, random_access.ON_BAD)
    file = Path(path)
    suffix = file.suffix.lower()
    kind: ModuleType
    info = random_access.status(file)
    if info is not None:
        _check_readable(file, info)
    if file.is_dir():
        saved = saved_datasets.recognises(file)
        if not saved and sound_folder.recognises(file):
            if mode == "RGB" or background is not None:
                raise ValueError(f"mode = {mode!r}, background = {background}: sounds have one channel and no colours")
            chosen = spectrogram or (Spectrogram() if size is None else Spectrogram(mels=size))
            sounds = sound_folder.source(file, chosen, on_bad=on_bad, conditional=conditional)
            return random_access.scan(sounds) if scan else sounds
        kind, mode = saved_datasets if saved else image_folder, mode or "RGB"
    elif info is None and files.is_url(path):
        raise DataError(
            f"{os.fspath(path)}: URLs are not downloaded; fetch the pictures yourself, and give their folder"
        )
    elif not file.is_file():
        raise DataError(
            f"{random_access.printable(file)}: "
            f"{'not a regular file' if os.path.lexists(file) else 'no such file or folder'}; {_taken()}"
        )
    elif suffix in (".npy", ".npz"):
        kind = numpy_files
    elif suffix == array_records.SUFFIX:
        kind = array_records
    elif suffix in image_files.SUFFIXES:
        raise DataError(f"{random_access.printable(file)}: that is one picture; give its folder")
    elif suffix in sound_files.SUFFIXES:
        raise DataError(f"{random_access.printable(file)}: that is one sound; give its folder")
    elif suffix in ARCHIVES:
        raise DataError(f"{random_access.printable(file)}: that is an archive; unpack it, and give the folder")
    else:
        raise DataError(f"{random_access.printable(file)}: its name ends in no suffix that is known here; {_taken()}")
    if spectrogram is not None:
        raise ValueError(f"spectrogram = {spectrogram}: {random_access.printable(file)} holds no sounds")
    opened: Source = kind.source(
        file, size=size, mode=mode, background=background, on_bad=on_bad, conditional=conditional
    )
    return random_access.scan(opened) if scan else opened


def _check_readable(file: Path, info: os.stat_result) -> None:
    try:
        if stat.S_ISDIR(info.st_mode):
            os.listdir(file)
            os.stat(file / "any")  # without the right to search a folder, its names can be listed and nothing else
        elif stat.S_ISREG(info.st_mode):
            file.open("rb").close()
    except PermissionError as error:
        raise DataError(random_access.forbidden(file)) from error
    except FileNotFoundError:
        pass


def _taken() -> str:
    return f"{', '.join(TAKEN[:-1])} or {TAKEN[-1]} is needed"
