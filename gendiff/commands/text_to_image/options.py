"""Options of the commands that draw pictures of a prompt, and what is checked of them before anything is computed."""

import dataclasses
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from gendiff.commands import drawing_options
from gendiff.commands.drawing_options import SteppedOptions, option
from gendiff.core import extras, foreign_files
from gendiff.core.errors import ConfigError
from gendiff.runs import errors
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Late, Tool
from gendiff.runs.reporting import formatting

NETWORKS = ("emoji", "shapes")
"""Those that come with the package."""
PICTURES = "Stable Diffusion, FLUX, Z-Image, DiT"
"""Models whose folders draw."""
TRAILING, RESOLVED = "trailing", "resolved"
GRIDS = (TRAILING, RESOLVED)
"""Those of `gendiff.diffusion.grids` that any of our networks has."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """sampler: its name in `drawing_options.SAMPLERS`. levels: one of GRIDS, which the steps visit."""

    sampler: str
    levels: str
    steps: int

    def __str__(self) -> str:
        return f"{formatting.amount(self.steps, 'step')} of {self.sampler}"


FROM_NOISE = Sampling("dpm_solver_multistep-2", TRAILING, 16)
"""How our networks draw from noise. `few-step-text` holds it against DDIM."""
EDITED = Sampling("ddim", TRAILING, 30)
"""How a picture is drawn from another one, of which only a share of the steps is run, and what goes with any other
sampler or levels.
"""
_STEPS = f"None is {FROM_NOISE.steps} of the default sampler from noise, and {EDITED.steps} of others and with --init."
_SAMPLERS = f"None is {FROM_NOISE.sampler}, {EDITED.sampler} with --init, or that of a folder."
_LEVELS = (
    f"Which levels of noise the steps visit: {', '.join(GRIDS)}. None is {EDITED.levels}. A folder has levels of its "
    "own."
)


@dataclasses.dataclass(frozen=True)
class PromptWords:
    """What a picture shows: a base of its own, so that help names it first."""

    prompt: str = ""
    """What the pictures show, such as "cat face", or for --model shapes "a small red circle at the top left"."""
    negative: str = ""
    """What they are led away from; nothing is what the network has learned for that, or plain guidance."""


@dataclasses.dataclass(frozen=True)
class PromptOptions(SteppedOptions, PromptWords):
    """Draw pictures of a prompt."""

    num: int = 4
    guidance: Annotated[float, option("guidance")] = 5.0
    steps: Annotated[int | None, option("steps", _STEPS)] = None
    sampler: Annotated[str | None, option("sampler", _SAMPLERS)] = None
    levels: Annotated[str | None, tyro.conf.arg(help=_LEVELS)] = None
    init: str | None = None
    """A picture to begin from: it is noised part of the way (--strength), and drawn anew from there."""
    strength: float | None = None
    """With --init: share of the steps that are run, from 0 (the picture as it came) to 1 (nothing of it is left).

    None is 0.7, and 1 with --mask."""
    mask: str | None = None
    """With --init: a picture of the same size. What is white in it is drawn anew, and what is black or transparent is
    kept.
    """
    export: str | None = None
    """Draw nothing, and write the whole pipeline into this file: a program for cpu, cuda and tpu that runs without
    gendiff.

    With a folder its parameters are in FILE.safetensors beside it."""
    out: str | None = None
    """Where to write: NAME.png (all pictures in one) or a folder (one file each); None is samples.png, in the run
    folder if there is one.

    The settings are in the text entry "gendiff" of each file."""
    together: Annotated[
        int | None,
        option("together", "None is 16, and with a folder of diffusers 1, or the devices that share pictures."),
    ] = None
    grid: str | None = None
    """The old name of --levels, which will go."""


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Which model draws, and how one of a folder of diffusers is opened."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE|DIR")] = None
    """emoji, shapes, a .safetensors file that `run text-to-image` left, or a folder of diffusers; None takes the first
    of the two names.
    """
    height: int | None = None
    """With a folder: height of a picture in pixels; None is that of the training."""
    width: int | None = None
    """With a folder: width of a picture in pixels; None is that of the training."""
    variant: str | None = None
    """With a folder: which files of weights, such as fp16; None takes those without a variant, or the only ones."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """With a folder: of parameters and activations; the autoencoder is float32."""
    storage: Literal["full", "int8", "int4", "float8", "as-file"] | None = None
    """With a folder: how its kernels are kept in memory. int8 and float8 take one byte for each number, int4 half a
    byte, and as-file what their file has for them; layers unpack what they compute with. A line says what is lost.

    None is as-file with a .gguf file, and else full."""
    compile_cache: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|none")] = None
    """Folder that keeps all compiled programs for the next start, which on a CPU then do without oneDNN; none keeps
    nothing.

    None is ~/.cache/gendiff/programs with a folder of diffusers, and otherwise keeps only programs without oneDNN."""

    @property
    def folder(self) -> Path | None:
        """The folder of diffusers that --model names, if it names one."""
        path = None if self.model is None else foreign_files.expanded(self.model)
        return None if path is None or not (path / "model_index.json").is_file() else path

    def refuse_without_folder(self) -> None:
        """ConfigError for options that need a folder of diffusers, where the model is none."""
        for field in dataclasses.fields(self):
            if field.name in _OF_FOLDERS and self.folder is None and getattr(self, field.name) != field.default:
                raise ConfigError(f"--{field.name.replace('_', '-')} is for a folder of diffusers: {self._lacking()}")

    def _lacking(self) -> str:
        """Why the model is no folder of diffusers, and what to do."""
        if self.model in (None, *NETWORKS):
            return "name one by --model"
        path = foreign_files.expanded(str(self.model))
        if not path.exists():
            return f"--model {self.model} is none; {errors.model_hint(str(self.model), NETWORKS, PICTURES)}"
        single = f"; a single file goes with its folder: --model DIR --weights {self.model}" if path.is_file() else ""
        return f"--model {self.model} is none{single}"

    @property
    def program_cache(self) -> str | None:
        """What `compile_cache.use` takes. The programs of a folder take long to compile, so a folder of the user keeps
        them unless the environment names another one.
        """
        from gendiff.runs import compile_cache  # loads JAX

        if self.folder is None or self.compile_cache is not None or compile_cache.VARIABLE in os.environ:
            return self.compile_cache
        return str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gendiff" / "programs")


@dataclasses.dataclass(frozen=True)
class CommandOptions(ModelOptions, PromptOptions):
    """Draw pictures of a prompt, by a network that comes with the package, or by a model in a folder of diffusers."""

    gallery: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw the demonstration's prompts in place of --prompt, a row of --num pictures for each, above its words."""
    sheet: Annotated[str | None, tyro.conf.arg(metavar="SETTING=VALUE,…")] = None
    """One sheet of prompts × settings, as in --sheet guidance=1,3,8: a row for each prompt, and a column for each
    value.

    The prompts are those of --gallery, or of --prompt with "|" between them. SETTING is guidance, steps, seed, sampler
    or levels.
    """
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """With a folder: a single file of the same model, as model sites have them. It takes the place of the folder's
    weights: of all for Stable Diffusion 1, 2 and XL, and else of its transformer, which may be a .gguf file.
    """
    like_diffusers: tyro.conf.FlagCreatePairsOff[bool] = False
    """With a folder: levels, steps and prompts as in diffusers where it leaves the published form. For comparison."""
    too_long: Literal["chunks", "warn", "error"] | None = None
    """With a folder: a prompt of more than 75 tokens goes on in further rows (chunks), loses its end (warn), or is
    refused (error).

    None is chunks, and warn with --like-diffusers."""
    refiner: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """With a folder of Stable Diffusion XL: the folder of its refiner, which draws the last steps."""
    refine_from: float = 0.8
    """With --refiner: share of the noise that is gone when the refiner takes over, in (0, 1)."""
    tile: int | None = None
    """With a folder: side in pixels of the tiles that the autoencoder reads and writes one after the other.

    They overlap by a quarter and are blended. It bounds the memory of large pictures, and changes them a little."""
    skip_layers: Annotated[tuple[int, ...], tyro.conf.arg(metavar="NUMBER …")] = ()
    """With a folder of Stable Diffusion 3: early steps also lead away from what it answers without these blocks.

    7 8 9 is for 3.5 medium; they count from 0. Also known as skip-layer guidance."""
    mesh: Annotated[str | None, tyro.conf.arg(metavar="AXIS=NUMBER,…")] = None
    """With a folder: how devices share it, as fsdp=8 or tensor=8. Each holds its share of every large array of all
    parts.

    Both axes split parameters: tensor along the layers of transformers, fsdp along the largest axis. fsdp and data also
    share the pictures that are drawn together. None is one device."""
    label: str | None = None
    """With a folder of a DiT: the class, by its name or its number, in place of --prompt."""
    lora: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE[:STRENGTH] …")] = ()
    """With a folder: LoRA files of kohya, peft, diffusers, ai-toolkit or ComfyUI, which change it one after the other.

    Each is FILE or FILE:STRENGTH, as style.safetensors:0.8."""
    controlnet: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """With a folder: the folder of a ControlNet, which reads --hint."""
    hint: Annotated[str | None, tyro.conf.arg(metavar="PICTURE")] = None
    """With --controlnet: the picture that is followed, such as edges, depths or a pose."""
    hint_scale: float = 1.0
    """With --controlnet: how closely it is followed, at least 0; 1 is what it was trained with."""

    reference: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PICTURE …")] = ()
    """With a folder of FLUX.1 Kontext or FLUX.2: pictures that it reads, and that --prompt says how to change.

    Without --height and --width the size is that of the first one."""

    @property
    def sheet_option(self) -> str | None:
        """Which option asks for a sheet of prompts, if one does."""
        return "gallery" if self.gallery else "sheet" if self.sheet is not None else None


_OF_FOLDERS = {field.name for field in dataclasses.fields(CommandOptions)} - {
    *("model", "compile_cache", "gallery", "sheet"),
    *(field.name for field in dataclasses.fields(PromptOptions)),
}


NOT_KEPT = ("out", "export", "force", "together", "compile_cache", "grid", "mesh")
"""Options that do not change pictures."""
SHEETS: Mapping[str, type] = {"guidance": float, "steps": int, "seed": int, "sampler": str, "levels": str}
"""What the columns of a sheet may differ in, and of which type it is."""
Prompting = TypeVar("Prompting", bound=PromptOptions)


def renamed(options: Prompting, progress: Progress) -> Prompting:
    """The options with old names under their new ones; a line says so. ConfigError where both are there."""
    if options.grid is None:
        return options
    if options.levels is not None:
        raise ConfigError(f"--grid {options.grid} is the old name of --levels {options.levels}: leave it out")
    progress.line(f"note: --grid {options.grid} is --levels {options.grid} now; the old name will go")
    return dataclasses.replace(options, levels=options.grid, grid=None)


def columns(options: CommandOptions) -> list[CommandOptions]:
    """Of each column of a sheet; without --sheet there is one. ConfigError for a setting or a value that is none."""
    if options.sheet is None:
        return [options]
    name, _, values = options.sheet.partition("=")
    if name not in SHEETS or not values:
        raise ConfigError(
            f"--sheet {options.sheet}: give SETTING=VALUE,…, as in guidance=1,3,8; SETTING is one of "
            f"{', '.join(SHEETS)}"
        )
    try:
        changes: list[dict[str, Any]] = [{name: SHEETS[name](value)} for value in values.split(",")]
    except ValueError as error:
        raise ConfigError(f"--sheet {options.sheet}: the values of {name} are numbers, as in {name}=1,3,8") from error
    return [dataclasses.replace(options, num=1, **change) for change in changes]


def check_command(options: CommandOptions) -> None:
    """ConfigError for options that no model takes, or none of its kind."""
    if options.folder is not None:
        check(options, Path())
        return
    options.refuse_without_folder()
    sheet = options.sheet_option
    if not options.gallery:
        check_prompt(options)
    elif options.prompt:
        raise ConfigError("--gallery draws prompts of its own: leave out --prompt, or --gallery")
    if sheet is not None and (options.init or options.export):
        raise ConfigError(f"--{sheet} draws from noise: leave out --init and --export, or --{sheet}")
    for column in columns(options):
        sampling(column.sampler, column.levels or column.grid, column.steps)
        if check(column, Path()).suffix != ".png" and sheet is not None:
            raise ConfigError(f"--{sheet} writes one file: give --out NAME.png")


def check(options: PromptOptions, folder: Path) -> Path:
    """The file or folder to write. folder: where a picture goes by default. ConfigError for options that no model
    takes.
    """
    drawing_options.check(options)
    for name in ("strength", "mask"):
        if options.init is None and getattr(options, name) is not None:
            raise ConfigError(f"--{name} belongs to --init: name the picture to begin from")
    if not 0 <= strength(options) <= 1:
        raise ConfigError(f"--strength {options.strength:g} is outside [0, 1]")
    for name in ("init", "mask"):
        check_file(name, getattr(options, name))
    out = folder / "samples.png" if options.out is None else Path(options.out)
    option, path = ("--out", out) if options.export is None else ("--export", Path(options.export))
    path = foreign_files.expanded(path).absolute()
    if options.export is not None:
        if importlib.util.find_spec("flatbuffers") is None:
            raise ConfigError(extras.needs("--export needs", "flatbuffers", "run"))
    elif path.suffix not in ("", ".png") and not path.is_dir():
        raise ConfigError(f"--out {path} ends in {path.suffix!r}: give a .png, or a folder")
    if not path.parent.is_dir():
        raise ConfigError(f"{option}: the folder {path.parent} is absent: make it first, or choose another {option}")
    files = [path] if options.export is not None else image_paths(path, options.num)
    if path.is_file() and files != [path]:
        raise ConfigError(f"{option} {path} is a file without .png: choose another {option}")
    for file in files:
        if file.is_dir() or (file.exists() and not options.force):
            raise ConfigError(f"{file} exists: add --force to replace a file, or choose another {option}")
    return path


def check_folder(model: str) -> None:
    """ConfigError for a name of the Hugging Face hub where no such folder is, with what brings the model here."""
    hint = errors.hub_hint(model, PICTURES, "--model ")
    if hint and not foreign_files.expanded(model).exists():
        raise ConfigError(f"--model {model} is no folder; {hint}")


def check_file(name: str, path: str | None) -> None:
    """ConfigError for a picture that is not there. name: of its option."""
    if path is not None and not Path(path).is_file():
        raise ConfigError(f"--{name} {path}: {'is a folder, not a picture' if Path(path).is_dir() else 'no such file'}")


def image_paths(out: Path, num: int) -> list[Path]:
    """The files of so many pictures: one of all, or one of each in a folder, which has no suffix or is there."""
    return [out / f"{number:06d}.png" for number in range(num)] if out.is_dir() or out.suffix == "" else [out]


def check_prompt(options: PromptOptions) -> None:
    """ConfigError for an empty prompt."""
    if not options.prompt.strip():
        raise ConfigError('--prompt is empty: say what the pictures show, as in --prompt "cat face"')


def sampling(sampler: str | None, levels: str | None, steps: int | None, *, edited: bool = False) -> Sampling:
    """How our networks draw: what options say, with the defaults in place of None. ConfigError for levels that are
    none.

    edited: whether the draw begins from a picture.
    """
    if levels is not None and levels not in GRIDS:
        raise ConfigError(
            f"--levels {levels}: no levels of these networks have that name; {errors.hint(levels, GRIDS)}"
        )
    default = FROM_NOISE if sampler is None and levels is None and not edited else EDITED
    return Sampling(sampler or default.sampler, levels or default.levels, steps or default.steps)


def strength(options: PromptOptions) -> float:
    """The share of the steps that an edit runs."""
    return options.strength if options.strength is not None else 0.7 if options.mask is None else 1.0


def settings(options: PromptOptions, **about: object) -> dict[str, object]:
    """What the file of pictures says of how they were drawn: all but the options that do not change pictures."""
    everything = dataclasses.asdict(options) | about | {"experiment": "text-to-image"}
    return {name: value for name, value in everything.items() if name not in NOT_KEPT}


COMMAND = Tool(
    CommandOptions,
    Late("gendiff.commands.text_to_image.command"),
    "Pictures of a prompt, by a network that comes with the package or by a folder of diffusers.",
    check=check_command,
)
