"""Models of diffusers and transformers on disk: safetensors only.

`torch_archive` reads single files of torch, which are pickles.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import Config

T = TypeVar("T")
MOST_AXES = 32
"""Of an array; NumPy has 64 at most."""
STEM, CONFIG = "diffusion_pytorch_model", "config.json"
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
CONVERT = "save it with model.save_pretrained(folder, safe_serialization=True) in the library that wrote it"


class Stored(NamedTuple):
    """A model's folder: its configuration, as written, and its arrays by name."""

    config: Config
    arrays: dict[str, np.ndarray]


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of one `.safetensors` file by name.

    Raises:
        DataError: path first, for any other file or a damaged one.
    """
    file = checked(path)
    entries(file)
    try:
        return safetensors.numpy.load_file(file)
    except AttributeError as error:  # NumPy has no such type
        raise DataError(
            f"{file}: holds arrays of a type that cannot be read ({error}): convert them to float16, bfloat16 or "
            "float32"
        ) from error
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"{file}: not a whole safetensors file: {type(error).__name__}: {error}") from error


def entries(file: Path) -> tuple[dict[str, Config], int]:
    """Read the header of a `.safetensors` file: each array's dtype, shape and data_offsets, and where numbers begin.

    Raises:
        DataError: path first, for a damaged file, and an array of more than 32 axes.
    """
    try:
        with safetensors.safe_open(file, "numpy"):  # it checks that header and length agree
            pass
        with open(file, "rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            arrays = foreign_files.decoded(opened.read(size))
    except (safetensors.SafetensorError, OSError, ValueError, MemoryError, OverflowError) as error:
        raise DataError(f"{file}: not a whole safetensors file: {type(error).__name__}: {error}") from error
    arrays.pop("__metadata__", None)
    wide = next((name for name, entry in arrays.items() if len(entry["shape"]) > MOST_AXES), None)
    if wide is not None:
        raise DataError(f"{file}: {wide} has {len(arrays[wide]['shape'])} axes; at most {MOST_AXES} are read")
    return arrays, 8 + size


def header(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the notes in the header of a `.safetensors` file, which `load` could read; {} where there are none."""
    with safetensors.safe_open(Path(path), "numpy") as file:
        return dict(file.metadata() or {})


def load_folder(path: str | os.PathLike[str], stem: str = STEM) -> Stored:
    """Read a folder of diffusers or transformers: config.json beside `stem`.safetensors, or its parts and their index.

    Also known as: sharded checkpoint.

    Raises:
        DataError: path first, for a missing or damaged file, or one name in two parts.
    """
    folder = Path(path)
    config = load_config(folder)
    index = folder / f"{stem}.safetensors.index.json"
    single = folder / f"{stem}.safetensors"
    if single.is_file():
        return Stored(config, load(single))
    if index.is_file():
        return Stored(config, joined(index, load))
    refuse_without(folder, single.name)


def load_config(path: str | os.PathLike[str], name: str = CONFIG) -> Config:
    """Read the configuration of such a folder, without its arrays.

    Args:
        path: the folder.
        name: of the file in it: "scheduler_config.json" in the folder of a scheduler.

    Raises:
        DataError: path first, where it is missing or damaged.
    """
    return foreign_files.json_object(Path(path) / name)


def checked(path: str | os.PathLike[str]) -> Path:
    """Return the path of a `.safetensors` file that is there.

    Raises:
        DataError: path first, for a pickle, any other kind of file, and none.
    """
    file = Path(path)
    if file.suffix.lower() in PICKLED:
        raise DataError(f"{file}: only .safetensors is read, for a pickle can run code when it is opened; {CONVERT}")
    if file.suffix.lower() != ".safetensors":
        raise DataError(f"{file}: must be named .safetensors")
    return foreign_files.regular(file)


def refuse_without(folder: Path, name: str) -> NoReturn:
    """Refuse a folder that has no file of this name.

    Raises:
        DataError: path first, with what it holds in its place.
    """
    other = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in (*PICKLED, ".safetensors"))
    holds = f"it holds {', '.join(other)}; " if other else ""
    raise DataError(f"{folder}: has no {name}; {holds}{CONVERT}")


def _places(index: Path, content: Config) -> dict[str, str]:
    """Return which file holds each array, as an index of parts says."""
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or any(
        not isinstance(name, str) or not name or Path(name).name != name or "\\" in name for name in weight_map.values()
    ):
        raise DataError(f"{index}: its weight_map must give each array the name of a file beside it")
    return weight_map


def joined(index: Path, read: Callable[[Path], Mapping[str, T]]) -> dict[str, T]:
    """Return the arrays of all parts that an index names. read: of a file.

    Raises:
        DataError: path first, unless the index and its parts agree.
    """
    weight_map = _places(index, foreign_files.json_object(index))
    arrays: dict[str, T] = {}
    for name in sorted(set(weight_map.values())):
        part = read(index.with_name(name))
        if twice := sorted(set(part) & set(arrays)):
            raise DataError(f"{index}: {twice[0]} is in {name} and in a part before")
        arrays.update(part)
    if set(weight_map) != set(arrays):
        raise DataError(
            f"{index}: names {len(weight_map)} arrays and its files hold {len(arrays)}, of which some differ"
        )
    return arrays
