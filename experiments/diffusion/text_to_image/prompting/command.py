"""The command `text-to-image`: pictures of a prompt by a network that is committed, in a file of one's own, or in a folder of diffusers."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from experiments.diffusion.text_to_image.folders import folder_drawing, folder_options
from experiments.diffusion.text_to_image.folders.folder_options import FolderOptions
from experiments.diffusion.text_to_image.model_files import published
from experiments.diffusion.text_to_image.prompting import gallery, prompt_options, prompted
from experiments.framework import compile_cache, errors
from experiments.framework.progress import Progress
from experiments.framework.registry import Command
from experiments.framework.resumption import PROGRAM
from gendiff.core.errors import ConfigError
from gendiff.pipelines.stable_diffusion import model_index

RESULTS = Path(__file__).resolve().parents[3] / "results" / "text-to-image"
"""Where networks are committed."""


@dataclasses.dataclass(frozen=True)
class CommandOptions(FolderOptions):
    """Draw pictures of a prompt, by a network that comes with this repository, or by a model in a folder of diffusers."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE|DIR")] = None
    """emoji, shapes, a .safetensors file that `run text-to-image` left, or a folder of diffusers; None takes the first of the two names."""
    gallery: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw the demonstration's prompts in place of --prompt, a row of --num pictures for each, above its words."""


def call(options: CommandOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, and as `published.read` and `folder_drawing.draw` do."""
    if folder_options.is_folder(options.model):
        if options.gallery:
            raise ConfigError("--gallery is of the networks of this repository: give --prompt")
        folder_drawing.draw(options, Path(str(options.model)).expanduser(), progress)
        return
    folder_options.refuse_without_folder(options)
    options = _with_prompts(options)
    out, file = prompt_options.check(options, Path()), file_of(options.model)
    compile_cache.use(say=progress.line)
    given, about = published.read(file)
    progress.line(f"{file.name}: {about.data}")
    said = {"model": file.name, "trained_seed": about.trained_seed, "checkpoint": about.checkpoint, "sha256": about.sha256}
    if options.gallery:
        prompts = gallery.PROMPTS.get(given.name)
        if prompts is None:
            raise ConfigError(f"--gallery: there are no prompts for the network of {file.name}: give --prompt")
        prompted.draw_rows(given, prompts, options, out, said, progress)
    else:
        prompted.draw(given, frozenset(about.words), options, out, said, progress)


COMMAND = Command(CommandOptions, call)


def _with_prompts(options: CommandOptions) -> CommandOptions:
    """With --gallery the prompts are known; ConfigError for what does not go with it."""
    if not options.gallery:
        return options
    for name in ("prompt", "negative", "init", "export"):
        if getattr(options, name):
            raise ConfigError(f"--gallery draws prompts of its own from noise: leave out --{name}, or --gallery")
    return dataclasses.replace(options, prompt="the gallery")


def file_of(model: str | None) -> Path:
    """The file of a network by its name, or of the first that is committed. ConfigError, with what to do, where there is none."""
    train = f"train one: {PROGRAM} run text-to-image, then add --model runs/text-to-image/shapes{published.SUFFIX}"
    if model is None:
        files = [RESULTS / f"{name}{published.SUFFIX}" for name in published.MODELS]
        there = [file for file in files if file.is_file()]
        if not there:
            raise ConfigError(f"no trained network is committed in {RESULTS}; {train}")
        return there[0]
    if model in published.MODELS:
        file = RESULTS / f"{model}{published.SUFFIX}"
        if not file.is_file():
            raise ConfigError(f"--model {model}: {file} is not there; {train}")
        return file
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"--model {model} is a folder without {model_index.NAME}: name the .safetensors file in it")
    raise ConfigError(f"--model {model} is no file; {errors.hint(model, published.MODELS)}")
