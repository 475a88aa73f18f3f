"""The `sample` command: images from the network of a run, as a grid, a folder of PNGs or an .npz."""

import functools
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import sampling_options
from experiments.diffusion.image_model import Model
from experiments.diffusion.sampling_options import SampleOptions
from experiments.framework import configuration, devices, drawing, training_loop
from experiments.framework.progress import Progress
from experiments.framework.registry import Command
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures, json_files
from gendiff.core.errors import ConfigError, NonFiniteError
from gendiff.core.types import NO_LABEL
from gendiff.data import scaling
from gendiff.diffusion import denoiser, grids, guidance, samplers, sampling
from gendiff.diffusion.sampling import Sampler

COLUMNS = 8


def command(model: Callable[[Any], Model]) -> Command:
    """How `sample RUN` draws images. model: from the configuration of the run to its network."""
    return Command(SampleOptions, functools.partial(_sample, model))


def _sample(model_of: Callable[[Any], Model], config: Any, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Draws what the options ask for. Sample i depends on the parameters, the seed and its index only.

    Raises ConfigError for options that do not fit the model, NonFiniteError (and writes nothing) where samples are not finite, and the
    errors of `training_loop.restore_ema`.
    """
    model = model_of(config)
    index = sampling_options.indices(options)
    labels = sampling_options.labels(options, model.num_classes, index)
    out = _free(options.out or str(folder.path / "samples.png"), model, options.force)
    seeds = configuration.seeds(config) or (0,)
    trained = seeds[0] if options.trained_seed is None else options.trained_seed
    if trained not in seeds:
        raise ConfigError(f"--trained-seed {trained} was not trained: there are {', '.join(map(str, seeds))}")
    devices.local()
    draw = _Draw(model, options)  # before the checkpoint is read: it may refuse
    params = training_loop.restore_ema(model.init, folder, seed=trained, decay=model.ema)
    images = draw(params, index, labels, progress)
    bad = index[~np.isfinite(images).reshape(len(index), -1).all(axis=1)]
    if bad.size:
        raise NonFiniteError(f"{bad.size} of {index.size} samples are not finite, so nothing was written; indices: {_listed(bad)}")
    if model.levels is not None:
        images = np.asarray(scaling.round_to_levels(images, model.levels))
    _write(out, images, labels, index)
    progress.line(f"{len(index)} samples, {options.steps} steps of {options.sampler}, guidance {options.guidance:g}: {out}")


class _Draw:
    """Samples of one model, some at a time, with one compile for all."""

    def __init__(self, model: Model, options: SampleOptions) -> None:
        self._options, self._levels = options, _levels(model, options.steps)
        sampler = _sampler(options)
        temperature = model.temperature if options.temperature is None else options.temperature

        def draw(params: Any, key: jax.Array, index: jax.Array, label: jax.Array, scale: jax.Array, levels: Any) -> jax.Array:
            denoise: Any = denoiser.from_network(model.predict, params, model.parameterization, *((label,) if model.num_classes else ()))
            if model.num_classes and options.guidance != 1.0:
                denoise = guidance.classifier_free(denoise, denoise.with_condition(NO_LABEL), scale, batched=True)
            return sampling.sample(key, denoise, sampler, levels, shape=model.shape, index=index, temperature=temperature)

        self._draw = drawing.jit(draw)

    def __call__(self, params: Any, index: np.ndarray, labels: np.ndarray, progress: Progress) -> np.ndarray:
        key, scale = jax.random.key(self._options.seed), jnp.float32(self._options.guidance)

        def draw(index: jax.Array, label: jax.Array) -> jax.Array:
            return self._draw(params, key, index, label, scale, self._levels)

        return drawing.whole(draw, index, labels, together=self._options.together, title="sample", progress=progress)


def _levels(model: Model, steps: int) -> Any:
    try:
        return grids.trailing(model.schedule, steps)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--steps {steps}: {error}") from error


def _sampler(options: SampleOptions) -> Sampler:
    if options.eta != 0.0 and options.sampler != "ddim":
        raise ConfigError(f"--eta {options.eta:g} belongs to --sampler ddim; {options.sampler} has no such number")
    try:
        return {"ddim": lambda: samplers.ddim(eta=options.eta), "ddpm": samplers.ddpm, "euler": samplers.euler}[options.sampler]()
    except ValueError as error:
        raise ConfigError(f"--eta: {error}") from error


def _free(out: str, model: Model, force: bool) -> Path:
    """The absolute path, once it is clear that something of this kind may be written there."""
    path = Path(out).expanduser().absolute()
    if "://" in out:
        raise ConfigError(f"--out {out} is a URL: write to a local file and copy it")
    if path.suffix not in ("", ".png", ".npz"):
        raise ConfigError(f"--out {out} ends in {path.suffix!r}: give a .png (one grid), an .npz (arrays), or a folder name (one PNG each)")
    drawable = len(model.shape) == 2 or (len(model.shape) == 3 and model.shape[2] in (1, 3))
    if path.suffix != ".npz" and not drawable:
        raise ConfigError(f"samples of shape {model.shape} are no images: give --out NAME.npz")
    if path.exists() and not force:
        raise ConfigError(f"{path} exists: add --force to replace it, or choose another --out")
    if path.exists() and path.is_dir() != (path.suffix == ""):
        raise ConfigError(f"{path} is a {'folder' if path.is_dir() else 'file'}, which --force does not replace: choose another --out")
    if path.is_dir() and any(entry.is_dir() or entry.suffix != ".png" for entry in path.iterdir()):
        raise ConfigError(f"{path} holds more than PNGs, so --force does not replace it: choose another --out")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"--out: the folder {path.parent} is absent or not writable")
    return path


def _write(out: Path, images: np.ndarray, labels: np.ndarray, index: np.ndarray) -> None:
    """Whole or not at all, each of the three kinds."""
    if out.suffix == ".npz":
        file = io.BytesIO()
        np.savez(file, images=images, labels=labels, index=index)
        json_files.write_bytes(out, file.getvalue())
    elif out.suffix == ".png":
        temporary = out.with_name(f".{out.stem}.{os.getpid()}.png")
        try:
            figures.grid(images, min(COLUMNS, len(images)), temporary)
            os.replace(temporary, out)
        finally:
            temporary.unlink(missing_ok=True)
    else:
        temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        temporary.mkdir()
        try:
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                name = f"{index[number]:06d}" + (f"_label{label}" if label != NO_LABEL else "")
                figures.grid(image[None], 1, temporary / f"{name}.png", scale=1, gap=0)
            if out.exists():
                shutil.rmtree(out)
            os.replace(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _listed(index: np.ndarray) -> str:
    return ", ".join(map(str, index[:20])) + (f" and {len(index) - 20} more" if len(index) > 20 else "")
