"""Arrays that stay in their safetensors file until they are used: loading needs the memory of a model and one array.

Also known as: lazy loading.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from gendiff.core.errors import DataError
from gendiff.core.types import Config, DType
from gendiff.weights import files

TYPES: Mapping[str, DType] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "F8_E4M3": jnp.float8_e4m3fn,
    "F8_E5M2": jnp.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""What a file may hold, by the names that it has there."""
EIGHT_BITS = (np.dtype(jnp.float8_e4m3fn), np.dtype(jnp.float8_e5m2))
SCALES = ("scale_weight", "weight_scale")
"""The names of a weight's scale: in files of ComfyUI, and of compressed-tensors and newer ComfyUI."""
NOT_USED = ("scale_input", "input_scale", "comfy_quant")
"""What stands beside scales: how activations are rounded, which are not rounded here."""
MARK = "scaled_fp8"
"""The name of an array of ComfyUI that says only that there are scales."""


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """One array of a file. `np.asarray` reads it, each time anew.

    Args:
        file: the file.
        dtype: of its numbers in the file.
        shape: its axes.
        offset: where its bytes begin.
        scale: what its numbers are multiplied by, one number or one per entry of the first axis; they then are read in
            float32.
    """

    file: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    scale: "StoredArray | None" = None

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, first: int, count: int) -> "StoredArray":
        """So many entries of its first axis, from one on, as an array of the file."""
        of_one = self.nbytes // self.shape[0]
        scale = self.scale
        if scale is not None and math.prod(scale.shape) > 1:
            scale = scale.rows(first, count)
        shape = (count, *self.shape[1:])
        return dataclasses.replace(self, shape=shape, offset=self.offset + first * of_one, scale=scale)

    def reshaped(self, shape: tuple[int, ...]) -> "StoredArray":
        """The same numbers with other axes."""
        return dataclasses.replace(self, shape=shape)

    def __array__(self, dtype: DType | None = None, copy: bool | None = None) -> np.ndarray:
        """Read it. Raises DataError, path first, where the file has become shorter since it was opened."""
        with open(self.file, "rb") as file:
            file.seek(self.offset)
            content = np.fromfile(file, np.uint8, self.nbytes)
        if content.size != self.nbytes:
            raise DataError(f"{self.file}: is shorter than when it was opened")
        array = content.view(self.dtype).reshape(self.shape)
        if self.scale is not None:
            scale = np.asarray(self.scale, np.float32)
            array = array.astype(np.float32) * scale.reshape(-1, *(1,) * (self.ndim - 1))
        return array if dtype is None else array.astype(dtype, copy=False)


def open_file(path: str | os.PathLike[str]) -> dict[str, StoredArray]:
    """Read the names, shapes and types of one `.safetensors` file.

    Raises:
        DataError: path first, for any other file, a damaged one, types that cannot be read, and scales of 8-bit numbers
            that are neither one number nor one per output.
    """
    return _scaled(Path(path), _entries(path))


def _entries(path: str | os.PathLike[str]) -> dict[str, StoredArray]:
    """The arrays of a file, scales among them."""
    file = files.checked(path)
    arrays, begin = files.entries(file)
    return {name: _stored(file, name, entry, begin) for name, entry in arrays.items()}


def open_folder(
    path: str | os.PathLike[str], stem: str = files.STEM, variant: str | None = None
) -> dict[str, StoredArray]:
    """Read what the weights of a folder hold: `stem`.safetensors, or its parts with their index.

    Also known as: sharded checkpoint.

    Args:
        path: the folder of one model.
        stem: of the names of its files.
        variant: as in "fp16", which stands in those names. None: the files without a variant; where there are none,
            those of the only one.

    Raises:
        DataError: path first, for missing or damaged files, an index that contradicts them or names a file elsewhere,
            and several variants of which none was asked for.
    """
    folder = Path(path)
    available = variants(folder, stem)
    chosen = variant if variant is not None or None in available or len(available) != 1 else next(iter(available))
    if chosen in available:
        file = available[chosen]
        return _scaled(file, files.joined(file, _entries)) if file.suffix == ".json" else open_file(file)
    if available:
        there = ", ".join(
            "those without a variant" if name is None else repr(name) for name in sorted(available, key=str)
        )
        lacks = (
            f"has no {stem} of variant {variant!r}"
            if variant is not None
            else f"has several variants of {stem}: choose one"
        )
        raise DataError(f"{folder}: {lacks}; there are {there}")
    if folder.is_dir():
        files.refuse_without(folder, f"{stem}.safetensors")
    raise DataError(f"{folder}: no such folder")


def variants(folder: Path, stem: str = files.STEM) -> dict[str | None, Path]:
    """Find the variants of a model's weights: None or "fp16" -> the whole file, or the index of its parts."""
    result: dict[str | None, Path] = {}
    for file in sorted(folder.glob(f"{stem}.*")):
        parts = file.name.removeprefix(f"{stem}.").split(".")
        index = parts[-1] == "json"
        words = [part for part in parts if part not in ("safetensors", "index", "json")]
        ending = ["safetensors", "index", "json"] if index else ["safetensors"]
        if len(words) <= 1 and [part for part in parts if part not in words] == ending and "-of-" not in file.name:
            name = words[0] if words else None
            if name not in result or not index:
                result[name] = file
    return result


def _scaled(file: Path, arrays: dict[str, StoredArray]) -> dict[str, StoredArray]:
    """The arrays in which those of 8 bits have their scales. Also known as: scaled FP8."""
    result = dict(arrays)
    for name, array in arrays.items():
        layer = name.removesuffix("weight")
        scales = [layer + kind for kind in SCALES if layer + kind in arrays and layer != name]
        if array.dtype not in EIGHT_BITS or not scales or not array.shape:
            continue
        scale = result.pop(scales[0])
        if math.prod(scale.shape) not in (1, array.shape[0]):
            raise DataError(
                f"{file}: {scales[0]} has shape {scale.shape}: one number, or one for each of {array.shape[0]} outputs "
                f"of {name}, can be read"
            )
        result[name] = dataclasses.replace(array, scale=scale)
        for kind in NOT_USED:
            result.pop(layer + kind, None)
    scaled = len(result) < len(arrays)
    return {name: array for name, array in result.items() if not (scaled and name.rpartition(".")[2] == MARK)}


def _stored(file: Path, name: str, entry: Config, begin: int) -> StoredArray:
    kind = entry["dtype"]
    if kind not in TYPES:
        raise DataError(
            f"{file}: {name} has the type {kind}, of which only {', '.join(TYPES)} can be read: convert it to float16"
        )
    return StoredArray(file, np.dtype(TYPES[kind]), tuple(entry["shape"]), begin + entry["data_offsets"][0])
