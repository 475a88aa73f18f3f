"""The `sample` command of an experiment whose network draws images."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import sampling_options
from experiments.diffusion.image_model import Model
from experiments.diffusion.sample_files import SampleFiles
from experiments.diffusion.sampling_options import SampleOptions
from experiments.framework import configuration, devices, drawing, training_loop
from experiments.framework.configuration import Config
from experiments.framework.progress import Progress
from experiments.framework.registry import Command
from experiments.framework.run_folder import RunFolder
from gendiff.core.errors import ConfigError, NonFiniteError
from gendiff.core.types import NO_LABEL
from gendiff.data import scaling
from gendiff.diffusion import denoiser, grids, guidance, sampling
from gendiff.diffusion.types import Level, Prediction


def command(model: Callable[[Any], Model]) -> Command:
    """How `sample RUN` draws images. model: from the configuration of the run to its network."""
    return Command(SampleOptions, functools.partial(_sample, model))


def _sample(model_of: Callable[[Any], Model], config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Draws the samples that are not on disk yet. Sample i depends on the parameters, the settings and its index only.

    Raises ConfigError for options that do not fit the model, NonFiniteError where samples are not finite (those and the ones drawn beside
    them are not written), and the errors of `training_loop.restore_ema`.
    """
    model = model_of(config)
    index = sampling_options.indices(options)
    labels = sampling_options.labels(options, model.num_classes, index)
    seeds = configuration.seeds(config) or (0,)
    trained = seeds[0] if options.trained_seed is None else options.trained_seed
    if trained not in seeds:
        raise ConfigError(f"--trained-seed {trained} was not trained: there are {', '.join(map(str, seeds))}")
    if options.out is not None and "://" in options.out:
        raise ConfigError(f"--out {options.out} is a URL: write to a local file and copy it")
    out = folder.path / "samples" if options.out is None else Path(options.out).expanduser().absolute()
    settings = {
        "options": sampling_options.settings(options),
        "trained_seed": trained,
        "checkpoint": training_loop.newest_step(folder, trained),
        "run": config,
    }
    files = SampleFiles(out, model.shape, settings, options.force)
    devices.local()
    draw = _program(model, options)  # before the checkpoint is read: it may refuse
    missing = files.missing(index, labels)
    if len(missing) < len(index):
        progress.line(f"{len(index) - len(missing)} of {len(index)} samples are there already")
    if missing.size:
        params = training_loop.restore_ema(model.init, folder, seed=trained, decay=model.ema)
        progress.line("compiling …")
        todo = index[missing], labels[missing]
        bound = functools.partial(draw, params)
        for place, images in drawing.parts(bound, *todo, together=options.together, title="sample", progress=progress):
            bad = todo[0][place][~np.isfinite(images).reshape(len(images), -1).all(axis=1)]
            if bad.size:
                raise NonFiniteError(f"{bad.size} of {len(images)} samples are not finite and not written; indices: {_listed(bad)}")
            if model.levels is not None:
                images = np.asarray(scaling.round_to_levels(images, model.levels))
            files.write(images, *(each[place] for each in todo))
    files.finish(index, labels)
    progress.line(f"{len(index)} samples, {options.steps} steps of {options.sampler}, guidance {options.guidance:g}: {out}")


def _program(model: Model, options: SampleOptions) -> Callable[..., Any]:
    """(params, index, label) -> images, compiled once."""
    try:
        levels = grids.trailing(model.schedule, options.steps)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--steps {options.steps}: {error}") from error
    sampler, guided = sampling_options.sampler(options, model.schedule), model.num_classes > 0 and options.guidance != 1.0
    temperature = model.temperature if options.temperature is None else options.temperature
    try:  # what the sampler refuses, it refuses with any denoiser
        jax.eval_shape(lambda: sampling.sample(jax.random.key(0), _echo, sampler, levels, model.shape, jnp.zeros((1,), jnp.int32)))
    except (ValueError, ImportError) as error:
        raise ConfigError(f"--sampler {options.sampler}: {error}") from error

    def draw(params: Any, key: jax.Array, scale: jax.Array, index: jax.Array, label: jax.Array) -> jax.Array:
        denoise: Any = denoiser.from_network(model.predict, params, model.parameterization, *((label,) if model.num_classes else ()))
        if guided:
            denoise = guidance.classifier_free(denoise, denoise.with_condition(NO_LABEL), scale, batched=True)
        return sampling.sample(key, denoise, sampler, levels, shape=model.shape, index=index, temperature=temperature)

    program, key, scale = drawing.jit(draw), jax.random.key(options.seed), jnp.float32(options.guidance)
    return lambda params, index, label: program(params, key, scale, index, label)


def _echo(x: jax.Array, level: Level) -> Prediction:
    return Prediction(x, x)


def _listed(index: np.ndarray) -> str:
    return ", ".join(map(str, index[:20])) + (f" and {len(index) - 20} more" if len(index) > 20 else "")
