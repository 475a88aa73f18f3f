"""Foreign weights on disk: safetensors whole, in parts, and nothing else."""

import json

import numpy as np
import pytest
import safetensors.numpy

from gendiff.core.errors import DataError
from gendiff.weights import files

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.array([0.1, 0.2], np.float16)}
INDEX = f"{files.STEM}.safetensors.index.json"


def written(folder, **parts):
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", "sample_size": 32}))
    for name, arrays in parts.items():
        safetensors.numpy.save_file(arrays, folder / f"{name}.safetensors")
    return folder


def same(found, wanted):
    return found.keys() == wanted.keys() and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in wanted.items()
    )


def refused(call, path):
    with pytest.raises(DataError) as caught:
        call(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_folder_gives_its_configuration_and_arrays(tmp_path):
    stored = files.load_folder(str(written(tmp_path, **{files.STEM: ARRAYS})))
    assert stored.config["sample_size"] == 32 and same(stored.arrays, ARRAYS)


def test_parts_are_put_together(tmp_path):
    one, two = ({name: array} for name, array in ARRAYS.items())
    folder = written(tmp_path, one=one, two=two)
    places = {"a.weight": "one.safetensors", "b.bias": "two.safetensors"}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert same(files.load_folder(folder).arrays, ARRAYS)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"a.weight": "../one.safetensors"}, "name of a file beside it"),
        ({"a.weight": "one.safetensors", "b.bias": "one.safetensors"}, "names 2 arrays and its files hold 1"),
        ({"a.weight": "one.safetensors", "b.bias": "again.safetensors"}, "a.weight is in one.safetensors and in a part before"),
        ({"a.weight": "none.safetensors"}, "no such file"),
        (None, "weight_map"),
    ],
)
def test_an_index_that_contradicts_its_parts_is_refused(tmp_path, places, message):
    one = {"a.weight": ARRAYS["a.weight"]}
    folder = written(tmp_path, one=one, again=one)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    assert message in refused(files.load_folder, folder)


@pytest.mark.fault("pickle in weights")
@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt", ".pth", ".pkl"])
def test_a_pickle_is_never_opened_and_the_way_out_is_told(tmp_path, suffix):
    file = tmp_path / f"{files.STEM}{suffix}"
    file.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    message = refused(files.load, file)
    assert "a pickle can run code" in message and "safe_serialization=True" in message
    message = refused(files.load_folder, written(tmp_path))
    assert f"it holds {file.name}" in message and "safe_serialization=True" in message


WHOLE = safetensors.numpy.save(ARRAYS)


@pytest.mark.fault("crafted safetensors header")
@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64, b"\x02\x00\x00\x00\x00\x00\x00\x00{}trailing", WHOLE[:-1]])
def test_a_damaged_file_is_refused(tmp_path, content):
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    assert "not a whole safetensors file" in refused(files.load, file)


def test_other_names_missing_files_and_folders_are_refused(tmp_path):
    assert "must be named .safetensors" in refused(files.load, tmp_path / "x.npz")
    assert "no such file" in refused(files.load, tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").mkdir()
    assert "not a regular file" in refused(files.load, tmp_path / "y.safetensors")
    assert "config.json: no such file" in refused(files.load_folder, tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[1]", "must hold one JSON object, got list")])
def test_a_configuration_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    assert message in refused(files.load_folder, tmp_path)
