"""Pictures of prompts by one network: from noise, from a picture, or of a part of a picture."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.images import sampling_options
from gendiff.commands.text_to_image import default_sampling
from gendiff.commands.text_to_image.default_sampling import Sampling
from gendiff.commands.text_to_image.prompting import prompt_options
from gendiff.commands.text_to_image.prompting.prompt_options import PromptOptions
from gendiff.commands.text_to_image.prompting.start_picture import StartPicture
from gendiff.commands.text_to_image.trained import Trained
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.data.tokenizer import Tokens
from gendiff.diffusion import editing, inpainting
from gendiff.diffusion.sampling import OnLevel
from gendiff.diffusion.types import Level
from gendiff.pipelines import TextToImage
from gendiff.runs import compile_cache, devices, drawing
from gendiff.runs.progress import Progress

RESAMPLES = 4
"""Times that each stretch of the steps is walked where a part of a picture is drawn anew."""
STRETCHES = 10
"""Stretches of all steps."""


@records.record
class Start:
    """A `StartPicture` as a network takes it. latent: (h, w, c). redrawn: (h, w, 1) of latents; None where all is drawn anew.

    picture, pixels: the picture and what of it is drawn anew, so that what is kept is returned as it came. first: entry of the grid.
    """

    latent: Any
    redrawn: Any
    picture: Any
    pixels: Any
    first: int = records.static()


@records.record
class Program:
    """How one network draws: everything but parameters, prompts and numbers. Calling it is one pure function.

    levels: the grid, on which it goes back where a part of a picture is drawn anew. start: None draws from noise. on_level: as for
    `diffusion.sample`.
    """

    pipeline: TextToImage
    levels: Level
    start: Start | None = None
    on_level: OnLevel | None = records.static(default=None)

    def __call__(self, params: Any, key: jax.Array, scale: jax.Array, index: jax.Array, prompt: Tokens, negative: Tokens) -> jax.Array:
        """(b, h, w, 3) pictures. prompt, negative: of b texts, or of one that holds for all."""
        pipeline, start = self.pipeline, self.start
        if start is None:
            return pipeline(params, key, prompt, negative, scale, self.levels, index, on_level=self.on_level)
        denoise = pipeline.denoiser(params, prompt, negative, scale)
        clean = jnp.broadcast_to(start.latent, (*index.shape, *start.latent.shape))
        sampler = pipeline.sampler if start.redrawn is None else inpainting.repaint(pipeline.sampler, clean, start.redrawn)
        drawn = editing.from_entry(key, denoise, sampler, self.levels, clean, index, first=start.first, on_level=self.on_level)
        pictures = drawn if pipeline.decode is None else pipeline.decode(params["decoder"], drawn)
        return pictures if start.pixels is None else jnp.where(start.pixels > 0, pictures, start.picture)

    @property
    def steps(self) -> int:
        """How many steps a draw takes."""
        return len(self.levels) - 1 - (0 if self.start is None else self.start.first)


def program(given: Trained, how: Sampling, picture: StartPicture | None = None) -> Program:
    """How a network draws. ConfigError for a sampler that is none, or cannot draw a part of a picture."""
    pipeline = given.pipeline(sampling_options.sampler(how.sampler, None, given.model.schedule))
    levels = default_sampling.levels(given, how)
    if picture is None:
        return Program(pipeline, levels)
    first, rows = int(editing.first_entry(levels, picture.strength)), jax.tree.map(np.asarray, levels)
    start = _start(given, picture, first)
    if start.redrawn is None or first == how.steps:
        return Program(pipeline, levels, start)
    try:
        inpainting.repaint(pipeline.sampler, start.latent[None], start.redrawn)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--mask does not go with --sampler {how.sampler}: {error}") from error
    rest = jax.tree.map(lambda field: jnp.asarray(field[first:]), rows)
    walked = inpainting.resampled(rest, RESAMPLES, max(1, how.steps // STRETCHES)) if how.steps > first + 1 else rest
    return Program(pipeline, jax.tree.map(lambda field, more: jnp.concatenate([field[:first], more]), rows, walked), start)


def draw(program: Program, given: Trained, options: PromptOptions, prompt: Tokens, negative: Tokens, progress: Progress) -> np.ndarray:
    """(n, h, w, 3) pictures in about [-1, 1]: --num of the prompt, or one for each prompt where there are several, --num of each in turn.

    Raises NonFiniteError with the indices of those that are not finite.
    """
    several = len(prompt.ids) > 1
    index = np.tile(np.arange(options.num, dtype=np.int32), len(prompt.ids) // options.num if several else 1)
    together = min(prompt_options.together(options), len(index))
    calls = -(-len(index) // together)
    progress.line("compiling …")
    with progress.task("draw", calls * program.steps) as task:
        counted = not compile_cache.keeps_all()  # a program that calls the host cannot be kept for the next process
        used = _counted(program, task.update) if counted else program
        fixed = (used, given.params, jax.random.key(options.seed), jnp.float32(options.guidance))

        def of(index: jax.Array, *rows: jax.Array) -> jax.Array:
            words: Any = _arrays(prompt)
            return _compiled()(*fixed, index, words._replace(ids=rows[0], mask=rows[1]) if several else words, _arrays(negative))

        aligned = (prompt.ids, prompt.mask) if several else ()
        parts = drawing.stream(of, [(None, (index, *aligned))], together=together)
        return drawing.pictures(parts, index, task, program.steps, counted=counted)


@functools.cache
def _compiled() -> Any:
    return devices.jit(lambda program, *arguments: program(*arguments))


def _counted(program: Program, update: Callable[[int], None]) -> Program:
    """Tells after each step how many are done."""
    done = [0]

    def count(step: Any, x: Any) -> None:
        done[0] += 1
        update(done[0])

    return Program(program.pipeline, program.levels, program.start, count)


def _arrays(tokens: Tokens) -> Tokens:
    """Of one text or many, without what is told of them, whose length differs."""
    return tokens._replace(truncated=np.zeros(0, bool), unknown=np.zeros(0, np.int32))


def _start(given: Trained, picture: StartPicture, first: int) -> Start:
    latent = given.latents(picture.picture[None])[0]
    redrawn = picture.redrawn
    if redrawn is not None:
        factor = redrawn.shape[0] // latent.shape[0]
        blocks = redrawn.reshape(latent.shape[0], factor, latent.shape[1], factor, 1)
        redrawn = blocks.max(axis=(1, 3))  # a latent is drawn anew where any of its pixels is
    drawing.check_finite(latent[None], np.arange(1), "the latents of --init")
    return Start(latent, redrawn, picture.picture, picture.redrawn, first)
