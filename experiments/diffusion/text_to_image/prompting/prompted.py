"""From options to a file: pictures of a prompt, a row for each of several prompts, or the pipeline as an exported program."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.diffusion.text_to_image import texts
from experiments.diffusion.text_to_image.prompting import (
    exporting,
    prompt_drawing,
    prompt_files,
    prompt_options,
    prompt_reading,
    start_picture,
)
from experiments.diffusion.text_to_image.prompting.prompt_options import PromptOptions
from experiments.diffusion.text_to_image.trained import Trained
from experiments.framework import devices
from experiments.framework.progress import Progress
from gendiff import pipelines
from gendiff.data.tokenizer import Tokens


def draw(given: Trained, known: Collection[str], options: PromptOptions, out: Path, about: Mapping[str, Any], progress: Progress) -> None:
    """Write what the options ask for, a file of pictures or an exported pipeline. known: the words of the training captions.

    Raises ConfigError and DataError for options and pictures that do not fit, and NonFiniteError where pictures are not finite.
    """
    devices.local()
    prompt, negative = _texts(options, known, progress)
    program = prompt_drawing.program(given, options, start_picture.read(options, given.side, progress))
    if options.export is not None:
        exporting.write(program, given, options, prompt, negative, out, progress)
        return
    pictures = prompt_drawing.draw(program, given, options, prompt, negative, progress)
    prompt_files.write_grid(pictures, out, prompt_options.settings(options, **about))
    walked = f"{options.steps} steps of {prompt_options.sampler(options)}"
    progress.line(f"{options.num} pictures, {walked}, guidance {options.guidance:g}: {out}")


def draw_rows(
    given: Trained, prompts: Sequence[str], options: PromptOptions, out: Path, about: Mapping[str, Any], progress: Progress
) -> None:
    """Write a row of --num pictures for each prompt, above its words. A row is what its prompt gives alone."""
    devices.local()
    read = [prompt_reading.read("the gallery", text, texts.words(text), progress) for text in prompts]
    rows = Tokens(*(np.repeat(np.concatenate(field), options.num, axis=0) for field in zip(*read, strict=True)))
    program = prompt_drawing.program(given, options)
    pictures = prompt_drawing.draw(program, given, options, rows, pipelines.nothing(read[0]), progress)
    settings = prompt_options.settings(options, **about) | {"prompt": list(prompts)}
    prompt_files.write_rows(prompts, pictures, out, settings)
    walked = f"{options.steps} steps of {prompt_options.sampler(options)}"
    progress.line(f"{len(prompts)} prompts, {options.num} pictures each, {walked}: {out}")


def _texts(options: PromptOptions, known: Collection[str], progress: Progress) -> tuple[Tokens, Tokens]:
    """(prompt, negative)."""
    prompt = prompt_reading.read("--prompt", options.prompt, known, progress)
    if not options.negative.strip():
        return prompt, pipelines.nothing(prompt)
    return prompt, prompt_reading.read("--negative", options.negative, known, progress)
