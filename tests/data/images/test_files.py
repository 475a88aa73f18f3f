"""Images from files of every kind, from folders of them and from arrays: what is read, and what is refused with its
path.
"""

import io
import os
import pickle
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import image_folder, numpy_files, scaling
from gendiff.data.images import image_files
from tests.refusals import refusals
from tests.tables import table


def picture(height=6, width=9, channels=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values if channels > 1 else values[..., 0]


def saved(path, values, mode=None, **options):
    image = Image.fromarray(values)
    (image.quantize(4) if mode == "P" else image.convert(mode) if mode else image).save(path, **options)
    return path


def png(path, width, height, depth, colour, data=b"", transparent=None):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    clear = b"" if transparent is None else chunk(b"tRNS", transparent)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + clear
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )
    return path


GREY, COLOUR = picture(channels=1), picture()
FLAT, PALETTE = (
    np.full((8, 8, 3), 200, np.uint8),
    np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 8, 7]]], np.uint8),
)
LAYERED = np.array([[[10, 20, 30, 255]] * 2, [[0, 0, 0, 0]] * 2], np.uint8)
OPAQUE = np.stack([GREY, GREY, GREY, np.full_like(GREY, 255)], axis=-1)
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # a camera asks for a turn by 90 degrees clockwise
RAMP, BOARD = (
    np.tile(np.arange(30, dtype=np.uint8), (10, 1)),
    ((np.indices((64, 64)).sum(axis=0) % 2) * 255).astype(np.uint8),
)
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
    "transparent": (
        LAYERED,
        "a.png",
        {},
        {"background": (255, 254, 253)},
        np.array([[[10, 20, 30]] * 2, [[255, 254, 253]] * 2]),
        0,
    ),
    "rotated": (COLOUR, "a.png", {"exif": ROTATED}, {}, np.rot90(COLOUR, -1), 0),
    "centre": (RAMP, "a.png", {}, {"mode": "L", "size": 10}, RAMP[:, 10:20, None], 0),
    "an odd margin loses more at the right": (
        RAMP[:2, :5].copy(),
        "a.png",
        {},
        {"mode": "L", "size": 2},
        RAMP[:2, 1:3, None],
        0,
    ),
    "resizing averages": (BOARD, "a.png", {}, {"mode": "L", "size": 8}, np.full((8, 8, 1), 127.5), 12),
    "small images are enlarged": (FLAT[:3, :4].copy(), "a.png", {}, {"size": 16}, np.full((16, 16, 3), 200), 0),
}


@table("kind", KINDS)
def test_every_kind_of_file_becomes_the_stated_values(tmp_path, kind):
    values, name, saving, reading, expected, tolerance = KINDS[kind]
    result = image_files.read(saved(tmp_path / name, values, **saving), **{"mode": "RGB"} | reading)
    assert result.dtype == np.uint8 and result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


@table("colour, channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_a_png_of_16_bits_keeps_the_high_byte_of_each_channel(tmp_path, colour, channels):
    values = np.random.default_rng(0).integers(0, 2**16, (8, 9, channels)).astype(">u2")
    if channels in (2, 4):
        values[..., -1] = 2**16 - 1
    path = png(tmp_path / "a.png", 9, 8, 16, colour, b"".join(b"\0" + row.tobytes() for row in values))
    expected = (values >> 8)[..., : 3 if channels > 2 else 1] * np.ones(3, np.uint16)
    np.testing.assert_array_equal(image_files.read(path, mode="RGB"), expected)
    if channels < 3:
        np.testing.assert_array_equal(image_files.read(path, mode="L"), expected[..., :1])


ALPHA = np.dstack([COLOUR, GREY])


@table(
    ("values", "saving", "expected"),
    [
        (ALPHA, {}, GREY),
        (ALPHA, {"mode": "LA"}, GREY),
        (OPAQUE, {}, np.full_like(GREY, 255)),
        (ALPHA, {"exif": ROTATED}, np.rot90(GREY, -1)),
        (GREY % 2, {"transparency": 1}, 255 * (GREY % 2 == 0)),
    ],
)
def test_the_alpha_channel_of_a_file_is_read_and_one_without_is_refused(tmp_path, values, saving, expected):
    content = saved(tmp_path / "a.png", values, **saving).read_bytes()
    np.testing.assert_array_equal(image_files.decode_alpha("mask", content)[..., 0], expected)
    with pytest.raises(DataError, match="^b: no alpha channel"):
        image_files.decode_alpha("b", saved(tmp_path / "b.png", COLOUR).read_bytes())


def test_cmyk_becomes_rgb_by_the_stated_formula_of_its_own_values(tmp_path):
    inks = picture(16, 16, 4)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=100)
    with Image.open(tmp_path / "a.jpg") as opened:
        c, m, y, k = np.moveaxis(np.asarray(opened).astype(float) / 255, -1, 0)
    expected = 255 * np.stack([(1 - ink) * (1 - k) for ink in (c, m, y)], axis=-1)
    np.testing.assert_allclose(image_files.read(tmp_path / "a.jpg", mode="RGB"), expected, rtol=0, atol=1)


def bad_files(folder):
    """Each kind of unusable file, with what its error must say."""
    for name in ("cut.png", "cut.jpg"):
        intact = saved(folder / name, picture(64, 64)).read_bytes()
        (folder / name).write_bytes(intact[: len(intact) // 2])
    (folder / "text.jpg").write_text("no image at all\n")
    (folder / "empty.png").write_bytes(b"")
    saved(folder / "really.tiff", COLOUR).rename(folder / "tiff.png")
    yield from ((folder / name, "not a whole") for name in ("cut.png", "cut.jpg", "text.jpg", "empty.png", "tiff.png"))
    for name, colour, transparent in (("grey16.png", 0, b"\0\7"), ("colour16.png", 2, b"\0\7" * 3)):
        content = b"".join(b"\0" + bytes(range(16 if colour == 0 else 48)) for _ in range(8))
        yield png(folder / name, 8, 8, 16, colour, content, transparent), "16 bits with a transparent colour"
    yield png(folder / "bomb.png", 60000, 60000, 8, 2), "60000 × 60000|decompression bomb"
    yield png(folder / "large.png", 9000, 9000, 8, 0), "9000 × 9000 is more than"
    yield saved(folder / "long.png", np.zeros((1, 60000), np.uint8)), "resized to a shorter side of 512 is more than"
    yield (
        saved(folder / "moving.gif", COLOUR, save_all=True, append_images=[Image.fromarray(picture(seed=1))]),
        "animated: 2 frames",
    )
    yield saved(folder / "clear.png", COLOUR, "P", transparency=0), "has transparent pixels; pass background="


@pytest.mark.fault("unreadable image")
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
    for value, position in enumerate(("dog/z.png", "dog/deep/er/a.PNG", "cat/b.png", "10/c.png", "2/d.png"), 1):
        put(tmp_path / position, value)
    return tmp_path


def test_classes_are_the_sorted_top_folders_and_files_are_found_at_any_depth_but_hidden_and_system_ones_are_no_part(
    tree,
):
    (tree / ".DS_Store").write_bytes(b"x")
    (tree / "cat" / ".hidden.png").write_bytes(b"x")
    put(tree / "cat" / ".thumbnails" / "b.png")
    put(tree / "__MACOSX" / "b.png")
    for name in ("Thumbs.db", "desktop.ini", "cat/Thumbs.db", "Icon\r"):
        (tree / name).write_bytes(b"x")
    images = image_folder.load(tree)
    assert images.classes == ("10", "2", "cat", "dog")
    assert images.labels.tolist() == [0, 1, 2, 3, 3] and images.labels.dtype == np.int32
    assert scaling.from_unit(images.clean, images.levels)[:, 0, 0, 0].tolist() == [4, 5, 3, 2, 1]
    assert images.clean.shape == (5, 4, 4, 3) and images.clean.dtype == np.float32
    assert images.levels == 256 and images.skipped == () and len(images) == 5


def test_images_without_class_folders_have_no_label(tmp_path):
    put(tmp_path / "a.png"), put(tmp_path / "b.png")
    images = image_folder.load(tmp_path, mode="L")
    assert (
        images.labels.tolist() == [NO_LABEL, NO_LABEL] and images.classes == () and images.clean.shape == (2, 4, 4, 1)
    )


@pytest.mark.fault("images: mixed sizes")
def test_mixed_sizes_are_an_error_without_a_size_and_one_array_with_one(tree):
    odd = put(tree / "dog" / "odd.png", shape=(6, 5, 3))
    with pytest.raises(DataError, match=rf"^{odd}: shape \(6, 5, 3\), but .*10/c.png has \(4, 4, 3\); pass size="):
        image_folder.load(tree)
    assert image_folder.load(tree, size=4).clean.shape == (6, 4, 4, 3)


@pytest.mark.fault("unreadable image", "unexpected file in a folder of images")
@table("name", ["cat/text.jpg", "cat/notes.txt", "cat/empty.png", "notes.txt", "loose.png"])
def test_a_bad_or_loose_file_stops_the_load_or_is_skipped_and_counted(tree, name):
    bad = tree / name
    bad.write_text("" if "empty" in name else "words")
    reasons = {
        "notes.txt": "unknown suffix: .*; move it out",
        "loose.png": "has no class: it lies beside the class folders 10",
    }
    message = f"^{bad}: {reasons.get(name, '')}"
    with pytest.raises(DataError, match=message):
        image_folder.load(tree)
    images = image_folder.load(tree, on_bad="skip")
    assert len(images) == 5 and images.classes == ("10", "2", "cat", "dog")
    assert len(images.skipped) == 1 and re.match(message, images.skipped[0])
    bad.unlink()


def test_skipping_a_whole_class_keeps_the_other_labels_and_skipping_all_files_is_an_error(tree):
    (tree / "cat" / "b.png").write_bytes(b"")
    images = image_folder.load(tree, on_bad="skip")
    assert images.classes == ("10", "2", "cat", "dog") and images.labels.tolist() == [0, 1, 3, 3]
    with pytest.raises(DataError, match="none of its 1 files can be used"):
        image_folder.load(tree / "cat", on_bad="skip")


@pytest.mark.fault("missing data")
def test_missing_wrong_and_empty_folders_are_told_apart(tmp_path):
    file = put(tmp_path / "a" / "a.png")
    (tmp_path / "b").mkdir()
    for path, message in (
        (tmp_path / "none", "no such folder"),
        (file, "not a folder"),
        (tmp_path / "b", "no images in it"),
    ):
        with pytest.raises(DataError, match=f"^{path}: {message}"):
            image_folder.load(path)
    with pytest.raises(DataError, match=f"^{tmp_path / 'b'}: a class without files"):
        image_folder.load(tmp_path)


def test_links_are_followed_but_not_round_in_circles_and_a_broken_one_and_a_pipe_are_bad_files(tree, tmp_path_factory):
    (tree / "cow").symlink_to(put(tmp_path_factory.mktemp("elsewhere") / "cow" / "a.png", 9).parent)
    assert image_folder.load(tree).classes == ("10", "2", "cat", "cow", "dog")
    (tree / "dog" / "loop").symlink_to(tree / "dog")
    with pytest.raises(DataError, match="a link to a folder that is already part of dog"):
        image_folder.load(tree)
    (tree / "dog" / "loop").unlink()
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


# Arrays.


def integers(n=6, shape=(5, 4, 3), levels=256):
    return np.random.default_rng(0).integers(0, levels, (n, *shape))


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def refused(path, message):
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        numpy_files.load(path)


def test_whole_values_and_labels_come_back_scaled(tmp_path):
    pixels, labels = integers().astype(np.uint8), np.array([0, 2, 1, 2, 0, NO_LABEL])
    images = numpy_files.load(npz(tmp_path / "a.npz", images=pixels, labels=labels))
    np.testing.assert_array_equal(scaling.from_unit(images.clean, 256), pixels)
    assert images.clean.dtype == np.float32 and images.labels.dtype == np.int32
    assert images.labels.tolist() == labels.tolist() and images.classes == ("0", "1", "2") and images.levels == 256


def test_an_npy_file_has_no_labels_grey_gains_its_channel_and_floats_in_the_unit_range_stay(tmp_path):
    np.save(tmp_path / "a.npy", integers(shape=(8, 8), levels=17))
    images = numpy_files.load(tmp_path / "a.npy", levels=17)
    assert images.clean.shape == (6, 8, 8, 1) and images.levels == 17 and images.classes == ()
    assert images.labels.tolist() == [NO_LABEL] * 6
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1))
    np.save(tmp_path / "a.npy", x)
    np.testing.assert_array_equal(numpy_files.load(tmp_path / "a.npy").clean, x.astype(np.float32))


WRONG = [
    ({"images": integers(shape=(3, 8, 8))}, r"\(6, 3, 8, 8\) have their channels first.*transpose"),
    ({"images": integers(shape=(1, 8, 9))}, "channels first"),
    ({"images": integers() * 1.0}, r"must lie in \[-1, 1\], got \[\d+, 25\d\]; store whole values as integers"),
    ({"images": integers() / 255}, r"and these lie in \[0, 1\], as those in \[0, 1\] do; store 2 x - 1"),
    ({"images": integers() + 1}, r"1…256, but 256 levels are 0…255; pass levels="),
    ({"images": integers() * -1}, "levels are 0…255"),
    ({"images": np.full((6, 4, 4, 1), np.nan)}, "96 of 96 values are NaN"),
    ({"images": np.zeros((6, 4, 4, 1), bool)}, "integers or floats, got bool"),
    ({"images": np.zeros((6, 4, 4, 1), complex)}, "integers or floats, got complex"),
    ({"images": np.zeros((4, 4), np.uint8)}, r"must be \(n, h, w\)"),
    ({"images": np.zeros((0, 4, 4, 1), np.uint8)}, "not empty"),
    ({"images": np.array([["a"]] * 4)}, r"must be \(n, h, w\)"),
    ({"labels": np.zeros(6)}, "must be integers, got float64"),
    ({"labels": np.zeros(6, bool)}, "must be integers, got bool"),
    ({"labels": np.zeros(5, int)}, r"labels have shape \(5,\), but there are 6 images"),
    ({"labels": np.zeros((6, 1), int)}, r"labels have shape \(6, 1\)"),
    ({"labels": np.full(6, -2)}, "labels lie in -2…-2"),
    ({"labels": np.full(6, 2**31)}, "labels lie in 2147483648"),
]


@pytest.mark.fault("images: channels first")
@table("wrong, message", WRONG)
def test_wrong_arrays_are_refused_with_path_and_reason(tmp_path, wrong, message):
    refused(npz(tmp_path / "a.npz", **{"images": integers(), "labels": np.zeros(6, int)} | wrong), message)


class Marker:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.fault("pickle in weights")
def test_pickled_objects_are_refused_and_never_run(tmp_path):
    marker = Marker(tmp_path / "marker")
    npz(tmp_path / "objects.npz", images=np.array([marker], dtype=object), labels=np.zeros(1, int))
    np.save(tmp_path / "objects.npy", np.array([marker], dtype=object), allow_pickle=True)
    for name in ("pickle.npz", "pickle.npy"):
        (tmp_path / name).write_bytes(pickle.dumps(marker))
    for name in ("objects.npz", "objects.npy", "pickle.npz", "pickle.npy"):
        refused(tmp_path / name, "not a whole NumPy file without objects")
        assert not marker.path.exists()


@pytest.mark.fault("crafted npz header")
def test_broken_forged_missing_and_misnamed_files_are_refused_with_their_path(tmp_path):
    full, array = npz(tmp_path / "full.npz", images=integers(), labels=np.zeros(6, int)).read_bytes(), io.BytesIO()
    np.save(array, np.zeros((1, 4, 4, 1), np.uint8))
    # more than the file holds
    huge = array.getvalue().replace(b"(1, 4, 4, 1), }           ", b"(1000000000, 4000, 4, 1), }")
    for name, content, message in (
        ("cut.npz", full[: len(full) // 2], "not a whole"),
        ("cut.npy", array.getvalue()[:-8], "not a whole"),
        ("empty.npz", b"", "not a whole"),
        ("empty.npy", b"", "not a whole"),
        ("forged.npy", array.getvalue().replace(b"(1, 4, 4, 1)", b"(10**15, 4,)"), "not a whole"),
        ("huge.npy", huge, "not a whole"),
        ("long.npy", array.getvalue() + b"x", "more bytes than its shape"),
        ("image.png", full, "must be named .npy or .npz"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, message)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("images.npy", huge)
        archive.writestr("labels.npy", huge)
    (tmp_path / "folder.npy").mkdir()
    for name, message in (
        ("huge.npz", "not a whole"),
        ("none.npz", "no such file"),
        ("folder.npy", "not a regular file"),
    ):
        refused(tmp_path / name, message)


def test_a_name_that_is_missing_or_occurs_twice_is_refused(tmp_path):
    path = npz(tmp_path / "a.npz", x=integers(), y=np.zeros(6, np.int64))
    assert numpy_files.load(path, images="x", labels="y").classes == ("0",)
    assert numpy_files.load(path, images="x", labels=None).classes == ()
    refused(path, "has 0 arrays named 'images', one is needed; its arrays are x, y")
    with (
        zipfile.ZipFile(tmp_path / "b.npz", "w") as archive,
        zipfile.ZipFile(path) as full,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        for name, source in (("images.npy", "x.npy"), ("labels.npy", "y.npy"), ("images.npy", "x.npy")):
            archive.writestr(name, full.read(source))
    refused(tmp_path / "b.npz", "has 2 arrays named 'images'")


FILES = {
    "a.png": lambda path: Image.fromarray(integers(1, (6, 9, 3)).astype(np.uint8)[0]).save(path),
    "a.npy": lambda path: np.save(path, integers(2, (4, 4, 1)).astype(np.uint8)),
    "a.npz": lambda path: npz(path, images=integers(2, (4, 4, 1)).astype(np.uint8), labels=np.zeros(2, int)),
}


@pytest.mark.fault("crafted npz header")
@table("name", FILES)
def test_damaged_bytes_of_any_kind_of_file_give_a_data_error_or_images_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    original, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(original)
        for position in rng.integers(min(len(damaged), 300 if name == "a.png" else 160), size=rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            images = image_files.read(path, mode="RGB") if name == "a.png" else numpy_files.load(path).clean
            assert images.dtype == (np.uint8 if name == "a.png" else np.float32)
        except DataError as error:
            assert str(error).startswith(str(path))
