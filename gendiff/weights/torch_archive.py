"""Files of `torch.save`, read without torch and without running anything of theirs: `.pth`, `.pt`, `.bin`, `.ckpt`.

Such a file is a pickle, a program that may call any function, with the bytes of the tensors beside it. Here no
unpickler runs. The program is read opcode by opcode into strings, numbers, tuples, lists and dictionaries, and the few
functions that rebuild tensors become records. Whatever else it names is refused where its name stands. No array is read
before the program and all sizes are checked.

Both forms are read: the zip archive of torch 1.6 and later, and the older file of five pickles.
"""

import io
import itertools
import math
import mmap
import os
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np

from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import DType

T = TypeVar("T")
STORAGES: dict[str, DType] = {
    "torch DoubleStorage": np.float64,
    "torch FloatStorage": np.float32,
    "torch HalfStorage": np.float16,
    "torch BFloat16Storage": jnp.bfloat16,
    "torch LongStorage": np.int64,
    "torch IntStorage": np.int32,
    "torch ShortStorage": np.int16,
    "torch CharStorage": np.int8,
    "torch ByteStorage": np.uint8,
    "torch BoolStorage": np.bool_,
}
"""What a storage may hold, by the name that its pickle gives."""
DICTIONARY = "collections OrderedDict"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
ALLOWED = (DICTIONARY, TENSOR, PARAMETER, *STORAGES)
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What the older form begins with."""
MOST_OPCODES = 2**20
"""Of one pickle; a model of 2,000 tensors has 60,000."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARGUMENTS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")
_EMPTY: dict[str, Callable[[], object]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_KNOWN = {
    *("PROTO", "FRAME", "STOP", "MARK", "TUPLE", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT"),
    *("MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "BINPERSID", "REDUCE", "BUILD"),
    *(*_CONSTANTS, *_ARGUMENTS, *_EMPTY, *_TUPLES),
}


class _Name(NamedTuple):
    """A global that is allowed. It is never looked up."""

    name: str


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    numbers: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(path: str | os.PathLike[str], part: str | None = None) -> dict[str, np.ndarray]:
    """Read the tensors of one file by name. They are read-only; those that share numbers there share them here.

    Also known as: torch.load with weights_only, state dict.

    Args:
        path: a file of `torch.save(model.state_dict())`.
        part: the entry that holds the tensors, as "state_dict" in a checkpoint of a training. None: the file
            holds nothing else.

    Raises:
        DataError: path first, for any other file, a damaged one, and one that names a function or a class beyond
            those of tensors.
    """
    file = foreign_files.regular(path)
    try:
        with file.open("rb") as opened:
            content, stored = (_archive if zipfile.is_zipfile(opened) else _older)(opened)
    except (ValueError, zipfile.BadZipFile, OSError, EOFError, NotImplementedError, MemoryError, RuntimeError) as error:
        raise DataError(f"{file}: no file of torch.save that can be read safely: {error}") from error
    if part is not None:
        content = content.get(part) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds {'no dictionary' if part is None else f'no dictionary {part!r}'} of tensors")
    others = [str(name) for name, value in content.items() if type(name) is not str or type(value) is not _Tensor]
    if others:
        some = ", ".join(others[:6])
        raise DataError(f"{file}: not all of its entries are tensors: {some}; part = names an entry that holds them")
    return {name: _array(tensor, stored[tensor.storage.key]) for name, tensor in content.items()}


def _archive(file: IO[bytes]) -> tuple[object, dict[str, bytes]]:
    """The content of a zip archive, and the bytes of its storages by key."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) < len(archive.infolist()):
            raise ValueError("two entries have one name")
        size = os.fstat(file.fileno()).st_size
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries.values()):
            raise ValueError("an entry is compressed or encrypted, which torch never does")
        if sum(entry.file_size for entry in entries.values()) > size:
            raise ValueError(f"its entries claim more than its {size} bytes")
        programs = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(programs) != 1:
            raise ValueError(f"it has {len(programs)} entries data.pkl, one is needed")
        folder = programs[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers are not in little-endian order")
        content, storages = _interpret(io.BytesIO(archive.read(programs[0])))
        for storage in storages:
            entry = entries.get(f"{folder}data/{storage.key}")
            needed = storage.numbers * storage.dtype.itemsize
            if entry is None or entry.file_size != needed:
                raise ValueError(f"storage {storage.key!r} needs {needed} bytes, and has {entry and entry.file_size}")
        return content, {storage.key: archive.read(f"{folder}data/{storage.key}") for storage in storages}


def _older(file: IO[bytes]) -> tuple[object, dict[str, bytes]]:
    """The content of a file of five pickles and storages in a row, and the bytes of these by key."""
    # reads of mapped memory end with the file, whatever length an opcode claims
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        magic, protocol, machine = (_interpret(memory)[0] for _ in range(3))
        little = isinstance(machine, dict) and machine.get("little_endian") is True
        if magic != MAGIC or protocol != PROTOCOL or not little:
            raise ValueError("it does not begin as torch.save begins, on a little-endian machine")
        content, storages = _interpret(memory)
        keys, _ = _interpret(memory)
        by_key = {storage.key: storage for storage in storages}
        if not isinstance(keys, list) or any(type(key) is not str for key in keys) or sorted(keys) != sorted(by_key):
            raise ValueError("its list of storages differs from those that it uses")
        if any(storage.dtype != by_key[storage.key].dtype for storage in storages):
            raise ValueError("a storage has two types")
        stored = {}
        for key in keys:
            header = memory.read(8)
            count, needed = by_key[key].numbers, by_key[key].numbers * by_key[key].dtype.itemsize
            if len(header) < 8 or struct.unpack("<q", header)[0] != count or needed > len(memory) - memory.tell():
                raise ValueError(f"storage {key!r} of {count} numbers is not whole")
            stored[key] = memory.read(needed)
        if memory.tell() != len(memory):
            raise ValueError(f"{len(memory) - memory.tell()} bytes follow its last storage")
        return content, stored


def _interpret(stream: io.BytesIO | mmap.mmap) -> tuple[object, list[_Storage]]:
    """What a pickle builds, as data, and the storages that it names. The stream stands behind its last opcode then."""
    stack: list[object] = []
    marks: list[int] = []
    memo: dict[object, object] = {}
    storages: dict[_Storage, None] = {}

    def pop(count: int | None = None) -> list[object]:
        """The last values, in order; None: those from the last mark on."""
        start = marks.pop() if count is None and marks else len(stack) - (count or len(stack) + 1)
        if start < (marks[-1] if marks else 0):
            raise ValueError("an opcode needs more values than there are")
        values = stack[start:]
        del stack[start:]
        return values

    for name, argument in itertools.islice(_opcodes(stream), MOST_OPCODES):
        if name in ("PROTO", "FRAME"):
            pass
        elif name == "STOP":
            (result,) = pop(1)
            if stack or marks:
                raise ValueError("values are left over")
            return result, list(storages)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _ARGUMENTS:
            stack.append(argument)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE" or name in _TUPLES:
            stack.append(tuple(pop(_TUPLES.get(name))))
        elif name in ("APPEND", "APPENDS"):
            values = pop(1 if name == "APPEND" else None)
            _last(stack, marks, list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = pop(2 if name == "SETITEM" else None)
            if len(values) % 2 or any(type(key) not in (str, int) for key in values[::2]):
                raise ValueError("a dictionary has a key that is neither text nor a number")
            _last(stack, marks, dict).update(zip(values[::2], values[1::2], strict=True))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = _last(stack, marks, object)
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in memo:
                raise ValueError(f"nothing is remembered as {argument}")
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            parts = [argument] if name == "GLOBAL" else pop(2)
            path = " ".join(part if type(part) is str else "?" for part in parts)
            if path not in ALLOWED:
                raise ValueError(f"it names {path[:80]!r}, which belongs to no tensor; nothing of it was run")
            stack.append(_Name(path))
        elif name == "BINPERSID":
            storage = _storage(*pop(1))
            storages[storage] = None
            stack.append(storage)
        elif name == "REDUCE":
            stack.append(_call(*pop(2)))
        else:  # BUILD
            pop(1)  # the versions of modules, which state dictionaries carry as an attribute
            _last(stack, marks, dict)
    raise ValueError(f"a pickle has more than {MOST_OPCODES} opcodes")


def _opcodes(stream: Any) -> Iterator[tuple[str, object]]:  # pickletools knows no mmap, which reads as a file does
    """The opcodes of a pickle and their arguments. One that no tensor needs is refused before its argument is read."""
    while code := stream.read(1):
        opcode = _OPCODES.get(code)
        if opcode is None or opcode.name not in _KNOWN:
            name = repr(code) if opcode is None else opcode.name
            raise ValueError(f"it has the opcode {name}, which no tensor needs; nothing of it was run")
        if opcode.name == "GLOBAL":  # pickletools would undo escapes in it, and warns of bad ones
            yield opcode.name, " ".join(stream.readline().decode("utf-8").removesuffix("\n") for _ in range(2))
        else:
            yield opcode.name, None if opcode.arg is None else opcode.arg.reader(stream)
    raise ValueError("a pickle is exhausted before its end")


def _last(stack: list[object], marks: list[int], kind: type[T]) -> T:
    """The value on top, which an opcode changes or remembers."""
    if len(stack) > (marks[-1] if marks else 0) and isinstance(value := stack[-1], kind):
        return value
    raise ValueError(f"an opcode needs a {kind.__name__} where there is none")


def _storage(identity: object) -> _Storage:
    match identity:
        case ("storage", _Name(kind), str(key), str(), int(count)) | (
            "storage",
            _Name(kind),
            str(key),
            str(),
            int(count),
            None,
        ):
            if kind in STORAGES and 0 <= count < 2**60:
                return _Storage(key, np.dtype(STORAGES[kind]), count)
    raise ValueError("it refers to something that is no storage of numbers")


def _call(function: object, arguments: object) -> object:
    match function, arguments:
        case _Name(name), () if name == DICTIONARY:
            return {}
        case _Name(name), (_Tensor() as tensor, bool(), dict()) if name == PARAMETER:
            return tensor
        case _Name(name), (_Storage() as storage, int(begin), tuple() as shape, tuple() as strides, bool(), dict(), *_):
            if name == TENSOR:
                return _checked(_Tensor(storage, begin, shape, strides))
    raise ValueError("it calls something other than what rebuilds a tensor, or with other arguments")


def _checked(tensor: _Tensor) -> _Tensor:
    """The tensor, once all of its numbers are known to lie in its storage."""
    storage, offset, shape, strides = tensor
    fits = len(shape) == len(strides) <= 16
    fits = fits and all(type(number) is int and 0 <= number < 2**60 for number in (offset, *shape, *strides))
    if fits and 0 in shape and math.prod(n or 1 for n in shape) < 2**48:  # NumPy counts its axes without the empty one
        return tensor
    # as many numbers at most as the storage has, or one of them would stand for a large array
    fits = fits and math.prod(shape) <= storage.numbers
    fits = fits and offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) < storage.numbers
    if not fits:
        raise ValueError(f"a tensor does not lie in its storage {storage.key!r} of {storage.numbers} numbers")
    return tensor


def _array(tensor: _Tensor, stored: bytes) -> np.ndarray:
    numbers = np.frombuffer(stored, tensor.storage.dtype)
    strides = [step * numbers.itemsize for step in tensor.strides]
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, numbers.dtype)
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False)
