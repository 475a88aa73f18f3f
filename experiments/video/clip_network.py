"""A trained causal network in one .safetensors file, small enough to be committed, which says what it is and is checked when it is read."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from experiments.framework import training_loop
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from experiments.reporting import environment, json_files
from experiments.video import networks, train
from experiments.video.config import CAUSAL, Config
from gendiff.core import files as whole_files
from gendiff.core import trees
from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError, DataError, NonFiniteError
from gendiff.core.types import Params
from gendiff.training import compatibility
from gendiff.weights import files

NAME = "clips.safetensors"
ENTRY, FORMAT = "gendiff", 1
DATA = "the training digits of scikit-learn in motion, which are Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998)"
LICENCE = "CC BY 4.0"
_HEADINGS = ("parameter", "in the file", "in the network")


@dataclasses.dataclass(frozen=True)
class AboutClips:
    """What a file says of itself. config: of its training, without thresholds. sha256: of all else in the file."""

    format: int
    experiment: str
    config: dict[str, Any]
    trained_seed: int
    checkpoint: int
    commit: str | None
    versions: dict[str, str]
    data: str = DATA
    licence: str = LICENCE
    sha256: str = ""


def publish(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Leave the causal network of the first seed in the run folder."""
    params = train.restore(config, folder, CAUSAL, config.seeds[0])
    step = training_loop.newest_step(train.place(folder, CAUSAL), config.seeds[0])
    path = folder.path / NAME
    write(path, config, params, config.seeds[0], step)
    progress.line(f"{path.name}: {path.stat().st_size / 10**6:.1f} MB")


def write(path: Path, config: Config, params: Params, trained_seed: int, checkpoint: int) -> AboutClips:
    """Write a network, and say what the file tells of itself."""
    arrays = {name: np.asarray(leaf) for name, leaf in trees.paths(params).items()}
    settings = {name: value for name, value in json_files.encode(config).items() if name != "thresholds"}
    commit, _ = environment.source_state()
    about = AboutClips(FORMAT, "video", settings, trained_seed, checkpoint, commit, environment.versions())
    about = dataclasses.replace(about, sha256=_digest(arrays, about))
    text = json.dumps(json_files.encode(about), ensure_ascii=False, sort_keys=True)
    content = safetensors.numpy.save(dict(sorted(arrays.items())), metadata={ENTRY: text, "licence": LICENCE})
    with whole_files.replacing(path) as file:
        file.write(content)
    return about


def read(path: Path) -> tuple[Config, Params, AboutClips]:
    """The configuration, the parameters, and what the file says of itself.

    Raises DataError for what is no whole file of such a network, CheckpointCorruptError for changed bytes, CheckpointMismatchError where
    its format, configuration or parameters are not those of this code, and NonFiniteError for parameters with NaN.
    """
    about, arrays = read_about(path), files.load(path)
    if about.sha256 != _digest(arrays, about):
        raise CheckpointCorruptError(f"{path}: has other bytes than were written (sha256 differs): copy it again, or check it out anew")
    config = json_files.decode(Config, about.config, f"{path}: config")
    wanted = jax.eval_shape(functools.partial(networks.init, config, CAUSAL), jax.random.key(0))
    rows = compatibility.in_outline(compatibility.outline(arrays), compatibility.outline(trees.paths(wanted)))
    compatibility.refuse(f"{path}: its parameters are not those of the network that its configuration describes", rows, _HEADINGS)
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise NonFiniteError(f"{path}: {len(bad)} parameters are not finite, the first is {bad[0]}: its training has failed")
    return config, jax.tree.unflatten(jax.tree.structure(wanted), [arrays[name] for name in trees.paths(wanted)]), about


def read_about(path: Path) -> AboutClips:
    """What a file says of itself, without its parameters. Raises DataError and CheckpointMismatchError as `read` does."""
    try:
        with safetensors.safe_open(path, "np") as file:
            text = (file.metadata() or {}).get(ENTRY)
        found = json.loads(text or "{}")
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole safetensors file of a network of clips: {error}") from error
    if not isinstance(found, dict) or found.get("experiment") != "video":
        raise DataError(f"{path}: holds no network of clips: it has no text entry {ENTRY!r} that `run video` writes")
    if found.get("format") != FORMAT:
        raise CheckpointMismatchError(
            f"{path}: has format {found.get('format')!r}, and this version of gendiff reads {FORMAT}: use a later one"
        )
    return json_files.decode(AboutClips, found, f"{path}: {ENTRY}")


def _digest(arrays: Mapping[str, np.ndarray], about: AboutClips) -> str:
    """SHA-256 of every name, type, shape and byte, and of what the file says of itself."""
    found = hashlib.sha256(msgspec.json.encode(json_files.encode(dataclasses.replace(about, sha256="")), order="sorted"))
    for name, array in sorted(arrays.items()):
        found.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
