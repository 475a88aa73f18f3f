"""The `sample` command of an experiment whose network draws images."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands import drawing_programs
from gendiff.commands.images import image_training, sampling_options
from gendiff.commands.images.image_model import Model
from gendiff.commands.images.sample_files import SampleFiles
from gendiff.commands.images.sampling_options import ResolvedOptions, SampleOptions
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.data import scaling
from gendiff.runs import configuration, devices, distributed, drawing, dtypes, ranges, shards, training_loop
from gendiff.runs.configuration import Config
from gendiff.runs.progress import Progress
from gendiff.runs.registry import SampleCommand
from gendiff.runs.reporting import formatting, json_files, results
from gendiff.runs.reporting.environment import machine, versions
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.shards import Manifest
from gendiff.training import compatibility, digests
from gendiff.training.checkpoints import Checkpoints


def command(model: Callable[..., Model], described: Callable[..., object] | None = None) -> SampleCommand:
    """How `sample RUN` draws images.

    model: from the configuration of the run to its network; with `described` from what that makes of the configuration
        and the run folder.
    """
    return sampling_options.command(functools.partial(sample, model, described))


def sample(
    model_of: Callable[..., Model],
    described: Callable[..., object] | None,
    config: Config,
    folder: RunFolder,
    options: SampleOptions,
    progress: Progress,
) -> None:
    """Draws the samples that are not on disk yet. Sample i depends on the parameters, the settings and its index only.

    Raises ConfigError for options that do not fit the model, NonFiniteError where samples are not finite (those and the
    ones drawn beside them are not written), and the errors of `training_loop.restore_ema`.
    """
    trained = ranges.trained_seed(options.trained_seed, configuration.seeds(config) or (0,))
    config = dtypes.resolve(config, progress, options.dtype)
    description = config if described is None else described(config, folder)
    model = model_of(description)
    resolved = sampling_options.resolve(sampling_options.numbered(options, model.names, model.num_classes), model)
    step = training_loop.newest_step(folder, trained)
    settings = {
        "options": sampling_options.settings(resolved),
        "trained_seed": trained,
        "checkpoint": step,
        "run": config,
    }

    # the latter of one of several sets
    if not any((parent / results.FILE).exists() for parent in (folder.path, folder.path.parent)):
        progress.line(f"note: the run has no results yet; the samples come from its network at step {step}")
    make = functools.partial(drawer, model_of, description, folder, resolved, trained, step, say=progress.line)
    if sampling_options.sharded(options):
        _fill_shards(model, make, folder, resolved, trained, settings, progress)
        return
    if distributed.share(options.distributed, options.processes, options.process)[1] > 1:
        raise ConfigError("several processes would draw the same samples: give --shard-size, or --distributed off")
    index = sampling_options.indices(options)
    labels = sampling_options.labels(resolved, model.num_classes, index)
    out = folder.path / "samples" if options.out is None else foreign_files.expanded(options.out).absolute()
    files = SampleFiles(out, model.shape, settings, options.force, model.names, model.sound)
    draw = make()
    missing = files.missing(index, labels)
    if len(missing) < len(index):
        progress.line(f"{len(index) - len(missing)} of {len(index)} samples are there already")
    if missing.size:
        progress.line("compiling …")
        todo = index[missing], labels[missing]
        for rows, images in drawing.parts(draw, *todo, together=options.together, title="sample", progress=progress):
            drawing.check_finite(images, todo[0][rows])
            if model.levels is not None:
                images = np.asarray(scaling.round_to_levels(images, model.levels))
            files.write(images, *(each[rows] for each in todo))
    files.finish(index, labels)
    steps = formatting.amount(resolved.steps, "step")
    progress.line(
        f"{formatting.amount(len(index), 'sample')}, {steps} of {resolved.sampler}, guidance {options.guidance:g}: "
        f"{out}"
    )


def drawer(
    model_of: Callable[..., Model],
    description: object,
    folder: RunFolder,
    options: SampleOptions,
    trained: int,
    step: int | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> Callable[..., jax.Array]:
    """(index, label) -> images, compiled once. Raises as `sample` does.

    description: what `model_of` takes. trained: the seed of the network. step: of its checkpoint; None is the newest.
    say: is told of a length that the run did not track.
    """
    devices.local()
    model = model_of(description)
    _check_belongs(model, folder, trained, step)
    guided = model.num_classes > 0 and options.guidance != 1.0
    # before the checkpoint is read: it may refuse
    resolved, between = sampling_options.resolve(options, model), (options.sigma_min, options.sigma_max)
    how = resolved.steps, resolved.sampler, resolved.eta, guided, resolved.grid, between
    draw = drawing_programs.label_program(model_of, description, *how)
    temperature = model.temperature if resolved.temperature is None else resolved.temperature
    numbers = jax.random.key(options.seed), jnp.float32(options.guidance), jnp.float32(temperature)
    params = _params(model, folder, options, trained, step, say or (lambda line: None))
    return functools.partial(draw, params, *numbers)


def _check_belongs(model: Model, folder: RunFolder, trained: int, step: int | None) -> None:
    """CheckpointMismatchError where parameters were trained with another schedule or parameterization than this version
    takes.
    """
    with Checkpoints(folder.checkpoints(trained), read_only=True) as store:
        step = store.latest() if step is None else step
        written, source = store.written_with(step)["description"], f"step {step} of {store.path}"
    expected = image_training.description(model)
    if written and expected:
        stored, now = ({name: each[name] for name in ("schedule", "parameterization")} for each in (written, expected))
        compatibility.compare_config(source, stored, now, ())


def _params(
    model: Model,
    folder: RunFolder,
    options: SampleOptions,
    trained: int,
    step: int | None,
    say: Callable[[str], None],
) -> Params:
    """The average that is drawn from: the run's own, or one of the length that is asked for."""
    if options.ema is None:
        return image_training.averaged(model, folder, trained, step)
    params, average, missed = training_loop.restore_length(model.init, folder, seed=trained, relative_std=options.ema)
    say(
        f"the average of length {average.relative_std:g} at step {average.step}, from snapshots; its profile is missed "
        f"by {missed:.1%}"
    )
    return params


def _fill_shards(
    model: Model,
    draw: Callable[[], Callable[..., jax.Array]],
    folder: RunFolder,
    options: ResolvedOptions,
    trained: int,
    settings: dict[str, object],
    progress: Progress,
) -> None:
    """Draws the shards that are not complete, of those that this process shall draw.

    draw: makes (index, label) -> images. trained: the seed of the network.
    settings: what a sample depends on beside its index.
    """
    if len(model.shape) != 3:
        raise ConfigError(f"--shard-size: samples of shape {model.shape} are no images (h, w, c)")
    archive, notes = shards.create(options.out or "", _manifest(model, folder, options, trained, settings))
    for note in notes:
        progress.line(note)
    if options.verify:
        shards.check_complete(archive)
        progress.line(
            f"all {archive.manifest.count} shards of {archive.folder} are complete: {archive.manifest.num} samples"
        )
        return
    process, processes = distributed.share(options.distributed, options.processes, options.process)
    chosen = shards.chosen(options.shards, archive.manifest.count, process, processes)
    todo = [number for number in chosen if archive.problem(number)]
    progress.line(
        f"{formatting.amount(len(chosen), 'shard')} of {formatting.amount(archive.manifest.shard_size, 'sample')}, "
        f"{len(chosen) - len(todo)} complete already: {archive.folder}"
    )
    if todo:
        drawing.into_shards(
            draw(),
            archive,
            todo,
            labels=lambda index: sampling_options.labels(options, model.num_classes, index),
            pixels=lambda images: as_bytes(images, model.levels),
            together=options.together,
            progress=progress,
        )
    if archive.all_complete(verified=set(chosen)):
        archive.tidy()
        progress.line(
            f"all {archive.manifest.num} samples are there; `finalize {options.out} --to NAME.npz` makes one file "
            "of them"
        )


def as_bytes(images: np.ndarray, levels: int | None) -> np.ndarray:
    """uint8 values of images in [-1, 1], which are first rounded to the data's levels."""
    rounded = images if levels is None else scaling.round_to_levels(images, levels)
    return np.asarray(scaling.from_unit(np.asarray(rounded), 256))


def _manifest(
    model: Model, folder: RunFolder, options: ResolvedOptions, trained: int, settings: dict[str, object]
) -> Manifest:
    known = drawing_programs.sampler(options.sampler, options.eta, model.schedule)
    about = {
        "label": "in turn" if options.label is None else options.label,
        "ema": model.ema if options.ema is None else f"length {options.ema:g}",
        "evaluations": known.evaluations(options.steps),
        "digest": digests.folder_digest(folder.checkpoints(trained) / str(settings["checkpoint"])),
    }
    return Manifest(
        experiment=configuration.read(folder).experiment,
        num=options.num or 0,
        shard_size=options.shard_size or 0,
        shape=tuple(model.shape),
        classes=model.classes,
        settings=json_files.encode(settings | about),
        environment={"versions": versions(), "machine": machine()},
    )
