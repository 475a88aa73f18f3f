"""Files as torch.save writes them, with pickles put together from opcodes, so that any of them can lie."""

import io
import pickle
import struct
import zipfile

import numpy as np

from gendiff.weights import torch_archive

KINDS = {np.dtype(dtype): name for name, dtype in torch_archive.STORAGES.items()}
DICTIONARY = b"ccollections\nOrderedDict\n)R"


def value(content) -> bytes:
    """Opcodes of text, numbers, tuples, dictionaries, or of bytes, which are opcodes already."""
    match content:
        case bytes():
            return content
        case str():
            return b"X" + struct.pack("<I", len(content.encode())) + content.encode()
        case tuple():
            return b"(" + b"".join(map(value, content)) + b"t"
        case dict():
            return b"}(" + b"".join(value(key) + value(each) for key, each in content.items()) + b"u"
    return pickle.dumps(content, 2)[2:-1]


def named(path: str) -> bytes:
    return b"c" + path.replace(" ", "\n").encode() + b"\n"


def storage(key: str, kind: str, count: int, *, older: bool = False) -> bytes:
    return value(("storage", named(kind), key, "cpu", count, *([None] if older else []))) + b"Q"


def tensor(stored: bytes, shape, strides, offset=0, function=torch_archive.TENSOR) -> bytes:
    return named(function) + value((stored, offset, tuple(shape), tuple(strides), False, DICTIONARY)) + b"R"


def program(entries: dict) -> bytes:
    """An ordered dictionary of these entries, with the versions of modules that torch leaves on it."""
    return b"\x80\x02" + DICTIONARY + b"(" + b"".join(value(k) + value(v) for k, v in entries.items()) + b"u}b."


def of_arrays(arrays: dict, *, older: bool = False) -> tuple[bytes, dict[str, bytes]]:
    """(pickle, bytes of each storage) of arrays in row order, one storage each."""
    entries = {}
    for key, (name, array) in enumerate(arrays.items()):
        strides = [step // array.itemsize for step in np.ascontiguousarray(array).strides] if array.ndim else []
        entries[name] = tensor(storage(str(key), KINDS[array.dtype], array.size, older=older), array.shape, strides)
    return program(entries), {str(key): array.tobytes() for key, array in enumerate(arrays.values())}


def archive(pickled: bytes, stored: dict[str, bytes], *, compression=zipfile.ZIP_STORED, **others: bytes) -> bytes:
    """The form since torch 1.6."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as file:
        entries = {
            "data.pkl": pickled,
            "byteorder": b"little",
            **{f"data/{key}": content for key, content in stored.items()},
            **others,
        }
        for name, content in entries.items():
            file.writestr(f"model/{name}", content)
    return target.getvalue()


def older(pickled: bytes, stored: dict[str, bytes], itemsizes: dict[str, int], *, keys: list | None = None) -> bytes:
    """The form before."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(each, 2) for each in (torch_archive.MAGIC, torch_archive.PROTOCOL, machine))
    tail = b"".join(struct.pack("<q", len(content) // itemsizes[key]) + content for key, content in stored.items())
    return head + pickled + pickle.dumps(list(stored) if keys is None else keys, 2) + tail
