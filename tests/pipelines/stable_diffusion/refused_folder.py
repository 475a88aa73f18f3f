"""A folder that a change spoils: one error that begins with its path, which `inspect` says too. No array is read."""

import contextlib

import pytest

from gendiff.pipelines.stable_diffusion import inspect, open_model
from gendiff.weights.streamed import StoredArray
from tests.pipelines.stable_diffusion import tiny_folders


@contextlib.contextmanager
def nothing_loaded():
    """Within, a test fails where an array of a file is read."""

    def read(self, *_, **__):
        raise AssertionError(f"{self.file} was read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredArray, "__array__", read)
        yield


def refuse(path, name, change, message, error):
    folder = tiny_folders.write(path / "model", name)
    change(folder)
    refuse_to_open(folder, message, error)


def refuse_to_open(folder, message, error):
    with nothing_loaded():
        with pytest.raises(error, match=message) as caught:
            open_model(folder)
        problems = inspect(folder).problems
    assert str(caught.value).startswith(str(folder))
    assert problems and all(problem.startswith(str(folder)) for problem in problems)
