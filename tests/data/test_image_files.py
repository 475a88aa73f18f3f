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
    image = Image.fromarray(values)
    (image.quantize(4) if mode == "P" else image.convert(mode) if mode else image).save(path, **options)
    return path


def png(path, width, height, depth, colour, data=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))
    return path


GREY, COLOUR = picture(channels=1), picture()
FLAT, PALETTE = np.full((8, 8, 3), 200, np.uint8), np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 8, 7]]], np.uint8)
OPAQUE = np.stack([GREY, GREY, GREY, np.full_like(GREY, 255)], axis=-1)
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # a camera asks for a turn by 90 degrees clockwise
RAMP, BOARD = np.tile(np.arange(30, dtype=np.uint8), (10, 1)), ((np.indices((64, 64)).sum(axis=0) % 2) * 255).astype(np.uint8)
KINDS = {  # values, how they are saved, how they are read, what comes back, and how near
    "png": (COLOUR, "a.png", {}, {}, COLOUR, 0),
    "bmp": (COLOUR, "a.bmp", {}, {}, COLOUR, 0),
    "webp": (COLOUR, "a.webp", {"lossless": True}, {}, COLOUR, 0),
    "jpeg": (FLAT, "a.jpg", {}, {}, FLAT, 2),
    "gif": (GREY, "a.gif", {}, {"mode": "L"}, GREY[..., None], 0),
    "grey as colour": (GREY, "a.png", {}, {}, np.repeat(GREY[..., None], 3, axis=-1), 0),
    "colour as grey": (COLOUR, "a.png", {}, {"mode": "L"}, (COLOUR @ [0.299, 0.587, 0.114])[..., None], 0.51),
    "one bit": (GREY > 127, "a.png", {}, {"mode": "L"}, (GREY > 127)[..., None] * 255, 0),
    "palette": (PALETTE, "a.png", {"mode": "P"}, {}, PALETTE, 0),
    "opaque alpha": (OPAQUE, "a.png", {}, {}, OPAQUE[..., :3], 0),
    "opaque alpha as grey": (OPAQUE, "a.png", {}, {"mode": "L"}, GREY[..., None], 0),
    "opaque alpha of grey": (OPAQUE, "a.png", {"mode": "LA"}, {"mode": "L"}, GREY[..., None], 0),
    "rotated": (COLOUR, "a.png", {"exif": ROTATED}, {}, np.rot90(COLOUR, -1), 0),
    "centre": (RAMP, "a.png", {}, {"mode": "L", "size": 10}, RAMP[:, 10:20, None], 0),
    "an odd margin loses more at the right": (RAMP[:2, :5].copy(), "a.png", {}, {"mode": "L", "size": 2}, RAMP[:2, 1:3, None], 0),
    "resizing averages": (BOARD, "a.png", {}, {"mode": "L", "size": 8}, np.full((8, 8, 1), 127.5), 12),
    "small images are enlarged": (FLAT[:3, :4].copy(), "a.png", {}, {"size": 16}, np.full((16, 16, 3), 200), 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_becomes_the_stated_values(tmp_path, kind):
    values, name, saving, reading, expected, tolerance = KINDS[kind]
    found = image_files.read(saved(tmp_path / name, values, **saving), **{"mode": "RGB"} | reading)
    assert found.dtype == np.uint8 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_transparent_pixels_are_laid_over_the_background(tmp_path):
    layered = np.zeros((2, 2, 4), np.uint8)
    layered[0] = (10, 20, 30, 255)
    read = image_files.read(saved(tmp_path / "a.png", layered), mode="RGB", background=(255, 254, 253))
    np.testing.assert_array_equal(read, [[[10, 20, 30]] * 2, [[255, 254, 253]] * 2])


def bad_files(folder):
    """Each kind of unusable file, with what its error must say."""
    for name in ("cut.png", "cut.jpg"):
        whole = saved(folder / name, picture(64, 64)).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no image at all\n")
    (folder / "empty.png").write_bytes(b"")
    saved(folder / "really.tiff", COLOUR).rename(folder / "tiff.png")
    yield from ((folder / name, "not a whole") for name in ("cut.png", "cut.jpg", "text.jpg", "empty.png", "tiff.png"))
    yield saved(folder / "grey16.png", np.arange(64, dtype=np.uint16).reshape(8, 8)), "more than 8 bits"
    yield png(folder / "colour16.png", 8, 8, 16, 2, b"".join(b"\0" + bytes(range(48)) for _ in range(8))), "more than 8 bits"
    yield saved(folder / "cmyk.jpg", COLOUR, "CMYK"), "colour mode CMYK"
    yield png(folder / "bomb.png", 60000, 60000, 8, 2), "60000 × 60000|decompression bomb"
    yield png(folder / "large.png", 9000, 9000, 8, 0), "9000 × 9000 is more than"
    yield saved(folder / "long.png", np.zeros((1, 60000), np.uint8)), "resized to a shorter side of 512 is more than"
    yield saved(folder / "moving.gif", COLOUR, save_all=True, append_images=[Image.fromarray(picture(seed=1))]), "animated, 2 frames"
    yield saved(folder / "clear.png", COLOUR, "P", transparency=0), "has transparent pixels; pass background="


def test_every_kind_of_bad_file_is_an_error_that_starts_with_its_path(tmp_path):
    for path, message in bad_files(tmp_path):
        with pytest.raises(DataError, match=f"^{path}: .*({message})"):
            image_files.read(path, mode="RGB", size=512)


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
