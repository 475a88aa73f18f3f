"""Files of torch.save: arrays come back, and what could run, leave its storage or grow is refused before it does."""

import math
import pickle
import struct
import tracemalloc
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.weights import torch_archive
from tests.tables import table
from tests.weights import torch_files
from tests.weights.torch_files import archive, named, program, storage, tensor, value

FLOAT, LONG = "torch FloatStorage", "torch LongStorage"
ARRAYS = {
    "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
    "count": np.array(7),
    "half": np.ones(5, np.float16),
    "brain": np.array([1.5, -2.0], jnp.bfloat16),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
}
SIX = {"0": np.arange(6, dtype=np.float32).tobytes()}


def of_older(arrays):
    pickled, stored = torch_files.of_arrays(arrays, older=True)
    return torch_files.older(pickled, stored, {str(key): array.itemsize for key, array in enumerate(arrays.values())})


WHOLE = {"archive": archive(*torch_files.of_arrays(ARRAYS)), "older": of_older(ARRAYS)}


def loaded(folder, content, **options):
    file = folder / "model.pth"
    file.write_bytes(content)
    return torch_archive.load(file, **options)


@table("form", list(WHOLE))
def test_arrays_of_every_type_come_back_by_name(tmp_path, form):
    arrays = loaded(tmp_path, WHOLE[form])
    assert list(arrays) == list(ARRAYS) and not any(array.flags.writeable for array in arrays.values() if array.size)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_strided_views_and_shared_storages_come_back(tmp_path):
    six = storage("0", FLOAT, 6)
    turned, column = tensor(six, (3, 2), (1, 3)), tensor(six, (2,), (3,), 2)
    parameter = named(torch_archive.PARAMETER) + value((column, True, torch_files.DICTIONARY)) + b"R"
    arrays = loaded(tmp_path, archive(program({"turned": turned, "column": column, "parameter": parameter}), SIX))
    np.testing.assert_array_equal(arrays["turned"], np.arange(6).reshape(2, 3).T)
    assert arrays["column"].tolist() == arrays["parameter"].tolist() == [2, 5]
    assert np.shares_memory(arrays["turned"], arrays["column"])


def test_a_part_of_a_checkpoint_is_read_by_its_name(tmp_path):
    inner = torch_files.DICTIONARY + b"(" + value("weight") + tensor(storage("0", FLOAT, 6), (6,), (1,)) + b"u"
    content = archive(program({"epoch": 3, "state_dict": inner}), SIX)
    assert list(loaded(tmp_path, content, part="state_dict")) == ["weight"]
    with pytest.raises(DataError, match="not all of its entries are tensors: epoch, state_dict; part = names an entry"):
        loaded(tmp_path, content)
    with pytest.raises(DataError, match="holds no dictionary 'ema' of tensors"):
        loaded(tmp_path, content, part="ema")


SYSTEM = b"cos\nsystem\n"
PROTO = b"\x80\x02"
TOUCH = value(("touch ran",))
SIXES = storage("0", FLOAT, 6)
DOUBLING = b")" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(200))
"""A pair of twice the same pair, 200 deep: to print, hash or copy it would never end."""
HOSTILE = {
    "a global": (PROTO + SYSTEM + TOUCH + b"R.", "it names 'os system'"),
    "a stack global": (b"\x80\x04" + value("os") + value("system") + b"\x93" + TOUCH + b"R.", "it names 'os system'"),
    "a stack global of no text": (PROTO + b"K\x01K\x02\x93.", r"it names '\? \?'"),
    "a builtin": (PROTO + b"cbuiltins\neval\n" + TOUCH + b"R.", "it names 'builtins eval'"),
    "an attribute": (
        b"\x80\x04" + value("collections") + value("OrderedDict.fromkeys") + b"\x93.",
        "OrderedDict.fromkeys",
    ),
    "behind what is sound": (
        program({"x": tensor(SIXES, (6,), (1,)), "y": SYSTEM + TOUCH + b"R"}),
        "it names 'os system'",
    ),
    "inst": (PROTO + b"(" + value("touch ran") + b"ios\nsystem\n.", "the opcode INST"),
    "obj": (PROTO + b"(" + named("collections OrderedDict") + b"o.", "the opcode OBJ"),
    "newobj": (PROTO + named(FLOAT) + b")\x81.", "the opcode NEWOBJ"),
    "ext1": (PROTO + b"\x82\x01.", "the opcode EXT1"),
    "a persistent id of text": (PROTO + b"Pstorage\n.", "the opcode PERSID"),
    "digits": (PROTO + b"L" + b"9" * 4000 + b"L\n.", "the opcode LONG|could not|invalid literal"),
    "build on no dictionary": (
        PROTO + named(FLOAT) + value({"__setstate__": 1}) + b"b.",
        "needs a dict where there is none",
    ),
    "an allowed name with other arguments": (
        PROTO + named("collections OrderedDict") + value(("x",)) + b"R.",
        "it calls something other",
    ),
    "a class of storage is called": (PROTO + named(FLOAT) + value((2**40,)) + b"R.", "it calls something other"),
    "text is called": (PROTO + value("print") + value(("x",)) + b"R.", "it calls something other"),
    "a storage of no kind": (
        PROTO + value(("storage", named(torch_archive.DICTIONARY), "0", "cpu", 6)) + b"Q.",
        "no storage of numbers",
    ),
    "a negative storage": (PROTO + storage("0", FLOAT, -6) + b".", "no storage of numbers"),
    "a storage in another place": (
        program({"x": tensor(storage("../data.pkl", FLOAT, 6), (6,), (1,))}),
        "needs 24 bytes, and has None",
    ),
    "a larger storage": (program({"x": tensor(storage("0", FLOAT, 7), (7,), (1,))}), "needs 28 bytes, and has 24"),
    "a huge storage": (program({"x": tensor(storage("0", FLOAT, 2**50), (2**50,), (1,))}), "and has 24"),
    "an offset beyond": (program({"x": tensor(SIXES, (2,), (1,), 5)}), "does not lie in its storage"),
    "a negative offset": (program({"x": tensor(SIXES, (2,), (1,), -1)}), "does not lie in its storage"),
    "a stride beyond": (program({"x": tensor(SIXES, (2, 2), (5, 1))}), "does not lie in its storage"),
    "a negative stride": (program({"x": tensor(SIXES, (2,), (-1,), 5)}), "does not lie in its storage"),
    "one number for many": (program({"x": tensor(SIXES, (2**50,), (0,))}), "does not lie in its storage"),
    "sizes whose product is small in 64 bits": (
        program({"x": tensor(SIXES, (2**32, 2**32), (1, 1))}),
        "does not lie in its storage",
    ),
    "an empty tensor of long axes": (
        program({"x": tensor(SIXES, (0, 2**50, 2**50), (1, 1, 1))}),
        "not lie in its storage",
    ),
    "a size of text": (program({"x": tensor(SIXES, ("6",), (1,))}), "does not lie in its storage"),
    "a size of pairs without end": (program({"x": tensor(SIXES, (DOUBLING,), (1,))}), "does not lie in its storage"),
    "a key of pairs without end": (PROTO + b"}" + DOUBLING + b"K\x01s.", "neither text nor a number"),
    "content of pairs without end": (PROTO + DOUBLING + b".", "holds no dictionary"),
    "what is not remembered": (PROTO + b"h\x07.", "nothing is remembered as 7"),
    "an empty stack": (PROTO + b"R.", "needs more values than there are"),
    "values below a mark": (PROTO + b"K\x01(\x85.", "needs more values than there are"),
    "marks without end": (PROTO + b"(" * 1000 + b".", "needs more values"),
    "too many opcodes": (PROTO + b"N" * 2000, "has more than"),
    "text longer than the file": (PROTO + b"X" + struct.pack("<I", 2**31) + b"x.", "expected 2147483648 bytes"),
    "no end": (PROTO + b"N", "exhausted before its end"),
    "an empty pickle": (b"", "exhausted before its end"),
}


@pytest.mark.fault("pickle in weights")
@table("kind", list(HOSTILE))
def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(tmp_path, monkeypatch, kind):
    pickled, words = HOSTILE[kind]
    monkeypatch.setattr("os.system", lambda _: pytest.fail("it ran"))
    monkeypatch.setattr(torch_archive, "MOST_OPCODES", 2000)
    keys = ["0"] if b"storage" in pickled else []
    stored = {key: SIX[key] for key in keys}
    for content in (archive(pickled, SIX), torch_files.older(pickled, stored, {"0": 4})):
        tracemalloc.start()
        with pytest.raises(DataError) as caught:
            loaded(tmp_path, content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert str(caught.value).startswith(str(tmp_path / "model.pth"))
        assert peak < max(2**20, 100 * len(content))
        if content[:2] == b"PK":
            assert caught.match(words)


def doubled(name):
    """An archive two of whose entries have one name."""
    return archive(*torch_files.of_arrays(ARRAYS)).replace(b"model/data/1", b"model/" + name)


def claims(content, size):
    """An archive whose first entry claims another size."""
    at = content.index(b"PK\x01\x02") + 20
    return content[:at] + struct.pack("<II", size, size) + content[at + 8 :]


PICKLED, STORED = torch_files.of_arrays(ARRAYS)
DAMAGED = {
    "compressed": (archive(PICKLED, STORED | {"9": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED), "is compressed"),
    "two of one name": (doubled(b"data/0"), "two entries have one name"),
    "more than the file": (claims(WHOLE["archive"], 2**30), "claim more than its"),
    "big-endian": (
        archive(PICKLED, STORED, byteorder=b"big").replace(b"little", b"bigbig"),
        "Bad CRC|little-endian|one name",
    ),
    "another zip": (archive(PICKLED, STORED).replace(b"data.pkl", b"data.txt"), "it has 0 entries data.pkl"),
    "not all": (WHOLE["archive"][:-30], "no file of torch.save"),
    "older, not all": (WHOLE["older"][:-30], "is not whole"),
    "older, too long": (WHOLE["older"] + b"x", "1 bytes follow"),
    "older, other storages": (torch_files.older(program({}), {}, {}, keys=["0"]), "differs from those that it uses"),
    "older, a view of a storage": (
        torch_files.older(
            program({"x": tensor(value(("storage", named(FLOAT), "0", "cpu", 6, ("0", 0, 6))) + b"Q", (6,), (1,))}),
            {},
            {},
        ),
        "no storage of numbers",
    ),
    "older, two types": (
        torch_files.older(
            program({n: tensor(storage("0", kind, 6), (6,), (1,)) for n, kind in (("x", FLOAT), ("y", LONG))}),
            {"0": bytes(24)},
            {"0": 4},
        ),
        "a storage has two types",
    ),
    "one pickle": (pickle.dumps({"x": 1}, 2), "exhausted"),
    "an escape in an opcode's text": (b"P\\~\n", "the opcode PERSID"),
    "an escape in a name": (b"c\\~\n\\~\n", r"it names '\\\\~"),
    "no opcode": (b"\xff", "the opcode b'.xff'"),
    "nothing": (b"", "empty"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "no file of torch.save"),
}


@table("kind", list(DAMAGED))
def test_a_damaged_file_is_refused(tmp_path, kind):
    content, words = DAMAGED[kind]
    with pytest.raises(DataError, match=words) as caught:
        loaded(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "model.pth"))


@table("form", list(WHOLE))
def test_any_changed_byte_gives_arrays_or_a_refusal(tmp_path, form):
    content, rng = bytearray(WHOLE[form]), np.random.default_rng(0)
    for position in rng.choice(len(content), 200, replace=False):
        changed = content[:position] + bytes([rng.integers(256)]) + content[position + 1 :]
        try:
            arrays = loaded(tmp_path, changed)
        except DataError:
            continue
        assert all(math.prod(array.shape) <= len(content) for array in arrays.values())
    with pytest.raises(DataError, match="no such file"):
        torch_archive.load(tmp_path / "none.pth")
