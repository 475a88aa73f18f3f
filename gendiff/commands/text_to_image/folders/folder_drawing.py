"""From the options of the command to a file: a folder of diffusers is opened, read, compiled, and draws. Each stage says its time."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.images import folder_params
from gendiff.commands.text_to_image.folders import folder_export, folder_options, folder_pictures, folder_programs
from gendiff.commands.text_to_image.folders.folder_options import FolderOptions
from gendiff.commands.text_to_image.folders.folder_programs import Drawing
from gendiff.commands.text_to_image.prompting import prompt_files, prompt_options
from gendiff.core.errors import ConfigError
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Opened, adapters, model_index
from gendiff.pipelines.stable_diffusion.model_parts import Part
from gendiff.runs import compile_cache, devices, drawing
from gendiff.runs.progress import Progress


def draw(options: FolderOptions, folder: Path, progress: Progress) -> None:
    """Write what the options ask for.

    Raises ConfigError for options that do not fit, DataError and CheckpointMismatchError for the folder and for pictures, and
    NonFiniteError where pictures are not finite.
    """
    out = prompt_options.checked(options, Path())
    kind = model_index.read(folder).kind
    folder_options.check_kind(options, kind)
    folder_options.lora_files(options)
    if options.export is not None:
        folder_export.check(options, out)
    if kind is not model_index.CLASSES:
        prompt_options.check_prompt(options)
    devices.local()
    devices.give_back_memory()
    compile_cache.use(folder_options.cache(options), progress.line)
    with progress.phase("open"):
        model = opened(options, folder, progress, options.weights)
        refiner = None if options.refiner is None else opened(options, Path(options.refiner).expanduser(), progress)
    control = None if options.controlnet is None else adapters.open_control(Path(options.controlnet).expanduser(), model)
    height, width = options.height or (model.size or (0, 0))[0], options.width or (model.size or (0, 0))[1]
    picture = folder_pictures.read(options, height, width, progress) if height and width else None
    hint = folder_pictures.read_hint(options, height, width, progress) if height and width else None
    job = folder_programs.prepared(options, model, refiner, picture, progress, control=control, hint=hint)
    params = (_read(model, options, control, progress), *([] if refiner is None else [folder_params.whole(refiner, progress)]))
    if options.export is not None:
        folder_export.write(job, params, options, out, progress)
        return
    pictures = _drawn(job, params, options, progress)
    about: dict[str, Any] = {"model": str(folder), "pipeline": model.index.pipeline, "scheduler": model.index.parts["scheduler"]}
    about |= {"height": pictures.shape[1], "width": pictures.shape[2], "steps": folder_options.steps(options)}
    about |= {"sampler": options.sampler or type(_sampler(job)).__name__}
    prompt_files.write_grid(pictures, out, prompt_options.settings(options, **about))
    progress.line(f"{options.num} pictures, {job.steps} steps, guidance {options.guidance:g}: {out}")


def opened(options: FolderOptions, folder: Path, progress: Progress, weights: str | None = None) -> Opened:
    """The folder without its parameters; lines say what of it is left out or taken in another way. weights: a single file of them."""
    chosen: dict[str, Any] = {"variant": options.variant, "dtype": options.dtype, "storage": options.storage}
    chosen["like_diffusers"] = options.like_diffusers
    try:
        model = stable_diffusion.open_model(folder, weights=None if weights is None else Path(weights).expanduser(), **chosen)
    except ImportError as error:
        raise ConfigError(str(error)) from error
    progress.line(f"{folder}: {model.index.kind.name} ({model.index.pipeline})")
    for name in model.index.skipped:
        progress.line(f"note: {name} is left out: {model_index.SKIPPED[name]}")
    for note in model.notes:
        progress.line(f"note: {note}")
    return model


def _read(model: Opened, options: FolderOptions, control: Part | None, progress: Progress) -> dict[str, Any]:
    """The parameters, part by part, with what --lora changes of them, and those of the ControlNet."""
    parts = folder_params.by_part(model, progress)
    for file, strength in folder_options.lora_files(options):
        with progress.phase(f"merge {Path(file).name}"):
            parts = jax.block_until_ready(adapters.adapted(model, parts, Path(file).expanduser(), strength))
    params = stable_diffusion.arranged(parts)
    if control is None:
        return params
    with progress.phase("read controlnet"):
        return adapters.with_control(params, jax.block_until_ready(control.params(jnp.dtype(model.dtype))))


def _drawn(job: Drawing, params: tuple[Any, ...], options: FolderOptions, progress: Progress) -> np.ndarray:
    """(n, h, w, 3) pictures in about [-1, 1]. Picture i is the same whatever is drawn beside it."""
    index = np.arange(options.num, dtype=np.int32)
    together = min(prompt_options.together(options, 1), options.num)
    counted = not compile_cache.keeps_all()  # a program that calls the host cannot be kept for the next process
    done = [0]

    def program(pipelines: Any, params: Any, words: Any, change: Any, key: Any, scale: Any, index: Any) -> jax.Array:
        return job.draw(pipelines, params, words, change, key, scale, index, count if counted else None)

    def count(step: Any, x: Any) -> None:
        done[0] += 1
        task.update(done[0])

    fixed = (job.pipelines, params, job.words, job.change, jax.random.key(options.seed), jnp.float32(options.guidance))
    calls = -(-options.num // together)
    with progress.phase("compile"):
        jitted: Any = devices.jit(program, libraries=devices.libraries_suit(options.dtype, options.storage))
        compiled = jitted.lower(*fixed, jnp.asarray(index[:together])).compile()
        devices.give_back_memory()
    with progress.phase("draw"), progress.task("draw", calls * job.steps) as task:
        parts = drawing.stream(lambda rows: compiled(*fixed, rows), [(None, (index,))], together=together)
        return drawing.pictures(parts, index, task, job.steps, counted=counted)


def _sampler(job: Drawing) -> Any:
    first = job.pipelines[0]
    return (first if isinstance(first, stable_diffusion.LatentPipeline) else first.latent).sampler
