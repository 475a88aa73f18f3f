"""What is checked of options that name a folder of diffusers."""

import math
from typing import Protocol

from gendiff.commands.text_to_image.options import CommandOptions, check_file, check_prompt
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.pipelines.stable_diffusion.model_parts import STORAGES, is_gguf
from gendiff.runs import run_folder

LEAST_TILE = 8
"""Latents along a side of a tile."""


def check_kind(options: CommandOptions, kind: model_index.Kind) -> None:
    """ConfigError for options that do not fit the kind of pipeline in a folder."""
    for name in ("gallery", "sheet"):
        if getattr(options, name):
            raise ConfigError(f"--{name} is for the networks of the package: leave it out, or give --model emoji")
    if options.levels is not None:
        raise ConfigError(f"--levels {options.levels}: a folder has levels of its own: leave the option out")
    storage = options.storage
    if storage is None and options.weights is not None and is_gguf(options.weights):
        storage = "as-file"
    if options.export is not None and storage in ("float8", "as-file"):
        raise ConfigError(
            f"--export does not go with --storage {storage}, whose numbers NumPy may not know: give --storage int8"
        )
    if options.mesh is not None:
        run_folder.axes(options.mesh)
        if options.export is not None:
            raise ConfigError("--export does not go with --mesh: its program is for one device; leave one of them out")
    if kind is model_index.CLASSES:
        if options.label is None:
            raise ConfigError(f"{kind.name} draws classes: give --label NAME or --label NUMBER")
        words = "prompt negative too_long init mask refiner lora controlnet hint skip_layers reference weights"
        for name in words.split():
            if getattr(options, name):
                word = name.replace("_", "-")
                raise ConfigError(f"--{word} does not go with {kind.name}, which draws classes: leave it out")
        return
    check_prompt(options)
    if options.label is not None:
        raise ConfigError(f"--label is for a DiT, and the folder holds {kind.name}: give --prompt")
    if options.controlnet and "unet" not in kind.needs:
        raise ConfigError(f"--controlnet is for Stable Diffusion 1, 2 and XL, and the folder holds {kind.name}")
    if options.reference and not kind.references:
        raise ConfigError(
            f"--reference is for FLUX.1 Kontext and FLUX.2, and the folder holds {kind.name}: --init begins with a "
            "picture"
        )
    if len(options.reference) > kind.references:
        raise ConfigError(
            f"--reference names {len(options.reference)} pictures, and {kind.name} reads {kind.references}"
        )
    for path in options.reference:
        check_file("reference", path)
    if options.skip_layers and kind is not model_index.SD3:
        raise ConfigError(f"--skip-layers is for Stable Diffusion 3, and the folder holds {kind.name}")
    if options.skip_layers and options.guidance == 1:
        raise ConfigError("--skip-layers adds to guidance, and --guidance 1 is none: give more, or leave it out")
    if options.refiner is not None:
        if kind is not model_index.XL:
            raise ConfigError(f"--refiner is for Stable Diffusion XL, and the folder holds {kind.name}")
        if options.init is not None:
            raise ConfigError(
                "--refiner takes over from a base that begins from noise: leave out --init, or give the refiner as "
                "--model"
            )
    if (options.controlnet is None) != (options.hint is None):
        raise ConfigError("--controlnet DIR and --hint PICTURE go together: give both or none")
    if options.controlnet is not None and options.refiner is not None:
        raise ConfigError("--controlnet does not go with --refiner, which has no ControlNet: leave one of them out")
    if not 0 <= options.hint_scale < float("inf"):
        raise ConfigError(f"--hint-scale {options.hint_scale:g} must be at least 0")
    if not 0 < options.refine_from < 1:
        raise ConfigError(f"--refine-from {options.refine_from:g} is outside (0, 1)")
    check_files(options)


class Files(Protocol):
    """Options that name files beside the folder."""

    @property
    def weights(self) -> str | None: ...

    @property
    def variant(self) -> str | None: ...

    @property
    def lora(self) -> tuple[str, ...]: ...


def check_files(options: Files) -> None:
    """ConfigError for --weights and --lora that do not fit. Raises as `lora_files` does."""
    weights = options.weights
    if weights is not None and options.variant is not None:
        raise ConfigError(
            f"--variant {options.variant} is for files of the folder, whose place --weights takes: leave one of them "
            "out"
        )
    check_weights(weights)
    lora_files(options)


def check_weights(weights: str | None) -> None:
    """ConfigError for --weights that names a storage."""
    if weights is not None and weights in STORAGES and not foreign_files.expanded(weights).exists():
        raise ConfigError(f"--weights {weights} is no file: --storage {weights} says how kernels are kept")


def tile_sizes(tile: int, factor: int, multiple: int) -> dict[str, int]:
    """What `networks.tiles.tiled` takes for tiles of so many pixels. ConfigError for a side that does not fit.

    factor: how many times smaller latents are. multiple: of the latents at which tiles begin.
    """
    side = tile // factor
    if tile % (factor * multiple) or side < LEAST_TILE:
        raise ConfigError(f"--tile {tile} must be a multiple of {factor * multiple} from {LEAST_TILE * factor} on")
    return {"tile": side, "overlap": side // 4 // multiple * multiple, "multiple": multiple}


def lora_files(options: Files) -> list[tuple[str, float]]:
    """(file, strength) of each --lora. ConfigError for a file that is absent, and a strength that is not finite."""
    files = []
    for text in options.lora:
        file, colon, last = text.rpartition(":")
        try:
            file, number = (file, float(last)) if colon else (text, 1.0)
        except ValueError:  # the colon is one of the path
            file, number = text, 1.0
        if not math.isfinite(number):
            raise ConfigError(f"--lora {text}: the strength must be a finite number")
        if not foreign_files.expanded(file).exists():
            raise ConfigError(f"--lora {text}: no such file: {file}")
        files.append((file, number))
    return files
