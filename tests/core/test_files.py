"""A file is there whole, or as it was."""

import errno
import os

import numpy as np
import pytest

from gendiff.core import files
from tests.tables import table


@table("before", [None, b"old"])
def test_an_error_leaves_the_old_file_and_nothing_beside_it(before, tmp_path):
    target = tmp_path / "a.bin"
    if before is not None:
        target.write_bytes(before)
    with pytest.raises(ValueError, match="half"), files.replacing(target) as file:
        file.write(b"new")
        raise ValueError("half")
    assert (target.read_bytes() if target.exists() else None) == before
    assert [path.name for path in tmp_path.iterdir()] == ([] if before is None else ["a.bin"])


def test_a_reader_sees_the_old_content_until_the_end(tmp_path):
    target = tmp_path / "a.npy"
    np.save(target, np.zeros(3))
    with files.replacing(target) as first, files.replacing(target) as second:
        np.save(first, np.ones(3))
        np.save(second, np.full(3, 2.0))
        assert np.load(target).tolist() == [0, 0, 0]
    assert np.load(target).tolist() == [1, 1, 1]  # who ends last
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        with files.replacing(tmp_path / "a") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_an_error_of_the_disk_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught, files.replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError), files.replaced(tmp_path / "b"):
        pass  # nothing was written
