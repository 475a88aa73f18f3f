"""The parts of a folder that have parameters: opened by their configuration, and read from their files."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError
from gendiff.core.foreign_files import naming
from gendiff.core.types import Config, DType, Params, PyTree
from gendiff.data import chat_row_tokenizer, clip_tokenizer, t5_tokenizer
from gendiff.data.texts.row_tokenizer import RowTokenizer
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.pipelines.stable_diffusion.model_index import ModelIndex
from gendiff.pipelines.stable_diffusion.part_readers import READERS, Reader
from gendiff.weights import (
    files,
    gguf,
    original_transformers,
    packed_reading,
    quantised,
    settings,
    single_file,
    streamed,
    transformers_qwen_encoder,
)
from gendiff.weights.quantised import Packing
from gendiff.weights.quantised.packed_reading import OnPacked
from gendiff.weights.rules import Arrays

CONFIG = "config.json"
DTYPES = ("float32", "bfloat16")
TOWERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
PROMPT = "prompt of a picture"
"""A text whose place in a message is looked for."""
STORAGES: Mapping[str, tuple[Packing, ...]] = {
    "full": (),
    "int8": quantised.linear(quantised.int8(), convolutions=True),
    "int4": (
        *quantised.linear(quantised.int4(search=True, scale_dtype="float16")),
        *quantised.linear(quantised.int8(), convolutions=True),
    ),
    "float8": quantised.linear(quantised.float8(), convolutions=True),
    "as-file": (),
}
"""How the kernels of linear layers and convolutions are kept in memory.

As arrays; in one byte for each number; linear layers in half a byte and convolutions in one; or as their file has them.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """One opened part. Nothing but names, shapes and types of its arrays is read so far.

    Args:
        name: as in "unet".
        folder: where it is.
        config: its config.json.
        network: of this library.
        arrays: its arrays by their names.
        reader: of its class.
        single: the file that its arrays are in, where that is none of the folder.
    """

    name: str
    folder: Path
    config: Config
    network: Any  # a module of the class of its reader
    arrays: Arrays
    reader: Reader
    single: Path | None = None

    @property
    def channels(self) -> int:
        """Those of x, of a network of latents."""
        count: int = self.config.get("in_channels", self.reader.in_channels) // self.reader.packed
        return count

    def shapes(self, dtype: DType = jnp.float32) -> Params:
        """Shapes of its parameters.

        Raises:
            DataError: path first, for settings that contradict each other.
        """
        try:
            leaves = _shapes(self.network, self.reader.example, self.channels)
        except Exception as error:  # numbers that contradict each other end in errors of many kinds
            raise DataError(f"{self.folder / CONFIG}: {type(error).__name__}: {error}") from error
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), leaves)

    def params(
        self,
        dtype: DType = jnp.float32,
        storage: str = "full",
        on_packed: OnPacked | None = None,
        mesh: jax.sharding.Mesh | None = None,
    ) -> Params:
        """Read its parameters, one after the other.

        Args:
            dtype: of the parameters, whatever that of the files.
            storage: how kernels are kept in memory (see `STORAGES`).
            on_packed: is told what packing loses of each kernel.
            mesh: devices that share them (see `split_parts`); each array goes straight to its places. One that is
                packed is whole on the default device until then.

        Raises:
            CheckpointMismatchError: path first, as `rules.to_ours` does.
            DataError: path first, as `shapes` does.
        """
        packing, like = STORAGES[storage], self.shapes(dtype)
        if mesh is not None:
            from gendiff.pipelines.stable_diffusion import split_parts  # loads Optax

            like = split_parts.with_shardings(like, mesh)
        with naming(self.single or self.folder):
            maker = packed_reading.maker(packing, on_packed) if packing else None
            maker = packed_reading.as_stored if storage == "as-file" else maker
            if maker is not None and mesh is not None:
                maker = split_parts.maker(maker, mesh)
            return self.reader.params(self.config, self.arrays, like, maker=maker)

    def theirs(self, params: Params) -> dict[str, np.ndarray]:
        """Its parameters under the names that they have in its file, in their own dtype.

        Raises:
            CheckpointMismatchError: path first, for parameters of another network.
        """
        shapes, by_path = trees.paths(self.shapes()), trees.paths(params)
        fits = {path for path in set(shapes) & set(by_path) if shapes[path].shape == by_path[path].shape}
        if wrong := sorted((set(shapes) | set(by_path)) - fits):
            raise CheckpointMismatchError(
                f"{self.folder}: {len(wrong)} parameters are not those of its network, such as {wrong[0]}"
            )
        return self.reader.params.theirs(self.config, params)

    def check(self, *, copies: bool = True) -> None:
        """Refuse what `params` would, without reading arrays.

        Args:
            copies: read and compare those that a file holds several times. False reads none.

        Raises:
            CheckpointMismatchError: path first, as `params` does.
            DataError: path first, as `shapes` does.
        """
        with naming(self.single or self.folder):
            arrays = self.arrays
            if not copies:  # zeros that take little memory, whatever the shape
                arrays = {
                    name: np.broadcast_to(np.zeros((), array.dtype), array.shape) for name, array in arrays.items()
                }
            self.reader.params(self.config, arrays, self.shapes(), maker=lambda *_: 0)


class SingleFile(NamedTuple):
    """A file that holds a transformer, or all parts.

    Attributes:
        file: where it is.
        parts: the arrays of each of its parts, under the names that a folder gives them.
    """

    file: Path
    parts: Mapping[str, Arrays]


def opened(
    index: ModelIndex,
    name: str,
    *,
    variant: str | None = None,
    context: Config | None = None,
    fields: Config | None = None,
    single: SingleFile | None = None,
) -> Part:
    """Open one part of a folder.

    Args:
        index: of the folder.
        name: of the part, as in "unet".
        variant: as for `streamed.open_folder`.
        context: what other parts say of it: "pooled_channels" of a U-Net's text, "penultimate" of text encoders.
        fields: of its network beside those that its configuration says: "dtype" and "remat". The autoencoder is always
            float32.
        single: a file whose arrays take the place of those of the folder.

    Raises:
        DataError: path first, for missing and damaged files, and a setting without a match.
    """
    folder, kind = index.folder / name, index.parts[name]
    reader = READERS[kind]
    config = files.load_config(folder)
    arrays: Arrays
    file: Path | None = None
    if single is not None and name in single.parts:
        arrays, file = single.parts[name], single.file
    else:
        arrays = streamed.open_folder(folder, reader.stem, variant)
    config = _checked(index, name, config, arrays)
    with naming(folder / CONFIG):
        network = reader.network(config, context or {}, fields or {})
    return Part(name, folder, config, network, arrays, reader, file)


def tokenizer(index: ModelIndex, name: str, *, like_transformers: bool = False) -> RowTokenizer:
    """Read a tokenizer of a folder.

    Args:
        index: of the folder.
        name: as in "tokenizer_2".
        like_transformers: as for `clip_tokenizer.load`.

    Raises:
        ImportError: without the package of the extra `text`.
        DataError: path first, as `clip_tokenizer.load` does.
    """
    folder = index.folder / name
    if index.parts[name] in model_index.QWEN_TOKENIZER:
        before, after = _message(index, folder)
        return chat_row_tokenizer.load(folder, index.kind.longest, before, after)
    if index.parts[name] in model_index.T5_TOKENIZER:
        return t5_tokenizer.load(folder, index.kind.longest)
    return clip_tokenizer.load(folder, like_transformers=like_transformers)


def _message(index: ModelIndex, folder: Path) -> tuple[str, str]:
    """What the chat template of a tokenizer writes before and after a prompt. DataError, path first."""
    from gendiff.language import chat_template  # loads all of that chapter

    with naming(folder):
        template = chat_template.load(folder)
        parts = template([{"role": "user", "content": PROMPT}], thinking=index.kind.thinking).split(PROMPT)
        if len(parts) != 2:
            raise ConfigError(f"its chat template writes a prompt {len(parts) - 1} times")
    return parts[0], parts[1]


def size(index: ModelIndex, parts: Mapping[str, Part]) -> tuple[int, int] | None:
    """Height and width of the pictures that a network was trained for, if its configuration tells.

    Args:
        index: of the folder.
        parts: the network and "vae" among them.
    """
    side = parts["unet" if "unet" in parts else "transformer"].config.get("sample_size", index.kind.side)
    sides, factor = (side, side) if isinstance(side, int) else side, parts["vae"].network.factor
    return None if sides is None else (sides[0] * factor, sides[1] * factor)


def open_single(
    index: ModelIndex, file: str | os.PathLike[str] | None, variant: str | None = None
) -> SingleFile | None:
    """Take a single file apart, without reading its arrays.

    Args:
        index: of the folder whose configurations say what the parts are.
        file: a `.safetensors` file in the layout of latent diffusion, or one of a transformer with the names of its
            authors or of diffusers, alone or with other parts; of a transformer also a `.gguf` file. None: the
            arrays are those of the folder.
        variant: of the files of the folder, where `file` is None.

    Raises:
        ValueError: for a file and a variant.
        DataError: path first, for any other file, a damaged one, and configurations that are missing or have no match.
        ImportError: for a `.gguf` file without the package of the extra `language`.
        CheckpointMismatchError: path first, for parts that it lacks, and arrays that belong to no part.
    """
    if file is None:
        return None
    if variant is not None:
        raise ValueError(
            f"variant = {variant!r} is for files of the folder, and weights = {os.fspath(file)!r} takes their place"
        )
    path, transformer = Path(file), index.parts.get("transformer")
    if "unet" not in index.kind.needs and transformer not in original_transformers.KINDS:
        raise DataError(
            f"{index.folder}: a single file of weights is for Stable Diffusion, FLUX and Z-Image, and this is "
            f"{index.kind.name}"
        )
    arrays: Arrays = _of_gguf(path, index) if is_gguf(path) else streamed.open_file(path)
    names = (name for name, kind in index.parts.items() if kind in READERS)
    configs = {name: _checked(index, name, files.load_config(index.folder / name), arrays) for name in names}
    if transformer is not None:
        configs["transformer"] = {**configs["transformer"], "_class_name": transformer}
    with naming(path):
        return SingleFile(path, single_file.parts(arrays, configs))


def is_gguf(file: str | os.PathLike[str]) -> bool:
    """Whether a file is named as GGUF."""
    return Path(file).suffix.lower() == ".gguf"


def _of_gguf(path: Path, index: ModelIndex) -> Arrays:
    """The tensors of a GGUF file of the transformer of a folder."""
    if "transformer" not in index.parts:
        raise DataError(f"{path}: a GGUF file holds a transformer, and {index.kind.name} has none: give .safetensors")
    content = gguf.load(path)
    architecture = original_transformers.KINDS[index.parts["transformer"]].architecture
    name = content.metadata.get("general.architecture", architecture)
    if name != architecture:
        raise DataError(f"{path}: general.architecture = {name!r}, and that of {index.kind.name} is {architecture!r}")
    gguf.block_formulas()
    return content.tensors


def _checked(index: ModelIndex, name: str, config: Config, arrays: Arrays) -> Config:
    """The configuration of a part, which may not have more blocks than there are arrays.

    Raises DataError, path first.
    """
    kind = index.parts[name]
    with naming(index.folder / name / CONFIG):
        settings.check_depth(config, arrays)
        if kind in model_index.QWEN:
            return {**config, transformers_qwen_encoder.READ: index.kind.read}
        return _as_class(config, kind) if kind in model_index.ENCODERS else config


@functools.cache
def _shapes(network: Any, example: Callable[..., tuple[PyTree, ...]], channels: int) -> Params:
    """Of the parameters of any module."""
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *example(network, channels)))


def _as_class(config: Config, kind: str) -> Config:
    """The configuration of a text encoder, whose class the index names."""
    written = config.get("architectures")
    if written not in (None, [kind]):
        raise ConfigError(f"architectures = {written!r}, but {model_index.NAME} says {kind}")
    return {**config, "architectures": [kind]}
