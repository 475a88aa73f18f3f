import io
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import image_files, numpy_files, scaling


def whole(n=6, shape=(5, 4, 3), levels=256):
    return np.random.default_rng(0).integers(0, levels, (n, *shape))


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def refused(path, message):
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        numpy_files.load(path)


def test_whole_values_and_labels_come_back_scaled(tmp_path):
    pixels, labels = whole().astype(np.uint8), np.array([0, 2, 1, 2, 0, NO_LABEL])
    images = numpy_files.load(npz(tmp_path / "a.npz", images=pixels, labels=labels))
    np.testing.assert_array_equal(scaling.from_unit(images.clean, 256), pixels)
    assert images.clean.dtype == np.float32 and images.labels.dtype == np.int32
    assert images.labels.tolist() == labels.tolist() and images.classes == ("0", "1", "2") and images.levels == 256


def test_an_npy_file_has_no_labels_grey_gains_its_channel_and_floats_in_the_unit_range_stay(tmp_path):
    np.save(tmp_path / "a.npy", whole(shape=(8, 8), levels=17))
    images = numpy_files.load(tmp_path / "a.npy", levels=17)
    assert images.clean.shape == (6, 8, 8, 1) and images.levels == 17 and images.classes == ()
    assert images.labels.tolist() == [NO_LABEL] * 6
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1))
    np.save(tmp_path / "a.npy", x)
    np.testing.assert_array_equal(numpy_files.load(tmp_path / "a.npy").clean, x.astype(np.float32))


WRONG = [
    ({"images": whole(shape=(3, 8, 8))}, r"\(6, 3, 8, 8\) have their channels first.*transpose"),
    ({"images": whole(shape=(1, 8, 9))}, "channels first"),
    ({"images": whole() * 1.0}, r"must lie in \[-1, 1\], got \[\d+, 25\d\]; store whole values as integers"),
    ({"images": whole() / 255}, r"looks like \[0, 1\]; store 2 x - 1"),
    ({"images": whole() + 1}, r"1…256, but 256 levels are 0…255; pass levels="),
    ({"images": whole() * -1}, "levels are 0…255"),
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


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_arrays_are_refused_with_path_and_reason(tmp_path, wrong, message):
    refused(npz(tmp_path / "a.npz", **{"images": whole(), "labels": np.zeros(6, int)} | wrong), message)


class Marker:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    marker = Marker(tmp_path / "marker")
    npz(tmp_path / "objects.npz", images=np.array([marker], dtype=object), labels=np.zeros(1, int))
    np.save(tmp_path / "objects.npy", np.array([marker], dtype=object), allow_pickle=True)
    for name in ("pickle.npz", "pickle.npy"):
        (tmp_path / name).write_bytes(pickle.dumps(marker))
    for name in ("objects.npz", "objects.npy", "pickle.npz", "pickle.npy"):
        refused(tmp_path / name, "not a whole NumPy file without objects")
        assert not marker.path.exists()


def test_broken_forged_missing_and_misnamed_files_are_refused_with_their_path(tmp_path):
    full, array = npz(tmp_path / "full.npz", images=whole(), labels=np.zeros(6, int)).read_bytes(), io.BytesIO()
    np.save(array, np.zeros((1, 4, 4, 1), np.uint8))
    huge = array.getvalue().replace(b"(1, 4, 4, 1), }           ", b"(1000000000, 4000, 4, 1), }")  # more than the file holds
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
    for name, message in (("huge.npz", "not a whole"), ("none.npz", "no such file"), ("folder.npy", "not a regular file")):
        refused(tmp_path / name, message)


def test_a_name_that_is_missing_or_occurs_twice_is_refused(tmp_path):
    path = npz(tmp_path / "a.npz", x=whole(), y=np.zeros(6, np.int64))
    assert numpy_files.load(path, images="x", labels="y").classes == ("0",)
    assert numpy_files.load(path, images="x", labels=None).classes == ()
    refused(path, "has 0 arrays named 'images', one is needed; its arrays are x, y")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive, zipfile.ZipFile(path) as full, pytest.warns(UserWarning, match="Duplicate"):
        for name, source in (("images.npy", "x.npy"), ("labels.npy", "y.npy"), ("images.npy", "x.npy")):
            archive.writestr(name, full.read(source))
    refused(tmp_path / "b.npz", "has 2 arrays named 'images'")


FILES = {
    "a.png": lambda path: Image.fromarray(whole(1, (6, 9, 3)).astype(np.uint8)[0]).save(path),
    "a.npy": lambda path: np.save(path, whole(2, (4, 4, 1)).astype(np.uint8)),
    "a.npz": lambda path: npz(path, images=whole(2, (4, 4, 1)).astype(np.uint8), labels=np.zeros(2, int)),
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes_of_any_kind_of_file_give_a_data_error_or_images_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    original, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(original)
        for place in rng.integers(min(len(damaged), 300 if name == "a.png" else 160), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            images = image_files.read(path, mode="RGB") if name == "a.png" else numpy_files.load(path).clean
            assert images.dtype == (np.uint8 if name == "a.png" else np.float32)
        except DataError as error:
            assert str(error).startswith(str(path))
