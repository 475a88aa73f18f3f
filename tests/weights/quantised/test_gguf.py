"""GGUF: metadata, tensors by name, and headers that lie."""

import re
import struct
import tracemalloc

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.weights import gguf
from tests.tables import table
from tests.weights.quantised import gguf_files
from tests.weights.quantised.gguf_files import gguf_bytes

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.rope.freq_base": 0.5,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.tokens": ["a", "é", ""],
}
RNG = np.random.default_rng(0)
TENSORS = {
    "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
    "norm": np.ones(5, np.float32),
    "blocks": gguf_files.blocks(RNG, "Q8_0", (2, 32)),
}
WHOLE = gguf_bytes(METADATA, TENSORS)


def written(folder, content):
    file = folder / "x.gguf"
    file.write_bytes(content)
    return file


def refused(file):
    with pytest.raises(DataError) as caught:
        gguf.load(file)
    assert str(caught.value).startswith(str(file))
    return str(caught.value)


def test_metadata_and_tensors_are_read_by_name(tmp_path):
    pytest.importorskip("gguf", reason="needs the extra [language]")
    file = gguf.load(written(tmp_path, gguf_bytes(METADATA | {"types": np.array([1, -3, 1])}, TENSORS)))
    assert file.metadata.pop("types").tolist() == [1, -3, 1] and file.metadata == METADATA
    assert {name: tensor.kind for name, tensor in file.tensors.items()} == {
        "rows": "F32",
        "norm": "F32",
        "blocks": "Q8_0",
    }
    arrays = file.arrays()
    np.testing.assert_array_equal(arrays["rows"], TENSORS["rows"])
    assert arrays["blocks"].shape == (2, 32) and all(array.dtype == np.float32 for array in arrays.values())


def test_packed_tensors_are_the_bytes_of_the_file(tmp_path):
    kind, shape, raw = TENSORS["blocks"]
    packed = gguf.load(written(tmp_path, WHOLE)).tensors["blocks"]
    assert (
        packed.shape == shape
        and packed.blocks.shape == (2, 34)
        and packed.blocks.tobytes() == raw
        and not packed.blocks.flags.writeable
    )


@table("alignment", [1, 2, 64, 4096])
def test_any_power_of_two_aligns_tensors_and_up_to_one_byte_less_may_follow_the_last(tmp_path, alignment):
    metadata = METADATA | {"general.alignment": alignment}
    for rest in {0, alignment - 1}:
        file = gguf.load(written(tmp_path, gguf_bytes(metadata, TENSORS, alignment=alignment, rest=b"x" * rest)))
        kind, shape, raw = TENSORS["blocks"]
        assert (
            file.tensors["blocks"].blocks.tobytes() == raw
            and file.tensors["norm"].blocks.tobytes() == TENSORS["norm"].tobytes()
        )
    assert f"{alignment} bytes behind" in refused(
        written(tmp_path, gguf_bytes(metadata, TENSORS, alignment=alignment, rest=b"x" * alignment))
    )


def test_a_file_may_end_with_the_last_byte_of_its_metadata(tmp_path):
    metadata = {"general.alignment": 1, "k": struct.pack("<IIQ", 9, 0, 5) + b"abcde"}
    assert gguf.load(written(tmp_path, gguf_bytes(metadata, {}, alignment=1))).metadata["k"].tolist() == list(b"abcde")
    text = {"general.alignment": 1, "k": "abc"}
    assert gguf.load(written(tmp_path, gguf_bytes(text, {}, alignment=1))).metadata == text


def test_tensors_of_one_to_four_axes_are_read(tmp_path):
    shapes = [(3,), (2, 3), (1, 2, 3), (2, 1, 1, 3)]
    tensors = {str(axes): np.arange(np.prod(axes), dtype=np.float32).reshape(axes) for axes in shapes}
    read = gguf.load(written(tmp_path, gguf_bytes({}, tensors))).tensors
    assert [read[str(axes)].shape for axes in shapes] == shapes


def test_files_of_the_package_are_read_as_the_package_reads_them(tmp_path):
    package = pytest.importorskip("gguf", reason="needs the extra [language]")
    writer = package.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_block_count(3)
    writer.add_token_list(["x", "yz"])
    array = RNG.normal(size=(6, 64)).astype(np.float32)
    writer.add_tensor("one", array)
    writer.add_tensor(
        "two",
        package.quants.quantize(array, package.GGMLQuantizationType.Q8_0),
        raw_dtype=package.GGMLQuantizationType.Q8_0,
    )
    for write in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        write()
    ours, theirs = gguf.load(tmp_path / "x.gguf"), package.GGUFReader(tmp_path / "x.gguf")
    assert ours.metadata == {
        key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")
    }
    for tensor in theirs.tensors:
        expected = package.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(ours.tensors[tensor.name].numbers(), expected)
    np.testing.assert_allclose(ours.arrays()["two"], array, atol=0.02)


# Files that lie.

A_STRING, HUGE = struct.pack("<I", 8), 2**60
LYING = {
    "empty": (b"", "cannot mmap an empty file"),
    "another magic": (gguf_bytes(METADATA, TENSORS, magic=b"GGML"), "does not begin with GGUF"),
    "version 1": (gguf_bytes(METADATA, TENSORS, version=1), "it is version 1"),
    "big-endian": (gguf_bytes(METADATA, TENSORS, version=3 << 24), "it is big-endian"),
    "more tensors than bytes": (gguf_bytes(METADATA, TENSORS, counts=(HUGE, 5)), "tensors at 16 do not fit"),
    "more values than bytes": (gguf_bytes(METADATA, TENSORS, counts=(3, HUGE)), "values of metadata do not fit"),
    "one tensor less": (gguf_bytes(METADATA, TENSORS, counts=(2, 5)), "not a whole"),
    "a long key": (
        gguf_bytes({}, {}, counts=(0, 1), alignment=1, rest=struct.pack("<Q", HUGE) + b"x" * 40),
        "reach beyond",
    ),
    "a long string": (gguf_bytes({"k": A_STRING + struct.pack("<Q", HUGE)}, TENSORS), "reach beyond"),
    "a long array": (gguf_bytes({"k": struct.pack("<IIQ", 9, 5, HUGE)}, TENSORS), "do not fit"),
    "a long array of strings": (gguf_bytes({"k": struct.pack("<IIQ", 9, 8, HUGE)}, TENSORS), "strings at"),
    "an array of arrays": (
        gguf_bytes({"k": struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 5, 0)}, TENSORS),
        "array of arrays",
    ),
    "a key without a name": (gguf_bytes({"": 1}, TENSORS), "a key without a name"),
    "no text": (gguf_bytes({"k": A_STRING + gguf_files.text(b"\xff\xfe")}, TENSORS), "no UTF-8"),
    "an unknown type": (gguf_bytes({"k": struct.pack("<I", 99) + b"\0" * 8}, TENSORS), "type 99"),
    "neither false nor true": (gguf_bytes({"k": struct.pack("<IB", 7, 2)}, TENSORS), "neither false nor true"),
    "alignment 0": (gguf_bytes({"general.alignment": 0}, TENSORS), "no power of two"),
    "alignment 48": (gguf_bytes({"general.alignment": 48}, TENSORS), "no power of two"),
    "alignment as text": (gguf_bytes({"general.alignment": "32"}, TENSORS), "no power of two"),
    "a tensor twice": (gguf_bytes({}, [("a", np.ones(8, np.float32))] * 2), "'a' comes twice"),
    "a kind that is not read": (
        gguf_bytes({}, TENSORS, codes={"rows": 19}),
        "gguf: rows is of kind IQ1_S, which is not read; F32, .*Q5_0, .* are",
    ),
    "an unknown kind": (gguf_bytes({}, TENSORS, codes={"rows": 77}), "gguf: rows is of kind 77, which is not read"),
    "half a block": (gguf_bytes({}, {"x": ("Q8_0", (2, 48), b"\0" * 102)}), "no whole blocks of Q8_0"),
    "an empty axis": (gguf_bytes({}, {"x": np.ones((0, 4), np.float32)}), "no whole blocks"),
    "a huge axis": (gguf_bytes({}, {"x": ("F32", (2**40, 2**40), b"\0" * 64)}), "the file is cut off"),
    "an axis beyond all numbers": (gguf_bytes({}, {"x": ("F32", (2**63, 4), b"\0" * 64)}), "no whole blocks"),
    "an axis above the largest": (gguf_bytes({}, {"x": ("F32", (2**40 + 1, 1), b"\0" * 64)}), "no whole blocks"),
    "no axis": (gguf_bytes({}, {"x": ("F32", (), b"\0" * 4)}), "0 axes"),
    "five axes": (gguf_bytes({}, {"x": ("F32", (1, 1, 1, 1, 1), b"\0" * 4)}), "5 axes"),
    "trailing bytes": (gguf_bytes({}, TENSORS, rest=b"x" * 64), "belong to none"),
}


@pytest.mark.fault("crafted GGUF header")
@table("kind", LYING)
def test_a_header_that_lies_is_refused_without_a_large_allocation(tmp_path, kind):
    content, message = LYING[kind]
    file = written(tmp_path, content)
    tracemalloc.start()
    try:
        assert re.search(message, refused(file))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.fault("GGUF with truncated or overlapping tensors")
@table(
    "starts, message",
    [
        ({"norm": 0}, "norm starts at 0 and not at 64: it overlaps what is before"),
        ({"norm": 32}, "norm starts at 32 and not at 64: it overlaps"),
        ({"norm": 68}, "leaves a gap, or is not aligned"),
        ({"blocks": 4096}, "leaves a gap"),
        ({"blocks": 2**64 - 32}, "leaves a gap"),
        ({"rows": 32}, "leaves a gap"),
    ],
)
def test_tensors_that_overlap_or_leave_gaps_are_refused(tmp_path, starts, message):
    assert message in refused(written(tmp_path, gguf_bytes(METADATA, TENSORS, starts=starts)))


@pytest.mark.fault("GGUF with truncated or overlapping tensors")
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    for length in [*range(0, len(WHOLE), 4), len(WHOLE) - 1]:
        refused(written(tmp_path, WHOLE[:length]))


@pytest.mark.fault("crafted GGUF header")
def test_mutated_headers_give_the_same_numbers_or_typed_errors_and_nothing_else(tmp_path):
    pytest.importorskip("gguf", reason="needs the extra [language]")
    sound, rng, outcomes = gguf.load(written(tmp_path, WHOLE)), np.random.default_rng(0), {True: 0, False: 0}
    expected, header = sound.arrays(), WHOLE.index(TENSORS["rows"].tobytes())
    for number in range(200):
        damaged = bytearray(WHOLE)
        for position in rng.integers(header, size=rng.integers(1, 4)):
            damaged[position] = rng.integers(256) if number % 2 else damaged[position] ^ 1 << rng.integers(8)
        try:
            file = gguf.load(written(tmp_path, bytes(damaged)))
        except DataError as error:
            assert str(error).startswith(str(tmp_path))
            outcomes[False] += 1
            continue
        assert sum(tensor.blocks.nbytes for tensor in file.tensors.values()) <= len(WHOLE)
        for (name, tensor), actual, array in zip(
            file.tensors.items(), sound.tensors.values(), expected.values(), strict=True
        ):
            same = (tensor.kind, tensor.shape) == (
                actual.kind,
                actual.shape,
            )  # a shape turned around, or another kind of as many bytes, cannot be seen
            assert tensor.numbers().shape == tensor.shape and (not same or np.array_equal(tensor.numbers(), array)), (
                name
            )
        outcomes[True] += 1
    assert min(outcomes.values()) > 10


def test_missing_files_and_folders_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "x.gguf")
    assert "not a regular file" in refused(tmp_path)
