"""What is computed for a folder's pictures: prompts or classes as arrays, and one function of arrays that draws."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.images import sampling_options
from gendiff.commands.text_to_image.folders import folder_options
from gendiff.commands.text_to_image.folders.folder_options import FolderOptions
from gendiff.commands.text_to_image.folders.folder_pictures import FittedPicture
from gendiff.commands.text_to_image.prompting import prompt_options
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import NO_LABEL
from gendiff.data.tokenizer import TruncationWarning
from gendiff.diffusion import editing, inpainting
from gendiff.diffusion.sampling import OnLevel, Sampler
from gendiff.diffusion.types import Level
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Edit, LatentPipeline, Opened, Prompt, PromptPipeline, adapters
from gendiff.pipelines.stable_diffusion.model_parts import Part
from gendiff.runs import errors
from gendiff.runs.progress import Progress


@dataclass(frozen=True, eq=False)
class Drawing:
    """Everything but parameters and numbers. draw: (pipelines, params, words, change, key, scale, index, on_level) -> pictures.

    pipelines: of the folder, and of its refiner. words: prompts or labels as arrays. change: a picture to begin from. steps: of one draw.
    """

    draw: Callable[..., jax.Array]
    pipelines: tuple[Any, ...]
    words: Any
    change: Edit | None
    steps: int


def prepared(
    options: FolderOptions,
    model: Opened,
    refiner: Opened | None,
    picture: FittedPicture | None,
    progress: Progress,
    *,
    control: Part | None = None,
    hint: np.ndarray | None = None,
) -> Drawing:
    """What the options ask for. control: reads the hint (1, h, w, 3). ConfigError for options that do not fit the model."""
    count = folder_options.steps(options)
    with _as_options():
        chosen = _sampler(options, model)
        if not model.tokenizers:
            latent = model.latent(count, options.height, options.width, sampler=chosen)
            return Drawing(_of_classes, (latent,), np.array([_label(options, model)], np.int32), None, len(latent.levels) - 1)
        pipeline = model.pipeline(count, options.height, options.width, sampler=chosen)
        words: tuple[Any, ...] = _prompts(options, model, progress)
        if control is not None and hint is not None:
            pipeline = adapters.controlled(pipeline, control)
            words = (*words, networks.Hint(hint, np.float32(options.hint_scale)))
        change = _change(options, model, pipeline.latent, picture)
        steps = len(pipeline.latent.levels) - 1
        if refiner is None:
            return Drawing(_of_prompts, (pipeline,), words, change, steps - (0 if change is None else int(change.first)))
        _check_refiner(model, refiner)
        second = refiner.pipeline(count, options.height, options.width, sampler=_sampler(options, refiner))
        entry = stable_diffusion.handed_over(pipeline, options.refine_from)
        both = tuple(zip(words, _prompts(options, refiner, progress), strict=True))
        return Drawing(_refined(entry), (pipeline, second), both, None, steps)


def _of_prompts(
    pipelines: tuple[PromptPipeline], params: Any, words: Any, change: Any, key: Any, scale: Any, index: Any, on_level: OnLevel | None
) -> jax.Array:
    prompt, negative, *hint = words
    more: dict[str, Any] = {"hint": hint[0]} if hint else {}
    return pipelines[0](params[0], key, prompt, negative, scale, index, change=change, on_level=on_level, **more)


def _of_classes(
    pipelines: tuple[LatentPipeline], params: Any, words: Any, change: Any, key: Any, scale: Any, index: Any, on_level: OnLevel | None
) -> jax.Array:
    return pipelines[0](params[0], key, (words,), (jnp.full_like(words, NO_LABEL),), scale, index, on_level=on_level)


def _refined(entry: int) -> Callable[..., jax.Array]:
    def draw(pipelines: Any, params: Any, words: Any, change: Any, key: Any, scale: Any, index: Any, on_level: OnLevel | None) -> jax.Array:
        (base, refiner), (prompts, negatives) = pipelines, words
        away = None if negatives[0] is None else negatives
        return stable_diffusion.refined(base, refiner, params, key, prompts, away, scale, index, entry=entry, on_level=on_level)

    return draw


def _prompts(options: FolderOptions, model: Opened, progress: Progress) -> tuple[Prompt, Prompt | None]:
    """(prompt, negative); no negative where guidance changes nothing, which halves the work."""
    read: list[Prompt] = []
    given: Sequence[tuple[str, Callable[..., Prompt], str]] = (
        ("--prompt", model.prompt, options.prompt),
        ("--negative", model.negative, options.negative),
    )
    for option, encode, text in given if options.guidance != 1 else given[:1]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TruncationWarning)
            try:
                read.append(encode(text, too_long=options.too_long))
            except ValueError as error:
                raise ConfigError(f"{option}: {error}") from error
        for note in caught:
            progress.line(f"note: {option}: {note.message}")
    if len(read) == 1:
        return read[0], None
    prompt, negative = stable_diffusion.aligned(*read)
    return prompt, negative


def _sampler(options: FolderOptions, model: Opened) -> Sampler | None:
    return None if options.sampler is None else sampling_options.sampler(options.sampler, None, model.scheduler.schedule)


def _label(options: FolderOptions, model: Opened) -> int:
    """The number of the class. ConfigError for one that is none."""
    named, count, word = model.index.labels, model.network.num_classes, str(options.label).strip()
    number = named.get(word, int(word) if word.isdecimal() else None)
    if number is None:
        raise ConfigError(f"--label {word}: no class is called so; {errors.hint(word, named) if named else f'give 0 … {count - 1}'}")
    if not 0 <= number < count:
        raise ConfigError(f"--label {number} is outside 0 … {count - 1}")
    return number


def _change(options: FolderOptions, model: Opened, latent: LatentPipeline, picture: FittedPicture | None) -> Edit | None:
    """The picture to begin from."""
    if model.paints and (picture is None or picture.mask is None):
        raise ConfigError("this model paints into a picture: give --init PICTURE and --mask PICTURE")
    if picture is None:
        return None
    first = _entry(latent.levels, prompt_options.strength(options), options.like_diffusers)
    if picture.mask is not None and not model.paints:
        try:
            inpainting.repaint(latent.sampler, np.zeros((1, *latent.shape), np.float32), np.zeros((1, *latent.shape[:2], 1), np.float32))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"--mask does not go with this sampler: {error}; give --sampler ddim") from error
    return stable_diffusion.edit(picture.picture, picture.mask, first=first, paste=not options.like_diffusers)


def _entry(levels: Level, share: float, like_diffusers: bool) -> int:
    """Where an edit begins; diffusers rounds the number of steps down."""
    if not like_diffusers:
        return int(editing.first_entry(levels, share))
    steps = len(levels) - 1
    return steps - min(int(steps * share), steps)


def _check_refiner(model: Opened, refiner: Opened) -> None:
    if refiner.network.image_size != "score":
        raise ConfigError(f"--refiner {refiner.index.folder}: its U-Net is not told a score, so it is no refiner of Stable Diffusion XL")
    first, second = (each.scheduler.schedule.table for each in (model, refiner))
    if first is None or second is None or not np.allclose(first.alpha, second.alpha, rtol=1e-5):
        raise ConfigError(f"--refiner {refiner.index.folder}: has another noise path than {model.index.folder}")


@contextmanager
def _as_options() -> Iterator[None]:
    """What the pipeline refuses is an error of the options."""
    try:
        yield
    except (ConfigError, DataError):
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
