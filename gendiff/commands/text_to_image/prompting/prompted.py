"""From options to a file: pictures of a prompt, a row for each of several prompts, or the pipeline as an exported program."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gendiff import pipelines
from gendiff.commands.text_to_image import default_sampling, texts
from gendiff.commands.text_to_image.default_sampling import Sampling
from gendiff.commands.text_to_image.prompting import exporting, prompt_drawing, prompt_files, prompt_options, prompt_reading, start_picture
from gendiff.commands.text_to_image.prompting.prompt_options import PromptOptions
from gendiff.commands.text_to_image.trained import Trained
from gendiff.data.tokenizer import Tokens
from gendiff.runs import devices
from gendiff.runs.progress import Progress


def draw(given: Trained, known: Collection[str], options: PromptOptions, out: Path, about: Mapping[str, Any], progress: Progress) -> None:
    """Write what the options ask for, a file of pictures or an exported pipeline. known: the words of the training captions.

    Raises ConfigError and DataError for options and pictures that do not fit, and NonFiniteError where pictures are not finite.
    """
    devices.local()
    prompt, negative = _texts(options, known, progress)
    how = _how(options)
    program = prompt_drawing.program(given, how, start_picture.read(options, given.side, progress))
    if options.export is not None:
        exporting.write(program, given, how, options, prompt, negative, out, progress)
        return
    pictures = prompt_drawing.draw(program, given, options, prompt, negative, progress)
    prompt_files.write_grid(pictures, out, prompt_options.settings(options, **dataclasses.asdict(how), **about))
    progress.line(f"{options.num} pictures, {how}, guidance {options.guidance:g}: {out}")


def draw_rows(
    given: Trained, prompts: Sequence[str], options: PromptOptions, out: Path, about: Mapping[str, Any], progress: Progress
) -> None:
    """Write a row of --num pictures for each prompt, above its words. A row is what its prompt gives alone."""
    devices.local()
    read = [prompt_reading.read("the gallery", text, texts.words(text), progress) for text in prompts]
    rows = Tokens(*(np.repeat(np.concatenate(field), options.num, axis=0) for field in zip(*read, strict=True)))
    how = _how(options)
    program = prompt_drawing.program(given, how)
    pictures = prompt_drawing.draw(program, given, options, rows, pipelines.nothing(read[0]), progress)
    settings = prompt_options.settings(options, **dataclasses.asdict(how), **about) | {"prompt": list(prompts)}
    prompt_files.write_rows(prompts, pictures, out, settings)
    progress.line(f"{len(prompts)} prompts, {options.num} pictures each, {how}: {out}")


def _how(options: PromptOptions) -> Sampling:
    return default_sampling.settled(options.sampler, options.grid, options.steps, edited=options.init is not None)


def _texts(options: PromptOptions, known: Collection[str], progress: Progress) -> tuple[Tokens, Tokens]:
    """(prompt, negative)."""
    prompt = prompt_reading.read("--prompt", options.prompt, known, progress)
    if not options.negative.strip():
        return prompt, pipelines.nothing(prompt)
    return prompt, prompt_reading.read("--negative", options.negative, known, progress)
