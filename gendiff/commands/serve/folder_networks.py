"""A folder of diffusers as what a server draws with: its networks, its tokenizers and its scheduler."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from gendiff.commands import drawing_programs
from gendiff.commands.images import folder_params
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.native_networks import MOST_STEPS
from gendiff.commands.serve.serve_options import ServeOptions
from gendiff.commands.serve.served_network import ReadTexts, ServedNetwork
from gendiff.commands.text_to_image import folder as folders
from gendiff.commands.text_to_image import folder_options
from gendiff.commands.text_to_image.options import EDITED
from gendiff.core.errors import ConfigError
from gendiff.core.types import Condition, Params, Scalar
from gendiff.diffusion.types import Denoiser
from gendiff.pipelines.stable_diffusion import Opened, Prompt, PromptPipeline, model_index
from gendiff.runs import devices
from gendiff.runs.progress import Progress

SOME = 10
"""Steps of the grid by which the pipeline is made; the server takes that of each request."""


def read(options: ServeOptions, folder: Path, progress: Progress) -> ServedNetwork:
    """The networks of a folder with their parameters; lines say what is left out, and how long reading takes.

    Raises ConfigError for options that do not fit and for a model that draws no prompts from noise, and DataError and
    CheckpointMismatchError for the folder.
    """
    model, name = folders.opened(options, folder, progress, options.weights), options.sampler
    if model.index.kind is model_index.CLASSES or model.paints:
        what = "paints into a picture" if model.paints else "draws classes"
        raise ConfigError(f"--model {folder} {what}: serve needs a model that draws prompts")
    chosen = None if name is None else drawing_programs.sampler(name, None, model.scheduler.schedule)
    try:
        pipeline = model.pipeline(SOME, options.height, options.width, sampler=chosen)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    params = folder_params.for_pipeline(model, progress, folder_options.lora_files(options))
    return dataclasses.replace(served(model, pipeline, options.references), params=params)


def served(model: Opened, pipeline: PromptPipeline, references: int = ServeOptions.references) -> ServedNetwork:
    """The same without parameters. references: most pictures that a request may have read beside its prompt."""
    latent, table, guided = pipeline.latent, model.scheduler.schedule.table, model.index.kind.guided
    rows, columns, _ = latent.shape
    height, width = rows * pipeline.factor, columns * pipeline.factor

    def texts(prompt: str, negative: str) -> ReadTexts:
        if negative.strip() and not guided:
            raise ApiError(f"negative_prompt: {model.index.kind.name} is drawn without one", field="negative_prompt")
        return ReadTexts(_read("prompt", model.prompt, prompt), _read("negative_prompt", model.negative, negative))

    def encode(params: Params, prompt: Prompt, negative: Prompt) -> tuple[Condition, Condition]:
        condition, away = pipeline.conditions(params, prompt, negative if guided else None)
        return condition, away or ()

    def denoiser(params: Params, condition: Condition, away: Condition, scale: Scalar) -> Denoiser:
        return latent.denoiser(params, condition, away or None, scale)

    return ServedNetwork(
        name=model.index.folder.resolve().name,
        about=f"{model.index.kind.name}, {model.index.pipeline}",
        width=width,
        height=height,
        shape=latent.shape,
        params={},
        sampler=latent.sampler,
        grid=lambda steps: model.grid(steps, height, width),
        most_steps=MOST_STEPS if table is None else len(table),
        usual_steps=EDITED.steps,
        read=texts,
        encode=encode,
        guided=denoiser,
        decode=latent.finished,
        latents=latent.encoded,
        temperature=float(latent.temperature),
        libraries=devices.libraries_suit(model.dtype, model.storage),
        references=min(model.index.kind.references, references),
    )


def _read(field: str, encode: Callable[..., Prompt], text: str) -> Prompt:
    """A text of one row of tokens, so that one program serves every request. One that needs more is refused."""
    try:
        return encode(text, too_long="error")
    except ValueError as error:
        reason = str(error).partition(", or take too_long")[0]  # which no request can
        raise ApiError(f"{field}: {reason}", field=field) from error
