"""Pictures by a model in a folder of diffusers, from options to a file: opened, read, compiled, drawn. Each stage says
its time.
"""

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands import drawing_programs
from gendiff.commands.images import folder_params
from gendiff.commands.text_to_image import drawing, export, folder_options, options
from gendiff.commands.text_to_image.drawing import Start
from gendiff.commands.text_to_image.options import EDITED, CommandOptions, ModelOptions
from gendiff.core import foreign_files, records
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import NO_LABEL, Condition, Params, PyTree
from gendiff.data import scaling
from gendiff.data.images import image_files
from gendiff.data.texts.tokenizer import TruncationWarning
from gendiff.diffusion import editing, inpainting
from gendiff.diffusion.sampling import OnLevel, Sampler
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import (
    Edit,
    LatentPipeline,
    Opened,
    Prompt,
    PromptPipeline,
    adapters,
    model_index,
)
from gendiff.pipelines.stable_diffusion.model_parts import TOWERS, Part
from gendiff.runs import compile_cache, devices, errors, meshes, run_folder
from gendiff.runs import drawing as parts
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting
from gendiff.training import sharding


@dataclass(frozen=True, eq=False)
class Job:
    """Everything but parameters and numbers. draw: (pipelines, params, words, change, key, scale, index, on_level) ->
    pictures.

    pipelines: of the folder, and of its refiner. words: prompts or labels as arrays. change: a picture to begin
        from. steps: of one draw.
    """

    draw: Callable[..., jax.Array]
    pipelines: tuple[PromptPipeline | LatentPipeline, ...]
    words: Condition
    change: Edit | None
    steps: int


def draw(chosen: CommandOptions, folder: Path, progress: Progress) -> None:
    """Write what the options ask for.

    Raises ConfigError for options that do not fit, DataError and CheckpointMismatchError for the folder and for
    pictures, and NonFiniteError where pictures are not finite.
    """
    out = options.check(chosen, Path())
    folder_options.check_kind(chosen, model_index.read(folder).kind)
    if chosen.export is not None:
        export.file_of_arrays(chosen, out)
    devices.local()
    devices.give_back_memory()
    compile_cache.use(chosen.program_cache, progress.line)
    open_folder = functools.partial(
        opened, chosen, progress=progress, like_diffusers=chosen.like_diffusers, mesh=_mesh(chosen)
    )
    with progress.phase("open"):
        model = open_folder(folder, weights=chosen.weights)
        refiner = None if chosen.refiner is None else open_folder(chosen.refiner)
    control = (
        None if chosen.controlnet is None else adapters.open_control(foreign_files.expanded(chosen.controlnet), model)
    )
    job = prepare(chosen, model, refiner, progress, control)
    if chosen.export is not None:
        params = _all_params(model, refiner, chosen, control, progress)

        def lean(
            params: tuple[Params, ...], words: Condition, key: jax.Array, scale: jax.Array, index: jax.Array
        ) -> jax.Array:
            return job.draw(job.pipelines, params, words, job.change, key, scale, index, None)

        export.write_folder(lean, params, job.words, chosen, out, progress)
        return
    job = _encoded(job, (model,) if refiner is None else (model, refiner), chosen, progress)
    params = _all_params(model, refiner, chosen, control, progress, towers=False)
    pictures = _run(job, model, params, chosen, progress)
    first = job.pipelines[0]
    sampler = chosen.sampler or type((first if isinstance(first, LatentPipeline) else first.latent).sampler).__name__
    about = {
        "model": str(folder),
        "pipeline": model.index.pipeline,
        "scheduler": model.index.parts["scheduler"],
        "sampler": sampler,
    }
    size = {"height": pictures.shape[1], "width": pictures.shape[2], "steps": chosen.steps or EDITED.steps}
    drawing.write(pictures, out, options.settings(chosen, **about, **size))
    progress.line(
        f"{formatting.amount(chosen.num, 'picture')}, {formatting.amount(job.steps, 'step')}, guidance "
        f"{chosen.guidance:g}: {out}"
    )


def opened(
    chosen: ModelOptions,
    folder: str | Path,
    progress: Progress,
    weights: str | None = None,
    *,
    like_diffusers: bool = False,
    mesh: jax.sharding.Mesh | None = None,
) -> Opened:
    """The folder without its parameters; lines say what of it is left out or taken in another way. weights: a single
    file of them. mesh: devices that share them.
    """
    try:
        model = stable_diffusion.open_model(
            foreign_files.expanded(folder),
            weights=None if weights is None else foreign_files.expanded(weights),
            variant=chosen.variant,
            dtype=chosen.dtype,
            storage=chosen.storage,
            like_diffusers=like_diffusers,
            mesh=mesh,
        )
    except ImportError as error:
        raise ConfigError(str(error)) from error
    progress.line(f"{folder}: {model.index.kind.name} ({model.index.pipeline})")
    for note in (*(f"{name} is left out: {model_index.SKIPPED[name]}" for name in model.index.skipped), *model.notes):
        progress.line(f"note: {note}")
    return model


def prepare(
    chosen: CommandOptions, model: Opened, refiner: Opened | None, progress: Progress, control: Part | None = None
) -> Job:
    """What the options ask for. control: reads --hint. ConfigError for options that do not fit the model."""
    count, height, width = chosen.steps or EDITED.steps, chosen.height, chosen.width
    references = _references(chosen, model, progress)
    if references and height is None and width is None:
        height, width = references[0].shape[1:3]
    with _as_options():
        if not model.tokenizers:
            latent = _in_tiles(model.latent(count, height, width, sampler=_sampler(chosen, model)), chosen, model)
            return Job(
                _of_classes, (latent,), np.array([_label(chosen, model)], np.int32), None, len(latent.levels) - 1
            )
        pipeline = model.pipeline(count, height, width, sampler=_sampler(chosen, model))
        latent = _in_tiles(pipeline.latent, chosen, model)
        if chosen.skip_layers:
            latent = stable_diffusion.skipping(latent, chosen.skip_layers)
        pipeline = records.replace(pipeline, latent=latent)
        size = model.sides(height, width)
        words, further = _prompts(chosen, model, progress), dict[str, Condition]()
        if control is not None and chosen.hint is not None:
            pixels = image_files.read(chosen.hint, mode="RGB", background=(0, 0, 0))
            hint = drawing.fitted("--hint", chosen.hint, pixels, *size, progress)[None].astype(np.float32) / 255
            pipeline = adapters.controlled(pipeline, control)
            further["hint"] = networks.Hint(hint, np.float32(chosen.hint_scale))
        change = _change(chosen, model, pipeline.latent, drawing.read_start(chosen, *size, progress))
        if read := stable_diffusion.with_painted(model, change, references):
            further["references"] = read
        steps = len(pipeline.latent.levels) - 1
        if refiner is None:
            steps -= 0 if change is None else int(change.first)
            return Job(_of_prompts, (pipeline,), (*words, further), change, steps)
        if refiner.network.image_size != "score":
            raise ConfigError(
                f"--refiner {refiner.index.folder}: its U-Net is told no score, so it is no refiner of Stable "
                "Diffusion XL"
            )
        first, second = (each.scheduler.schedule.table for each in (model, refiner))
        if first is None or second is None or not np.allclose(first.alpha, second.alpha, rtol=1e-5):
            raise ConfigError(f"--refiner {refiner.index.folder}: has another noise path than {model.index.folder}")
        later = refiner.pipeline(count, height, width, sampler=_sampler(chosen, refiner))
        later = records.replace(later, latent=_in_tiles(later.latent, chosen, refiner))
        entry = stable_diffusion.handed_over(pipeline, chosen.refine_from)
        both = tuple(zip(words, _prompts(chosen, refiner, progress), strict=True))
        return Job(_refined(entry), (pipeline, later), both, None, steps)


def _of_prompts(
    pipelines: tuple[PromptPipeline],
    params: tuple[Params],
    words: tuple[Condition, Condition, Mapping[str, Condition]],
    change: Edit | None,
    key: jax.Array,
    scale: jax.Array,
    index: jax.Array,
    on_level: OnLevel | None,
) -> jax.Array:
    prompt, negative, further = words
    return pipelines[0](params[0], key, prompt, negative, scale, index, **further, change=change, on_level=on_level)


def _of_classes(
    pipelines: tuple[LatentPipeline],
    params: tuple[Params],
    words: jax.Array,
    change: None,
    key: jax.Array,
    scale: jax.Array,
    index: jax.Array,
    on_level: OnLevel | None,
) -> jax.Array:
    return pipelines[0](params[0], key, (words,), (jnp.full_like(words, NO_LABEL),), scale, index, on_level=on_level)


def _refined(entry: int) -> Callable[..., jax.Array]:
    def draw(
        pipelines: tuple[PromptPipeline, PromptPipeline],
        params: tuple[Params, Params],
        words: Condition,
        change: None,
        key: jax.Array,
        scale: jax.Array,
        index: jax.Array,
        on_level: OnLevel | None,
    ) -> jax.Array:
        (base, refiner), (prompts, negatives) = pipelines, words
        away = None if negatives[0] is None else negatives
        return stable_diffusion.refined(
            base, refiner, params, key, prompts, away, scale, index, entry=entry, on_level=on_level
        )

    return draw


def _prompts(chosen: CommandOptions, model: Opened, progress: Progress) -> tuple[Prompt, Prompt | None]:
    """(prompt, negative); no negative where nothing leads away, which halves the work."""
    read: list[Prompt] = []
    texts: tuple[tuple[str, Callable[..., Prompt], str], ...] = (
        ("--prompt", model.prompt, chosen.prompt),
        ("--negative", model.negative, chosen.negative),
    )
    leads_away = chosen.guidance != 1 and (model.index.kind.guided or bool(chosen.negative.strip()))
    if not leads_away and not model.index.kind.guided and not model.network.guidance:
        progress.line("note: this network is told no --guidance: it counts only with --negative")
    for option, encode, text in texts if leads_away else texts[:1]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TruncationWarning)
            try:
                read.append(encode(text, too_long=chosen.too_long, padded=False))
            except ValueError as error:
                message = str(error).replace("take too_long = 'chunks'", "give --too-long chunks")
                raise ConfigError(f"{option}: {message}") from error
        for note in caught:
            progress.line(f"note: {option}: {note.message}")
    if len(read) == 1:
        return read[0], None
    prompt, negative = stable_diffusion.aligned(*read)
    return prompt, negative


def _references(chosen: CommandOptions, model: Opened, progress: Progress) -> tuple[np.ndarray, ...]:
    """The pictures (1, h, w, 3) in [-1, 1] that the model reads beside the prompt."""
    read = []
    for path in chosen.reference:
        pixels = image_files.read(path, mode="RGB", background=(255, 255, 255))
        size = stable_diffusion.reference_size(model, *pixels.shape[:2])
        pixels = drawing.fitted("--reference", path, pixels, *size, progress)
        read.append(np.asarray(scaling.to_unit(pixels, 256), np.float32)[None])
    return tuple(read)


def _in_tiles(latent: LatentPipeline, chosen: CommandOptions, model: Opened) -> LatentPipeline:
    """The pipeline whose autoencoder sees a tile of --tile pixels at a time."""
    if chosen.tile is None:
        return latent
    sizes = folder_options.tile_sizes(chosen.tile, model.autoencoder.factor, model.autoencoder.latent_multiple)
    encode, decode = (networks.tiles.tiled(function, **sizes) for function in (latent.encode, latent.decode))
    return records.replace(latent, encode=encode, decode=decode)


def _sampler(chosen: CommandOptions, model: Opened) -> Sampler | None:
    return None if chosen.sampler is None else drawing_programs.sampler(chosen.sampler, None, model.scheduler.schedule)


def _label(chosen: CommandOptions, model: Opened) -> int:
    """The number of the class. ConfigError for one that is none."""
    named, count, word = model.index.labels, model.network.num_classes or 0, str(chosen.label).strip()
    number = named.get(word, int(word) if word.isdecimal() else None)
    if number is None:
        raise ConfigError(
            f"--label {word}: no class is called so; {errors.hint(word, named) if named else f'give 0 … {count - 1}'}"
        )
    if not 0 <= number < count:
        raise ConfigError(f"--label {number} is outside 0 … {count - 1}")
    return number


def _change(chosen: CommandOptions, model: Opened, latent: LatentPipeline, start: Start | None) -> Edit | None:
    """The picture to begin from."""
    if model.paints and (start is None or start.mask is None):
        raise ConfigError("this model paints into a picture: give --init PICTURE and --mask PICTURE")
    if start is None:
        return None
    share, steps = options.strength(chosen), len(latent.levels) - 1
    # diffusers rounds the number of steps down, or up on the straight path
    exact = int(steps - steps * share) if model.index.kind.straight else steps - int(steps * share)
    first = exact if chosen.like_diffusers else int(editing.first_entry(latent.levels, share))
    if start.mask is not None and not model.paints:
        hollow = np.zeros((1, *latent.shape), np.float32)
        try:
            inpainting.repaint(latent.sampler, hollow, hollow[..., :1], hollow if chosen.like_diffusers else None)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"--mask does not go with this sampler: {error}; give --sampler ddim") from error
    mask = None if start.mask is None else start.mask[None]
    theirs = chosen.like_diffusers
    return stable_diffusion.edit(start.picture[None], mask, first=first, paste=not theirs, like_diffusers=theirs)


def _all_params(
    model: Opened,
    refiner: Opened | None,
    chosen: CommandOptions,
    control: Part | None,
    progress: Progress,
    *,
    towers: bool = True,
) -> tuple[Params, ...]:
    """The parameters of a folder, with those of the ControlNet, and of its refiner. towers: of text encoders too."""

    def names(opened: Opened) -> list[str]:
        return [name for name in opened.parts if towers or name not in TOWERS]

    lora = folder_options.lora_files(chosen)
    params = stable_diffusion.arranged(folder_params.by_part(model, progress, names(model), lora))
    if control is not None:
        with progress.phase("read controlnet"):
            read = control.params(jnp.dtype(model.dtype), mesh=model.mesh)
            params = adapters.with_control(params, jax.block_until_ready(read))
    if refiner is None:
        return (params,)
    return params, stable_diffusion.arranged(folder_params.by_part(refiner, progress, names(refiner)))


def _encoded(job: Job, models: Sequence[Opened], chosen: CommandOptions, progress: Progress) -> Job:
    """The job with what text encoders read in its prompts. Their parameters leave memory before others come."""
    pipelines = [pipeline for pipeline in job.pipelines if isinstance(pipeline, PromptPipeline)]
    if not pipelines:
        return job
    rows = [tuple(job.words[:2])] if len(models) == 1 else list(zip(*job.words, strict=True))
    texts: list[tuple[PyTree, ...]] = []
    for model, pipeline, row in zip(models, pipelines, rows, strict=True):
        names = [name for name in model.parts if name in TOWERS]
        lora = folder_options.lora_files(chosen) if model is models[0] else ()
        params = folder_params.by_part(model, progress, names, lora)
        with progress.phase("encode"):
            encode = devices.jit(pipeline.towers, libraries=devices.libraries_suit(model.dtype, model.storage))
            texts.append(tuple(None if words is None else encode(params, words) for words in row))
            jax.block_until_ready(texts)
        del params
        devices.give_back_memory()
    words = (*texts[0], *job.words[2:]) if len(models) == 1 else tuple(zip(*texts, strict=True))
    return replace(job, words=words)


def _run(job: Job, model: Opened, params: tuple[Params, ...], chosen: CommandOptions, progress: Progress) -> np.ndarray:
    """(n, h, w, 3) pictures in about [-1, 1]. Picture i is the same whatever is drawn beside it."""
    index, together = np.arange(chosen.num, dtype=np.int32), _together(chosen, model.mesh, progress)
    # a program that calls the host cannot be kept for the next process, and each device would call it
    counted = not compile_cache.keeps_all() and model.mesh is None
    done = [0]

    def program(*inputs: PyTree) -> jax.Array:
        return job.draw(*inputs, count if counted else None)

    def count(step: object, x: object) -> None:
        done[0] += 1
        task.update(done[0])

    fixed = (job.pipelines, params, job.words, job.change, jax.random.key(chosen.seed), jnp.float32(chosen.guidance))
    with progress.phase("compile"):
        jitted = devices.jit(program, libraries=devices.libraries_suit(model.dtype, model.storage))
        compiled = jitted.lower(*fixed, _shared(jnp.asarray(index[:together]), model.mesh)).compile()
        devices.give_back_memory()
    with progress.phase("draw"), progress.task("draw", -(-chosen.num // together) * job.steps) as task:
        streamed = parts.stream(
            lambda rows: compiled(*fixed, _shared(rows, model.mesh)), [(None, (index,))], together=together
        )
        return parts.pictures(streamed, index, task, job.steps, counted=counted)


def _mesh(chosen: CommandOptions) -> jax.sharding.Mesh | None:
    """The devices that share the model. ConfigError where there are not as many."""
    if chosen.mesh is None:
        return None
    try:
        return meshes.build(run_folder.axes(chosen.mesh), networks.transformer.TENSOR_PARALLEL)
    except ConfigError as error:
        raise ConfigError(f"--mesh {chosen.mesh}: {error}") from error


def _together(chosen: CommandOptions, mesh: jax.sharding.Mesh | None, progress: Progress) -> int:
    """How many pictures are drawn at a time."""
    sharing = _sharing(mesh)
    together = min(chosen.together or (sharing if chosen.num >= sharing else 1), chosen.num)
    if together % sharing:
        progress.line(
            f"note: {formatting.amount(together, 'picture')} at a time cannot be shared by {sharing} devices: all of "
            "them draw each"
        )
    return together


def _shared(rows: jax.Array, mesh: jax.sharding.Mesh | None) -> jax.Array:
    """The indices of pictures on the devices that draw them: all, where they cannot be shared."""
    return rows if mesh is None or len(rows) % _sharing(mesh) else sharding.shard(rows, mesh)


def _sharing(mesh: jax.sharding.Mesh | None) -> int:
    """How many groups of devices share the pictures that are drawn together."""
    return 1 if mesh is None else math.prod(mesh.shape[axis] for axis in sharding.BATCH)


@contextlib.contextmanager
def _as_options() -> Iterator[None]:
    """What the pipeline refuses is an error of the options."""
    try:
        yield
    except (ConfigError, DataError):
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
