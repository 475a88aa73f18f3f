"""Pictures of prompts by a network of ours, from options to files: from noise, from a picture, or of a part of a
picture.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import pipelines
from gendiff.commands import drawing_programs
from gendiff.commands.text_to_image import export, options, texts
from gendiff.commands.text_to_image.networks import Trained
from gendiff.commands.text_to_image.options import CommandOptions, PromptOptions, Sampling
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.core.types import ArrayLike, Params
from gendiff.data import scaling
from gendiff.data.images import image_files
from gendiff.data.texts.tokenizer import Tokens, TruncationWarning
from gendiff.diffusion import editing, inpainting
from gendiff.diffusion.sampling import OnLevel
from gendiff.diffusion.types import Level
from gendiff.pipelines import TextToImage
from gendiff.provenance import metadata
from gendiff.runs import compile_cache, devices
from gendiff.runs import drawing as parts
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import captioned, figures, formatting

RESAMPLES, STRETCHES = 4, 10
"""Where a part of a picture is drawn anew: times that each stretch of the steps is walked, and stretches of all
steps.
"""
LEAST_SIDE = 128
"""Pixels of a side that small pictures are enlarged to."""


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """The picture (h, w, 3) in [-1, 1] that a draw begins from, and its mask (h, w, 1), 1 where it is drawn anew; None
    without a mask.
    """

    picture: np.ndarray
    mask: np.ndarray | None


@records.record
class StartLatent:
    """A `Start` as a network takes it. latent: (h, w, c). redrawn: (h, w, 1) of latents; None where all is drawn anew.

    picture, mask: of the `Start`, so that what is kept is returned as it came. first: entry of the grid where the steps
        begin.
    """

    latent: ArrayLike
    redrawn: ArrayLike | None
    picture: ArrayLike
    mask: ArrayLike | None
    first: int = records.static()


@records.record
class Program:
    """How one network draws: everything but parameters, prompts and numbers. Calling it is one pure function.

    levels: the grid, on which it goes back where a part of a picture is drawn anew. start: None draws from noise.
    on_level: as for `diffusion.sample`.
    """

    pipeline: TextToImage
    levels: Level
    start: StartLatent | None = None
    on_level: OnLevel | None = records.static(default=None)

    def __call__(
        self, params: Params, key: jax.Array, scale: jax.Array, index: jax.Array, prompt: Tokens, negative: Tokens
    ) -> jax.Array:
        """(b, h, w, 3) pictures. prompt, negative: of b texts, or of one that holds for all."""
        pipeline, start = self.pipeline, self.start
        if start is None:
            return pipeline(params, key, prompt, negative, scale, self.levels, index, on_level=self.on_level)
        denoise = pipeline.denoiser(params, prompt, negative, scale)
        clean = jnp.broadcast_to(start.latent, (*index.shape, *start.latent.shape))
        sampler = (
            pipeline.sampler if start.redrawn is None else inpainting.repaint(pipeline.sampler, clean, start.redrawn)
        )
        latents = editing.from_entry(
            key, denoise, sampler, self.levels, clean, index, first=start.first, on_level=self.on_level
        )
        pictures = latents if pipeline.decode is None else pipeline.decode(params["decoder"], latents)
        return pictures if start.mask is None else jnp.where(start.mask > 0, pictures, start.picture)

    @property
    def steps(self) -> int:
        """How many steps a draw takes."""
        return len(self.levels) - 1 - (0 if self.start is None else self.start.first)


def draw(
    trained: Trained,
    known: Collection[str],
    chosen: PromptOptions,
    out: Path,
    about: Mapping[str, object],
    progress: Progress,
) -> None:
    """Write what the options ask for, a file of pictures or an exported pipeline. known: the words of the training
    captions.

    Raises ConfigError and DataError for options and pictures that do not fit, and NonFiniteError where pictures are not
    finite.
    """
    options.check_prompt(chosen)
    devices.local()
    prompt = read_prompt("--prompt", chosen.prompt, known, progress)
    negative = _read_negative(trained, chosen, prompt, known, progress)
    how = options.sampling(chosen.sampler, chosen.levels, chosen.steps, edited=chosen.init is not None)
    program = make_program(
        trained, how, read_start(chosen, trained.side, trained.side, progress), options.strength(chosen)
    )
    if chosen.export is not None:
        progress.line(f"lowering {how} for {', '.join(export.PLATFORMS)} …")
        module = export.network(program, trained.params, prompt.ids.shape[1])
        export.write_network(module, chosen, (prompt, negative), out, progress)
        return
    pictures = run(program, trained.params, chosen, prompt, negative, progress)
    write(pictures, out, options.settings(chosen, **dataclasses.asdict(how), **about))
    progress.line(f"{formatting.amount(chosen.num, 'picture')}, {how}, guidance {chosen.guidance:g}: {out}")


def draw_sheet(
    trained: Trained,
    prompts: Sequence[str],
    known: Collection[str],
    chosen: CommandOptions,
    out: Path,
    about: Mapping[str, object],
    progress: Progress,
) -> None:
    """Write one file with a row for each prompt, above its words: --num pictures, or one for each value of --sheet.

    A row is what its prompt gives alone. Raises as `draw` does.
    """
    devices.local()
    read = [read_prompt("the gallery" if chosen.gallery else "--prompt", text, known, progress) for text in prompts]
    negative = _read_negative(trained, chosen, read[0], known, progress)
    columns, sheet = options.columns(chosen), []
    for column in columns:
        how = options.sampling(column.sampler, column.levels, column.steps)
        rows = Tokens(*(np.repeat(np.concatenate(field), column.num, axis=0) for field in zip(*read, strict=True)))
        pictures = run(make_program(trained, how), trained.params, column, rows, negative, progress)
        sheet.append(pictures.reshape(len(prompts), column.num, *pictures.shape[1:]))
    joined, settings = np.concatenate(sheet, axis=1), options.settings(columns[0], **dataclasses.asdict(how), **about)
    if chosen.sheet is not None:
        name = chosen.sheet.partition("=")[0]
        settings[name] = [getattr(column, name) for column in columns]
    captions = [
        text if chosen.sheet is None else f"{text}: {chosen.sheet.replace('=', ' ').replace(',', ', ')}"
        for text in prompts
    ]
    captioned.grid(
        joined, captions, out, scale=_scale(joined[0]), entries=metadata.entries(settings | {"prompt": list(prompts)})
    )
    progress.line(f"{len(prompts)} prompts, {joined.shape[1]} pictures each: {out}")


def read_prompt(option: str, text: str, known: Collection[str], progress: Progress) -> Tokens:
    """The tokens of one text; a line says what of it the encoder leaves out, cannot write, or the network never read.

    known: the words of the training captions.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TruncationWarning)
            tokens = texts.tokens([text])
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{option}: {error}") from error
    for note in (*(str(each.message) for each in caught), *texts.notes(text, int(tokens.unknown[0]), known)):
        progress.line(f"note: {option}: {note}")
    return tokens


def read_start(chosen: PromptOptions, height: int, width: int, progress: Progress) -> Start | None:
    """What --init and --mask name, fitted to the size that is drawn; a line says so. None without --init.

    Raises DataError for files that are no pictures, ConfigError for a mask of another size, or without anything white.
    """
    if chosen.init is None:
        return None
    pixels = image_files.read(chosen.init, mode="RGB", background=(255, 255, 255))
    picture = np.asarray(
        scaling.to_unit(fitted("--init", chosen.init, pixels, height, width, progress), 256), np.float32
    )
    if chosen.mask is None:
        return Start(picture, None)
    grey = image_files.read(chosen.mask, mode="L", background=(0, 0, 0))
    if grey.shape[:2] != pixels.shape[:2]:
        sizes = " and ".join(f"{shape[1]} × {shape[0]}" for shape in (grey.shape, pixels.shape))
        raise ConfigError(
            f"--mask {chosen.mask} and --init {chosen.init} are {sizes} pixels: a mask has the size of its picture"
        )
    mask = (fitted("--mask", chosen.mask, grey, height, width, progress) >= 128).astype(np.float32)
    if not mask.any():
        raise ConfigError(
            f"--mask {chosen.mask}: nothing of it is white, so nothing would be drawn: paint white what is to be drawn "
            "anew"
        )
    return Start(picture, mask)


def fitted(option: str, path: str, pixels: np.ndarray, height: int, width: int, progress: Progress) -> np.ndarray:
    """The middle of a picture (h, w, c), scaled to a size; a line says so where it had another one."""
    if pixels.shape[:2] != (height, width):
        progress.line(
            f"note: {option} {path} is {pixels.shape[1]} × {pixels.shape[0]} pixels: its middle is scaled to {width} × "
            f"{height}"
        )
    return middle(pixels, height, width)


def middle(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture (h, w, c), scaled to a size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    from PIL import Image, ImageOps

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    scaled = np.asarray(ImageOps.fit(image, (width, height), method=Image.Resampling.BICUBIC))
    return scaled.reshape(height, width, pixels.shape[2])


def visited_levels(trained: Trained, how: Sampling) -> Level:
    """The levels (steps + 1,) that are visited. ConfigError for levels or a number of steps that the network does not
    have.
    """
    return drawing_programs.levels(
        how.levels, (None, None), how.steps, trained.model, resolution=trained.resolution, option="--levels"
    )


def make_program(trained: Trained, how: Sampling, start: Start | None = None, strength: float = 1.0) -> Program:
    """How a network draws. ConfigError for a sampler that is none, or cannot draw a part of a picture. strength: share
    of the steps.
    """
    pipeline = trained.pipeline(drawing_programs.sampler(how.sampler, None, trained.model.schedule))
    levels = visited_levels(trained, how)
    if start is None:
        return Program(pipeline, levels)
    first, latent, redrawn = (
        int(editing.first_entry(levels, strength)),
        trained.latents(start.picture[None])[0],
        start.mask,
    )
    parts.check_finite(latent[None], np.arange(1), "the latents of --init")
    if redrawn is not None:
        factor = redrawn.shape[0] // latent.shape[0]
        blocks = redrawn.reshape(latent.shape[0], factor, latent.shape[1], factor, 1)
        redrawn = blocks.max(axis=(1, 3))  # a latent is drawn anew where any of its pixels is
    begin = StartLatent(latent, redrawn, start.picture, start.mask, first)
    if redrawn is None:
        return Program(pipeline, levels, begin)
    try:
        inpainting.repaint(pipeline.sampler, latent[None], redrawn)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--mask does not go with --sampler {how.sampler}: {error}") from error
    if first == how.steps:
        return Program(pipeline, levels, begin)
    rows = jax.tree.map(np.asarray, levels)
    rest = jax.tree.map(lambda field: jnp.asarray(field[first:]), rows)
    walked = inpainting.resampled(rest, RESAMPLES, max(1, how.steps // STRETCHES)) if how.steps > first + 1 else rest
    return Program(
        pipeline, jax.tree.map(lambda field, more: jnp.concatenate([field[:first], more]), rows, walked), begin
    )


def run(
    program: Program, params: Params, chosen: PromptOptions, prompt: Tokens, negative: Tokens, progress: Progress
) -> np.ndarray:
    """(n, h, w, 3) pictures in about [-1, 1]: --num of the prompt, or one for each prompt where there are several,
    --num of each in turn.

    Raises NonFiniteError with the indices of those that are not finite.
    """
    several, counted = (
        len(prompt.ids) > 1,
        not compile_cache.keeps_all(),
    )  # a program that calls the host cannot be kept for another process
    index = np.tile(np.arange(chosen.num, dtype=np.int32), len(prompt.ids) // chosen.num if several else 1)
    together, done = min(chosen.together or 16, len(index)), [0]

    def count(step: object, x: object) -> None:
        done[0] += 1
        task.update(done[0])

    def rows(index: jax.Array, *ids_and_mask: jax.Array) -> jax.Array:
        words = bare(prompt)
        return _compiled()(
            *fixed,
            index,
            words._replace(ids=ids_and_mask[0], mask=ids_and_mask[1]) if several else words,
            bare(negative),
        )

    progress.line("compiling …")
    with progress.task("draw", -(-len(index) // together) * program.steps) as task:
        used = records.replace(program, on_level=count) if counted else program
        fixed = (used, params, jax.random.key(chosen.seed), jnp.float32(chosen.guidance))
        aligned = (prompt.ids, prompt.mask) if several else ()
        drawn_parts = parts.stream(rows, [(None, (index, *aligned))], together=together)
        return parts.pictures(drawn_parts, index, task, program.steps, counted=counted)


def bare(tokens: Tokens) -> Tokens:
    """Texts without what is told of them, whose length differs."""
    return tokens._replace(truncated=np.zeros(0, bool), unknown=np.zeros(0, np.int32))


def write(pictures: np.ndarray, out: Path, settings: Mapping[str, object]) -> None:
    """Pictures (n, h, w, 3) in one file, in rows of four and enlarged where they are small, or as they are in a file
    each of a folder.
    """
    files = options.image_paths(out, len(pictures))
    if files == [out]:
        columns, scale = min(4, len(pictures)), _scale(pictures)
        figures.grid(pictures, columns, out, "", scale=scale, ground=255, entries=metadata.entries(settings))
        return
    out.mkdir(exist_ok=True)
    for index, file in enumerate(files):
        entries = metadata.entries(dict(settings) | {"index": index})
        figures.grid(pictures[index : index + 1], 1, file, "", scale=1, gap=0, entries=entries)


def _read_negative(
    trained: Trained, chosen: PromptOptions, prompt: Tokens, known: Collection[str], progress: Progress
) -> Tokens:
    """The tokens of what --negative says, or else of what the network has learned to be led away from."""
    text = chosen.negative.strip() or trained.negative
    return read_prompt("--negative", text, known, progress) if text else pipelines.empty_prompt(prompt)


def _scale(pictures: np.ndarray) -> int:
    height: int = pictures.shape[1]
    return -(-LEAST_SIDE // height)


@functools.cache
def _compiled() -> Callable[..., jax.Array]:
    return devices.jit(lambda program, *arguments: program(*arguments))
