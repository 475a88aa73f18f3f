"""The `sample` command, and the command `video`: a sheet of clips as one file that any viewer plays."""

import dataclasses
import functools
import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro

from gendiff.commands import trained_networks
from gendiff.commands.drawing_options import RunOptions
from gendiff.commands.video import clip_network, clip_options, draws, networks
from gendiff.commands.video.clip_options import ClipOptions, CommandOptions
from gendiff.commands.video.config import CAUSAL, Config
from gendiff.core import extras, foreign_files
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.data import clip_files
from gendiff.runs import compile_cache, drawing, ranges, run_folder
from gendiff.runs.program import STUDIES
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue, SampleCommand
from gendiff.runs.reporting import formatting
from gendiff.runs.run_folder import RunFolder

SCALE, GAP = 4, 1
"""How often pixels are repeated in the file, and pixels between clips before that."""


@dataclasses.dataclass(frozen=True)
class SampleOptions(RunOptions, ClipOptions):
    """Draw clips from a network of a run folder."""

    attention: Literal["full", "factorised", "causal"] = "causal"
    """Which network draws."""
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write: .webp, .gif, or .mp4 with the package that it needs; None is a .webp in the run folder."""


def _sample(config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit the run, and the errors of `training_loop.restore_ema`."""
    seed = ranges.trained_seed(options.trained_seed, config.seeds)
    file = foreign_files.expanded(options.out) if options.out else folder.path / f"samples_of_{options.attention}.webp"
    check(config, options.attention, options, file)
    params = clip_network.restore(config, folder, options.attention, seed)
    _write(config, options.attention, params, options, file, progress)


def call(options: CommandOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, and as `clip_network.read` does."""
    file, model = foreign_files.expanded(options.out), model_file(options.model)
    compile_cache.use(say=progress.line)
    config, params, about = clip_network.read(model)
    check(config, CAUSAL, options, file)
    progress.line(f"{model.name}: learned from {about.data}")
    _write(config, CAUSAL, params, options, file, progress)


def model_file(model: str | None) -> Path:
    """The file of a network. ConfigError, with what to do, where there is none."""
    path = trained_networks.FOLDER / clip_network.NAME if model is None else foreign_files.expanded(model)
    if not path.is_file():
        train_one = f"train one: {STUDIES} run video, then add --model runs/video/{clip_network.NAME}"
        raise ConfigError(
            f"no trained network is committed in {trained_networks.FOLDER}; {train_one}"
            if model is None
            else f"--model {model} is no file"
        )
    return path


def check(config: Config, attention: str, options: ClipOptions, file: Path) -> None:
    """ConfigError for a length that only the causal network can draw, and a file that cannot be written."""
    if attention != CAUSAL and options.frames not in (None, config.frames):
        raise ConfigError(
            f"--frames {options.frames}: {attention} attention draws {config.frames} at once; take --attention {CAUSAL}"
        )
    if attention != CAUSAL and options.noise is not None:
        raise ConfigError(f"--noise {options.noise:g} is of rollouts: take --attention {CAUSAL}, or leave it out")
    run_folder.writable("out", file, file=True)
    ranges.replaceable(file, options.force)
    if file.suffix.lower() not in clip_files.SUFFIXES:
        raise ConfigError(f"--out {file} must be named {', '.join(clip_files.SUFFIXES)}")
    if file.suffix.lower() == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ConfigError(extras.needs(f"--out {file} needs", "imageio-ffmpeg", "video"))
    frames, across = options.frames or config.frames, min(options.columns, options.num)
    pixels = frames * -(-options.num // across) * across * (SCALE * (config.side + GAP)) ** 2
    if pixels > clip_files.MOST_PIXELS:
        raise ConfigError(
            f"{options.num} clips of {frames} frames are too large for one file: give a smaller --num or --frames"
        )


def clips(config: Config, attention: str, params: Params, options: ClipOptions, progress: Progress) -> np.ndarray:
    """(num, frames, side, side, 1) clips in [-1, 1], rounded to the levels of digits. NonFiniteError where they are not
    finite.
    """
    steps, frames = options.steps or config.sampling_steps, options.frames or config.frames
    key, index = jax.random.key(options.seed), np.arange(options.num, dtype=np.int32)
    labels = draws.labels(options.num) if options.label is None else np.full(options.num, options.label, np.int32)
    if attention == CAUSAL:
        noise = config.noise if options.noise is None else options.noise

        def rolled(params: Params, key: jax.Array, index: jax.Array, label: jax.Array) -> jax.Array:
            clips: jax.Array = draws.rollout(config, steps, frames, params, key, index, label, noise).frames
            return clips

        part = functools.partial(networks.jit(rolled), params, key)
    else:
        part = functools.partial(draws.clips_at_once(config, attention, steps), params, key, 1.0, 1.0)
    together = min(config.together, options.num)
    samples = drawing.draw_all(
        part, index, labels, together=together, title=f"{attention} attention", progress=progress
    )
    drawing.check_finite(samples, index)
    return draws.to_levels(samples)


def _write(
    config: Config, attention: str, params: Params, options: ClipOptions, file: Path, progress: Progress
) -> None:
    samples = clips(config, attention, params, options, progress)
    file.parent.mkdir(parents=True, exist_ok=True)
    clip_files.write_clip(
        file, clip_files.sheet(samples, columns=min(options.columns, len(samples)), gap=GAP), scale=SCALE
    )
    progress.line(
        f"{formatting.amount(len(samples), 'clip')} of {formatting.amount(samples.shape[1], 'frame')}: {file}"
    )


SAMPLE = SampleCommand(SampleOptions, _sample, check=clip_options.check)
