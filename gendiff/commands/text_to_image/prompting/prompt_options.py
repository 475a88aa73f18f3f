"""Options of the commands that draw pictures of a prompt, and what is checked of them before anything is computed."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from gendiff.commands.images import sampling_options
from gendiff.commands.text_to_image import texts
from gendiff.commands.text_to_image.default_sampling import EDITED, FROM_NOISE, GRIDS
from gendiff.core import extras
from gendiff.core.errors import ConfigError
from gendiff.runs import configuration

TOGETHER = 16
"""Pictures drawn at a time."""
STRENGTH = 0.7
"""Share of the steps that an edit of a whole picture runs."""
NOT_KEPT = ("out", "export", "force", "together", "compile_cache")
"""Options that do not change pictures."""
_EXAMPLE = 'as in --prompt "a small red circle at the top left"'
_STEPS = (
    f"Steps of the sampler. None is {FROM_NOISE.steps} of the default sampler from noise, and {EDITED.steps} of others and with --init."
)
_DEFAULT = f"{FROM_NOISE.sampler}, {EDITED.sampler} with --init, or that of a folder"
_SAMPLERS = f"Which sampler: {', '.join(sampling_options.SAMPLERS)}. None is {_DEFAULT}."
_GRID = f"Which levels the steps visit: {', '.join(GRIDS)}. None is {EDITED.grid}. A folder has levels of its own."


@dataclasses.dataclass(frozen=True)
class PromptOptions:
    """Draw pictures of a prompt."""

    prompt: str = ""
    """What the pictures show, such as "a small red circle at the top left"."""
    negative: str = ""
    """What they are led away from; nothing is plain guidance."""
    num: int = 4
    """Number of pictures. A picture is the same whatever is drawn beside it."""
    guidance: float = 5.0
    """Scale of guidance: 0 ignores the prompt, 1 is the conditional network, more is more faithful and less diverse."""
    steps: Annotated[int | None, tyro.conf.arg(help=_STEPS)] = None
    sampler: Annotated[str | None, tyro.conf.arg(help=_SAMPLERS)] = None
    grid: Annotated[str | None, tyro.conf.arg(help=_GRID)] = None
    seed: int = 0
    """Seed of the pictures' noise, from 0 to 2**32 - 1."""
    init: str | None = None
    """A picture to begin from: it is noised part of the way (--strength), and drawn anew from there."""
    strength: float | None = None
    """With --init: share of the steps that are run, from 0 (the picture as it came) to 1 (nothing of it is left).

    None is 0.7, and 1 with --mask."""
    mask: str | None = None
    """With --init: a picture of the same size. What is white in it is drawn anew, and what is black or transparent is kept."""
    export: str | None = None
    """Draw nothing, and write the whole pipeline into this file: a program for cpu, cuda and tpu that runs without gendiff.

    With a folder its parameters are in FILE.safetensors beside it."""
    out: str | None = None
    """Where to write, a .png; None is samples.png, in the run folder if there is one. The settings are in its text entry "gendiff"."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the file that is there."""
    together: int | None = None
    """Pictures drawn at a time, which changes memory and speed only; None is 16, and 1 with a folder."""


def check(options: PromptOptions, folder: Path) -> Path:
    """The file to write. folder: where a picture goes by default. ConfigError for options that do not fit."""
    texts.check()
    check_prompt(options)
    return checked(options, folder)


def check_prompt(options: PromptOptions) -> None:
    """ConfigError for an empty prompt."""
    if not options.prompt.strip():
        raise ConfigError(f"--prompt is empty: say what the pictures show, {_EXAMPLE}")


def checked(options: PromptOptions, folder: Path) -> Path:
    """The file to write, for any network. folder: where a picture goes by default. ConfigError for options that do not fit."""
    configuration.check_seed(options.seed)
    for name in ("num", "steps", "together"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value} must be at least 1")
    if options.num > sampling_options.MOST_FILES:
        raise ConfigError(f"--num {options.num} is above {sampling_options.MOST_FILES}: draw fewer at a time")
    if not 0 <= options.guidance < np.inf:
        raise ConfigError(f"--guidance {options.guidance:g} is outside [0, inf)")
    _check_start(options)
    if options.export is not None:
        if importlib.util.find_spec("flatbuffers") is None:
            raise ConfigError(extras.needs("--export needs", "flatbuffers", "experiments"))
        return _new("--export", Path(options.export), options.force)
    out = folder / "samples.png" if options.out is None else Path(options.out)
    if out.suffix != ".png":
        raise ConfigError(f"--out {out} ends in {out.suffix!r}: give a .png")
    return _new("--out", out, options.force)


def settings(options: PromptOptions, **about: Any) -> dict[str, Any]:
    """What the file of pictures says of how they were drawn."""
    kept = {name: value for name, value in dataclasses.asdict(options).items() if name not in NOT_KEPT}
    return kept | about | {"experiment": "text-to-image"}


def together(options: PromptOptions, otherwise: int = TOGETHER) -> int:
    """Pictures drawn at a time."""
    return otherwise if options.together is None else options.together


def strength(options: PromptOptions) -> float:
    """The share of the steps that an edit runs."""
    return options.strength if options.strength is not None else STRENGTH if options.mask is None else 1.0


def _check_start(options: PromptOptions) -> None:
    if options.init is None:
        if given := [name for name in ("strength", "mask") if getattr(options, name) is not None]:
            raise ConfigError(f"--{given[0]} belongs to --init: name the picture to begin from")
        return
    if not 0 <= strength(options) <= 1:
        raise ConfigError(f"--strength {options.strength:g} is outside [0, 1]")
    for name in ("init", "mask"):
        path = getattr(options, name)
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"--{name} {path}: {'is a folder, not a picture' if Path(path).is_dir() else 'no such file'}")


def _new(option: str, path: Path, force: bool) -> Path:
    place = path.expanduser().absolute()
    if not place.parent.is_dir():
        raise ConfigError(f"{option}: the folder {place.parent} is absent")
    if place.is_dir() or (place.exists() and not force):
        raise ConfigError(f"{place} exists: add --force to replace a file, or choose another {option}")
    return place
