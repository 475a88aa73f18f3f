import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.data import image_files


def picture(height=6, width=9, channels=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values if channels > 1 else values[..., 0]


def saved(path, values, mode=None, **options):
    Image.fromarray(values).convert(mode).save(path, **options) if mode else Image.fromarray(values).save(path, **options)
    return path


def png(path, width, height, depth, colour, data=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp"])
def test_lossless_files_give_their_exact_values(tmp_path, suffix):
    values = picture()
    path = saved(tmp_path / f"a{suffix}", values, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(image_files.read(path, mode="RGB"), values)


def test_jpeg_and_gif_are_read(tmp_path):
    flat = np.full((8, 8, 3), 200, np.uint8)
    np.testing.assert_allclose(image_files.read(saved(tmp_path / "a.jpg", flat), mode="RGB"), flat, atol=2)
    np.testing.assert_array_equal(image_files.read(saved(tmp_path / "a.gif", picture(channels=1)), mode="L")[..., 0], picture(channels=1))


def test_grey_becomes_rgb_by_repetition_and_rgb_becomes_grey_by_luma(tmp_path):
    grey, colour = picture(channels=1), picture()
    np.testing.assert_array_equal(image_files.read(saved(tmp_path / "g.png", grey), mode="RGB"), np.repeat(grey[..., None], 3, axis=-1))
    luma = colour @ np.array([0.299, 0.587, 0.114])
    read = image_files.read(saved(tmp_path / "c.png", colour), mode="L")
    assert read.shape == (6, 9, 1)
    np.testing.assert_allclose(read[..., 0], luma, atol=0.51)


def test_one_bit_is_black_and_white(tmp_path):
    bits = picture(channels=1) > 127
    np.testing.assert_array_equal(image_files.read(saved(tmp_path / "a.png", bits), mode="L")[..., 0], bits * 255)


def test_a_palette_is_resolved(tmp_path):
    values = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 8, 7]]], np.uint8)
    Image.fromarray(values).quantize(4).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as file:
        assert file.mode == "P"
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.png", mode="RGB"), values)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_opaque_alpha_channel_is_dropped(tmp_path, mode):
    grey = picture(channels=1)
    layered = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    np.testing.assert_array_equal(image_files.read(saved(tmp_path / "a.png", layered), mode=mode)[..., 0], grey)
    np.testing.assert_array_equal(image_files.read(saved(tmp_path / "b.png", layered, "LA"), mode=mode)[..., 0], grey)


def test_transparency_needs_a_background_and_is_laid_over_it(tmp_path):
    layered = np.zeros((2, 2, 4), np.uint8)
    layered[0] = (10, 20, 30, 255)
    path = saved(tmp_path / "a.png", layered)
    with pytest.raises(DataError, match=f"^{path}: has transparent pixels; pass background="):
        image_files.read(path, mode="RGB")
    read = image_files.read(path, mode="RGB", background=(255, 254, 253))
    np.testing.assert_array_equal(read, [[[10, 20, 30]] * 2, [[255, 254, 253]] * 2])


def test_a_transparent_palette_entry_counts_as_transparency(tmp_path):
    Image.fromarray(picture()).quantize(4).save(tmp_path / "a.png", transparency=0)
    with pytest.raises(DataError, match="transparent pixels"):
        image_files.read(tmp_path / "a.png", mode="RGB")


def test_the_rotation_of_a_camera_is_applied(tmp_path):
    values = picture()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = saved(tmp_path / "a.png", values, exif=exif)
    np.testing.assert_array_equal(image_files.read(path, mode="RGB"), np.rot90(values, -1))


def test_the_shorter_side_becomes_the_size_and_the_centre_is_kept(tmp_path):
    ramp = np.broadcast_to(np.arange(30, dtype=np.uint8), (10, 30))
    read = image_files.read(saved(tmp_path / "a.png", ramp.copy()), mode="L", size=10)
    np.testing.assert_array_equal(read[..., 0], ramp[:, 10:20])
    read = image_files.read(saved(tmp_path / "b.png", np.repeat(ramp, 2, axis=0).copy()), mode="L", size=5)
    assert read.shape == (5, 5, 1)


def test_an_odd_margin_loses_its_extra_pixel_at_the_right(tmp_path):
    ramp = np.broadcast_to(np.arange(5, dtype=np.uint8), (2, 5)).copy()
    np.testing.assert_array_equal(image_files.read(saved(tmp_path / "a.png", ramp), mode="L", size=2)[0, :, 0], [1, 2])


def test_resizing_averages_instead_of_skipping_pixels(tmp_path):
    board = ((np.indices((64, 64)).sum(axis=0) % 2) * 255).astype(np.uint8)
    read = image_files.read(saved(tmp_path / "a.png", board), mode="L", size=8)
    assert np.abs(read.astype(float) - 127.5).max() < 12


def test_a_small_image_is_enlarged(tmp_path):
    assert image_files.read(saved(tmp_path / "a.png", picture(3, 4)), mode="RGB", size=16).shape == (16, 16, 3)


def bad_files(folder):
    """Each kind of unusable file, with what its error must say."""
    whole = saved(folder / "whole.png", picture(64, 64)).read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    yield folder / "truncated.png", "not a whole"
    jpeg = saved(folder / "whole.jpg", picture(64, 64)).read_bytes()
    (folder / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    yield folder / "truncated.jpg", "not a whole"
    (folder / "text.jpg").write_text("no image at all\n")
    yield folder / "text.jpg", "not a whole"
    (folder / "empty.png").write_bytes(b"")
    yield folder / "empty.png", "not a whole"
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(folder / "grey16.png")
    yield folder / "grey16.png", "more than 8 bits"
    colour16 = b"".join(b"\0" + bytes(range(48)) for _ in range(8))
    yield png(folder / "colour16.png", 8, 8, 16, 2, colour16), "more than 8 bits"
    yield saved(folder / "cmyk.jpg", picture(), "CMYK"), "colour mode CMYK"
    yield png(folder / "bomb.png", 60000, 60000, 8, 2), "60000 × 60000|decompression bomb"
    yield png(folder / "large.png", 9000, 9000, 8, 0), "9000 × 9000 is more than"
    Image.fromarray(picture()).save(folder / "moving.gif", save_all=True, append_images=[Image.fromarray(picture(seed=1))])
    yield folder / "moving.gif", "animated, 2 frames"
    Image.fromarray(picture()).save(folder / "really.tiff")
    (folder / "really.tiff").rename(folder / "tiff.png")
    yield folder / "tiff.png", "not a whole"


def test_every_kind_of_bad_file_is_an_error_that_starts_with_its_path(tmp_path):
    for path, message in bad_files(tmp_path):
        with pytest.raises(DataError, match=f"^{path}: .*({message})"):
            image_files.read(path, mode="RGB", size=8)


def test_a_damaged_byte_gives_a_data_error_or_an_image_and_nothing_else(tmp_path):
    whole = bytearray(saved(tmp_path / "whole.png", picture()).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        (tmp_path / "a.png").write_bytes(damaged)
        try:
            assert image_files.read(tmp_path / "a.png", mode="RGB").dtype == np.uint8
        except DataError as error:
            assert str(error).startswith(str(tmp_path / "a.png"))


def test_a_long_thin_image_cannot_be_blown_up_without_bound(tmp_path):
    path = saved(tmp_path / "a.png", np.zeros((1, 60000), np.uint8))
    with pytest.raises(DataError, match="resized to a shorter side of 512 is more than"):
        image_files.read(path, mode="L", size=512)
