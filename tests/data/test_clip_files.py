"""Clips as files: what goes in comes out, frames that stand still included."""

import importlib.util
import os
import sys
import types

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import ConfigError, DataError, NonFiniteError
from gendiff.data import clip_files, scaling
from gendiff.runs import errors
from tests.refusals import refusals
from tests.tables import table

RNG = np.random.default_rng(0)
GREY = scaling.to_unit(
    RNG.permuted(np.broadcast_to(np.arange(256, dtype=np.uint8), (5, 256)), axis=1).reshape(5, 8, 32, 1), 256
)
"""Five frames of all 256 levels."""
COLOURS = scaling.to_unit(RNG.integers(0, 256, (5, 8, 32, 3)).astype(np.uint8), 256)
LOSSLESS = table("suffix", [".gif", ".webp", ".WebP"])


def there_and_back(path, clip, mode="L", **options):
    path.parent.mkdir(exist_ok=True)
    clip_files.write_clip(path, clip, **options)
    assert os.listdir(path.parent) == [path.name]  # nothing half-written stays
    return clip_files.read_clip(path, mode=mode)


@LOSSLESS
def test_grey_clips_of_256_levels_come_back_exactly(suffix, tmp_path):
    result = there_and_back(tmp_path / f"clip{suffix}", GREY)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, GREY)
    np.testing.assert_array_equal(
        clip_files.read_clip(tmp_path / f"clip{suffix}", mode="RGB"), np.repeat(GREY, 3, axis=-1)
    )


@LOSSLESS
def test_colours_come_back_exactly_up_to_256_per_frame(suffix, tmp_path):
    np.testing.assert_array_equal(there_and_back(tmp_path / f"clip{suffix}", COLOURS, "RGB"), COLOURS)


def test_of_more_than_256_colours_webp_keeps_all_and_gif_near_ones(tmp_path):
    clip = scaling.to_unit(RNG.integers(0, 64, (3, 20, 20, 3)).astype(np.uint8), 256)
    np.testing.assert_array_equal(there_and_back(tmp_path / "all" / "clip.webp", clip, "RGB"), clip)
    result = there_and_back(tmp_path / "near" / "clip.gif", clip, "RGB")
    assert 0 < np.abs(result - clip).mean() < 0.1


@LOSSLESS
@table("order", [[0, 0, 1, 1, 1, 0], [0, 0, 0], [0], [0, 1, 1]])
@table("frames_per_second", [1, 7, 50])
def test_frames_that_stand_still_are_all_read(suffix, order, frames_per_second, tmp_path):
    clip = GREY[order]
    np.testing.assert_array_equal(
        there_and_back(tmp_path / f"clip{suffix}", clip, frames_per_second=frames_per_second), clip
    )


@LOSSLESS
def test_players_are_told_to_loop_and_how_long_a_frame_lasts(suffix, tmp_path):
    clip_files.write_clip(tmp_path / f"clip{suffix}", GREY, frames_per_second=12)
    with Image.open(tmp_path / f"clip{suffix}") as opened:
        assert (opened.n_frames, opened.info["loop"]) == (5, 0)
        opened.seek(1)
        opened.load()
        assert opened.info["duration"] == (80 if suffix == ".gif" else 83)


def test_the_scale_repeats_pixels_and_levels_are_rounded(tmp_path):
    clip = np.array([-2.0, -1.0, 0.001, 1.5], np.float32).reshape(1, 2, 2, 1)
    result = there_and_back(tmp_path / "clip.webp", clip, scale=3)
    np.testing.assert_array_equal(
        result, scaling.round_to_levels(np.clip(clip, -1, 1), 256).repeat(3, axis=1).repeat(3, axis=2)
    )


def test_a_file_of_others_has_the_frames_that_it_stores(tmp_path):
    first, second = (Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (0, 255))
    first.save(tmp_path / "clip.gif", save_all=True, append_images=[second, second, first], duration=70)
    assert clip_files.read_clip(tmp_path / "clip.gif", mode="L")[:, 0, 0, 0].tolist() == [-1, 1, -1]
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.webp")
    with pytest.raises(DataError, match=r"clear\.webp: has transparent pixels"):
        clip_files.read_clip(tmp_path / "clear.webp", mode="RGB")
    result = clip_files.read_clip(tmp_path / "clear.webp", mode="RGB", background=(0, 255, 0))
    np.testing.assert_array_equal(result, np.broadcast_to(np.array([-1, 1, -1], np.float32), (1, 4, 4, 3)))


@pytest.mark.fault("clips: a clip that cannot be written")
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    clip_files.write_clip(tmp_path / "clip.gif", GREY)
    monkeypatch.setattr(clip_files, "_save_gif", lambda file, *_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        clip_files.write_clip(tmp_path / "clip.gif", -GREY)
    np.testing.assert_array_equal(clip_files.read_clip(tmp_path / "clip.gif", mode="L"), GREY)
    assert os.listdir(tmp_path) == ["clip.gif"]


@pytest.mark.fault("clips: a file that is no whole clip, or holds another number of frames than it says")
def test_what_is_no_clip_is_refused_with_its_path(tmp_path, monkeypatch):
    complete = tmp_path / "whole.webp"
    clip_files.write_clip(complete, GREY)
    content = complete.read_bytes()
    (tmp_path / "cut.webp").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.gif").write_text("no picture")
    (tmp_path / "wrong.gif").write_bytes(_edited(tmp_path))
    for name, words in (
        ("cut.webp", "not a whole clip"),
        ("text.gif", "not a whole clip"),
        ("wrong.gif", "says that it has 9 frames of 120 ms, and lasts 600 ms"),
        ("none.gif", "no such file"),
    ):
        with pytest.raises(DataError, match=rf"{name}: {words}"):
            clip_files.read_clip(tmp_path / name, mode="L")
    monkeypatch.setattr(clip_files, "MOST_PIXELS", 1000)
    with pytest.raises(DataError, match=r"whole\.webp: too large: 5 frames of 8 × 32"):
        clip_files.read_clip(complete, mode="L")
    with pytest.raises(ValueError, match="5 frames of 8 × 32 are too large"):
        clip_files.write_clip(complete, GREY)


def _edited(folder):
    clip_files.write_clip(folder / "five.gif", GREY)
    return (folder / "five.gif").read_bytes().replace(b"5 frames of 120 ms", b"9 frames of 120 ms")


def test_a_sheet_holds_each_clip_at_its_place():
    clips = RNG.uniform(-1, 1, (5, 2, 3, 4, 1))
    result = clip_files.sheet(clips, columns=3, gap=2, between=0.5)
    assert result.shape == (2, 8, 16, 1)
    for number, clip in enumerate(clips):
        down, right = 5 * (number // 3), 6 * (number % 3)
        np.testing.assert_array_equal(result[:, down : down + 3, right : right + 4], clip)
    assert np.all(result[:, 3:5] == 0.5) and np.all(result[:, :, 4:6] == 0.5) and np.all(result[:, 5:, 12:] == 0.5)
    assert clip_files.sheet(clips).shape == clip_files.sheet(clips, columns=3).shape == (2, 7, 14, 1)
    np.testing.assert_array_equal(clip_files.sheet(clips[:1], gap=0), clips[0])


@pytest.mark.skipif(not importlib.util.find_spec("imageio_ffmpeg"), reason="needs the extra [video]")
def test_an_mp4_comes_back_nearly(tmp_path, monkeypatch):
    smooth = np.sin(
        np.linspace(0, 3, 6)[:, None, None, None] + np.linspace(0, 3, 16)[:, None, None] + np.zeros((32, 3))
    )
    result = there_and_back(tmp_path / "clip.mp4", smooth, "RGB", scale=2, frames_per_second=3)
    assert result.shape == (6, 32, 64, 3)
    assert np.abs(result - smooth.repeat(2, axis=1).repeat(2, axis=2)).max() < 0.1
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(DataError, match=r"text\.mp4: not a whole clip"):
        clip_files.read_clip(tmp_path / "text.mp4", mode="RGB")
    monkeypatch.setattr(clip_files, "MOST_PIXELS", 6 * 32 * 64 - 1)
    with pytest.raises(DataError, match=r"clip\.mp4: too large"):
        clip_files.read_clip(tmp_path / "clip.mp4", mode="RGB")


@pytest.mark.fault("clips: a clip that cannot be written")
@table(
    ("says", "code", "error", "ends"),
    [
        ("x.mp4: No space left on device", 228, OSError, errors.DISK),
        ("x.mp4: Permission denied", 243, OSError, errors.USAGE),
        ("Unknown encoder 'libx264'", 8, ConfigError, errors.USAGE),
    ],
)
def test_where_ffmpeg_fails_the_command_ends_by_its_reason(says, code, error, ends, tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.SimpleNamespace(get_ffmpeg_exe=lambda: str(program)))
    with pytest.raises(error, match=says) as caught:
        clip_files.write_clip(tmp_path / "clip.mp4", GREY)
    assert errors.exit_code(caught.value) == ends
    assert error is ConfigError or caught.value.filename == str(tmp_path / "clip.mp4")
    assert os.listdir(tmp_path) == ["ffmpeg"]


@pytest.mark.fault("clips: an MP4 without its package")
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    (tmp_path / "clip.mp4").touch()
    for act in (
        lambda: clip_files.write_clip(tmp_path / "clip.mp4", GREY),
        lambda: clip_files.read_clip(tmp_path / "clip.mp4", mode="L"),
    ):
        with pytest.raises(ImportError, match=r"MP4 files need imageio-ffmpeg: install this project's extra \[video\]"):
            act()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"extra \[data\]"):
        clip_files.write_clip(tmp_path / "clip.gif", GREY)
    assert os.listdir(tmp_path) == ["clip.mp4"]


test_mistakes_are_refused = pytest.mark.fault("clips: a clip that cannot be written")(
    refusals(
        (
            lambda: clip_files.write_clip("clip.avi", GREY),
            r"clip\.avi: a clip is a file named \.gif, \.mp4, \.webp, got '\.avi'",
        ),
        (lambda: clip_files.read_clip("clip", mode="L"), "got 'no suffix'"),
        (lambda: clip_files.read_clip("clip.gif", mode="CMYK"), "mode = 'CMYK'"),
        (lambda: clip_files.write_clip("clip.gif", GREY[0]), r"clip must be \(f, h, w, c\)"),
        (lambda: clip_files.write_clip("clip.gif", GREY[..., [0, 0]]), "with 1 or 3 channels"),
        (lambda: clip_files.write_clip("clip.gif", GREY[:0]), "at least one frame"),
        (lambda: clip_files.write_clip("clip.gif", GREY, frames_per_second=51), "frames_per_second = 51"),
        (lambda: clip_files.write_clip("clip.gif", GREY, scale=0), "scale = 0"),
        (lambda: clip_files.write_clip("clip.gif", GREY, scale=600), r"5 frames of 4800 × 19200 are too large"),
        (
            lambda: clip_files.write_clip("clip.mp4", GREY[:, :7]),
            "an MP4 has even sides, and this clip is 7 × 32: choose an even scale",
        ),
        (lambda: clip_files.write_clip("clip.gif", GREY * np.nan), "1280 of 1280 values are NaN", NonFiniteError),
        (lambda: clip_files.write_clip("none/clip.gif", GREY), "none", OSError),
        (lambda: clip_files.sheet(GREY), r"clips must be \(n, f, h, w, c\)"),
        (lambda: clip_files.sheet(GREY[None], columns=0), "columns = 0"),
        (lambda: clip_files.sheet(GREY[None], gap=-1), "gap = -1"),
    )
)
