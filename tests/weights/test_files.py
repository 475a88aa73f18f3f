"""Foreign weights on disk: safetensors whole, in parts, and nothing else."""

import json
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

from gendiff.core.errors import DataError
from gendiff.weights import files, streamed
from tests.tables import table

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.array([0.1, 0.2], np.float16)}
INDEX = f"{files.STEM}.safetensors.index.json"


def written(folder, **parts):
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", "sample_size": 32}))
    for name, arrays in parts.items():
        safetensors.numpy.save_file(arrays, folder / f"{name}.safetensors")
    return folder


def same(result, expected):
    return result.keys() == expected.keys() and all(
        result[name].dtype == array.dtype and np.array_equal(result[name], array) for name, array in expected.items()
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


@table(
    "places, message",
    [
        ({"a.weight": "../one.safetensors"}, "name of a file beside it"),
        ({"a.weight": "one.safetensors", "b.bias": "one.safetensors"}, "names 2 arrays and its files hold 1"),
        (
            {"a.weight": "one.safetensors", "b.bias": "again.safetensors"},
            "a.weight is in one.safetensors and in a part before",
        ),
        ({"a.weight": "none.safetensors"}, "no such file"),
        ({"a.weight": ""}, "the name of a file beside it"),
        (None, "weight_map"),
    ],
)
def test_an_index_that_contradicts_its_parts_is_refused(tmp_path, places, message):
    one = {"a.weight": ARRAYS["a.weight"]}
    folder = written(tmp_path, one=one, again=one)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    assert message in refused(files.load_folder, folder)


@pytest.mark.fault("pickle in weights")
@table("suffix", [".bin", ".ckpt", ".pt", ".pth", ".pkl"])
def test_a_pickle_is_never_opened_and_the_way_out_is_told(tmp_path, suffix):
    file = tmp_path / f"{files.STEM}{suffix}"
    file.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    message = refused(files.load, file)
    assert "a pickle can run code" in message and "safe_serialization=True" in message
    message = refused(files.load_folder, written(tmp_path))
    assert f"it holds {file.name}" in message and "safe_serialization=True" in message


WHOLE = safetensors.numpy.save(ARRAYS)


def crafted(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), end=4):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": [0, end]}}


CRAFTED = {
    "float8": (crafted(entry("F8_E4M3", (2,), 2), b"ab"), "type that cannot be read"),
    "unknown type": (crafted(entry("Q8", (2,), 2), b"ab"), "not a whole"),
    "more than the file holds": (crafted(entry(shape=(2**40,), end=2**42)), "not a whole"),
    "more than a number holds": (crafted(entry(shape=(2**62,), end=2**63)), "not a whole"),
    "empty and huge": (crafted(entry(shape=(0, 2**62), end=0)), "not a whole"),
    "negative": (crafted(entry(shape=(-1,)), b"abcd"), "not a whole"),
    "header longer than the file": (struct.pack("<Q", 2**40) + b"{}", "not a whole"),
    "header of half of memory": (struct.pack("<Q", 2**63 - 1) + b"{}", "not a whole"),
    "nested lists": (crafted(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "not a whole"),
    "nested objects": (crafted(b'{"__metadata__":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001), "not a whole"),
    "overlapping": (crafted({"a": entry()["a"], "b": entry()["a"]}, b"abcd"), "not a whole"),
    "no JSON": (crafted(b"\xff\xfe{}"), "not a whole"),
}


@pytest.mark.fault("crafted safetensors header")
@table("kind", CRAFTED)
def test_a_crafted_header_is_refused_without_a_large_allocation(tmp_path, kind):
    content, message = CRAFTED[kind]
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    tracemalloc.start()
    try:
        assert message in refused(files.load, file)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.fault("crafted safetensors header")
@table("read, axes", [(read, axes) for read in (files.load, streamed.open_file) for axes in (33, 65, 100_000)])
def test_an_array_of_many_axes_is_refused_by_its_name(tmp_path, read, axes):
    (tmp_path / "x.safetensors").write_bytes(crafted(entry(shape=(1,) * axes), b"abcd"))
    assert f"a has {axes} axes; at most 32 are read" in refused(read, tmp_path / "x.safetensors")


@pytest.mark.fault("crafted safetensors header")
@table("read", [files.load, streamed.open_file])
def test_a_file_of_many_names_is_read_soon(tmp_path, read):
    names = {
        f"a{number}": {"dtype": "U8", "shape": [1], "data_offsets": [number, number + 1]} for number in range(20_000)
    }
    (tmp_path / "x.safetensors").write_bytes(crafted(names, bytes(20_000)))
    begin = time.process_time()
    assert len(read(tmp_path / "x.safetensors")) == 20_000 and time.process_time() - begin < 2


@pytest.mark.fault("pickle in weights")
@table("name", ["x.safetensors", "x.pt", "x.npz"])
def test_a_pickle_that_writes_a_marker_writes_none_whatever_it_is_called(tmp_path, name):
    marker = tmp_path / "marker"

    class Payload:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    (tmp_path / name).write_bytes(pickle.dumps(Payload()))
    refused(files.load, tmp_path / name)
    assert not marker.exists()
    pickle.loads((tmp_path / name).read_bytes()).close()
    assert marker.exists()  # the payload works


@pytest.mark.fault("crafted safetensors header")
@table("content", [b"", b"\x00" * 7, b"\xff" * 64, b"\x02\x00\x00\x00\x00\x00\x00\x00{}trailing", WHOLE[:-1]])
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


@table(
    "text, message",
    [("{", "not JSON"), ("[" * 200_000 + "]" * 200_000, "not JSON"), ("[1]", "must hold one JSON object, got list")],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    assert message in refused(files.load_folder, tmp_path)
