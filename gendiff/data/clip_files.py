"""Clips as files that play: GIF and WebP by Pillow, MP4 by FFmpeg; and clips side by side on a sheet, as one clip.

GIF and WebP leave out a frame that equals the one before, and let that one last longer. So a file from here says how
many frames it has of how many milliseconds, and whoever reads it gets them all back.
"""

import math
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from jaxtyping import Float, Float32, UInt8

from gendiff.core import checks, extras, files, foreign_files
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import ArrayLike
from gendiff.data import scaling
from gendiff.data.images import image_files

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".gif", ".mp4", ".webp")
FASTEST = 50
"""Frames per second: players slow down GIF files that are quicker."""
MOST_PIXELS, MOST_SECONDS = 2**26, 120.0
"""Pixels of all frames of a clip together, the largest that is read or written, and of FFmpeg for reading one."""
LONGEST_SIDE = 2**14 - 1
"""Pixels of a side, as WebP has it."""
MP4_LOSS = 10
"""The constant rate factor of x264: 0 loses only colour, 51 is the worst."""
_NOTE = re.compile(r"(\d{1,9}) frames of (\d{1,9}) ms")
_PPM = re.compile(rb"P6\n(\d+) (\d+)\n255\n")
_DESCRIPTION = 0x010E
"""The tag of EXIF in which a WebP file says what it holds."""


def write_clip(
    path: str | os.PathLike[str], clip: Float[ArrayLike, "f h w c"], *, frames_per_second: int = 8, scale: int = 1
) -> None:
    """Write a clip as a file that plays in a loop, whole or not at all; its suffix says the format.

    Values become the nearest of 256 levels. WebP keeps them all; so does GIF where a frame has at most 256 colours, as
    all grey ones have, and elsewhere the 256 that Pillow chooses. MP4 (H.264, with half the resolution of colour) loses
    a little.

    Args:
        path: `.gif`, `.webp`, or `.mp4`, which needs the extra `video`; its folder exists.
        clip: (f, h, w, c) in [-1, 1] with c = 1 or 3; values outside are clipped.
        frames_per_second: 1 … 50. A GIF rounds the time of a frame to hundredths of a second, WebP to thousandths.
        scale: each pixel becomes scale × scale, >= 1, so that small pictures are seen.

    Raises:
        ValueError: for another suffix or shape, numbers out of range, a clip that is too large, and an MP4 of odd
            sides.
        NonFiniteError: for NaN and infinity.
        ImportError: without Pillow, and for MP4 without imageio-ffmpeg.
        OSError: with the path and the number of the error, where it cannot be written.
        ConfigError: where FFmpeg fails for another reason.
    """
    suffix = _suffix(path)
    checks.integer("frames_per_second", frames_per_second, 1, FASTEST)
    checks.integer("scale", scale, 1)
    if clip.ndim != 4 or clip.shape[3] not in image_files.MODES.values() or 0 in clip.shape:
        raise ValueError(
            f"clip must be (f, h, w, c) with 1 or 3 channels and at least one frame, got shape {clip.shape}"
        )
    height, width = clip.shape[1] * scale, clip.shape[2] * scale
    if max(height, width) > LONGEST_SIDE or len(clip) * height * width > MOST_PIXELS:
        raise ValueError(
            f"{len(clip)} frames of {height} × {width} are too large: sides up to {LONGEST_SIDE}, {MOST_PIXELS} pixels "
            "in all"
        )
    frames = np.asarray(scaling.from_unit(np.asarray(clip), 256)).repeat(scale, axis=1).repeat(scale, axis=2)
    if suffix == ".mp4":
        _write_mp4(path, frames, frames_per_second)
        return
    image_files.check_installed()
    milliseconds = 10 * round(100 / frames_per_second) if suffix == ".gif" else round(1000 / frames_per_second)
    with files.replacing(path) as file:
        (_save_gif if suffix == ".gif" else _save_webp)(file, frames, milliseconds)


def read_clip(
    path: str | os.PathLike[str], *, mode: str, background: tuple[int, int, int] | None = None
) -> Float32[np.ndarray, "f h w c"]:
    """Read a clip: each stored frame, whatever its time; of `write_clip` these are all frames.

    Args:
        path: `.gif`, `.webp`, or `.mp4`, which needs the extra `video`.
        mode: "RGB" for 3 channels, "L" for 1: colours become grey as in `image_files.read`.
        background: the colour under transparent pixels, each value 0 … 255; without one, they are an error.

    Returns:
        (f, h, w, c) in [-1, 1], of 256 levels.

    Raises:
        ValueError: for another suffix or mode.
        DataError: path first, for what is no whole clip, or one that is too large.
        ImportError: without Pillow, and for MP4 without imageio-ffmpeg.
    """
    suffix = _suffix(path)
    image_files.check_options(mode, None, background)
    image_files.check_installed()
    foreign_files.regular(path)
    try:
        stored = _read_mp4(path) if suffix == ".mp4" else _read_pillow(path)
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they trip over
        raise DataError(f"{path}: not a whole clip: {error}") from error
    if not stored:
        raise DataError(f"{path}: holds no frame")
    frames = [image_files.convert(str(path), frame, mode=mode, background=background) for frame in stored]
    return np.asarray(scaling.to_unit(np.stack(frames), 256))


def sheet(
    clips: Float[ArrayLike, "n f h w c"], *, columns: int | None = None, gap: int = 1, between: int | float = 1.0
) -> Float[np.ndarray, "f height width c"]:
    """Put clips side by side, row by row, as one clip that shows them all at a time.

    Args:
        clips: (n, f, h, w, c), n >= 1.
        columns: clips of a row, >= 1. None: as many as make the sheet about square.
        gap: pixels between clips, >= 0.
        between: the value there, and where the last row has no more clips.

    Returns:
        (f, rows · (h + gap) - gap, columns · (w + gap) - gap, c).

    Raises:
        ValueError: for another shape and numbers out of range.
    """
    if clips.ndim != 5 or not len(clips):
        raise ValueError(f"clips must be (n, f, h, w, c) with n >= 1, got shape {clips.shape}")
    used = math.ceil(math.sqrt(len(clips))) if columns is None else columns
    checks.integer("columns", used, 1)
    checks.integer("gap", gap, 0)
    count, frames, height, width, channels = clips.shape
    rows = -(-count // used)
    padding = ((0, rows * used - count), (0, 0), (0, gap), (0, gap), (0, 0))
    tiles = np.pad(np.asarray(clips), padding, constant_values=between).reshape(
        rows, used, frames, height + gap, width + gap, channels
    )
    joined = tiles.transpose(2, 0, 3, 1, 4, 5).reshape(frames, rows * (height + gap), used * (width + gap), channels)
    return joined[:, : rows * (height + gap) - gap, : used * (width + gap) - gap]


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: a clip is a file named {', '.join(SUFFIXES)}, got {suffix or 'no suffix'!r}")
    return suffix


def _save_gif(file: BinaryIO, frames: UInt8[np.ndarray, "f h w c"], milliseconds: int) -> None:
    first, *rest = (_in_256_colours(frame) for frame in frames)
    note = f"{len(frames)} frames of {milliseconds} ms"
    first.save(
        file, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0, comment=note.encode()
    )


def _save_webp(file: BinaryIO, frames: UInt8[np.ndarray, "f h w c"], milliseconds: int) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[_DESCRIPTION] = f"{len(frames)} frames of {milliseconds} ms"
    first, *rest = (_picture(frame) for frame in frames)
    first.save(
        file, format="WEBP", save_all=True, append_images=rest, duration=milliseconds, loop=0, lossless=True, exif=exif
    )


def _picture(frame: UInt8[np.ndarray, "h w c"]) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[2] == 1 else frame))


def _in_256_colours(frame: UInt8[np.ndarray, "h w c"]) -> "Image.Image":
    """A picture in grey or with a palette: an exact one where 256 colours suffice, else Pillow's."""
    from PIL import Image

    picture = _picture(frame)
    if picture.mode == "L":
        return picture
    colours, inverse = np.unique(frame.reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) > 256:
        return picture.quantize(256, dither=Image.Dither.NONE)
    indexed = Image.fromarray(inverse.reshape(frame.shape[:2]).astype(np.uint8), mode="P")
    indexed.putpalette(colours.tobytes())
    return indexed


def _read_pillow(path: str | os.PathLike[str]) -> list[np.ndarray]:
    from PIL import Image

    with Image.open(path, formats=("GIF", "WEBP")) as opened:
        note = opened.info.get("comment", b"").decode("latin-1") or str(opened.getexif().get(_DESCRIPTION, ""))
        stored = getattr(opened, "n_frames", 1)
        match = _NOTE.fullmatch(note)
        count, milliseconds = (int(part) for part in match.groups()) if match else (stored, 0)
        most, height, width = max(count, stored), opened.height, opened.width
        if most * height * width > MOST_PIXELS:
            raise DataError(
                f"{path}: too large: {most} frames of {height} × {width} are more than {MOST_PIXELS} pixels"
            )
        frames, durations = [], []
        for number in range(stored):
            opened.seek(number)
            opened.load()
            frames.append(np.asarray(opened.convert("RGBA")))
            durations.append(float(opened.info.get("duration", 0)))
    repeats = _repeats(path, count, milliseconds, durations) if match else [1] * stored
    return [frame for frame, repeat in zip(frames, repeats, strict=True) for _ in range(repeat)]


def _repeats(path: str | os.PathLike[str], count: int, milliseconds: int, durations: Sequence[float]) -> list[int]:
    """How often each stored frame stands in the clip."""
    if len(durations) == 1:  # a still picture has no duration
        return [count]
    repeats = [round(duration / max(milliseconds, 1)) for duration in durations]
    if sum(repeats) != count:
        raise DataError(
            f"{path}: says that it has {count} frames of {milliseconds} ms, and lasts {sum(durations):g} ms"
        )
    return repeats


def _ffmpeg(arguments: Sequence[str], stdin: bytes = b"", seconds: float | None = None) -> bytes:
    """What FFmpeg writes to its output, within so many seconds."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ImportError(extras.needs("MP4 files need", "imageio-ffmpeg", "video")) from error
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    ended = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=seconds)
    if ended.returncode:
        message, code = f"FFmpeg: {ended.stderr.decode(errors='replace').strip()}", 256 - ended.returncode
        if os.strerror(code) in message:  # an error of the system, by whose number FFmpeg ends
            raise OSError(code, message)
        raise ConfigError(f"{message}; IMAGEIO_FFMPEG_EXE names another FFmpeg, and a .webp needs none")
    return ended.stdout


def _write_mp4(path: str | os.PathLike[str], frames: UInt8[np.ndarray, "f h w c"], frames_per_second: int) -> None:
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"an MP4 has even sides, and this clip is {height} × {width}: choose an even scale")
    source = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        str(frames_per_second),
        "-i",
        "pipe:0",
    ]
    coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(MP4_LOSS), "-movflags", "+faststart", "-f", "mp4"]
    with files.replaced(path) as temporary:
        _ffmpeg([*source, *coded, f"file:{temporary}"], np.broadcast_to(frames, (*frames.shape[:3], 3)).tobytes())


def _read_mp4(path: str | os.PathLike[str]) -> list[np.ndarray]:
    largest = 3 * MOST_PIXELS
    written = ["-fps_mode", "passthrough", "-fs", str(largest + 1), "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
    content, position, frames = _ffmpeg(["-i", f"file:{path}", *written], seconds=MOST_SECONDS), 0, []
    if len(content) > largest:
        raise DataError(f"{path}: too large: more than {MOST_PIXELS} pixels in all frames")
    while header := _PPM.match(content, position):
        width, height = (int(side) for side in header.groups())
        frames.append(np.frombuffer(content, np.uint8, 3 * width * height, header.end()).reshape(height, width, 3))
        position = header.end() + 3 * width * height
    return frames
