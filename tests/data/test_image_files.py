"""Images from files of every kind, and from folders of them: what is read, and what is refused with its path."""

import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import image_files, image_folder, scaling
from tests.refusals import refusals


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
LAYERED = np.array([[[10, 20, 30, 255]] * 2, [[0, 0, 0, 0]] * 2], np.uint8)
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
    "transparent": (LAYERED, "a.png", {}, {"background": (255, 254, 253)}, np.array([[[10, 20, 30]] * 2, [[255, 254, 253]] * 2]), 0),
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


# Folders.


def put(path, value=0, shape=(4, 4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


@pytest.fixture
def tree(tmp_path):
    for value, place in enumerate(("dog/z.png", "dog/deep/er/a.PNG", "cat/b.png", "10/c.png", "2/d.png"), 1):
        put(tmp_path / place, value)
    return tmp_path


def test_classes_are_the_sorted_top_folders_and_files_are_found_at_any_depth(tree):
    images = image_folder.load(tree)
    assert images.classes == ("10", "2", "cat", "dog")
    assert images.labels.tolist() == [0, 1, 2, 3, 3] and images.labels.dtype == np.int32
    assert scaling.from_unit(images.clean, images.levels)[:, 0, 0, 0].tolist() == [4, 5, 3, 2, 1]
    assert images.clean.shape == (5, 4, 4, 3) and images.clean.dtype == np.float32
    assert images.levels == 256 and images.skipped == () and len(images) == 5


def test_images_without_class_folders_have_no_label(tmp_path):
    put(tmp_path / "a.png"), put(tmp_path / "b.png")
    images = image_folder.load(tmp_path, mode="L")
    assert images.labels.tolist() == [NO_LABEL, NO_LABEL] and images.classes == () and images.clean.shape == (2, 4, 4, 1)


def test_hidden_files_and_folders_are_no_part_of_the_set(tree):
    (tree / ".DS_Store").write_bytes(b"x")
    (tree / "cat" / ".hidden.png").write_bytes(b"x")
    put(tree / "cat" / ".thumbnails" / "b.png")
    assert len(image_folder.load(tree)) == 5


def test_mixed_sizes_are_an_error_without_a_size_and_one_array_with_one(tree):
    odd = put(tree / "dog" / "odd.png", shape=(6, 5, 3))
    with pytest.raises(DataError, match=rf"^{odd}: shape \(6, 5, 3\), but .*10/c.png has \(4, 4, 3\); pass size="):
        image_folder.load(tree)
    assert image_folder.load(tree, size=4).clean.shape == (6, 4, 4, 3)


@pytest.mark.parametrize("place", ["cat/text.jpg", "cat/notes.txt", "cat/empty.png", "Thumbs.db"])
def test_a_bad_or_loose_file_stops_the_load_or_is_skipped_and_counted(tree, place):
    bad = tree / place
    bad.write_text("" if "empty" in place else "words")
    message = f"^{bad}: {'lies beside the class folders' if place == 'Thumbs.db' else ''}"
    with pytest.raises(DataError, match=message):
        image_folder.load(tree)
    images = image_folder.load(tree, on_bad="skip")
    assert len(images) == 5 and images.classes == ("10", "2", "cat", "dog")
    assert len(images.skipped) == 1 and re.match(message, images.skipped[0])


def test_skipping_a_whole_class_keeps_the_other_labels_and_skipping_all_files_is_an_error(tree):
    (tree / "cat" / "b.png").write_bytes(b"")
    images = image_folder.load(tree, on_bad="skip")
    assert images.classes == ("10", "2", "cat", "dog") and images.labels.tolist() == [0, 1, 3, 3]
    with pytest.raises(DataError, match="none of its 1 files can be used"):
        image_folder.load(tree / "cat", on_bad="skip")


def test_missing_wrong_and_empty_folders_are_told_apart(tmp_path):
    file = put(tmp_path / "a" / "a.png")
    (tmp_path / "b").mkdir()
    for path, message in ((tmp_path / "none", "no such folder"), (file, "not a folder"), (tmp_path / "b", "no images in it")):
        with pytest.raises(DataError, match=f"^{path}: {message}"):
            image_folder.load(path)
    with pytest.raises(DataError, match=f"^{tmp_path / 'b'}: a class without images"):
        image_folder.load(tmp_path)


def test_links_are_followed_but_not_round_in_circles(tree, tmp_path_factory):
    (tree / "cow").symlink_to(put(tmp_path_factory.mktemp("elsewhere") / "cow" / "a.png", 9).parent)
    assert image_folder.load(tree).classes == ("10", "2", "cat", "cow", "dog")
    (tree / "dog" / "loop").symlink_to(tree / "dog")
    with pytest.raises(DataError, match="a link to a folder that is already part of class dog"):
        image_folder.load(tree)


def test_a_broken_link_and_a_pipe_are_bad_files(tree):
    (tree / "cat" / "gone.png").symlink_to(tree / "nothing.png")
    os.mkfifo(tree / "cat" / "pipe.png")
    images = image_folder.load(tree, on_bad="skip")
    assert len(images.skipped) == 2 and all("not a regular file" in message for message in images.skipped)


test_unknown_options_are_refused = refusals(
    (lambda: image_folder.load(".", mode="RBG"), "mode = 'RBG'.*did you mean 'RGB'"),
    (lambda: image_folder.load(".", on_bad="skp"), "on_bad = 'skp'.*did you mean 'skip'"),
    (lambda: image_folder.load(".", size=0), "size = 0"),
    (lambda: image_folder.load(".", background=(0, 0, 256)), "background = 256"),
)
