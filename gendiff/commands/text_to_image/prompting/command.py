"""The command `text-to-image`: pictures of a prompt by a network that is committed, in a file of one's own, or in a folder of diffusers."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from gendiff.commands.text_to_image.folders import folder_drawing, folder_options
from gendiff.commands.text_to_image.folders.folder_options import FolderOptions
from gendiff.commands.text_to_image.model_files import published
from gendiff.commands.text_to_image.prompting import gallery, prompt_options, prompted
from gendiff.commands.trained_networks import FOLDER
from gendiff.core.errors import ConfigError
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.runs import compile_cache, errors
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue, Tool
from gendiff.runs.resumption import STUDIES


@dataclasses.dataclass(frozen=True)
class CommandOptions(FolderOptions):
    """Draw pictures of a prompt, by a network that comes with the package, or by a model in a folder of diffusers."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE|DIR")] = None
    """emoji, shapes, a .safetensors file that `run text-to-image` left, or a folder of diffusers; None takes the first of the two names."""
    gallery: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw the demonstration's prompts in place of --prompt, a row of --num pictures for each, above its words."""


def call(options: CommandOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, and as `published.read` and `folder_drawing.draw` do."""
    if folder_options.is_folder(options.model):
        if options.gallery:
            raise ConfigError("--gallery is of the networks of the package: give --prompt")
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


COMMAND = Tool(CommandOptions, call, "Pictures of a prompt, by a network that comes with the package or by a folder of diffusers.")


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
    train = f"train one: {STUDIES} run text-to-image, then add --model runs/text-to-image/shapes{published.SUFFIX}"
    if model is None:
        files = [FOLDER / f"{name}{published.SUFFIX}" for name in published.MODELS]
        there = [file for file in files if file.is_file()]
        if not there:
            raise ConfigError(f"no trained network is committed in {FOLDER}; {train}")
        return there[0]
    if model in published.MODELS:
        file = FOLDER / f"{model}{published.SUFFIX}"
        if not file.is_file():
            raise ConfigError(f"--model {model}: {file} is not there; {train}")
        return file
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"--model {model} is a folder without {model_index.NAME}: name the .safetensors file in it")
    raise ConfigError(f"--model {model} is no file; {errors.hint(model, published.MODELS)}")
