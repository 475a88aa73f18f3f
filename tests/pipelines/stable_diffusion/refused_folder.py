"""A folder that a change spoils: one error that begins with its path, which `inspect` says too."""

import pytest

from gendiff.pipelines.stable_diffusion import inspect, open_model
from tests.pipelines.stable_diffusion import tiny_folders


def refuse(path, name, change, message, error):
    folder = tiny_folders.write(path / "model", name)
    change(folder)
    with pytest.raises(error, match=message) as caught:
        open_model(folder).params()
    assert str(caught.value).startswith(str(folder))
    problems = inspect(folder).problems
    assert problems and all(problem.startswith(str(folder)) for problem in problems)
