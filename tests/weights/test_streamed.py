"""Arrays of safetensors files are read where they are used, each alone, and equal what the library of the format
reads.
"""

import json
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.weights import files, layouts, rules, streamed
from gendiff.weights.rules import Rule
from tests.tables import table

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b.bias": np.array([0.1, 0.2], np.float16),
    "c": np.array(7, np.int64),
    "d": np.zeros((0, 3), np.float32),
    "e": np.array([True, False]),
}
INDEX = f"{files.STEM}.safetensors.index.json"


def saved(folder, name=files.STEM, arrays=ARRAYS):
    safetensors.numpy.save_file(arrays, folder / f"{name}.safetensors", {"format": "pt"})
    return folder / f"{name}.safetensors"


def test_every_array_is_that_of_the_library_of_the_format(tmp_path):
    arrays = streamed.open_file(saved(tmp_path))
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        stored = arrays[name]
        assert (stored.shape, stored.dtype, stored.ndim, stored.nbytes) == (
            array.shape,
            array.dtype,
            array.ndim,
            array.nbytes,
        )
        assert np.array_equal(np.asarray(stored), array) and np.asarray(stored).dtype == array.dtype
        assert np.asarray(stored, np.float64).dtype == np.float64


def written(file, arrays):
    """A file of types that the library of the format cannot write from NumPy."""
    names, header, body = {np.dtype(dtype): name for name, dtype in streamed.TYPES.items()}, {}, b""
    for name, array in arrays.items():
        entry = {"dtype": names[array.dtype], "shape": array.shape}
        header[name] = entry | {"data_offsets": [len(body), len(body) + array.nbytes]}
        body += array.tobytes()
    raw = json.dumps(header).encode()
    file.write_bytes(len(raw).to_bytes(8, "little") + raw + body)
    return file


@table("kind", [jnp.bfloat16, jnp.float8_e4m3fn, jnp.float8_e5m2])
def test_types_that_numpy_lacks_are_read_bit_for_bit(tmp_path, kind):
    array = np.linspace(-3, 3, 8, dtype=np.float32).astype(kind).reshape(2, 4)
    read = np.asarray(streamed.open_file(written(tmp_path / "x.safetensors", {"x": array}))["x"])
    assert read.dtype == np.dtype(kind) and read.tobytes() == array.tobytes() and read.shape == (2, 4)


E4M3 = np.linspace(-3, 3, 8, dtype=np.float32).reshape(4, 2).astype(jnp.float8_e4m3fn)


@table(
    "extra, scale",
    [
        ({"a.scale_weight": np.float32(0.3), "a.scale_input": np.float32(2), "x.scaled_fp8": E4M3[:0, 0]}, 0.3),
        ({"a.weight_scale": np.array([0.3], jnp.bfloat16), "a.input_scale": np.float32(2)}, 0.30078125),
        ({"a.weight_scale": np.arange(4, dtype=np.float32)[:, None]}, np.arange(4)[:, None]),
    ],
)
def test_numbers_of_8_bits_are_multiplied_by_the_scale_beside_them(tmp_path, extra, scale):
    arrays = {"a.weight": E4M3, "a.bias": np.ones(4, np.float32)} | {name: np.asarray(x) for name, x in extra.items()}
    read = streamed.open_file(written(tmp_path / "x.safetensors", arrays))
    assert read.keys() == {"a.weight", "a.bias"} and read["a.weight"].nbytes == 8
    expected = E4M3.astype(np.float32) * np.float32(scale)
    np.testing.assert_array_equal(np.asarray(read["a.weight"]), expected)
    np.testing.assert_array_equal(np.asarray(read["a.weight"].rows(1, 2)), expected[1:3])


def test_scales_of_parts_are_found_and_those_of_blocks_are_refused(tmp_path):
    one, two = {"a.weight": E4M3}, {"a.scale_weight": np.array(2, np.float32)}
    places = {name: f"{part}.safetensors" for part, names in (("1", one), ("2", two)) for name in names}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    written(tmp_path / "1.safetensors", one), written(tmp_path / "2.safetensors", two)
    read = streamed.open_folder(tmp_path)
    np.testing.assert_array_equal(np.asarray(read["a.weight"]), 2 * E4M3.astype(np.float32))
    single = written(tmp_path / "y.safetensors", {"a.weight": E4M3[0, 0], "a.scale_weight": np.ones(2, np.float32)})
    assert set(streamed.open_file(single)) == {"a.weight", "a.scale_weight"}  # a network has no such array
    blocks = written(tmp_path / "x.safetensors", one | {"a.weight_scale": np.ones((2, 1), np.float32)})
    with pytest.raises(DataError, match=r"a.weight_scale has shape \(2, 1\): one number, or one for each of 4 outputs"):
        streamed.open_file(blocks)


def test_a_model_is_loaded_in_the_memory_of_its_parameters_and_one_array(tmp_path):
    names, size = [f"layer.{number}" for number in range(8)], 2**18
    file = saved(tmp_path, arrays={name: np.ones((2, size // 2), np.float32) for name in names})
    like = {f"layer_{number}": jax.ShapeDtypeStruct((size // 2, 2), np.dtype("float16")) for number in range(8)}
    all_rules = (Rule("layer_{number}", ("layer.{number}",), layouts.LINEAR),)
    jax.block_until_ready(jnp.asarray(np.ones(2, np.float16)))  # what JAX imports at first is none of the model
    tracemalloc.start()
    params = rules.to_ours(streamed.open_file(file), all_rules, like)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {leaf.shape for leaf in jax.tree.leaves(params)} == {(size // 2, 2)}
    assert peak < 4 * 4 * size  # the file has 8 arrays of 4 · size bytes


def test_names_and_shapes_are_checked_without_reading(tmp_path, monkeypatch):
    stored = streamed.open_file(
        saved(tmp_path, arrays={"w": np.ones((2, 3), np.float32), "rest": np.ones(1, np.float32)})
    )

    def unread(self, *_, **__):
        raise AssertionError("read")

    monkeypatch.setattr(streamed.StoredArray, "__array__", unread)
    all_rules, like = (Rule("w", ("w",), layouts.LINEAR),), {"w": jax.ShapeDtypeStruct((2, 3), np.dtype("float32"))}
    with pytest.raises(
        CheckpointMismatchError,
        match=r"1 left over: rest; 1 wrong: w has shape \(2, 3\), but w of shape \(2, 3\) needs",
    ):
        rules.to_ours(stored, all_rules, like)


def test_copies_are_compared_and_a_nan_equals_itself(tmp_path):
    all_rules = (Rule("w", ("{copy}.w",), copies=2),)
    like = {"w": jax.ShapeDtypeStruct((2,), np.dtype("float32"))}
    same = {f"{copy}.w": np.array([np.nan, 1], np.float32) for copy in range(2)}
    assert np.isnan(rules.to_ours(streamed.open_file(saved(tmp_path, arrays=same)), all_rules, like)["w"][0])
    other = streamed.open_file(saved(tmp_path, arrays=same | {"1.w": np.zeros(2, np.float32)}))
    with pytest.raises(CheckpointMismatchError, match=r"1\.w differs from 0\.w"):
        rules.to_ours(other, all_rules, like)


# Files of a folder.


def test_a_whole_file_parts_and_variants_are_found_by_their_names(tmp_path):
    saved(tmp_path)
    saved(tmp_path, f"{files.STEM}.fp16")
    saved(tmp_path, f"{files.STEM}.ema-00001-of-00001", {"x": np.zeros(1, np.float32)})
    (tmp_path / f"{files.STEM}.safetensors.index.ema.json").write_text(
        json.dumps({"weight_map": {"x": f"{files.STEM}.ema-00001-of-00001.safetensors"}})
    )
    (tmp_path / f"{files.STEM}.bin").write_bytes(b"")
    (tmp_path / f"{files.STEM}.bin.index.json").write_text("{}")
    assert {name: path.name for name, path in streamed.variants(tmp_path).items()} == {
        None: f"{files.STEM}.safetensors",
        "fp16": f"{files.STEM}.fp16.safetensors",
        "ema": f"{files.STEM}.safetensors.index.ema.json",
    }
    assert streamed.open_folder(tmp_path)["a.weight"].file.name == f"{files.STEM}.safetensors"
    assert list(streamed.open_folder(tmp_path, variant="ema")) == ["x"]
    with pytest.raises(
        DataError, match="has no .* of variant 'int8'; there are those without a variant, 'ema', 'fp16'"
    ):
        streamed.open_folder(tmp_path, variant="int8")
    (tmp_path / f"{files.STEM}.safetensors").unlink()
    with pytest.raises(DataError, match="has several variants of .*: choose one; there are 'ema', 'fp16'"):
        streamed.open_folder(tmp_path)
    (tmp_path / f"{files.STEM}.safetensors.index.ema.json").unlink()
    assert "a.weight" in streamed.open_folder(tmp_path)  # the only one


@table(
    "places, message",
    [
        ({"a": "../one.safetensors"}, "name of a file beside it"),
        ({"a": "none.safetensors"}, "none.safetensors: no such file"),
        ({"a": "one.safetensors"}, "names 1 arrays and its files hold 5"),
        (
            {name: "one.safetensors" for name in ARRAYS} | {"b.bias": "two.safetensors"},
            "is in two.safetensors and in a part before",
        ),
        ([], "weight_map"),
    ],
)
def test_an_index_that_contradicts_its_parts_is_refused(tmp_path, places, message):
    saved(tmp_path, "one")
    saved(tmp_path, "two")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(DataError, match=message) as caught:
        streamed.open_folder(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


def test_damaged_files_and_pickles_are_refused_path_first(tmp_path):
    file = saved(tmp_path)
    original = file.read_bytes()
    for content in (b"", original[:7], original[:-1], b"\xff" * 8 + original[8:], original + b"x"):
        file.write_bytes(content)
        with pytest.raises(DataError, match="not a whole safetensors file") as caught:
            streamed.open_file(file)
        assert str(caught.value).startswith(str(file))
    with pytest.raises(DataError, match="a pickle can run code"):
        streamed.open_file(tmp_path / "model.bin")
    with pytest.raises(DataError, match="no such folder"):
        streamed.open_folder(tmp_path / "none")


def test_a_file_that_became_shorter_is_an_error_where_it_is_read(tmp_path):
    file = saved(tmp_path, arrays={"x": np.ones(4, np.float32)})
    stored = streamed.open_file(file)["x"]
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match="is shorter than when it was opened"):
        np.asarray(stored)


def test_a_type_without_a_match_is_refused_by_name(tmp_path):
    header = json.dumps({"x": {"dtype": "U64", "shape": [1], "data_offsets": [0, 8]}}).encode()
    file = tmp_path / "x.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(DataError, match="x has the type U64"):
        streamed.open_file(file)
