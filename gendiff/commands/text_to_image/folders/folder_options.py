"""Options of the command `text-to-image` that belong to a folder of diffusers."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gendiff.commands.text_to_image.default_sampling import EDITED
from gendiff.commands.text_to_image.prompting.prompt_options import PromptOptions
from gendiff.core.errors import ConfigError
from gendiff.pipelines.stable_diffusion import model_index


@dataclasses.dataclass(frozen=True)
class FolderOptions(PromptOptions):
    """Draw pictures of a prompt, also by a model in a folder of diffusers."""

    height: int | None = None
    """With a folder: height of a picture in pixels; None is that of the training."""
    width: int | None = None
    """With a folder: width of a picture in pixels; None is that of the training."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """With a folder: a single .safetensors file of the same model, as model sites have them. The folder then needs no weights."""
    variant: str | None = None
    """With a folder: which files of weights, such as fp16; None takes those without a variant, or the only ones."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """With a folder: of parameters and activations; the autoencoder is float32."""
    storage: Literal["full", "int8", "float8"] = "full"
    """With a folder: how its kernels are kept in memory; int8 and float8 take one byte for each number. A line says what that loses."""
    like_diffusers: tyro.conf.FlagCreatePairsOff[bool] = False
    """With a folder: levels, steps and prompts as in diffusers where it leaves the published form. For comparison."""
    too_long: Literal["chunks", "warn", "error"] | None = None
    """With a folder: a prompt of more than 75 tokens goes on in further rows (chunks), loses its end (warn), or is refused (error).

    None is chunks, and warn with --like-diffusers."""
    refiner: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """With a folder of Stable Diffusion XL: the folder of its refiner, which draws the last steps."""
    refine_from: float = 0.8
    """With --refiner: share of the noise that is gone when the refiner takes over, in (0, 1)."""
    label: str | None = None
    """With a folder of a DiT: the class, by its name or its number, in place of --prompt."""
    lora: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE[:STRENGTH] …")] = ()
    """With a folder: LoRA files of kohya, peft or diffusers, which change its parameters one after the other.

    Each is FILE or FILE:STRENGTH, as style.safetensors:0.8."""
    controlnet: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """With a folder: the folder of a ControlNet, which reads --hint."""
    hint: Annotated[str | None, tyro.conf.arg(metavar="PICTURE")] = None
    """With --controlnet: the picture that is followed, such as edges, depths or a pose."""
    hint_scale: float = 1.0
    """With --controlnet: how closely it is followed, at least 0; 1 is what it was trained with."""
    compile_cache: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|none")] = None
    """With a folder: where compiled programs are kept for the next start; None is ~/.cache/gendiff/programs."""


def is_folder(model: str | None) -> bool:
    """Whether --model names a folder of diffusers."""
    return model is not None and (Path(model).expanduser() / model_index.NAME).is_file()


def refuse_without_folder(options: FolderOptions) -> None:
    """ConfigError for options that need a folder, where the model is none."""
    for field in dataclasses.fields(FolderOptions):
        if field.name not in _OF_ANY and getattr(options, field.name) != field.default:
            raise ConfigError(f"--{field.name.replace('_', '-')} is for a folder of diffusers: name one by --model")


def check_kind(options: FolderOptions, kind: model_index.Kind) -> None:
    """ConfigError for options that do not fit the kind of pipeline in the folder."""
    if options.grid is not None:
        raise ConfigError(f"--grid {options.grid}: a folder has levels of its own: leave the option out")
    if options.weights is not None and options.variant is not None:
        raise ConfigError(f"--variant {options.variant} is for files of the folder, whose place --weights takes: leave one of them out")
    if kind is model_index.CLASSES:
        if options.label is None:
            raise ConfigError(f"{kind.name} draws classes: give --label NAME or --label NUMBER")
        for name in ("prompt", "negative", "init", "mask", "refiner", "lora", "controlnet", "weights"):
            if getattr(options, name):
                raise ConfigError(f"--{name} does not go with {kind.name}, which draws classes: leave it out")
        return
    if options.label is not None:
        raise ConfigError(f"--label is for a DiT, and the folder holds {kind.name}: give --prompt")
    if options.refiner is not None:
        if kind is not model_index.XL:
            raise ConfigError(f"--refiner is for Stable Diffusion XL, and the folder holds {kind.name}")
        if options.init is not None:
            raise ConfigError("--refiner takes over from a base that begins from noise: leave out --init, or give the refiner as --model")
    if (options.controlnet is None) != (options.hint is None):
        raise ConfigError("--controlnet DIR and --hint PICTURE go together: give both or none")
    if options.controlnet is not None and options.refiner is not None:
        raise ConfigError("--controlnet does not go with --refiner, which has no ControlNet: leave one of them out")
    if not 0 <= options.hint_scale < float("inf"):
        raise ConfigError(f"--hint-scale {options.hint_scale:g} must be at least 0")
    if not 0 < options.refine_from < 1:
        raise ConfigError(f"--refine-from {options.refine_from:g} is outside (0, 1)")


def lora_files(options: FolderOptions) -> tuple[tuple[str, float], ...]:
    """(file, strength) of each --lora. ConfigError for a file that is absent, and a strength that is not finite."""
    found = []
    for text in options.lora:
        file, colon, last = text.rpartition(":")
        try:
            strength = float(last) if colon else 1.0
        except ValueError:  # the colon is one of the path
            file, strength = text, 1.0
        if not math.isfinite(strength):
            raise ConfigError(f"--lora {text}: the strength must be a finite number")
        file = file if colon else text
        if not Path(file).expanduser().exists():
            raise ConfigError(f"--lora {text}: no such file: {file}")
        found.append((file, strength))
    return tuple(found)


def steps(options: FolderOptions) -> int:
    """Of the folder's sampler."""
    return EDITED.steps if options.steps is None else options.steps


def cache(options: FolderOptions) -> str:
    """What `compile_cache.use` takes: by default a folder of the user that keeps all programs, for they take long to compile."""
    if options.compile_cache is not None:
        return options.compile_cache
    return str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gendiff" / "programs")


_OF_ANY = {field.name for field in dataclasses.fields(PromptOptions)}
