"""A trained causal network in one .safetensors file, small enough to be committed, which says what it is and is checked
when it is read.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np

from gendiff.commands.video import networks
from gendiff.commands.video.config import CAUSAL, Config, check
from gendiff.core import trees, types
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import Params
from gendiff.runs import network_files, ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import environment, json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.weights import files

NAME = "clips.safetensors"
FORMAT = 2
DATA = (
    "the training digits of scikit-learn in motion, which are Optical Recognition of Handwritten Digits (Alpaydin "
    "and Kaynak, 1998)"
)
LICENCE = "CC BY 4.0"


@dataclasses.dataclass(frozen=True)
class AboutClips:
    """What a file says of itself. config: of its training. sha256: of all else in the file."""

    format: int
    experiment: str
    config: types.Config
    trained_seed: int
    checkpoint: int
    commit: str | None
    versions: dict[str, str]
    data: str = DATA
    licence: str = LICENCE
    sha256: str = ""


def restore(config: Config, folder: RunFolder, attention: str, seed: int) -> Params:
    """The averages of a run that clips come from. Raises as `training_loop.restore_ema` does."""
    return training_loop.restore_ema(
        functools.partial(networks.init, config, attention),
        training_folder(folder, attention),
        seed=seed,
        decay=config.ema,
    )


def training_folder(folder: RunFolder, attention: str) -> RunFolder:
    """Where a training keeps its checkpoints and metrics."""
    return folder.inside(attention)


def publish(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Leave the causal network of the first seed in the run folder."""
    params = restore(config, folder, CAUSAL, config.seeds[0])
    step = training_loop.newest_step(training_folder(folder, CAUSAL), config.seeds[0])
    path = folder.path / NAME
    write(path, config, params, config.seeds[0], step)
    progress.line(f"{path.name}: {path.stat().st_size / 10**6:.1f} MB")


def write(path: Path, config: Config, params: Params, trained_seed: int, checkpoint: int) -> AboutClips:
    """Write a network, and say what the file tells of itself."""
    arrays = {name: np.asarray(leaf) for name, leaf in trees.paths(params).items()}
    commit, _ = environment.source_state()
    about = AboutClips(
        FORMAT, "video", json_files.encode(config), trained_seed, checkpoint, commit, environment.versions()
    )
    return network_files.write(path, arrays, about)


def read(path: Path) -> tuple[Config, Params, AboutClips]:
    """The configuration, the parameters, and what the file says of itself.

    Raises DataError for what is no whole file of such a network, CheckpointCorruptError for changed bytes,
    CheckpointMismatchError where its format, configuration or parameters are not those of this code, and NonFiniteError
    for parameters with NaN.
    """
    about, arrays = read_about(path), files.load(path)
    network_files.check_whole(path, arrays, about)
    config = json_files.decode(Config, about.config, f"{path}: config")
    try:
        ranges.check(config)
        check(config)
        # a network is described layer by layer, so a forged number must not set how many there are
        ranges.counted("blocks", config.blocks, len(arrays))
    except ConfigError as error:
        raise DataError(f"{path}: config: {error}") from error
    expected = jax.eval_shape(functools.partial(networks.init, config, CAUSAL), jax.random.key(0))
    network_files.check_parameters(path, arrays, trees.paths(expected))
    return (
        config,
        jax.tree.unflatten(jax.tree.structure(expected), [arrays[name] for name in trees.paths(expected)]),
        about,
    )


def read_about(path: Path) -> AboutClips:
    """What a file says of itself, without its parameters. Raises DataError and CheckpointMismatchError as `read`
    does.
    """
    return network_files.read_about(path, AboutClips, FORMAT, "video")
