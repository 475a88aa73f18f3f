"""The `sample` command of text-to-image: a prompt, and a grid of pictures of it with its settings in the file."""

import dataclasses
import functools
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.diffusion import sampling_options
from experiments.diffusion.text_to_image import networks, scenes, texts, trained
from experiments.diffusion.text_to_image.config import Config
from experiments.diffusion.text_to_image.trained import Trained
from experiments.framework import configuration, devices, drawing, training_loop
from experiments.framework.progress import Progress
from experiments.framework.registry import SampleCommand
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures
from gendiff import pipelines
from gendiff.core.errors import ConfigError
from gendiff.data.tokenizer import Tokens, TruncationWarning
from gendiff.diffusion import grids
from gendiff.diffusion.sampling import Sampler
from gendiff.pipelines import TextToImage

ENTRY = "gendiff"
"""Text entry of the PNG that holds the settings, as JSON."""
COLUMNS = 4
ENCODERS = {"frozen": networks.FROZEN, "scratch": networks.SCRATCH}


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """Draw pictures of a prompt from the network of a run folder."""

    prompt: str = ""
    """What the pictures show, such as "a small red circle at the top left"."""
    negative: str = ""
    """What they are led away from; nothing is plain guidance."""
    num: int = 4
    """Number of pictures. A picture is the same whatever is drawn beside it."""
    guidance: float = 5.0
    """Scale of guidance: 0 ignores the prompt, 1 is the conditional network, more is more faithful and less diverse."""
    steps: int = 30
    """Steps of the sampler."""
    sampler: Annotated[str, tyro.conf.arg(help=f"Which sampler: {', '.join(sampling_options.SAMPLERS)}.")] = "ddim"
    seed: int = 0
    """Seed of the pictures' noise, from 0 to 2**32 - 1."""
    encoder: Annotated[str, tyro.conf.arg(help="Whose network: that of the frozen encoder, or of the one from scratch.")] = "frozen"
    trained_seed: int | None = None
    """Which of the run's training seeds; None takes the first."""
    out: str | None = None
    """Where to write, a .png; None is samples.png in the run folder. The settings are in its text entry "gendiff"."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the file that is there."""
    together: int = 64
    """Pictures drawn at a time, which changes memory and speed only."""


def _sample(config: Config, folder: RunFolder, options: TextOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, NonFiniteError where pictures are not finite, and as `restore_ema` does."""
    seed, out = _checked(config, folder, options)
    prompt = _read("--prompt", options.prompt, progress)
    negative = pipelines.nothing(prompt) if not options.negative.strip() else _read("--negative", options.negative, progress)
    devices.local()
    draw = _drawer(config, folder, options, seed)
    progress.line("compiling …")
    index, images = np.arange(options.num, dtype=np.int32), []
    for place, drawn in drawing.parts(
        functools.partial(draw, prompt, negative), index, together=options.together, title="sample", progress=progress
    ):
        drawing.check_finite(drawn, index[place])
        images.append(drawn)
    step = training_loop.newest_step(_place(folder, options), seed)
    settings = dataclasses.asdict(options) | {"trained_seed": seed, "checkpoint": step, "experiment": "text-to-image"}
    entries = {ENTRY: json.dumps({name: value for name, value in settings.items() if name not in ("out", "force", "together")})}
    figures.grid(np.concatenate(images), min(COLUMNS, options.num), out, "", scale=4, ground=255, entries=entries)
    progress.line(f"{options.num} pictures, {options.steps} steps of {options.sampler}, guidance {options.guidance:g}: {out}")


COMMAND = SampleCommand(TextOptions, _sample)


def _drawer(config: Config, folder: RunFolder, options: TextOptions, seed: int) -> Any:
    """(prompt, negative, index) -> pictures."""
    given = trained.from_run(config, folder, ENCODERS[options.encoder], seed)
    draw, levels = _program(given.pipeline(_sampler(options, given))), grids.trailing(given.model.schedule, options.steps)
    key, scale = jax.random.key(options.seed), jnp.float32(options.guidance)

    def of(prompt: Tokens, negative: Tokens, index: jax.Array) -> jax.Array:
        return draw(given.params, key, prompt, negative, scale, levels, index)

    return of


def _sampler(options: TextOptions, given: Trained) -> Sampler:
    return sampling_options.sampler(options.sampler, None, given.model.schedule)


@functools.lru_cache(maxsize=4)
def _program(pipeline: TextToImage) -> Any:
    """The pipeline of a network, compiled once per number of steps and of pictures drawn together."""
    return drawing.jit(pipeline)


def _checked(config: Config, folder: RunFolder, options: TextOptions) -> tuple[int, Path]:
    """(seed of the training, file to write)."""
    texts.check()
    if not options.prompt.strip():
        raise ConfigError('--prompt is empty: say what the pictures show, as in --prompt "a small red circle at the top left"')
    configuration.check_seed(options.seed)
    for name in ("num", "steps", "together"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name} {getattr(options, name)} must be at least 1")
    if options.num > sampling_options.MOST_FILES:
        raise ConfigError(f"--num {options.num} is above {sampling_options.MOST_FILES}: draw fewer at a time")
    if not 0 <= options.guidance < np.inf:
        raise ConfigError(f"--guidance {options.guidance:g} is outside [0, inf)")
    if options.encoder not in ENCODERS:
        raise ConfigError(f"--encoder {options.encoder} is none of {', '.join(ENCODERS)}")
    seeds = config.seeds if options.encoder == "frozen" else config.seeds[:1]
    seed = seeds[0] if options.trained_seed is None else options.trained_seed
    if seed not in seeds:
        raise ConfigError(f"--trained-seed {seed} was not trained with --encoder {options.encoder}: there are {', '.join(map(str, seeds))}")
    out = folder.path / "samples.png" if options.out is None else Path(options.out).expanduser().absolute()
    if out.suffix != ".png":
        raise ConfigError(f"--out {out} ends in {out.suffix!r}: give a .png")
    if not out.parent.is_dir():
        raise ConfigError(f"--out: the folder {out.parent} is absent")
    if out.is_dir() or (out.exists() and not options.force):
        raise ConfigError(f"{out} exists: add --force to replace a file, or choose another --out")
    return seed, out


def _read(option: str, text: str, progress: Progress) -> Tokens:
    """The tokens of one text; a line says what of it the encoder leaves out, cannot write, or the network never read."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TruncationWarning)
            tokens = texts.tokens([text])
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{option}: {error}") from error
    for note in (*(str(each.message) for each in caught), *notes(text, int(tokens.unknown[0]))):
        progress.line(f"note: {option}: {note}")
    return tokens


def notes(text: str, unknown: int) -> Iterator[str]:
    """What a person should know of a text. unknown: number of its tokens that the encoder cannot write."""
    if unknown:
        yield f"{unknown} of its tokens stand for letters that the encoder, which learned English, does not know"
    if words := scenes.unknown_words(text):
        yield f"no caption of the training has the word{'s' if len(words) > 1 else ''} {', '.join(words)}: the pictures may ignore them"


def _place(folder: RunFolder, options: TextOptions) -> RunFolder:
    return dataclasses.replace(folder, path=folder.path / ENCODERS[options.encoder])
