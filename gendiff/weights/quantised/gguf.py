"""GGUF, the files of llama.cpp: metadata and tensors, some of them in blocks of a few bits per number.

Nothing is read before the whole header has been checked against the size of the file; what remains is arithmetic on
NumPy arrays, for which the package `gguf` has the formulas of every kind of block.
"""

import dataclasses
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from gendiff.core import extras, files, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import Config, DType


class Kind(NamedTuple):
    """How the numbers of a tensor are stored.

    Attributes:
        code: its number in files.
        numbers: in a block.
        size: bytes of a block.
    """

    code: int
    numbers: int
    size: int


KINDS = {
    "F32": Kind(0, 1, 4),
    "F16": Kind(1, 1, 2),
    "Q4_0": Kind(2, 32, 18),
    "Q4_1": Kind(3, 32, 20),
    "Q5_0": Kind(6, 32, 22),
    "Q5_1": Kind(7, 32, 24),
    "Q8_0": Kind(8, 32, 34),
    "Q2_K": Kind(10, 256, 84),
    "Q3_K": Kind(11, 256, 110),
    "Q4_K": Kind(12, 256, 144),
    "Q5_K": Kind(13, 256, 176),
    "Q6_K": Kind(14, 256, 210),
    "IQ4_NL": Kind(20, 32, 18),
    "IQ4_XS": Kind(23, 256, 136),
    "BF16": Kind(30, 1, 2),
}
NOT_READ = {9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S"}
NOT_READ |= {24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0"}
NOT_READ |= {39: "MXFP4", 40: "NVFP4", 41: "Q1_0"}
"""Other kinds by their number in files, for messages."""
VERSIONS = (2, 3)
ALIGNMENT = 32
LARGEST_AXIS = 2**40
_NAMES = {kind.code: name for name, kind in KINDS.items()}
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_STRING, _ARRAY, _BOOL = 8, 9, 7


@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
    """A tensor as the file has it.

    Attributes:
        kind: one of KINDS.
        shape: of the numbers, in NumPy's order: a linear layer is (out, in).
        blocks: (…, bytes of a row), the file's own bytes, which a memory map reads when they are used.
    """

    kind: str
    shape: tuple[int, ...]
    blocks: UInt8[np.ndarray, "*rows bytes"]

    @property
    def dtype(self) -> np.dtype:
        """That of its numbers."""
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the file."""
        return self.blocks.nbytes

    def numbers(self) -> Float32[np.ndarray, "..."]:
        """Return the numbers.

        Raises:
            ImportError: without the package of the extra `language`.
        """
        quants = block_formulas()
        code = quants.GGMLQuantizationType(KINDS[self.kind].code)
        with np.errstate(invalid="ignore", over="ignore"):  # a scale may be infinite
            numbers: np.ndarray = quants.dequantize(np.array(self.blocks), code).reshape(self.shape)
        return numbers

    def rows(self, first: int, count: int) -> "Packed":
        """So many entries of its first axis, from one on, as a tensor of the file.

        Raises:
            ValueError: where that would cut a block.
        """
        start, end = first, first + count
        if self.ndim == 1:
            kind = KINDS[self.kind]
            if start % kind.numbers or end % kind.numbers:
                raise ValueError(f"numbers {start} to {end} are no whole blocks of {self.kind}")
            start, end = (at // kind.numbers * kind.size for at in (start, end))
        return dataclasses.replace(self, shape=(count, *self.shape[1:]), blocks=self.blocks[start:end])

    def reshaped(self, shape: tuple[int, ...]) -> "Packed":
        """The same rows under other leading axes."""
        return dataclasses.replace(self, shape=shape, blocks=self.blocks.reshape(*shape[:-1], -1))

    def __array__(self, dtype: DType | None = None, copy: bool | None = None) -> np.ndarray:
        """Read its numbers."""
        numbers = self.numbers()
        return numbers if dtype is None else numbers.astype(dtype, copy=False)


class Gguf(NamedTuple):
    """A file.

    Attributes:
        metadata: by key; arrays of numbers are NumPy arrays, and arrays of strings are lists.
        tensors: by name.
    """

    metadata: Config
    tensors: dict[str, Packed]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every tensor's numbers, in float32."""
        return {name: tensor.numbers() for name, tensor in self.tensors.items()}


def load(path: str | os.PathLike[str]) -> Gguf:
    """Read a file of version 2 or 3. The tensors stay on disk until they are used.

    Raises:
        DataError: path first, for any other file, for tensors that overlap, leave gaps or reach beyond the file, for a
            name that comes twice, and for kinds of numbers that are none of KINDS.
    """
    file = foreign_files.regular(path)
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            metadata, places, start = _header(_Reader(content))
        stored = np.memmap(file, np.uint8, "r") if places else np.zeros(0, np.uint8)
    except _OtherKind as error:
        raise DataError(f"{file}: {error}") from error
    except (_Damage, ValueError, OSError) as error:  # ValueError: an empty file cannot be mapped
        raise DataError(f"{file}: not a whole GGUF file: {error}") from error
    return Gguf(metadata, {entry.name: entry.packed(stored[start:]) for entry in places})


def block_formulas() -> ModuleType:
    """Return the formulas of every kind of block: the module `quants` of the package `gguf`.

    Raises:
        ImportError: without the package of the extra `language`.
    """
    try:
        from gguf import quants
    except ImportError as error:
        raise ImportError(extras.needs("the numbers of GGUF need", "gguf", "language")) from error
    return quants


class _Damage(Exception):
    """What is wrong with a file."""


class _OtherKind(Exception):
    """A tensor of a kind that is not read, in a file that may be whole."""


class _Place(NamedTuple):
    """Where a tensor lies, from the start of all tensors on."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    size: int

    def packed(self, stored: np.ndarray) -> Packed:
        blocks = stored[self.start : self.start + self.size].view(np.ndarray).reshape(*self.shape[:-1], -1)
        return Packed(self.kind, self.shape, blocks)


class _Reader:
    """The bytes of a file one after another; whatever reaches beyond them is an error before anything is allocated."""

    def __init__(self, content: mmap.mmap):
        self.content, self.size, self.at = content, len(content), 0

    def bytes(self, count: int) -> bytes:
        if count > self.left:
            raise _Damage(f"{count} bytes at {self.at} reach beyond its {self.size} bytes")
        self.at += count
        return self.content[self.at - count : self.at]

    @property
    def left(self) -> int:
        return self.size - self.at

    def integer(self, form: str) -> int:
        number: int = struct.unpack(form, self.bytes(struct.calcsize(form)))[0]
        return number

    def text(self) -> str:
        raw = self.bytes(self.integer("<Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise _Damage(f"no UTF-8 text before byte {self.at}: {error.reason}") from error

    def count(self, what: str, smallest: int) -> int:
        """Return a number of things that take at least some bytes each."""
        count = self.integer("<Q")
        if count * smallest > self.left:
            raise _Damage(f"{count} {what} at {self.at} do not fit into its {self.size} bytes")
        return count

    def numbers(self, code: int, count: int) -> np.ndarray:
        if code not in _SCALARS:
            raise _Damage(f"type {code} of a value before byte {self.at} is unknown")
        dtype = np.dtype(_SCALARS[code])
        raw = self.bytes(count * dtype.itemsize)
        if code == _BOOL and raw.strip(b"\0\1"):
            raise _Damage(f"a value before byte {self.at} is neither false nor true")
        return np.frombuffer(raw, dtype)

    def value(self) -> object:
        """One value of the metadata."""
        code = self.integer("<I")
        if code == _STRING:
            return self.text()
        if code != _ARRAY:
            return self.numbers(code, 1)[0].item()
        code = self.integer("<I")
        if code == _STRING:
            return [self.text() for _ in range(self.count("strings", 8))]
        if code == _ARRAY:
            raise _Damage(f"an array of arrays before byte {self.at}")
        return self.numbers(code, self.count("values", 1))


def save(path: str | os.PathLike[str], like: str | os.PathLike[str], tensors: Mapping[str, Packed]) -> None:
    """Write a file with the metadata of another one, byte for byte, and these tensors.

    Args:
        path: the file, which is replaced.
        like: a file that `load` reads, such as that of the same model with more bits.
        tensors: by name.

    Raises:
        DataError: path first, for a file that is not read.
        OSError: with the path, where it cannot be written.
    """
    load(like)
    with Path(like).open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        reader = _Reader(content)
        alignment = _metadata(reader)[2]
        head = content[: reader.at]
    infos, end = [], 0
    for name, tensor in tensors.items():
        raw, axes = name.encode(), len(tensor.shape)
        start = _aligned(end, alignment)
        infos.append(struct.pack("<Q", len(raw)) + raw + struct.pack(f"<I{axes}Q", axes, *tensor.shape[::-1]))
        infos.append(struct.pack("<IQ", KINDS[tensor.kind].code, start))
        end = start + tensor.blocks.nbytes
    with files.replacing(path) as target:
        target.write(head[:8] + struct.pack("<Q", len(tensors)) + head[16:] + b"".join(infos))
        for tensor in tensors.values():
            target.write(bytes(-target.tell() % alignment))
            target.write(np.ascontiguousarray(tensor.blocks).data)
        target.write(bytes(-target.tell() % alignment))


def _header(reader: _Reader) -> tuple[Config, list[_Place], int]:
    """(metadata, tensors, where the first one starts), all of it checked."""
    metadata, tensors, alignment = _metadata(reader)
    infos = [_info(reader) for _ in range(tensors)]
    start = _aligned(reader.at, alignment)
    return metadata, list(_placed(infos, alignment, reader.size - start)), start


def _metadata(reader: _Reader) -> tuple[Config, int, int]:
    """(metadata, number of tensors, alignment)."""
    if reader.bytes(4) != b"GGUF":
        raise _Damage("it does not begin with GGUF")
    version = reader.integer("<I")
    if version not in VERSIONS:
        kind = "big-endian" if version & 0xFFFF == 0 else f"version {version}"
        raise _Damage(f"it is {kind}; versions {VERSIONS[0]} and {VERSIONS[1]}, little-endian, are read")
    tensors, values = reader.count("tensors", 32), reader.integer("<Q")
    metadata: dict[str, object] = {}
    if values * 13 > reader.left:
        raise _Damage(f"{values} values of metadata do not fit into its {reader.size} bytes")
    for _ in range(values):
        key = reader.text()
        if not key or key in metadata:
            raise _Damage(f"the key {key!r} comes twice" if key else f"a key without a name before byte {reader.at}")
        metadata[key] = reader.value()
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if isinstance(alignment, bool) or not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise _Damage(f"general.alignment = {alignment!r} is no power of two")
    return metadata, tensors, alignment


def _info(reader: _Reader) -> tuple[str, str, tuple[int, ...], int]:
    """(name, kind, shape, start) of a tensor."""
    name, axes = reader.text(), reader.integer("<I")
    if not 1 <= axes <= 4:
        raise _Damage(f"{name} has {axes} axes; 1 to 4 are read")
    shape = struct.unpack(f"<{axes}Q", reader.bytes(8 * axes))[::-1]
    code = reader.integer("<I")
    if code not in _NAMES:
        raise _OtherKind(f"{name} is of kind {NOT_READ.get(code, code)}, which is not read; {', '.join(KINDS)} are")
    if not all(1 <= axis <= LARGEST_AXIS for axis in shape) or shape[-1] % KINDS[_NAMES[code]].numbers:
        raise _Damage(f"{name} of shape {shape} has no whole blocks of {_NAMES[code]}")
    return name, _NAMES[code], shape, reader.integer("<Q")


def _placed(infos: list[tuple[str, str, tuple[int, ...], int]], alignment: int, room: int) -> Iterator[_Place]:
    """Each tensor stands right behind the one before, as llama.cpp demands too."""
    end, names = 0, set()
    for name, kind, shape, start in infos:
        expected = _aligned(end, alignment)
        if start != expected:
            what = "overlaps what is before" if start < end else "leaves a gap, or is not aligned"
            raise _Damage(f"{name} starts at {start} and not at {expected}: it {what}")
        size = int(np.prod([*shape[:-1], shape[-1] // KINDS[kind].numbers], dtype=object)) * KINDS[kind].size
        end = start + size
        if end > room:
            raise _Damage(
                f"{name} ends at {end} of {max(room, 0)} bytes of tensors: the file is cut off, or its shape {shape} "
                "is wrong"
            )
        if name in names:
            raise _Damage(f"the tensor {name!r} comes twice")
        names.add(name)
        yield _Place(name, kind, shape, start, size)
    if room - end >= alignment:
        raise _Damage(f"{room - end} bytes behind its last tensor belong to none")


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
