"""Statistics and batches in `.npz` files: what others store is read, what is written they read, and damage is an error
with the path.
"""

import io
import zipfile

import numpy as np
import pytest

from gendiff.core import npz
from gendiff.core.errors import DataError
from gendiff.metrics import frechet, statistics_files
from tests.metrics.rows import normal, rng
from tests.tables import table

X = normal(0, 40, 5) @ normal(1, 5, 5)
IMAGES = rng().integers(0, 256, (7, 4, 3, 3), dtype=np.uint8)


def theirs(rows, dtype=np.float64):
    """As pytorch-fid, clean-fid and ADM compute and store them."""
    return {"mu": np.mean(rows, axis=0).astype(dtype), "sigma": np.cov(rows, rowvar=False).astype(dtype)}


def written(folder, name="reference.npz", compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(folder / name, **arrays)
    return folder / name


@table("compressed", [False, True])
def test_a_file_of_others_holds_the_gaussian_of_its_rows(tmp_path, compressed):
    gaussian = statistics_files.load(written(tmp_path, compressed=compressed, **theirs(X)))
    assert frechet.frechet_distance(gaussian, frechet.fit(X)) < 1e-10 and frechet.frechet_distance(
        gaussian, frechet.fit(X + 1)
    ) == pytest.approx(5, rel=1e-9)


def test_adms_spatial_statistics_and_single_precision_are_read(tmp_path):
    spatial = {f"{name}_s": array for name, array in theirs(2 * X).items()}
    file = written(tmp_path, **theirs(X, np.float32), **spatial, arr_0=IMAGES)
    assert frechet.frechet_distance(statistics_files.load(file), frechet.fit(X)) < 1e-4
    assert (
        frechet.frechet_distance(statistics_files.load(file, mean="mu_s", covariance="sigma_s"), frechet.fit(2 * X))
        < 1e-10
    )


def test_fewer_rows_than_features_leave_a_singular_covariance_that_is_read_in_both_precisions(tmp_path):
    few = normal(2, 6, 30)
    for dtype, near in ((np.float64, 1e-6), (np.float32, 1e-2)):
        assert (
            frechet.frechet_distance(statistics_files.load(written(tmp_path, **theirs(few, dtype))), frechet.fit(few))
            < near
        )


def test_what_is_written_is_what_the_others_expect_and_returns(tmp_path):
    file = tmp_path / "own.npz"
    for rows in (X + 1, X):  # the second replaces the first
        statistics_files.save(file, frechet.fit(rows))
    with np.load(file, allow_pickle=False) as stored:
        assert sorted(stored.files) == ["mu", "sigma"] and stored["sigma"].dtype == np.float64
        np.testing.assert_allclose(stored["sigma"], np.cov(X.T), rtol=1e-12)
    assert frechet.frechet_distance(statistics_files.load(file), frechet.fit(X)) < 1e-10
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


@table("size", [1, 3, 7, 100])
def test_batches_are_the_images_in_order_whatever_their_size(tmp_path, size):
    file = tmp_path / "batch.npz"
    statistics_files.save_batch(file, IMAGES)
    parts = list(statistics_files.read_batches(file, size))
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate(parts), IMAGES)


def test_features_as_clean_fid_stores_them_stream_into_the_distance(tmp_path):
    state = None
    for rows in statistics_files.read_batches(
        written(tmp_path, compressed=True, feats=X.astype(np.float32)), 16, name="feats"
    ):
        state = frechet.update(state, rows)
    assert frechet.frechet_distance(frechet.finish(state), frechet.fit(X.astype(np.float32))) < 1e-10


def pickled(folder):
    return written(folder, mu=np.array([{}, 1], dtype=object), sigma=np.eye(2), arr_0=np.array([{}, 1], dtype=object))


def longer(folder):
    """One whose array goes on behind what its shape says."""
    stream = io.BytesIO()
    np.save(stream, IMAGES)
    with zipfile.ZipFile(folder / "long.npz", "w") as archive:
        archive.writestr("arr_0.npy", stream.getvalue() + b"0")
        archive.writestr("mu.npy", stream.getvalue() + b"0")
        archive.writestr("sigma.npy", stream.getvalue())
    return folder / "long.npz"


def damaged(folder, change):
    file = written(folder, **theirs(X), arr_0=IMAGES)
    file.write_bytes(change(bytearray(file.read_bytes())))
    return file


def flipped(offset):
    def change(bytes_):
        bytes_[offset] ^= 1
        return bytes_

    return change


BAD = {
    "another name": (lambda folder: folder / "a.txt", "must be named .npz"),
    "no file": (lambda folder: folder / "a.npz", "no such file"),
    "objects": (pickled, "object"),
    "bytes left over": (longer, "more bytes than its shape"),
    "cut": (lambda folder: damaged(folder, lambda bytes_: bytes_[: len(bytes_) // 2]), "not a whole NumPy file"),
    "empty": (lambda folder: damaged(folder, lambda bytes_: b""), "not a whole NumPy file"),
    "an array that grows beyond reason": (
        lambda folder: written(
            folder, compressed=True, mu=np.zeros(2**20), sigma=np.zeros(2), arr_0=np.zeros((2**20, 1), np.uint8)
        ),
        "grows from .* to .* bytes",
    ),
    "no array of that name": (
        lambda folder: written(folder, other=X),
        "0 arrays named '(mu|arr_0)'.*its arrays are other",
    ),
}


@pytest.mark.fault("crafted npz header")
@table("bad, message", BAD.values())
@table("read", [statistics_files.load, lambda file: list(statistics_files.read_batches(file, 2))])
def test_a_bad_file_is_an_error_that_begins_with_its_path(tmp_path, bad, message, read, monkeypatch):
    monkeypatch.setattr(npz, "_LARGE", 2**16)
    file = bad(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))


def test_a_flipped_bit_is_noticed_in_statistics_and_in_batches(tmp_path):
    with zipfile.ZipFile(written(tmp_path, **theirs(X), arr_0=IMAGES)) as archive:
        places = {name: archive.getinfo(f"{name}.npy").header_offset + 200 for name in ("mu", "sigma", "arr_0")}
    for name, offset in places.items():
        file = damaged(tmp_path, flipped(offset))
        with pytest.raises(DataError, match=r"reference.npz: "):
            list(statistics_files.read_batches(file, 3)) if name == "arr_0" else statistics_files.load(file)


@pytest.mark.fault("crafted npz header")
@table("compressed", [False, True])
def test_changed_bytes_give_a_data_error_or_a_result_and_nothing_else(tmp_path, compressed):
    draws, content = rng(3), written(tmp_path, compressed=compressed, **theirs(X), arr_0=IMAGES).read_bytes()
    refused = 0
    file = tmp_path / "reference.npz"
    for number in range(150):
        changed = bytearray(content)
        for offset in draws.integers(len(content), size=3):
            changed[offset] = draws.integers(256)
        file.write_bytes(changed[: draws.integers(len(content))] if number % 5 == 0 else changed)
        for read in (statistics_files.load, lambda file: list(statistics_files.read_batches(file, 2))):
            try:
                read(file)
            except DataError as error:
                refused += 1
                assert str(error).startswith(str(file))
    assert refused > 100


@table(
    "arrays, message",
    [
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"\(d,\) and sigma \(d, d\), got \(3,\) and \(4, 4\)"),
        ({"mu": np.zeros((3, 3)), "sigma": np.eye(3)}, r"got \(3, 3\) and \(3, 3\)"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, r"got \(0,\)"),
        ({"mu": np.zeros(2, int), "sigma": np.eye(2)}, "must be floats, got int64"),
        ({"mu": np.array([0, np.nan]), "sigma": np.eye(2)}, "mean is not finite"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 0.0], [0.5, 1.0]])}, "symmetric with no negative eigenvalue"),
        ({"mu": np.zeros(2, np.float32), "sigma": -np.eye(2, dtype=np.float32)}, "its least is -1"),
    ],
)
def test_arrays_that_are_no_gaussian_are_refused(tmp_path, arrays, message, unchecked):
    with pytest.raises(DataError, match=message):
        statistics_files.load(written(tmp_path, **arrays))


@pytest.mark.fault("likelihood, metrics: float where uint8 is meant")
def test_arrays_that_are_no_images_or_no_rows_are_refused(tmp_path, unchecked):
    with pytest.raises(ValueError, match="images must be uint8"):
        statistics_files.save_batch(tmp_path / "a.npz", IMAGES / 255)
    for array, message in (
        (np.zeros(()), "must hold numbers"),
        (np.zeros((0, 3)), "must hold numbers"),
        (np.asfortranarray(X), "by columns"),
    ):
        with pytest.raises(DataError, match=message):
            list(statistics_files.read_batches(written(tmp_path, arr_0=array), 2))
    with pytest.raises(ValueError, match="size = 0"):
        statistics_files.read_batches(tmp_path / "a.npz", 0)
