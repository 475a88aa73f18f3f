"""Reference statistics and batches of images in `.npz` files.

The formats are those of ADM's evaluation, pytorch-fid, clean-fid and StyleGAN.

| array | holds |
|---|---|
| `mu` (d,), `sigma` (d, d) | the mean and the unbiased covariance of features: of Inception's pool, d = 2048 |
| `mu_s`, `sigma_s` | the same of ADM's spatial features, d = 2023 |
| `arr_0` (n, h, w, c) | ADM's batches of uint8 images |
| `feats` (n, d) | the features themselves, for clean-fid's kernel distance |
"""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from gendiff.core import checks, files, npz
from gendiff.core.errors import DataError
from gendiff.metrics import frechet
from gendiff.metrics.frechet import FittedGaussian


def load(path: str | os.PathLike[str], *, mean: str = "mu", covariance: str = "sigma") -> FittedGaussian:
    """Read the Gaussian that somebody fitted to reference features.

    Args:
        path: an `.npz`.
        mean: the name of the mean (d,).
        covariance: the name of the covariance (d, d).

    Raises:
        DataError: path first, for a missing or damaged file, a missing array, pickled objects, other shapes, numbers
            that are not finite, and a covariance that is not symmetric or has a negative eigenvalue.
    """
    file = npz.existing(Path(path), ".npz")
    stored = npz.guarded(file, lambda: npz.read(file, [mean, covariance]))
    centre, matrix = stored[mean], stored[covariance]
    if not all(np.issubdtype(array.dtype, np.floating) for array in (centre, matrix)):
        raise DataError(f"{file}: {mean} and {covariance} must be floats, got {centre.dtype} and {matrix.dtype}")
    if centre.ndim != 1 or not centre.size or matrix.shape != (centre.size, centre.size):
        raise DataError(
            f"{file}: {mean} must have shape (d,) and {covariance} (d, d), got {centre.shape} and {matrix.shape}; "
            "read_batches reads a file of images (arr_0) or of features (feats)"
        )
    try:
        return frechet.from_moments(centre, matrix)
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error


def save(path: str | os.PathLike[str], fitted: FittedGaussian) -> None:
    """Write a fitted Gaussian as `mu` and `sigma` in float64, which all of those programs read.

    Args:
        path: an `.npz`; an older file of that name is replaced once the new one is whole.
        fitted: from `frechet.fit` or `frechet.finish`.
    """
    _write(path, mu=fitted.mean, sigma=fitted.factor.T @ fitted.factor)


def save_batch(path: str | os.PathLike[str], images: Shaped[np.ndarray, "n *shape"]) -> None:
    """Write images as ADM's `arr_0`.

    Args:
        path: an `.npz`; an older file of that name is replaced once the new one is whole.
        images: (n, h, w, c) uint8.

    Raises:
        ValueError: for another rank or dtype.
    """
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 (n, h, w, c), got {images.dtype} {images.shape}; gendiff.data.scaling.from_unit "
            "makes them"
        )
    _write(path, arr_0=images)


def read_batches(
    path: str | os.PathLike[str], size: int, *, name: str = "arr_0"
) -> Iterator[Shaped[np.ndarray, "b *shape"]]:
    """Read the rows of one array, `size` at a time, in memory of two such batches however many rows there are.

    Args:
        path: an `.npz`.
        size: rows per batch, >= 1; the last may have fewer.
        name: "arr_0" for ADM's images, "feats" for clean-fid's features.

    Raises:
        DataError: path first, for a missing or damaged file, a missing array, and for objects, which would have to be
            unpickled. Damage behind the first batch is noticed when it is reached, and a wrong checksum at the end.
    """
    checks.integer("size", size, 1)
    file = npz.existing(Path(path), ".npz")
    return _batches(file, size, name)


def _batches(file: Path, size: int, name: str) -> Iterator[np.ndarray]:
    with npz.guarded(file, lambda: zipfile.ZipFile(file)) as archive:
        stored = npz.entry(file, archive, name)
        with npz.guarded(file, lambda: archive.open(stored)) as stream:
            shape, dtype = npz.guarded(file, lambda: _header(stream))
            if dtype.hasobject or min(shape, default=0) < 1:
                raise DataError(f"{file}: array {name} must hold numbers (n, …), got {dtype} {shape}")
            for start in range(0, shape[0], size):
                expected = (min(size, shape[0] - start), *shape[1:])
                yield npz.guarded(file, lambda expected=expected: _rows(stream, expected, dtype))  # type: ignore[misc]
            if npz.guarded(file, lambda: stream.read(1)):
                raise DataError(f"{file}: array {name} holds more bytes than its shape {shape} says")


def _header(stream: IO[bytes] | io.BufferedIOBase) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format has no rule here")
    shape, by_columns, dtype = readers[version](stream)
    if by_columns and len(shape) > 1:
        raise ValueError("the array is stored by columns, so that its rows cannot be read one after the other")
    return shape, dtype


def _rows(stream: IO[bytes] | io.BufferedIOBase, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
    read = stream.read(expected)
    if len(read) != expected:
        raise ValueError(f"it ends {expected - len(read)} bytes before its shape says")
    return np.frombuffer(read, dtype).reshape(shape)


def _write(path: str | os.PathLike[str], **arrays: np.ndarray) -> None:
    file = Path(path)
    if file.suffix.lower() != ".npz":
        raise DataError(f"{file}: must be named .npz")
    with files.replacing(file) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
